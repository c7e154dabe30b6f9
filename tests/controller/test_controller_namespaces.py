"""An operator that serves some namespaces, with the rights that the chart gives it there and nowhere else."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
from tests.support.chart_rules import CLUSTER, SERVED, allowed
from tests.support.operating import Operating, a_model, operating

from shardwise_sandbox import Fault, RequestInfo

OURS, OTHERS, LATER = "default", "team-b", "team-c"
_VERBS: Final = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class Rights:
    """Refuses every request that the chart's roles do not allow, and notes it."""

    def __init__(self, served: tuple[str, ...]) -> None:
        self.served = served
        self.refused: list[str] = []

    def __call__(self, request: RequestInfo) -> Fault | None:
        if not request.resource:
            return None  # discovery, which everybody may read
        resource = f"{request.resource}/{request.subresource}".rstrip("/")
        verb = _VERBS.get(request.method) or ("watch" if request.is_watch else "get" if request.name else "list")
        templates = (CLUSTER, SERVED) if request.namespace in self.served else (CLUSTER,)
        if any(allowed(template, request.group, resource, verb) for template in templates):
            return None
        self.refused.append(f"{verb} {request.path}")
        return Fault.answer(403, "Forbidden")


@pytest.fixture
def rights() -> Rights:
    return Rights((OURS, LATER))


@pytest.fixture
async def operator(tmp_path: Path, rights: Rights) -> AsyncIterator[Operating]:
    async with operating(tmp_path, namespaces=(OURS, LATER), faults=rights) as running:
        yield running


def in_namespace(namespace: str, name: str, **spec: Any) -> dict[str, Any]:
    model = a_model(name, **spec)
    return model | {"metadata": model["metadata"] | {"namespace": namespace}}


def make_namespace(operator: Operating, name: str) -> None:
    operator.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


async def test_it_serves_the_objects_of_its_namespaces_alone_and_needs_no_more_rights(
    operator: Operating, rights: Rights
) -> None:
    """From the first list on, over watches, to the pods; a namespace that does not exist yet is no obstacle."""
    make_namespace(operator, OTHERS)
    operator.cluster.create(in_namespace(OTHERS, "theirs"))
    operator.cluster.create(in_namespace(OURS, "llama"))
    await operator.ready("llama")
    assert operator.cluster.get("ShardedModel", OTHERS, "theirs")["status"] == {"observedGeneration": -1}
    assert operator.pods("theirs") == []
    assert rights.refused == []


async def test_a_served_namespace_that_comes_later_is_served(operator: Operating, rights: Rights) -> None:
    make_namespace(operator, LATER)
    operator.cluster.create(in_namespace(LATER, "late"))
    await operator.until(lambda: operator.pods("late"), "pods of late")
    assert rights.refused == []


async def test_a_relist_finds_the_objects_of_its_namespaces_again(operator: Operating, rights: Rights) -> None:
    """They are not taken for deleted: the plan stays, and no pod is made anew."""
    operator.cluster.create(in_namespace(OURS, "llama"))
    await operator.ready("llama")
    before = [pod["metadata"]["uid"] for pod in operator.pods("llama")]
    await operator.stop()
    await operator.start()
    operator.cluster.create(in_namespace(OURS, "second"))
    await operator.ready("second")
    assert [pod["metadata"]["uid"] for pod in operator.pods("llama")] == before
    assert rights.refused == []


async def test_pods_of_other_namespaces_hold_gpus(operator: Operating) -> None:
    """Their pods are seen although their objects are not: no GPU is planned twice."""
    make_namespace(operator, OTHERS)
    gpus = {"limits": {"nvidia.com/gpu": "8"}, "requests": {"nvidia.com/gpu": "8"}}
    for node in ("h100-1", "h100-2"):
        spec = {"nodeName": node, "containers": [{"name": "c", "image": "busybox", "resources": gpus}]}
        metadata = {"name": f"thief-{node}", "namespace": OTHERS}
        operator.cluster.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    operator.cluster.create(in_namespace(OURS, "llama", gpus=8, budget={"products": ["NVIDIA-H100-80GB-HBM3"]}))
    told = await operator.condition("llama", "Ready", "False")
    assert told["reason"] == "CapacityShort"


def test_the_rights_of_this_test_end_at_the_namespaces_that_are_served(rights: Rights) -> None:
    """Writing pods, and reading Services: in no other namespace, and not in all at once."""
    for namespace in (OTHERS, ""):
        services = RequestInfo("GET", "/services", resource="services", namespace=namespace)
        pods = RequestInfo("POST", "/pods", resource="pods", namespace=namespace)
        assert rights(services) is not None
        assert rights(pods) is not None
        assert rights(RequestInfo("GET", "/pods", resource="pods", namespace=namespace)) is None


@pytest.mark.parametrize(("served", "said"), [((), "all namespaces"), ((OURS, LATER), "`default`, `team-c`")])
async def test_the_log_says_once_whose_objects_are_served(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, served: tuple[str, ...], said: str
) -> None:
    """An operator that serves nothing by mistake would else say nothing at all."""
    caplog.set_level(logging.INFO, logger="shardwise.controller.run")
    async with operating(tmp_path, namespaces=served):
        pass
    assert [text for text in caplog.messages if text.startswith("serves")] == [f"serves 0 ShardedModels of {said}"]
