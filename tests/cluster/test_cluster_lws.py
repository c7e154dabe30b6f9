"""LeaderWorkerSet on the same control plane: that what Shardwise is measured against really runs here."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.cluster.installed import MODELS
from tests.cluster.lws import leader_worker_sets
from tests.cluster.plane import ControlPlane
from tests.cluster.waiting import wait_until

Json = dict[str, Any]

SIZE = 2


def a_leader_worker_set(name: str, replicas: int, **spec: Any) -> Json:
    """Write nothing its webhooks fill in."""
    gpus = {"limits": {"nvidia.com/gpu": "4"}}
    container = {"name": "engine", "image": "engine:1", "resources": gpus}
    template = {"size": SIZE, "workerTemplate": {"spec": {"containers": [container]}}}
    return {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": {"name": name, "namespace": MODELS},
        "spec": {"replicas": replicas, "leaderWorkerTemplate": template, **spec},
    }


@pytest.fixture
def served(own_plane: ControlPlane) -> Iterator[ControlPlane]:
    with leader_worker_sets(own_plane):
        yield own_plane


def pods(plane: ControlPlane, name: str) -> list[Json]:
    selected = ("-n", MODELS, "-l", f"leaderworkerset.sigs.k8s.io/name={name}", "-o", "json")
    return list(json.loads(plane.kubectl("get", "pods", *selected))["items"])


def variables(pod: Json) -> dict[str, str]:
    return {variable["name"]: variable.get("value", "") for variable in pod["spec"]["containers"][0].get("env") or ()}


def test_a_leader_worker_set_is_served_with_its_variables_and_healed(served: ControlPlane) -> None:
    """Two groups of two, each pod told who leads it and which it is; a pod that dies takes its group along."""
    served.kubectl("create", "-f", "-", given=a_leader_worker_set("lws", replicas=2))
    ready = ("wait", "--for=condition=Available", "leaderworkerset/lws", "-n", MODELS, "--timeout=60s")
    served.kubectl(*ready)
    made = {pod["metadata"]["name"]: pod for pod in pods(served, "lws")}
    assert sorted(made) == ["lws-0", "lws-0-1", "lws-1", "lws-1-1"]
    for name, pod in made.items():
        group, _, index = name.removeprefix("lws-").partition("-")
        told = variables(pod)
        assert told["LWS_LEADER_ADDRESS"] == f"lws-{group}.lws.{MODELS}"
        assert (told["LWS_GROUP_SIZE"], told["LWS_WORKER_INDEX"]) == (str(SIZE), index or "0")
        assert pod["spec"]["nodeName"]
    served.kubectl("delete", "pod", "lws-1-1", "-n", MODELS)
    before = {name: pod["metadata"]["uid"] for name, pod in made.items()}

    def made_again() -> bool:
        now = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in pods(served, "lws")}
        return len(now) == len(before) and {name for name in now if now[name] != before[name]} == {"lws-1", "lws-1-1"}

    wait_until(made_again, "the group of the deleted pod made again, and no other")
    served.kubectl("delete", "leaderworkerset", "lws", "-n", MODELS, "--cascade=foreground", "--timeout=60s")
    wait_until(lambda: pods(served, "lws") == [], "no pods of the LeaderWorkerSet")


def test_its_webhooks_refuse_what_its_schema_cannot(served: ControlPlane) -> None:
    """They are on: a rollout that would change nothing at a time is refused by them alone."""
    rollout = {"type": "RollingUpdate", "rollingUpdateConfiguration": {"maxUnavailable": 0, "maxSurge": 0}}
    wrong = a_leader_worker_set("wrong", replicas=1, rolloutStrategy=rollout)
    said = served.kubectl("create", "-f", "-", given=wrong, check=False)
    assert "admission webhook" in said
    assert "maxUnavailable" in said
