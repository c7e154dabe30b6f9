"""What plan and pods depend on, by field: the table of docs/updates.md, and names that no version of ours changes."""

import re
from pathlib import Path
from typing import Any

import pytest
from tests.api.support import PLAIN, changed
from tests.support.models import LLAMA_8B, facts

from shardwise.api import ShardedModel, parse, to_wanted
from shardwise.api.identity import asks_of, content_of
from shardwise.api.spec import ShardedModelSpec

PAGE = Path(__file__).parents[2] / "docs" / "updates.md"

CHANGES: dict[str, tuple[Any, str]] = {
    "spec.model.name": ("meta-llama/Llama-3.1-70B", "plan and pods"),
    "spec.model.servedName": ("llm", "pods"),
    "spec.model.source": ({"hostPath": {"path": "/models"}}, "plan and pods"),
    "spec.model.config": ({"num_hidden_layers": 2}, "plan and pods"),
    "spec.model.weightBytes": ("10Gi", "plan and pods"),
    "spec.model.contextLength": (4096, "plan and pods"),
    "spec.model.minContextLength": (2048, "plan and pods"),
    "spec.model.concurrency": (4, "plan and pods"),
    "spec.model.quantization": ("fp8", "plan and pods"),
    "spec.model.kvCacheDtype": ("fp8", "plan and pods"),
    "spec.model.trustRemoteCode": (True, "pods"),
    "spec.model.gpuMemoryReserve": ("2Gi", "plan and pods"),
    "spec.gpuBudget.total": (16, "plan"),
    "spec.gpuBudget.products": (["NVIDIA-H200"], "plan and pods"),
    "spec.replicas": (2, "nothing"),
    "spec.objective": ("latency", "plan"),
    "spec.target": ({"inputTokens": 900, "outputTokens": 100, "timePerToken": "50ms"}, "nothing"),
    "spec.parallelism": ({"tensor": 2}, "plan"),
    "spec.roles": ([{"name": "prefill"}, {"name": "decode"}], "plan and pods"),
    "spec.transfer": ({"connector": "mooncake"}, "plan and pods"),
    "spec.engine.name": ("sglang", "plan and pods"),
    "spec.engine.image": ("example.com/vllm:1", "plan and pods"),
    "spec.engine.imagePullPolicy": ("Always", "pods"),
    "spec.engine.imagePullSecrets": (["registry"], "pods"),
    "spec.engine.args": (["--seed=7"], "pods"),
    "spec.engine.env": ([{"name": "A", "value": "b"}], "pods"),
    "spec.engine.version": ("0.20.0", "pods"),
    "spec.engine.options": ({"print_iter_log": True}, "pods"),
    "spec.engine.servers": ("everyPod", "pods"),
    "spec.placement.nodeAffinity": (
        {"nodeSelectorTerms": [{"matchExpressions": [{"key": "pool", "operator": "Exists"}]}]},
        "plan and pods",
    ),
    "spec.placement.nodeSelector": ({"pool": "a"}, "plan and pods"),
    "spec.placement.tolerations": ([{"operator": "Exists"}], "plan and pods"),
    "spec.placement.within": ("rack", "plan and pods"),
    "spec.placement.priorityClassName": ("high", "pods"),
    "spec.placement.schedulerName": ("other", "pods"),
    "spec.placement.queue": ({"kueue": {"localQueue": "team"}}, "pods"),
    "spec.placement.owner": ("scheduler", "pods"),
    "spec.placement.gang": ("volcano", "pods"),
    "spec.placement.gangQueue": ("team", "pods"),
    "spec.placement.serviceAccountName": ("me", "pods"),
    "spec.placement.runtimeClassName": ("nvidia", "pods"),
    "spec.restartPolicy": ({"maxRestarts": 1}, "nothing"),
    "spec.health": ({"idleRequestInterval": "10m"}, "nothing"),
    "spec.updateStrategy": ({"type": "Recreate"}, "nothing"),
    "spec.podTemplate.labels": ({"a": "b"}, "pods"),
    "spec.podTemplate.annotations": ({"restartedAt": "today"}, "pods"),
    "spec.podTemplate.requests": ({"cpu": "8"}, "pods"),
    "spec.podTemplate.limits": ({"memory": "1Ti"}, "pods"),
    "spec.podTemplate.sharedMemory": ("16Gi", "pods"),
    "spec.podTemplate.volumes": ([{"name": "a", "emptyDir": {}}], "pods"),
    "spec.podTemplate.volumeMounts": ([{"name": "a", "mountPath": "/a"}], "pods"),
    "spec.podTemplate.envFrom": ([{"secretRef": {"name": "a"}}], "pods"),
    "spec.podTemplate.sidecars": ([{"name": "a", "image": "b"}], "pods"),
    "spec.podTemplate.initContainers": ([{"name": "a", "image": "b"}], "pods"),
    "spec.podTemplate.securityContext": ({"runAsUser": 5}, "pods"),
    "spec.podTemplate.hostNetwork": (True, "pods"),
    "spec.podTemplate.dnsPolicy": ("Default", "pods"),
    "spec.podTemplate.schedulingGates": (["example.com/a"], "pods"),
    "spec.service": ({"port": 80}, "nothing"),
    "spec.endpoint": ({"gateway": {"name": "models"}}, "nothing"),
    "spec.scaling": ({"max": 1, "signal": "queue", "target": 5}, "nothing"),
}
"""By field: another value, and what depends on the field."""


def object_with(path: str | None = None, value: object = None) -> ShardedModel:
    made = PLAIN if path is None else changed(path, value)
    if path == "spec.transfer":
        made["spec"]["roles"] = CHANGES["spec.roles"][0]
    return parse(made)


@pytest.mark.parametrize(("path", "value", "depends"), [(path, *row) for path, row in CHANGES.items()], ids=CHANGES)
def test_what_depends_on_a_field(path: str, value: object, depends: str) -> None:
    """The plan is made anew only for what it depends on; pods are compared only when what they depend on changed."""
    before, after = object_with(path if path == "spec.transfer" else None), object_with(path, value)
    assert (asks_of(before) != asks_of(after)) is ("plan" in depends)
    assert (content_of(before) != content_of(after)) is ("pods" in depends)


def test_every_field_has_its_row_here_and_in_the_document() -> None:
    """A new field has to say what its change does."""
    text = PAGE.read_text(encoding="utf-8")
    named = set(re.findall(r"`(spec\.[A-Za-z.]+)`", text))
    sections = {"model", "gpuBudget", "engine", "placement", "podTemplate"}
    fields = set()
    for name, field in ShardedModelSpec.model_fields.items():
        alias = field.alias or name
        inner = field.annotation.model_fields if alias in sections else {}  # type: ignore[union-attr]
        fields |= {f"spec.{alias}.{field.alias}" for field in inner.values()} or {f"spec.{alias}"}
    known = {path for path in fields if any(path == row or path.startswith(f"{row}.") for row in CHANGES)}
    assert fields - known == set()
    assert fields - named == set()


ROLE = {"name": "decode", "replicas": 1}
OF_ROLES: dict[str, tuple[Any, str]] = {
    "replicas": ({**ROLE, "replicas": 2}, "nothing"),
    "objective": ({**ROLE, "objective": "latency"}, "plan"),
    "parallelism": ({**ROLE, "parallelism": {"tensor": 2}}, "plan"),
    "products": ({**ROLE, "products": ["NVIDIA-H200"]}, "plan and pods"),
}


@pytest.mark.parametrize(("value", "depends"), OF_ROLES.values(), ids=OF_ROLES)
def test_what_depends_on_a_field_of_a_role(value: object, depends: str) -> None:
    """Of the role itself: the other role depends on none of its fields."""
    before, after = (
        to_wanted(object_with("spec.roles", [{"name": "prefill"}, role]), facts(LLAMA_8B)).roles
        for role in (ROLE, value)
    )
    assert (before[0].asks != after[0].asks) is ("plan" in depends)
    assert (before[0].content != after[0].content) is ("pods" in depends)
    assert (before[1].asks, before[1].content) == (after[1].asks, after[1].content)


def test_the_roles_of_an_object_have_names_of_their_own() -> None:
    decode, prefill = to_wanted(object_with("spec.roles", CHANGES["spec.roles"][0]), facts(LLAMA_8B)).roles
    assert decode.asks != prefill.asks
    assert decode.content != prefill.content


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.replicas", 1),
        ("spec.model.concurrency", 1),
        ("spec.engine.name", "vllm"),
        ("spec.engine.args", []),
        ("spec.placement.gang", "none"),  # the default of earlier CRDs, which stands in all objects of their time
    ],
)
def test_a_default_that_is_written_out_is_the_default(path: str, value: object) -> None:
    """It changes nothing, so it restarts nothing."""
    assert asks_of(object_with(path, value)) == asks_of(object_with())
    assert content_of(object_with(path, value)) == content_of(object_with())


def test_the_names_are_what_earlier_versions_wrote() -> None:
    """They stand in the status of objects that run: were they another, an upgrade would plan all of them anew."""
    assert (asks_of(object_with()), content_of(object_with())) == ("eaa317afad44", "1d12831df899")


def test_which_image_is_named_is_nothing_to_the_plan() -> None:
    """Only that one is: AMD GPUs need it."""
    first, second = (object_with("spec.engine.image", f"example.com/vllm:{tag}") for tag in (1, 2))
    assert asks_of(first) == asks_of(second)


def test_they_do_not_depend_on_how_the_model_is_counted() -> None:
    """Facts are mended from version to version; a plan that works is kept."""
    one, other = (to_wanted(parse(PLAIN), facts(name)) for name in (LLAMA_8B, "meta-llama/Llama-3.1-70B"))
    assert (one.asks, one.content) == (other.asks, other.content)


def test_the_names_of_a_plain_object_are_those_of_every_version() -> None:
    """Written out: another name would plan anew and restart every object at an upgrade."""
    plain = parse(PLAIN)
    assert (asks_of(plain), content_of(plain)) == ("eaa317afad44", "1d12831df899")
