"""What the real EndpointSlice controller makes of a group that loses a pod: for clients, and in the group's own DNS."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import pytest
from tests.cluster.installed import MODELS, Running
from tests.cluster.pool import in_pool, pool
from tests.cluster.reached import Reached
from tests.support.operating import a_model

Json = dict[str, Any]

POOL: Final = "whole"
ONCE: Final[Json] = {"restartPolicy": {"maxRestarts": 0}}


@pytest.fixture(scope="module", autouse=True)
def nodes(plane: Reached) -> Iterator[list[str]]:
    """Give four nodes of two GPUs each: a group of TP2×PP2 takes two of them."""
    with pool(plane, POOL, 4, 2) as names:
        yield names


def with_addresses(running: Running, name: str) -> list[str]:
    """Give each pod of a model an address, as a kubelet does; and give their names."""
    names = running.pod_names(name)
    for number, pod in enumerate(names):
        address = f"10.77.0.{number + 1}"
        patch = json.dumps({"status": {"podIP": address, "podIPs": [{"ip": address}]}})
        running.plane.kubectl("patch", "pod", pod, "-n", MODELS, "--subresource=status", "-p", patch)
    return names


def published(running: Running, service: str) -> list[str]:
    """Name the pods that a Service publishes: proxies send there, and DNS gives their addresses."""
    slices = running.get("endpointslices", "-l", f"kubernetes.io/service-name={service}")["items"]
    endpoints = [endpoint for found in slices for endpoint in found.get("endpoints") or ()]
    return sorted(endpoint["targetRef"]["name"] for endpoint in endpoints if endpoint["conditions"]["ready"])


def publishes(running: Running, service: str, names: list[str]) -> bool:
    return published(running, service) == names


def test_a_follower_that_ends_takes_its_leader_out_of_the_service_and_itself_out_of_dns(running: Running) -> None:
    """Although the leader's probe succeeds on, and its pod is kept. DNS is all that the leader's own probe needs."""
    running.apply(in_pool(POOL, "broken", 2, 2, **ONCE))
    running.ready("broken")
    leader, follower = with_addresses(running, "broken")
    running.until(partial(publishes, running, "broken", [leader]), "clients reach the leader")
    running.until(partial(publishes, running, "broken-0-0", [leader, follower]), "DNS gives both pods")
    running.fail(follower, "CUDA error")
    running.until(partial(publishes, running, "broken", []), "clients reach nobody")
    running.until(partial(publishes, running, "broken-0-0", [leader]), "DNS gives the leader alone")
    running.until(lambda: running.condition("broken", "Stalled").get("status") == "True", "broken is held")
    assert running.pod_names("broken") == [leader, follower]


def test_clients_reach_every_pod_of_data_ranks_that_serves_and_none_when_one_ends(running: Running) -> None:
    """Each pod serves for its own data ranks, and their experts are needed by the requests of all."""
    parallelism = {"data": 4, "tensor": 1, "pipeline": 1, "expert": True}
    placement = {"nodeSelector": {"pool": POOL}}
    shared = a_model(
        "shared",
        "Qwen/Qwen3-30B-A3B",
        gpus=4,
        parallelism=parallelism,
        placement=placement,
        engine={"servers": "everyPod"},
        model_contextLength=8192,
        **ONCE,
    )
    running.apply(shared)
    running.ready("shared")
    first, second = with_addresses(running, "shared")
    running.until(partial(publishes, running, "shared", [first, second]), "clients reach both pods")
    running.fail(second, "CUDA error")
    running.until(partial(publishes, running, "shared", []), "clients reach nobody")


def test_a_follower_that_ends_while_no_operator_runs_leaves_dns(running: Running) -> None:
    """And the leader leaves the Service as soon as an operator runs again."""
    running.apply(in_pool(POOL, "alone", 2, 2, **ONCE))
    running.ready("alone")
    leader, follower = with_addresses(running, "alone")
    running.until(partial(publishes, running, "alone-0-0", [leader, follower]), "DNS gives both pods")
    running.stop()
    try:
        running.fail(follower, "CUDA error")
        running.until(partial(publishes, running, "alone-0-0", [leader]), "DNS gives the leader alone")
    finally:
        running.start()
    running.until(partial(publishes, running, "alone", []), "clients reach nobody")
