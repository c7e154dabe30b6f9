"""How the operator bears a long queue: the turns of an older build and of this build, and ten thousand waiting objects.

``python -m benchmarks.waiting BASE=f49441d`` takes the older build from the history of the repository. All times are
CPU time, and both builds run in one run. ``--quick`` takes small sizes.
"""

import asyncio
import gc
import itertools
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from benchmarks.commands import BASE, ROOT, unpacked
from benchmarks.plan import H100, node
from benchmarks.timing import growth, machine, said, table

from shardwise.cli.running import SWITCH_SECONDS
from shardwise.cluster import Cluster
from shardwise.cluster.election import Election
from shardwise.cluster.lease import GIVE_UP_SECONDS, RENEW_SECONDS
from shardwise.domain.site import HubSite
from shardwise.hub import known_facts
from shardwise.observe import Json, Key, Store
from shardwise.operate import Changes, InTurn, Queue, Reconciler

SIZES = (100, 200, 400, 800)
WAITING, NODES = 10_000, 5_000
_TURNS = """
import json, sys, time
base, sizes = sys.argv[1] == "base", json.loads(sys.argv[2])
if base:
    from shardwise.controller.store import Shelf
    from shardwise.controller.waiting import Waiting
else:
    from shardwise.observe import Store
times = {}
for size in sizes:
    objects = [
        {"metadata": {"name": f"b{number}", "namespace": "x", "resourceVersion": "1",
                      "creationTimestamp": "2026-11-29T03:36:00Z"},
         "spec": {}, "status": {"waitingSince": "2026-11-29T03:36:00Z"}}
        for number in range(size)
    ]
    shelf = Shelf() if base else (store := Store()).sharded_models
    waiting = Waiting(shelf, Shelf()) if base else store.waiting
    fleet = None if base else store.fleet()
    begun = time.process_time()
    for obj in objects:
        shelf.put(obj)
    for key in list(shelf.objects):
        for _ in range(2):
            waiting.turn(key).names if base else waiting.turn(key, fleet, 2e9)
    times[size] = time.process_time() - begun
print(json.dumps(times))
"""
"""Looks at the turn of each waiting object twice, as the older build's reconcile did: from all objects anew."""


def turns(source: Path, build: str, sizes: Sequence[int]) -> dict[int, float]:
    """Give the CPU seconds of a build for a sweep along queues of several lengths, its events included."""
    env = os.environ | {"PYTHONPATH": str(source)}
    command = [sys.executable, "-c", _TURNS, build, json.dumps(sizes)]
    ran = subprocess.run(command, env=env, capture_output=True, text=True, check=True)  # noqa: S603 - our own
    return {int(size): seconds for size, seconds in json.loads(ran.stdout).items()}


def an_object(number: int) -> dict[str, Any]:
    """Give a ShardedModel for a GPU that waits, as the API server shows it after a restart of the operator."""
    minutes, seconds = divmod(number, 60)
    return {
        "apiVersion": "shardwise.dev/v1alpha1",
        "kind": "ShardedModel",
        "metadata": {
            "name": f"b{number:05}",
            "namespace": "burst",
            "uid": f"uid-{number}",
            "generation": 1,
            "resourceVersion": str(number + 1),
            "creationTimestamp": f"2026-11-29T{minutes // 60:02}:{minutes % 60:02}:{seconds:02}Z",
        },
        "spec": {
            "model": {"name": "meta-llama/Llama-3.1-8B", "contextLength": 8192},
            "gpuBudget": {"total": 1, "products": [H100]},
        },
    }


class Memory:
    """An API server in memory that takes everything, counts the writes, and is asked for the Lease."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.versions = itertools.count(10 * WAITING)
        self.writes = 0

    async def apply_status(self, manifest: Mapping[str, Any]) -> Json:
        """Take a status."""
        self.writes += 1
        key = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
        return self._newer({**self.store.sharded_models.objects[key], "status": manifest["status"]})

    async def apply(self, manifest: Mapping[str, Any]) -> Json:
        """Take an object."""
        return self._newer(manifest)

    async def record(self, about: Mapping[str, Any], event: object) -> None:
        """Take an Event."""

    def _newer(self, obj: Mapping[str, Any]) -> Json:
        return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(next(self.versions))}}


class InMemoryLease:
    """A Lease that is always granted, and that knows the longest time between two renewals."""

    def __init__(self) -> None:
        self.renewed: list[float] = []

    async def try_to_hold(self) -> bool:
        """Renew it."""
        self.renewed.append(time.monotonic())
        return True

    async def let_go(self) -> None:
        """Give it up."""


class Bed:
    """The operator's queue, store and reconciler among full nodes, and a probe that asks for its health."""

    def __init__(self, waiting: int, nodes: int) -> None:
        self.store = Store()
        for index in range(nodes):
            self.store.nodes.put({**node(index), "metadata": {**node(index)["metadata"], "resourceVersion": "1"}})
            self.store.hold(("others", f"o{index}"), {f"node-{index:05}": 8})
        self.memory = Memory(self.store)
        facts = partial(known_facts, site=HubSite())
        self.reconciler = Reconciler(cast("Cluster", self.memory), self.store, facts, time.time)
        self.queue: Queue[Key] = Queue(self._counted, InTurn(self.store.waiting))
        self.changes = Changes(self.store, self.queue)
        self.reconciler.when_turns_change = self.changes.wake_behind
        self.reconciler.due_ahead = self.queue.due_ahead
        self.looks = 0
        self.longest = 0.0
        self.waiting = waiting

    async def _counted(self, key: Key) -> float | None:
        self.looks += 1
        return await self.reconciler.reconcile(key)

    async def begin(self) -> None:
        """Make all objects, and look at each until it waits."""
        for number in range(self.waiting):
            self.changes.sharded_model(an_object(number), deleted=False)
            await asyncio.sleep(0)  # as the watch does between two events
        await self.rest()

    async def rest(self) -> None:
        """Wait until nothing is left to do."""
        idle = 0
        while idle < 50:  # noqa: PLR2004 - looks at a queue that stays empty
            before = self.looks
            await asyncio.sleep(0.002)
            idle = idle + 1 if self.looks == before else 0

    async def health(self) -> None:
        """Ask again and again whether the loop answers, as a probe does, and keep the longest wait for an answer."""
        while True:
            asked = time.perf_counter()
            await asyncio.sleep(0)
            self.longest = max(self.longest, time.perf_counter() - asked)
            await asyncio.sleep(0.005)


async def bear(waiting: int, nodes: int) -> list[list[str]]:
    """Let objects queue up, free a GPU, and look at everything once more; say what each took."""
    bed, lease = Bed(waiting, nodes), InMemoryLease()
    rows = []
    async with Election(lease).leading() as renewal:
        tasks = [asyncio.create_task(bed.queue.serve()) for _ in range(4)]
        tasks.append(asyncio.create_task(bed.health()))
        for name, step in (("all begin to wait", bed.begin), ("a GPU is freed", lambda: freed(bed))):
            bed.looks, bed.memory.writes, bed.longest = 0, 0, 0.0
            cpu = time.process_time()
            await step()
            took = time.process_time() - cpu
            rows.append(
                [name, str(bed.looks), str(bed.memory.writes), said(took), said(took / bed.looks), said(bed.longest)]
            )
        if renewal.done():
            renewal.result()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    gaps = [after - before for before, after in itertools.pairwise([*lease.renewed, time.monotonic()])]
    print(
        f"\nThe longest time between two renewals of the Lease: {max(gaps):.2f} s (wanted {RENEW_SECONDS:.0f}, ", end=""
    )
    print(f"lost after {GIVE_UP_SECONDS:.0f}); objects that wait: {len(bed.store.waiting.line.places)}.\n")
    return rows


async def freed(bed: Bed) -> None:
    """Give a single GPU back."""
    bed.store.hold(("others", "o0"), {"node-00000": 7})
    bed.changes.wake_waiting()
    await bed.rest()


def main() -> None:
    """Measure and print all."""
    base = next((arg.partition("=")[2] for arg in sys.argv[1:] if arg.startswith("BASE=")), BASE)
    quick = "--quick" in sys.argv
    logging.disable()  # the Events of ten thousand objects
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.set_threshold(100_000, 50, 100)  # both as in the command `run`
    with tempfile.TemporaryDirectory() as name:
        old = turns(unpacked(base, Path(name)), "base", SIZES)
        new = turns(ROOT / "operator", "now", SIZES)
    print(f"Measured with {machine()}; {base} beside this build.\n")
    rows = [[str(size), said(old[size]), said(new[size]), f"{old[size] / new[size]:.0f} ×"] for size in SIZES]
    rows.append(["grows as", f"N^{growth(old):.2f}", f"N^{growth(new):.2f}", ""])
    print(table(["objects that wait", "CPU before", "CPU now", ""], rows))
    waiting, nodes = (400, 200) if quick else (WAITING, NODES)
    borne = asyncio.run(bear(waiting, nodes))
    print(f"{waiting} objects of a GPU each wait for {nodes} full nodes.\n")
    print(table(["", "looks", "statuses written", "CPU", "a look", "longest wait of a probe"], borne))


if __name__ == "__main__":
    main()
