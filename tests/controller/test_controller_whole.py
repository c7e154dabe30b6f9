"""The operator among kubelets whose probes always succeed, as vLLM's do while other ranks are gone."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.support.operating import Operating, a_model, operating

from shardwise_sandbox import h100_node
from shardwise_sandbox.objects import condition

PAIRS: dict[str, Any] = {"gpus": 4, "replicas": 2, "parallelism": {"tensor": 1, "pipeline": 2}}


@pytest.fixture
async def operator(tmp_path: Path) -> AsyncIterator[Operating]:
    """Give an operator on four nodes of a GPU each: room for two groups of two pods."""
    async with operating(tmp_path, nodes=[h100_node(f"h100-{number}", 1) for number in range(4)]) as running:
        running.cluster.kubelet.is_ready = lambda _: True
        yield running


def reached(operator: Operating) -> list[str]:
    """Name the pods that clients reach: Ready, and selected by the Service for clients."""
    selector: Mapping[str, str] = operator.cluster.get("Service", "default", "m")["spec"]["selector"]
    labels = ",".join(f"{name}={value}" for name, value in selector.items())
    pods = operator.cluster.list("pods", labels=labels)
    return [pod["metadata"]["name"] for pod in pods if condition(pod, "Ready").get("status") == "True"]


async def serving(operator: Operating, most: int) -> None:
    operator.cluster.create(a_model("m", restartPolicy={"maxRestarts": most}, **PAIRS))
    await operator.ready("m")
    assert reached(operator) == ["m-0-0-0", "m-1-0-0"]


@pytest.mark.parametrize("most", [0, 3])
async def test_no_client_reaches_a_group_that_lost_a_follower(operator: Operating, most: int) -> None:
    """Held with its pods kept, or started again: the leader of the broken group answers its probe all the while."""
    await serving(operator, most)
    operator.cluster.kubelet.fail("default", "m-0-0-1", exit_code=0)
    await operator.until(lambda: "m-0-0-0" not in reached(operator), "the leader has left the Service")
    if most == 0:
        await operator.condition("m", "Stalled", reason="RestartsExhausted")
        assert "m-0-0-0" in operator.pod_names("m")
        assert reached(operator) == ["m-1-0-0"]
    else:
        await operator.ready("m", restarts=1)
        assert reached(operator) == ["m-0-1-0", "m-1-0-0"]


async def test_an_operator_that_was_away_when_a_follower_was_lost_takes_the_leader_out_first(
    operator: Operating,
) -> None:
    """Before it writes anything else about the object."""
    await serving(operator, 0)
    await operator.stop()
    operator.cluster.kubelet.fail("default", "m-0-0-1", exit_code=0)
    operator.cluster.requests.clear()
    await operator.start()
    await operator.condition("m", "Stalled", reason="RestartsExhausted")
    assert reached(operator) == ["m-1-0-0"]
    written = [(request.method, request.path) for request in operator.cluster.requests if request.is_write]
    assert written[0] == ("PATCH", "/api/v1/namespaces/default/pods/m-0-0-0")


async def test_a_group_does_not_come_back_by_itself(operator: Operating) -> None:
    """Both its engines ended. If a kubelet started them again, they would meet, and a held group would serve."""
    await serving(operator, 0)
    for name in ("m-0-0-1", "m-0-0-0"):
        operator.cluster.kubelet.fail("default", name, exit_code=1)
    await operator.condition("m", "Stalled", reason="RestartsExhausted")
    phases = {pod["metadata"]["name"]: pod["status"]["phase"] for pod in operator.pods("m")}
    assert phases == {"m-0-0-0": "Failed", "m-0-0-1": "Failed", "m-1-0-0": "Running", "m-1-0-1": "Running"}
    assert reached(operator) == ["m-1-0-0"]


async def test_a_restart_of_the_operator_changes_nothing_for_clients(operator: Operating) -> None:
    await serving(operator, 0)
    operator.cluster.requests.clear()
    await operator.stop()
    await operator.start()
    assert reached(operator) == ["m-0-0-0", "m-1-0-0"]
    assert operator.writes_to("/pods") == 0
