"""What a pod of a role is started with: by engine, role and connector, and what an object with roles may not say."""

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.engines.support import SGLANG, TENSORRT_LLM, VLLM, a_plan, by_name, options, started, values_of, wants_of

from shardwise.domain.engine import EngineName
from shardwise.domain.launch import ClusterQueue, EnvVar, LaunchSite, PlacedBy, QueueSystem, Wanted
from shardwise.domain.layout import Layout
from shardwise.domain.roles import Connector, Role, RoleName
from shardwise.domain.target import Target
from shardwise.engines import problems
from shardwise.engines.transfer import serves_clients

PREFILL, DECODE = RoleName
NIXL, MOONCAKE = Connector
RDMA = LaunchSite(rdma=(("rdma/ib", "1"),))


def wants(engine: EngineName, role: RoleName, connector: Connector = NIXL, **changes: Any) -> Wanted:
    wanted = wants_of(engine, **changes)
    return replace(wanted, launch=replace(wanted.launch, role=Role(role, connector)))


TRANSFERS: dict[str, tuple[Wanted, dict[str, Any]]] = {
    "prefill by NIXL": (wants(VLLM, PREFILL), {"kv_connector": "NixlConnector", "kv_role": "kv_producer"}),
    "decode by NIXL": (
        wants(VLLM, DECODE),
        {"kv_connector": "NixlConnector", "kv_role": "kv_consumer", "kv_load_failure_policy": "recompute"},
    ),
    "prefill by Mooncake without RDMA": (
        wants(VLLM, PREFILL, MOONCAKE),
        {
            "kv_connector": "MooncakeConnector",
            "kv_role": "kv_producer",
            "kv_connector_extra_config": {"mooncake_protocol": "tcp"},
        },
    ),
    "decode by Mooncake with RDMA": (
        wants(VLLM, DECODE, MOONCAKE, site=RDMA),
        {
            "kv_connector": "MooncakeConnector",
            "kv_role": "kv_consumer",
            "kv_load_failure_policy": "recompute",
            "kv_connector_extra_config": {"mooncake_protocol": "rdma"},
        },
    ),
}


@pytest.mark.parametrize("name", TRANSFERS)
def test_vllm_is_told_its_part_in_one_word(name: str) -> None:
    wanted, expected = TRANSFERS[name]
    words = options(started(a_plan(Layout(1, 1)), wanted).pods[0].args)
    assert json.loads(words["--kv-transfer-config"]) == expected


def test_a_vllm_pod_is_asked_for_caches_at_its_own_address() -> None:
    """Its default, localhost, would make decode ask itself. Idle connections of routers outlast its five seconds."""
    pod = started(a_plan(Layout(1, 1)), wants(VLLM, PREFILL)).pods[0]
    assert by_name(pod)["VLLM_NIXL_SIDE_CHANNEL_HOST"] == EnvVar("VLLM_NIXL_SIDE_CHANNEL_HOST", field="status.podIP")
    assert values_of(pod)["VLLM_NIXL_SIDE_CHANNEL_PORT"] == "5600"
    assert values_of(pod)["VLLM_HTTP_TIMEOUT_KEEP_ALIVE"] == "120"


def test_each_data_rank_of_vllm_has_a_port_for_caches() -> None:
    group = started(a_plan(Layout(1, 1, True, 4), 4), wants(VLLM, DECODE))
    transfers = [port for name, port in group.ports if name.startswith("transfer")]
    assert transfers == [5600, 5601, 5602, 5603]


PORTS = {
    "vLLM's prefill by Mooncake": (VLLM, PREFILL, MOONCAKE, [8998]),
    "vLLM's decode by Mooncake": (VLLM, DECODE, MOONCAKE, []),
    "SGLang's prefill": (SGLANG, PREFILL, NIXL, [8998]),
    "SGLang's decode": (SGLANG, DECODE, NIXL, []),
    "TensorRT-LLM": (TENSORRT_LLM, PREFILL, NIXL, []),
}


@pytest.mark.parametrize(("engine", "role", "connector", "expected"), PORTS.values(), ids=PORTS)
def test_decode_looks_up_the_ranks_of_prefill_at_a_port(
    engine: EngineName, role: RoleName, connector: Connector, expected: list[int]
) -> None:
    group = started(a_plan(Layout(1, 1), engine=engine), wants(engine, role, connector))
    assert [port for name, port in group.ports if name == "bootstrap"] == expected


SGLANGS = {
    "prefill": (wants(SGLANG, PREFILL), {"mode": "prefill", "transfer-backend": "nixl", "bootstrap-port": "8998"}),
    "decode": (wants(SGLANG, DECODE), {"mode": "decode", "transfer-backend": "nixl"}),
    "by Mooncake": (wants(SGLANG, DECODE, MOONCAKE, site=RDMA), {"mode": "decode", "transfer-backend": "mooncake"}),
    "by Mooncake without RDMA": (
        wants(SGLANG, DECODE, MOONCAKE),
        {"mode": "decode", "transfer-backend": "mooncake_tcp"},
    ),
}


@pytest.mark.parametrize("name", SGLANGS)
def test_sglang_is_told_its_mode_and_its_backend(name: str) -> None:
    wanted, expected = SGLANGS[name]
    words = options(started(a_plan(Layout(1, 1), engine=SGLANG), wanted).pods[0].args)
    said = {word.removeprefix("--disaggregation-"): value for word, value in words.items() if "disaggregation" in word}
    assert said == expected


def test_routers_read_the_bootstrap_port_from_sglangs_prefill_alone() -> None:
    plan = a_plan(Layout(1, 1), engine=SGLANG)
    assert started(plan, wants(SGLANG, PREFILL)).annotations == (("sglang.ai/bootstrap-port", "8998"),)
    assert started(plan, wants(SGLANG, DECODE)).annotations == ()


def test_tensorrt_llm_is_told_its_role_and_lays_caches_out_anew() -> None:
    """Prefill overlaps nothing: its answer is complete when its cache is."""
    plan = a_plan(Layout(1, 1), engine=TENSORRT_LLM)
    found = {}
    for role in RoleName:
        group = started(plan, wants(TENSORRT_LLM, role))
        found[role] = options(group.pods[0].args)["--server_role"], json.loads(group.files[0].text)
    assert {role: word for role, (word, _) in found.items()} == {PREFILL: "CONTEXT", DECODE: "GENERATION"}
    assert found[PREFILL][1]["cache_transceiver_config"] == {"backend": "NIXL", "max_tokens_in_buffer": 8192}
    assert (found[PREFILL][1].get("disable_overlap_scheduler"), found[DECODE][1].get("disable_overlap_scheduler")) == (
        True,
        None,
    )


@pytest.mark.parametrize("engine", list(EngineName))
def test_without_roles_nothing_of_them_is_said(engine: EngineName) -> None:
    group = started(a_plan(Layout(1, 1), engine=engine), wants_of(engine))
    said = " ".join((*group.pods[0].args, *(variable.name for variable in group.pods[0].env)))
    assert not any(word in said for word in ("kv-transfer", "disaggregation", "server_role", "NIXL", "KEEP_ALIVE"))
    assert len(group.ports) == 1


REFUSED = {
    "a connector the engine lacks": (
        wants(TENSORRT_LLM, DECODE, MOONCAKE),
        ("spec.transfer.connector", "`mooncake` cannot be used: tensorrt-llm moves KV caches by `nixl`"),
    ),
    "an older release": (
        wants(VLLM, DECODE, image="vllm/vllm-openai:v0.20.0"),
        ("spec.roles", "`vllm` is 0.20.0: vllm 0.32.0 or later is needed to move KV caches by `nixl`"),
    ),
    "a queue of the cluster": (
        wants(
            VLLM,
            DECODE,
            queue=ClusterQueue(QueueSystem.KUEUE, "team"),
            site=LaunchSite(queue_systems=(QueueSystem.KUEUE,)),
        ),
        (
            "spec.placement.queue",
            (
                "a queue admits each replica by itself, and could admit one role without the other; leave the field "
                "out, or leave `spec.roles` out, so that each replica does both"
            ),
        ),
    ),
    "nodes that the scheduler picks": (
        wants(VLLM, DECODE, placed_by=PlacedBy.SCHEDULER),
        (
            "spec.placement.owner",
            (
                "the scheduler picks the nodes of each replica by itself, and could place one role without the other; "
                "use `shardwise`, or leave `spec.roles` out, so that each replica does both"
            ),
        ),
    ),
    "a transfer of one's own": (
        wants(VLLM, DECODE, args=("--kv_transfer_config={}",)),
        ("spec.engine.args.0", "`--kv-transfer-config` would contradict the roles; use `spec.transfer`"),
    ),
    "a mode of one's own": (
        wants(SGLANG, DECODE, args=("--disaggregation-mode", "prefill")),
        ("spec.engine.args.0", "`--disaggregation-mode` would contradict the plan; use `spec.roles`"),
    ),
    "a transceiver of one's own": (
        wants(TENSORRT_LLM, DECODE, options={"cache_transceiver_config": {"backend": "UCX"}}),
        ("spec.engine.options.cache_transceiver_config", "would contradict the plan; use `spec.transfer.connector`"),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_roles_cannot_have_is_refused(name: str) -> None:
    wanted, expected = REFUSED[name]
    assert problems(wanted) == (expected,)


def test_a_target_sizes_roles() -> None:
    wanted = wants(VLLM, DECODE)
    assert problems(replace(wanted, demand=replace(wanted.demand, target=Target(100, 100, rate=1.0)))) == ()


def test_an_object_without_roles_may_move_caches_in_its_own_way() -> None:
    """Offloading connectors are the user's to choose, and TensorRT-LLM's transceiver."""
    assert problems(wants_of(VLLM, args=("--kv-transfer-config", "{}"))) == ()
    own = {"cache_transceiver_config": {"backend": "UCX"}, "disable_overlap_scheduler": True}
    assert problems(wants_of(TENSORRT_LLM, options=own)) == ()


SERVES = {
    "no roles": (wants_of(SGLANG), True),
    "vLLM's decode": (wants(VLLM, DECODE), True),
    "vLLM's prefill": (wants(VLLM, PREFILL), False),
    "SGLang's decode": (wants(SGLANG, DECODE), False),
    "TensorRT-LLM's decode": (wants(TENSORRT_LLM, DECODE), False),
}


@pytest.mark.parametrize("name", SERVES)
def test_clients_reach_only_engines_that_serve_alone(name: str) -> None:
    wanted, expected = SERVES[name]
    assert serves_clients(wanted) is expected
