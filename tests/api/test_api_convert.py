"""From the object to the core's values: every field arrives where it is honoured."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.api.attachments import ATTACHMENTS
from tests.api.support import PLAIN, TARGET, changed
from tests.support.models import LLAMA_8B, R1, facts

from shardwise.api import InvalidObject, crd, parse, to_wanted
from shardwise.api.spec import ShardedModelSpec
from shardwise.domain.demand import Objective, Operator, Pins, Requirement, Toleration, TowerUse
from shardwise.domain.engine import EngineName
from shardwise.domain.launch import (
    CacheKind,
    ClusterQueue,
    EnvVar,
    GangSystem,
    LaunchSite,
    Owner,
    QueueSystem,
    RestartPolicy,
    Servers,
    Source,
    SourceKind,
    UpdateStrategy,
    Wanted,
    WeightCache,
)
from shardwise.domain.roles import Connector, Role, RoleName
from shardwise.domain.target import Target
from shardwise.domain.units import GIB


def wanted(path: str | None = None, value: object = None) -> Wanted:
    return to_wanted(parse(PLAIN if path is None else changed(path, value)), facts(LLAMA_8B))


FIELDS: dict[str, tuple[str, object, Callable[[Wanted], Any], object]] = {
    "name": ("metadata.name", "other", lambda wanted: wanted.launch.owner, Owner("other", "default", "")),
    "generation": ("metadata.generation", 7, lambda wanted: wanted.generation, 7),
    "paused": ("metadata.annotations", {"shardwise.dev/paused": "true"}, lambda wanted: wanted.paused, True),
    "paused, but not": ("metadata.annotations", {"shardwise.dev/paused": "false"}, lambda wanted: wanted.paused, False),
    "node affinity": (
        "spec.placement.nodeAffinity",
        {
            "nodeSelectorTerms": [
                {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b", "c"]}]},
                {"matchExpressions": [{"key": "d", "operator": "DoesNotExist"}]},
            ]
        },
        lambda wanted: wanted.demand.node_affinity,
        (
            (Requirement("a", Operator.IN, ("b", "c")),),
            (Requirement("d", Operator.DOES_NOT_EXIST),),
        ),
    ),
    "an image of one's own": ("spec.engine.image", "x:1", lambda wanted: wanted.demand.own_image, True),
    "no image": ("spec.replicas", 1, lambda wanted: wanted.demand.own_image, False),
    "the release that an image's tag states": (
        "spec.engine.image",
        "vllm/vllm-openai:v0.20.1",
        lambda wanted: wanted.demand.runs,
        (0, 20, 1),
    ),
    "the release that the object states": (
        "spec.engine.version",
        "0.12",
        lambda wanted: wanted.demand.runs,
        (0, 12, 0),
    ),
    "the release that was read": ("spec.replicas", 1, lambda wanted: wanted.demand.runs, (0, 33, 0)),
    "what the engine does with towers": (
        "spec.engine.args",
        ["--mm-encoder-tp-mode=data"],
        lambda wanted: wanted.demand.towers,
        TowerUse.WHOLE,
    ),
    "the engine's published image": (
        "spec.engine.image",
        "r.example:5000/vllm/vllm-openai:v0.20.1",
        lambda wanted: wanted.demand.published,
        True,
    ),
    "another image": ("spec.engine.image", "r/vllm-openai:v0.20.1", lambda wanted: wanted.demand.published, False),
    "served name": ("spec.model.servedName", "llm", lambda wanted: wanted.launch.model.served_name, "llm"),
    "model": ("spec.model.name", "a/b", lambda wanted: wanted.launch.model.name, "a/b"),
    "least context": ("spec.model.minContextLength", 4096, lambda wanted: wanted.demand.least_context, 4096),
    "context": ("spec.model.contextLength", 4096, lambda wanted: wanted.demand.context_length, 4096),
    "concurrency": ("spec.model.concurrency", 3, lambda wanted: wanted.demand.concurrency, 3),
    "KV cache": (
        "spec.model.kvCacheDtype",
        "fp8",
        lambda wanted: (wanted.demand.kv_bytes, wanted.launch.model.kv_cache_dtype),
        (1, "fp8"),
    ),
    "KV cache, auto": ("spec.model.kvCacheDtype", "auto", lambda wanted: wanted.launch.model.kv_cache_dtype, None),
    "quantization": ("spec.model.quantization", "fp8", lambda wanted: wanted.launch.model.quantization, "fp8"),
    "trust": ("spec.model.trustRemoteCode", True, lambda wanted: wanted.launch.model.trust_remote_code, True),
    "reserve": ("spec.model.gpuMemoryReserve", "2Gi", lambda wanted: wanted.demand.reserve, 2 * GIB),
    "revision": (
        "spec.model.source",
        {"huggingFace": {"revision": "v1", "tokenSecretRef": {"name": "s"}}},
        lambda wanted: wanted.launch.model.source,
        Source(revision="v1", token_secret="s", token_key="token"),
    ),
    "claim": (
        "spec.model.source",
        {"persistentVolumeClaim": {"claimName": "c", "path": "a"}},
        lambda wanted: wanted.launch.model.source,
        Source(SourceKind.PERSISTENT_VOLUME_CLAIM, location="c", path="a"),
    ),
    "host path": (
        "spec.model.source",
        {"hostPath": {"path": "/w"}},
        lambda wanted: wanted.launch.model.source,
        Source(SourceKind.HOST_PATH, location="/w"),
    ),
    "image volume": (
        "spec.model.source",
        {"image": {"reference": "r", "path": "p"}},
        lambda wanted: wanted.launch.model.source,
        Source(SourceKind.IMAGE, location="r", path="p"),
    ),
    "cache, empty": (
        "spec.model.source",
        {"huggingFace": {"cache": {"emptyDir": {"sizeLimit": "500Gi"}}, "prePull": True}},
        lambda wanted: wanted.launch.model.source,
        Source(cache=WeightCache(size="500Gi"), pre_pull=True),
    ),
    "cache on a claim": (
        "spec.model.source",
        {"huggingFace": {"cache": {"persistentVolumeClaim": {"claimName": "c"}}, "prePull": False}},
        lambda wanted: wanted.launch.model.source,
        Source(cache=WeightCache(CacheKind.PERSISTENT_VOLUME_CLAIM, "c"), pre_pull=False),
    ),
    "cache on the nodes": (
        "spec.model.source",
        {"huggingFace": {"cache": {"hostPath": {"path": "/data"}}}},
        lambda wanted: wanted.launch.model.source,
        Source(cache=WeightCache(CacheKind.HOST_PATH, "/data")),
    ),
    "servers": (
        "spec.engine.servers",
        "everyPod",
        lambda wanted: wanted.launch.container.servers,
        Servers.EVERY_POD,
    ),
    "release": ("spec.engine.version", "0.33.0", lambda wanted: wanted.launch.container.version, "0.33.0"),
    "options": (
        "spec.engine.options",
        {"a": {"b": [1]}},
        lambda wanted: wanted.launch.container.options,
        {"a": {"b": [1]}},
    ),
    "options with a draft model": (
        "spec.engine.options",
        {"speculative_config": {"decoding_type": "Eagle3"}},
        lambda wanted: wanted.demand.uncounted,
        ("speculative_config",),
    ),
    "budget": ("spec.gpuBudget.total", 3, lambda wanted: wanted.demand.gpu_budget, 3),
    "products": ("spec.gpuBudget.products", ["b", "a"], lambda wanted: wanted.demand.products, ("b", "a")),
    "replicas": ("spec.replicas", 2, lambda wanted: wanted.demand.replicas, 2),
    "objective": ("spec.objective", "latency", lambda wanted: wanted.demand.objective, Objective.LATENCY),
    "target": ("spec.target", TARGET, lambda wanted: wanted.demand.target, Target(2000, 300, 1.5, 0.0333, 4.0)),
    "pins": (
        "spec.parallelism",
        {"tensor": 2, "pipeline": 2, "expert": False, "data": 2, "context": 1},
        lambda wanted: wanted.demand.pins,
        Pins(2, 2, False, 2, 1),
    ),
    "engine": ("spec.engine.name", "sglang", lambda wanted: wanted.demand.engine, EngineName.SGLANG),
    "image": ("spec.engine.image", "i:1", lambda wanted: wanted.launch.container.image, "i:1"),
    "pull policy": (
        "spec.engine.imagePullPolicy",
        "Never",
        lambda wanted: wanted.launch.container.image_pull_policy,
        "Never",
    ),
    "pull secrets": (
        "spec.engine.imagePullSecrets",
        ["s"],
        lambda wanted: wanted.launch.container.image_pull_secrets,
        ("s",),
    ),
    "arguments": ("spec.engine.args", ["--a", "b c"], lambda wanted: wanted.launch.container.args, ("--a", "b c")),
    "variables": (
        "spec.engine.env",
        [
            {"name": "A", "value": ""},
            {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
        ],
        lambda wanted: wanted.launch.container.env,
        (EnvVar("A", value=""), EnvVar("B", secret=("s", "k")), EnvVar("C", config_map=("c", "k"))),
    ),
    "node selector": (
        "spec.placement.nodeSelector",
        {"b": "2", "a": "1"},
        lambda wanted: wanted.demand.node_selector,
        (("a", "1"), ("b", "2")),
    ),
    "tolerations": (
        "spec.placement.tolerations",
        [{"key": "k", "value": "v", "effect": "NoExecute", "tolerationSeconds": 5}],
        lambda wanted: (wanted.demand.tolerations, wanted.launch.scheduling.tolerations),
        ((Toleration("k", "Equal", "v", "NoExecute", 5),),) * 2,
    ),
    "within": ("spec.placement.within", "rack", lambda wanted: wanted.demand.within, "rack"),
    "priority": (
        "spec.placement.priorityClassName",
        "p",
        lambda wanted: wanted.launch.scheduling.priority_class_name,
        "p",
    ),
    "queue": (
        "spec.placement.queue",
        {"kueue": {"localQueue": "team"}},
        lambda wanted: wanted.queue,
        ClusterQueue(QueueSystem.KUEUE, "team"),
    ),
    "owner of the placement": ("spec.placement.owner", "scheduler", lambda wanted: wanted.left_open, True),
    "gang": ("spec.placement.gang", "volcano", lambda wanted: wanted.launch.scheduling.gang, GangSystem.VOLCANO),
    "queue of the gang": ("spec.placement.gangQueue", "q", lambda wanted: wanted.launch.scheduling.gang_queue, "q"),
    "scheduler": ("spec.placement.schedulerName", "s", lambda wanted: wanted.launch.scheduling.scheduler_name, "s"),
    "account": (
        "spec.placement.serviceAccountName",
        "a",
        lambda wanted: wanted.launch.scheduling.service_account_name,
        "a",
    ),
    "runtime class": (
        "spec.placement.runtimeClassName",
        "nvidia",
        lambda wanted: wanted.launch.scheduling.runtime_class_name,
        "nvidia",
    ),
    **ATTACHMENTS,
    "restarts": ("spec.restartPolicy.maxRestarts", 0, lambda wanted: wanted.restart.max_restarts, 0),
    "window": ("spec.restartPolicy.window", "1h30m", lambda wanted: wanted.restart.window, 5400.0),
    "failed pods": ("spec.restartPolicy.keepFailed", False, lambda wanted: wanted.restart.keep_failed, False),
    "smaller": ("spec.restartPolicy.smallerLayout", True, lambda wanted: wanted.restart.smaller_layout, True),
    "idle": ("spec.health.idleRequestInterval", "10m", lambda wanted: wanted.health.idle_request_interval, 600.0),
    "recreate": ("spec.updateStrategy.type", "Recreate", lambda wanted: wanted.update.recreate, True),
    "surge": ("spec.updateStrategy.maxSurge", 3, lambda wanted: wanted.update.max_surge, 3),
    "unavailable": ("spec.updateStrategy.maxUnavailable", 2, lambda wanted: wanted.update.max_unavailable, 2),
    "labels": ("spec.podTemplate.labels", {"a": "b"}, lambda wanted: wanted.launch.extras.labels, (("a", "b"),)),
    "annotations": (
        "spec.podTemplate.annotations",
        {"a": "b"},
        lambda wanted: wanted.launch.extras.annotations,
        (("a", "b"),),
    ),
    "requests": (
        "spec.podTemplate.requests",
        {"cpu": "8"},
        lambda wanted: wanted.launch.extras.requests,
        (("cpu", "8"),),
    ),
    "limits": (
        "spec.podTemplate.limits",
        {"rdma/ib": "1"},
        lambda wanted: wanted.launch.extras.limits,
        (("rdma/ib", "1"),),
    ),
    "shared memory": (
        "spec.podTemplate.sharedMemory",
        "16Gi",
        lambda wanted: wanted.launch.extras.shared_memory,
        "16Gi",
    ),
    "volumes": (
        "spec.podTemplate.volumes",
        [{"name": "a", "emptyDir": {"medium": "Memory"}}],
        lambda wanted: wanted.launch.extras.volumes,
        ({"name": "a", "emptyDir": {"medium": "Memory"}},),
    ),
    "mounts": (
        "spec.podTemplate.volumeMounts",
        [{"name": "a", "mountPath": "/a", "readOnly": False}, {"name": "b", "mountPath": "/b", "subPath": "c"}],
        lambda wanted: wanted.launch.extras.volume_mounts,
        ({"name": "a", "mountPath": "/a"}, {"name": "b", "mountPath": "/b", "subPath": "c"}),
    ),
    "sources of variables": (
        "spec.podTemplate.envFrom",
        [{"prefix": "A_", "secretRef": {"name": "a"}}, {"configMapRef": {"name": "b", "optional": True}}],
        lambda wanted: wanted.launch.extras.env_from,
        ({"prefix": "A_", "secretRef": {"name": "a"}}, {"configMapRef": {"name": "b", "optional": True}}),
    ),
    "sidecars": (
        "spec.podTemplate.sidecars",
        [{"name": "a", "image": "b"}],
        lambda wanted: wanted.launch.extras.sidecars,
        ({"name": "a", "image": "b"},),
    ),
    "init containers": (
        "spec.podTemplate.initContainers",
        [{"name": "a", "image": "b"}],
        lambda wanted: wanted.launch.extras.init_containers,
        ({"name": "a", "image": "b"},),
    ),
    "users": (
        "spec.podTemplate.securityContext",
        {"runAsUser": 1000, "runAsNonRoot": True, "supplementalGroups": [5]},
        lambda wanted: wanted.launch.extras.security_context,
        {"runAsUser": 1000, "runAsNonRoot": True, "supplementalGroups": [5]},
    ),
    "host network": (
        "spec.podTemplate.hostNetwork",
        True,
        lambda wanted: wanted.launch.extras.host_network,
        True,
    ),
    "names": ("spec.podTemplate.dnsPolicy", "Default", lambda wanted: wanted.launch.extras.dns_policy, "Default"),
    "gates": (
        "spec.podTemplate.schedulingGates",
        ["a/b"],
        lambda wanted: wanted.launch.extras.scheduling_gates,
        ("a/b",),
    ),
    "port": ("spec.service.port", 80, lambda wanted: wanted.launch.service.port, 80),
    "Service type": ("spec.service.type", "NodePort", lambda wanted: wanted.launch.service.type, "NodePort"),
}


@pytest.mark.parametrize(("path", "value", "read", "expected"), FIELDS.values(), ids=FIELDS)
def test_a_field_arrives_where_it_is_honoured(
    path: str, value: object, read: Callable[[Wanted], Any], expected: object
) -> None:
    assert read(wanted(path, value)) == expected


BOTH = [
    {"name": "prefill", "replicas": 3, "objective": "throughput", "products": ["NVIDIA-H200"]},
    {"name": "decode", "parallelism": {"tensor": 2}},
]


def with_roles(transfer: object = None) -> Wanted:
    given = changed("spec.roles", BOTH)
    given["spec"] |= {} if transfer is None else {"transfer": transfer}
    return to_wanted(parse(given), facts(LLAMA_8B))


def test_each_role_is_an_object_of_its_own() -> None:
    """Decode first: it may serve alone, and stands for the whole object."""
    whole = with_roles()
    decode, prefill = whole.roles
    assert [part.launch.role for part in (decode, prefill)] == [Role(RoleName.DECODE), Role(RoleName.PREFILL)]
    assert (prefill.demand.replicas, prefill.demand.objective) == (3, Objective.THROUGHPUT)
    assert (prefill.demand.products, prefill.demand.pins) == (("NVIDIA-H200",), Pins())
    assert (decode.demand.objective, decode.demand.products) == (Objective.FEWEST_GPUS, ())
    assert decode.demand.pins == Pins(tensor=2)
    assert {part.demand.gpu_budget for part in (whole, decode, prefill)} == {whole.demand.gpu_budget}
    assert replace(whole, roles=()) == decode


def test_a_role_without_a_number_of_replicas_is_counted_by_the_estimates() -> None:
    halves = [part.demand.half for part in with_roles().roles]
    assert [half.counted for half in halves if half is not None] == [True, False]


def test_a_target_decides_the_replicas_of_roles_that_state_none() -> None:
    given = changed("spec.roles", BOTH)
    given["spec"]["target"] = TARGET
    parts = to_wanted(parse(given), facts(LLAMA_8B)).roles
    assert [(part.demand.is_counted, part.demand.replicas) for part in parts] == [(False, 1), (False, 3)]
    assert {part.demand.target for part in parts} == {Target(2000, 300, 1.5, 0.0333, 4.0)}


def test_the_transfer_goes_to_both_roles() -> None:
    transfer = {"connector": "mooncake", "within": "rack"}
    assert [part.launch.role for part in with_roles(transfer).roles] == [
        Role(name, Connector.MOONCAKE, "rack") for name in (RoleName.DECODE, RoleName.PREFILL)
    ]


def test_the_pods_of_a_role_need_rdma_although_they_are_alone() -> None:
    """Their caches go to other pods."""
    site = LaunchSite(rdma=(("rdma/ib", "1"),))
    wanted = to_wanted(parse(changed("spec.roles", BOTH)), facts(LLAMA_8B), site)
    assert ("rdma/ib", 1000) in wanted.roles[0].demand.needs.of_pod(1, 1, 1)
    assert ("rdma/ib", 1000) in wanted.roles[0].demand.needs.of_the_least_pod
    assert ("rdma/ib", 1000) not in to_wanted(parse(PLAIN), facts(LLAMA_8B), site).demand.needs.of_pod(1, 1, 1)


ELSEWHERE = {
    "spec.transfer.connector": "test_the_transfer_goes_to_both_roles",
    "spec.transfer.within": "test_the_transfer_goes_to_both_roles",
    "spec.model.config": "read by shardwise.hub",
    "spec.model.weightBytes": "read by shardwise.hub",
}
"""Fields that are honoured without a conversion."""


def test_every_field_of_the_spec_has_a_case_here() -> None:
    """A field that is read and never converted would be ignored in silence."""
    schema = crd.structural(ShardedModelSpec)["properties"]
    fields = {f"spec.{part}.{name}" for part in schema for name in schema[part].get("properties", {})}
    whole = {path for path, *_ in FIELDS.values()} | set(ELSEWHERE)
    assert {field for field in fields if field not in whole and field.rpartition(".")[0] not in whole} == set()


def test_what_is_left_out_is_what_most_want() -> None:
    """One replica of the fewest GPUs, at the model's own context, of any product, from the Hub."""
    plain = wanted()
    assert plain.demand.context_length == facts(LLAMA_8B).context_length
    assert (plain.demand.objective, plain.demand.replicas, plain.demand.products) == (Objective.FEWEST_GPUS, 1, ())
    assert (plain.launch.model.source, plain.launch.model.served_name) == (Source(), LLAMA_8B)
    assert (plain.paused, plain.restart, plain.update) == (False, RestartPolicy(), UpdateStrategy())
    assert plain.launch.service.port == 8000


@pytest.mark.parametrize(
    ("asked", "stated", "planned"),
    [
        ("auto", None, (2, None)),
        ("auto", "fp8", (1, "fp8")),
        ("bfloat16", "fp8", (2, "bfloat16")),
        ("fp8", None, (1, "fp8")),
    ],
)
def test_the_kv_cache_is_kept_as_the_object_or_else_the_checkpoint_says(
    asked: str, stated: str | None, planned: tuple[int, str | None]
) -> None:
    """And the engine is told so: what is planned is what runs."""
    obj = parse(changed("spec.model.kvCacheDtype", asked))
    found = to_wanted(obj, replace(facts("meta-llama/Llama-3.1-8B"), kv_cache_dtype=stated))
    assert (found.demand.kv_bytes, found.launch.model.kv_cache_dtype) == planned


def test_a_context_may_be_lowered_only_where_the_object_says_how_far() -> None:
    assert wanted("spec.model.minContextLength", 4096).demand.least_context == 4096
    assert wanted("spec.replicas", 1).demand.least_context is None


def test_a_least_context_beyond_the_context_is_refused_with_both_numbers() -> None:
    with pytest.raises(InvalidObject) as caught:
        wanted("spec.model.minContextLength", 131073)
    expected = "spec.model.minContextLength: `131073` exceeds the 131072 tokens of `spec.model.contextLength`"
    assert str(caught.value) == expected


def test_a_context_beyond_the_models_own_is_refused_with_both_numbers() -> None:
    with pytest.raises(InvalidObject) as caught:
        wanted("spec.model.contextLength", 131073)
    assert str(caught.value).startswith("spec.model.contextLength: `131073` exceeds the 131072 tokens of `")


def test_the_site_goes_with_the_object() -> None:
    """As the operator's configuration has it; without one, as by default."""
    site = LaunchSite(interface="eth1")
    assert to_wanted(parse(PLAIN), facts(LLAMA_8B), site).site == site
    assert wanted().site == LaunchSite()


@pytest.mark.parametrize("given", ["True", "yes", "", "1"])
def test_a_pause_that_is_neither_true_nor_false_is_refused(given: str) -> None:
    """Ignored in silence, it would not stop what somebody meant to stop."""
    with pytest.raises(InvalidObject) as caught:
        wanted("metadata.annotations", {"shardwise.dev/paused": given})
    expected = f"metadata.annotations.shardwise.dev/paused: `{given}` is neither `true` nor `false`"
    assert str(caught.value) == expected


@pytest.mark.parametrize(("slots", "redundant"), [(288, 32), (256, 0), (None, 0)])
def test_places_for_experts_beyond_the_experts_are_redundant_experts(slots: int | None, redundant: int) -> None:
    balancer = {} if slots is None else {"num_slots": slots}
    options = {"moe_config": {"load_balancer": balancer}}
    found = to_wanted(parse(changed("spec.engine", {"name": "tensorrt-llm", "options": options})), facts(R1))
    assert found.demand.redundant_experts == redundant
