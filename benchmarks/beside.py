"""Shardwise and LeaderWorkerSet, each with its own controller, on one control plane, in turn."""

import asyncio
import contextlib
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.kubelets import events
from benchmarks.launched import a_large_model
from benchmarks.servers import NAMESPACE
from tests.cluster.conformance import Api
from tests.cluster.lws import leader_worker_sets
from tests.cluster.plane import ControlPlane
from tests.cluster.reached import fleet
from tests.cluster.waiting import wait_until

from shardwise.api import crd

Json = dict[str, Any]
Group = tuple[str, str]
"""The object a pod belongs to, and which of its groups."""

SIZE: Final = 2
"""Pods of a group."""

_GPUS: Final = "8"
_LIMIT: Final = 240.0
_MISSED: Final = 10.0
"""Seconds after which a group of which all pods are ready, but not all anew, is not made again any more."""

_TICK: Final = 0.05
_AT_ONCE: Final = 16


@dataclass(frozen=True)
class Contender:
    """Whose objects are made, how, and how their pods are told apart. ``running`` runs the controller."""

    name: str
    path: str
    make: Callable[[str, int], Json]
    running: Callable[[ControlPlane], contextlib.AbstractContextManager[None]]
    labels: tuple[str, str, str]
    """The labels of a pod that name its object, its group and its place in the group."""

    def group(self, pod: Json) -> Group | None:
        """Tell which group a pod belongs to; ``None`` for somebody else's."""
        found = pod["metadata"].get("labels") or {}
        name, group, _ = self.labels
        return (found[name], found[group]) if name in found and group in found else None

    def is_worker(self, pod: Json) -> bool:
        """Tell whether a pod is the second of its group."""
        return bool(pod["metadata"]["labels"].get(self.labels[2]) == "1")


@dataclass(frozen=True)
class Turn:
    """Seconds of one turn: from the first object applied to the last pod made, and from each loss to the new group.

    ``None`` is a loss after which the group was not made again: its other pod went on as if nothing had been.
    """

    made: float
    again: tuple[float | None, ...]

    @property
    def healing(self) -> float:
        """The median of the losses after which the group was made again."""
        return statistics.median(one for one in self.again if one is not None)

    @property
    def missed(self) -> int:
        """How many losses nothing came of but the one pod."""
        return self.again.count(None)


@dataclass
class _Pods:
    """The pods there are, as a watch shows them, and when each was made."""

    contender: Contender
    present: dict[str, Json] = field(default_factory=dict)
    made_at: dict[str, float] = field(default_factory=dict)

    async def follow(self, api: Api) -> None:
        async for kind, pod in events(api, "pods"):
            uid = pod["metadata"]["uid"]
            if self.contender.group(pod) is None:
                continue
            self.made_at.setdefault(uid, time.perf_counter())
            if kind == "DELETED":
                self.present.pop(uid, None)
            else:
                self.present[uid] = pod

    def of(self, group: Group) -> dict[str, Json]:
        return {uid: pod for uid, pod in self.present.items() if self.contender.group(pod) == group}

    def serve(self, group: Group) -> bool:
        pods = self.of(group).values()
        return len(pods) == SIZE and all(map(_is_ready, pods))

    def groups(self) -> list[Group]:
        return sorted({group for pod in self.present.values() if (group := self.contender.group(pod)) is not None})


def _is_ready(pod: Json) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    ready = any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


def fleet_ready(plane: ControlPlane, nodes: Sequence[Json]) -> None:
    """Make nodes, and wait until pods may go there: a controller takes their first taint away, one after the other."""
    plane.kubectl("apply", "--server-side", "-f", "-", given=crd.definition())
    plane.established("shardedmodels.shardwise.dev")
    fleet(plane, nodes)
    taints = ("get", "nodes", "-o", "jsonpath={.items[*].spec.taints[*].key}")
    wait_until(lambda: not plane.kubectl(*taints), "no taint on any node")


async def turn(api: Api, contender: Contender, objects: int, replicas: int, losses: int) -> Turn:
    """Apply objects of so many groups each, lose a pod of one group after the other, and delete everything."""
    pods = _Pods(contender)
    watching = asyncio.create_task(pods.follow(api))
    try:
        made = await _apply(api, contender, pods, objects, replicas)
        again = [await _lose(api, pods, group) for group in pods.groups()[:losses]]
        await _delete(api, contender, pods)
        return Turn(made, tuple(again))
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def _apply(api: Api, contender: Contender, pods: _Pods, objects: int, replicas: int) -> float:
    """Apply all at once; give the seconds until all pods were made, and come back once all are ready."""
    limit, begun = asyncio.Semaphore(_AT_ONCE), time.perf_counter()

    async def one(index: int) -> None:
        async with limit:
            answer = await api.call("POST", contender.path, contender.make(f"b{index:03}", replicas))
            if answer.status != 201:  # noqa: PLR2004 - HTTP's
                raise RuntimeError(f"{contender.name}: {answer.body.get('message')}")

    await asyncio.gather(*map(one, range(objects)))
    groups = objects * replicas
    await _until(lambda: len(pods.made_at) >= groups * SIZE, f"{groups * SIZE} pods of {contender.name}")
    made = max(pods.made_at.values()) - begun
    await _until(lambda: sum(map(pods.serve, pods.groups())) == groups, f"{groups} groups of {contender.name}")
    await _settled(api, contender, replicas)
    return made


async def _lose(api: Api, pods: _Pods, group: Group) -> float | None:
    """Delete a group's second pod; give the seconds until the whole group was made again, ``None`` where it was not."""
    before = pods.of(group)
    lost = next(pod for pod in before.values() if pods.contender.is_worker(pod))
    begun = time.perf_counter()
    await api.delete("pods", lost["metadata"]["name"])
    made: float | None = None
    try:
        await _until(lambda: len(pods.of(group).keys() - before.keys()) == SIZE, f"{group} made again", _MISSED)
        made = max(pods.made_at[uid] for uid in pods.of(group).keys() - before.keys()) - begun
    except TimeoutError:
        if not pods.serve(group):
            raise
    await _until(lambda: pods.serve(group), f"{group} ready again")
    await _settled(api, pods.contender, 0)
    return made


async def _settled(api: Api, contender: Contender, replicas: int) -> None:
    """Wait until every object's status says that its groups are ready, so that nothing of before is still under way."""
    deadline = time.monotonic() + _LIMIT
    while time.monotonic() < deadline:
        found = (await api.call("GET", contender.path)).body["items"]
        if all(_ready_replicas(one) >= max(replicas, one["spec"].get("replicas", 1)) for one in found):
            return
        await asyncio.sleep(_TICK)
    raise TimeoutError(f"objects of {contender.name} not ready")


def _ready_replicas(obj: Json) -> int:
    return int((obj.get("status") or {}).get("readyReplicas") or 0)


async def _delete(api: Api, contender: Contender, pods: _Pods) -> None:
    await api.call("DELETE", contender.path, {"propagationPolicy": "Background"})
    await _until(lambda: not pods.present, f"no pods of {contender.name}")


async def _until(so: Callable[[], bool], what: str, limit: float = _LIMIT) -> None:
    deadline = time.monotonic() + limit
    while not so():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited in vain for: {what}")
        await asyncio.sleep(0.005)


def _leader_worker_set(name: str, replicas: int) -> Json:
    container = {"name": "engine", "image": "engine:1", "resources": {"limits": {"nvidia.com/gpu": _GPUS}}}
    template = {
        "size": SIZE,
        "restartPolicy": "RecreateGroupOnPodRestart",
        "workerTemplate": {"spec": {"containers": [container]}},
    }
    return {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"replicas": replicas, "leaderWorkerTemplate": template},
    }


@contextlib.contextmanager
def _operator(plane: ControlPlane) -> Iterator[None]:
    """Run the operator for as long as the block lasts."""
    command = (sys.executable, "-m", "shardwise", "run", f"--kubeconfig={plane.kubeconfig}", "--relist=3600")
    plane.processes.start("operator", *command)
    time.sleep(_STARTING)
    try:
        yield
        if not plane.processes.alive("operator"):
            raise RuntimeError("\n".join(plane.processes.last_words()))
    finally:
        plane.processes.stop("operator")


_STARTING: Final = 4.0
"""Seconds in which the operator lists some hundred nodes and comes to rest; starting is measured elsewhere."""

SHARDWISE: Final = Contender(
    "Shardwise",
    f"/apis/shardwise.dev/v1alpha1/namespaces/{NAMESPACE}/shardedmodels",
    a_large_model,
    _operator,
    ("shardwise.dev/model", "shardwise.dev/replica", "shardwise.dev/index"),
)
LWS: Final = Contender(
    "LeaderWorkerSet",
    f"/apis/leaderworkerset.x-k8s.io/v1/namespaces/{NAMESPACE}/leaderworkersets",
    _leader_worker_set,
    leader_worker_sets,
    (
        "leaderworkerset.sigs.k8s.io/name",
        "leaderworkerset.sigs.k8s.io/group-index",
        "leaderworkerset.sigs.k8s.io/worker-index",
    ),
)
CONTENDERS: Final = (SHARDWISE, LWS)
