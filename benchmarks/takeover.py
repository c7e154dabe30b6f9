"""An operator that starts among groups that run: how soon it is ready, what it writes, and how soon it heals."""

import asyncio
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.kubelets import running
from benchmarks.launched import Launched
from benchmarks.servers import NAMESPACE, Call, Server
from tests.cluster.conformance import APPLY, JSON, MERGE
from tests.cluster.processes import Processes
from tests.support.operating import a_model

from shardwise.cluster.client import FIELD_MANAGER
from shardwise.observe.kinds import kind_of

Json = dict[str, Any]

_MODELS: Final = kind_of("shardwise.dev/v1alpha1", "ShardedModel")
_LAST: Final = "zz-last"
"""The object that is looked at last, as it was made last: what the operator writes of it says that it is ready."""

_LIMIT: Final = 120.0
_TICK: Final = 0.02
_QUIET: Final = 0.15
"""Seconds after a group serves again in which its last calls are made."""

_REST_SECONDS: Final = 0.5
_REST_SHARE: Final = 0.05
"""An operator that used a twentieth of a core for half a second has nothing left to do."""


@dataclass(frozen=True)
class Healed:
    """One group healed: seconds from the event to the first write, and the calls it took. ``pods`` of the group."""

    seconds: float
    calls: int
    pods: int


@dataclass(frozen=True)
class Takeover:
    """What was measured. Seconds from the start of the process, ``cpu`` of its own time; ``peak`` in bytes."""

    ready: float
    at_rest: float
    cpu: float
    peak: int
    writes: int
    healed: tuple[Healed, ...]

    def latency(self, percent: int) -> float:
        """Give a percentile of the seconds from event to write."""
        return statistics.quantiles([healing.seconds for healing in self.healed], n=100)[percent - 1]

    def calls(self, pods: int) -> float:
        """Give the mean number of calls that healing a group of so many pods took."""
        return statistics.mean(healing.calls for healing in self.healed if healing.pods == pods)


async def taken_over(server: Server, found: Launched, events: int, folder: Path) -> Takeover:
    """Write what was launched onto a server, start the operator there, and break one group after the other."""
    await written(server, found)
    await server.write("POST", _MODELS.path(NAMESPACE), a_model(_LAST, gpus=1, model_contextLength=8192), JSON)
    server.count_anew()
    begun = time.time()
    async with _operator(server, folder) as pid:
        ready = await _ready(server)
        rested = await at_rest(pid)
        cpu, writes = cpu_seconds(pid), await _writes(server)
        healed = [one async for one in _healed(server, found, events)]
        return Takeover(ready - begun, rested - begun, cpu, _peak_bytes(pid), writes, tuple(healed))


async def written(server: Server, found: Launched) -> None:
    """Write nodes, objects with their statuses, and what was made for them; wait until all pods run."""
    await server.add_nodes(found.nodes)
    models = await server.write_all(("POST", _MODELS.path(NAMESPACE), model, JSON) for model in found.models)
    uids = {model["metadata"]["name"]: model["metadata"]["uid"] for model in models}
    await server.write_all(("PATCH", *_applied(_owned(manifest, uids))) for manifest in found.made)
    await server.write_all(
        ("PATCH", *_status(model, found.statuses[model["metadata"]["name"]])) for model in found.models
    )
    deadline = time.monotonic() + _LIMIT
    while await _running(server) < len(found.pods()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{await _running(server)} of {len(found.pods())} pods run")
        await asyncio.sleep(1.0)


async def _running(server: Server) -> int:
    pods = (await server.get(f"/api/v1/namespaces/{NAMESPACE}/pods"))["items"]
    return sum((pod.get("status") or {}).get("phase") == "Running" for pod in pods)


def _owned(manifest: Json, uids: dict[str, str]) -> Json:
    owners = [one | {"uid": uids[one["name"]]} for one in manifest["metadata"]["ownerReferences"]]
    return manifest | {"metadata": manifest["metadata"] | {"ownerReferences": owners}}


def _applied(manifest: Json, subresource: str = "") -> tuple[str, Json, str]:
    kind = kind_of(manifest["apiVersion"], manifest["kind"])
    return kind.path(NAMESPACE, manifest["metadata"]["name"], subresource), manifest, APPLY


def _status(model: Json, status: Json) -> tuple[str, Json, str]:
    metadata = {"name": model["metadata"]["name"], "namespace": NAMESPACE}
    return _applied(model | {"metadata": metadata, "spec": None, "status": status}, "status")


@asynccontextmanager
async def _operator(server: Server, folder: Path) -> AsyncIterator[int]:
    """Run the operator as a process of its own; give its number."""
    processes = Processes(folder)
    command = (sys.executable, "-m", "shardwise", "run", f"--kubeconfig={server.kubeconfig}", "--relist=3600")
    processes.start("operator", *command)
    try:
        yield processes.pids()[0]
        if not processes.alive("operator"):
            raise RuntimeError("\n".join(processes.last_words()))
    finally:
        processes.stop_all()


async def _ready(server: Server) -> float:
    """Wait until the last object is written of; give when it was."""
    async with asyncio.timeout(_LIMIT):
        while not await _restarted(server, _LAST, 0, 1):  # noqa: ASYNC110 - a server, not a task of ours
            await asyncio.sleep(_TICK)
    return _first_write(server.calls(), _LAST)


def _first_write(calls: Sequence[Call], name: str) -> float:
    return next(call.at for call in calls if call.writes and not call.ours and call.is_about(name))


async def _restarted(server: Server, name: str, restarts: int, replicas: int) -> bool:
    """Tell whether all groups of an object serve, after so many restarts."""
    found = (await server.get(_MODELS.path(NAMESPACE, name))).get("status") or {}
    return found.get("restarts") == restarts and found.get("readyReplicas") == replicas


async def at_rest(pid: int) -> float:
    """Wait until a process does nothing any more; give when that began."""
    async with asyncio.timeout(_LIMIT):
        while True:
            since, spent = time.time(), cpu_seconds(pid)
            await asyncio.sleep(_REST_SECONDS)
            if cpu_seconds(pid) - spent < _REST_SHARE * _REST_SECONDS:
                return since


async def _writes(server: Server) -> int:
    """Count what was written of objects that had nothing to be done about.

    The call that makes a pod or an Event does not name it: of these, those that are the last object's are taken off.
    """
    calls = [call for call in server.calls() if call.writes and not call.ours and not call.path.endswith("/events")]
    pods = (await server.get(f"/api/v1/namespaces/{NAMESPACE}/pods"))["items"]
    own: int = sum(pod["metadata"]["name"].startswith(f"{_LAST}-") for pod in pods)
    told = (await server.get(f"/api/v1/namespaces/{NAMESPACE}/events"))["items"]
    ours = (one for one in told if (one.get("source") or {}).get("component") == FIELD_MANAGER)
    others = [event for event in ours if event["involvedObject"]["name"] != _LAST]
    return sum(not call.is_about(_LAST) for call in calls) - own + len(others)


async def _healed(server: Server, found: Launched, events: int) -> AsyncIterator[Healed]:
    """Break one group after the other, each once, and see it healed."""
    for position, (model, pod, size) in enumerate(_victims(found)):
        if position == events:
            return
        yield await _heal(server, model, pod, size)


def _victims(found: Launched) -> Iterator[tuple[Json, Json, int]]:
    """Give the last pod of an object's first group, with the group's size, object by object."""
    for model in found.models:
        name = model["metadata"]["name"]
        labelled = {"shardwise.dev/model": name, "shardwise.dev/replica": "0"}.items()
        group = [pod for pod in found.pods() if labelled <= pod["metadata"]["labels"].items()]
        yield model, group[-1], len(group)


async def _heal(server: Server, model: Json, pod: Json, size: int) -> Healed:
    name, replicas = model["metadata"]["name"], model["spec"]["replicas"]
    path = server.api.path("pods", pod["metadata"]["name"], "status")
    server.count_anew()
    await server.write("PATCH", path, {"status": running(pod, restarts=1)}, MERGE)
    async with asyncio.timeout(_LIMIT):
        while not await _restarted(server, name, 1, replicas):  # noqa: ASYNC110 - as above
            await asyncio.sleep(_TICK)
    await asyncio.sleep(_QUIET)
    calls = server.calls()
    event = next(call.at for call in calls if call.ours and call.path == path)
    return Healed(_first_write(calls, name) - event, sum(not call.ours for call in calls), size)


def cpu_seconds(pid: int) -> float:
    """Give the processor time a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak_bytes(pid: int) -> int:
    """Give the most memory a process has had resident."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
