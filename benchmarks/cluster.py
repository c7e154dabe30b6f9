"""Measure the operator on an API server: starting among groups that run, healing them, and beside LeaderWorkerSet.

``make bench-cluster`` (about fifteen minutes) prints the tables of benchmarks/README.md; ``--quick`` takes small sizes,
``--only`` one half. The real API server is the one `make testbed` builds; nothing leaves the loopback interface.
"""

import argparse
import asyncio
import itertools
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

from benchmarks.beside import CONTENDERS, Contender, Turn, fleet_ready, turn
from benchmarks.launched import PODS_EACH, Launched, launched, models, nodes
from benchmarks.servers import Server, administrator, in_memory, real
from benchmarks.takeover import Takeover, taken_over
from benchmarks.timing import machine, said, table
from tests.cluster.binaries import Missing
from tests.cluster.plane import ControlPlane, control_plane

Size = tuple[int, int]
"""Nodes and objects."""

Opened = Callable[[Path], AbstractAsyncContextManager[Server]]

SIZES: Final = ((1000, 100), (1000, 500), (5000, 500))
"""One step in objects, then one in nodes."""

QUICK: Final = ((100, 10), (100, 50), (500, 50))
SERVERS: Final[Mapping[str, Opened]] = {"in memory": in_memory, "real": real}
EVENTS: Final = 60
GROUPS: Final = 100
LOSSES: Final = 15
_COLUMNS: Final = (
    "server", "nodes", "objects", "pods", "ready", "at rest", "CPU", "memory", "writes", "event → write, median", "p95",
    "calls to heal a pod", "calls to heal two",
)  # fmt: skip


def scale(sizes: Sequence[Size], events: int) -> Iterator[str]:
    """Measure starting and healing at each size, on both servers; give the tables."""
    found: dict[tuple[str, Size], Takeover] = {}
    for size in sizes:
        state = launched(nodes(size[0]), models(size[1]))
        for name, opened in SERVERS.items():
            found[name, size] = started(opened, state, events)
            print(f"{name} {size}: {found[name, size].ready:.2f} s to ready", file=sys.stderr)
    yield table(_COLUMNS, [_row(name, size, one) for (name, size), one in found.items()])
    yield table(
        ["server", "what grows", "ready", "CPU", "memory", "event → write"],
        [row for name in SERVERS for row in _growth(name, sizes, found)],
    )


def started(opened: Opened, state: Launched, events: int) -> Takeover:
    """Start the operator on a server of its own, among what was launched."""

    async def run(folder: Path) -> Takeover:
        async with opened(folder) as server:
            return await taken_over(server, state, events, folder)

    with tempfile.TemporaryDirectory(prefix="shardwise-bench-") as folder:
        return asyncio.run(run(Path(folder)))


def _row(server: str, size: Size, one: Takeover) -> list[str]:
    took = (said(one.ready), said(one.at_rest), said(one.cpu), f"{one.peak / 1e6:.0f} MB", str(one.writes))
    calls = (f"{one.calls(pods):.1f}" for pods in (1, 2))
    counts = (*map(str, size), str(size[1] * PODS_EACH))
    return [server, *counts, *took, said(one.latency(50)), said(one.latency(95)), *calls]


def _growth(server: str, sizes: Sequence[Size], found: Mapping[tuple[str, Size], Takeover]) -> Iterator[list[str]]:
    """Give how often as much each size takes as the one before."""
    for less, more in itertools.pairwise(sizes):
        one, other = found[server, less], found[server, more]
        grown = ((one.ready, other.ready), (one.cpu, other.cpu), (one.peak, other.peak))
        latency = (one.latency(50), other.latency(50))
        what = [f"{a} → {b} {name}" for a, b, name in zip(less, more, ("nodes", "objects"), strict=True) if a != b]
        yield [server, ", ".join(what), *(f"×{b / a:.2f}" for a, b in (*grown, latency))]


def beside(groups: int, losses: int, rounds: int) -> Iterator[str]:
    """Measure both controllers on one control plane, in turn, the one that begins changing; give a table a variant."""
    with tempfile.TemporaryDirectory(prefix="shardwise-bench-") as folder, control_plane(Path(folder)) as plane:
        fleet_ready(plane, nodes(2 * groups + groups // 5 + 1))
        for objects, replicas in ((groups, 1), (1, groups), (1, 1)):
            compared = _compared(_rounds(plane, objects, replicas, losses, rounds))
            yield f"Objects: {objects}, groups of each: {replicas}\n\n{compared}"


def _rounds(plane: ControlPlane, objects: int, replicas: int, losses: int, rounds: int) -> dict[str, list[Turn]]:
    found: dict[str, list[Turn]] = {contender.name: [] for contender in CONTENDERS}
    for number in range(rounds):
        for contender in CONTENDERS if number % 2 == 0 else reversed(CONTENDERS):
            one = _one_turn(plane, contender, objects, replicas, losses)
            found[contender.name].append(one)
            print(f"{contender.name} {objects}×{replicas}: {one.made:.2f} s, {one.healing:.3f} s", file=sys.stderr)
    return found


def _one_turn(plane: ControlPlane, contender: Contender, objects: int, replicas: int, losses: int) -> Turn:
    async def run() -> Turn:
        async with administrator(plane) as api:
            return await turn(api, contender, objects, replicas, losses)

    with contender.running(plane):
        return asyncio.run(run())


def _compared(found: Mapping[str, Sequence[Turn]]) -> str:
    made = {name: [turn.made for turn in turns] for name, turns in found.items()}
    healed = {name: [turn.healing for turn in turns] for name, turns in found.items()}
    rows = [[name, _spread(made[name]), _spread(healed[name]), _missed(turns)] for name, turns in found.items()]
    ours, theirs = (contender.name for contender in CONTENDERS)
    rows.append(["ratio", *(_ratios(times[ours], times[theirs]) for times in (made, healed)), ""])
    return table(["", "applied → all pods made", "a pod lost → its group made again", "not made again"], rows)


def _missed(turns: Sequence[Turn]) -> str:
    return f"{sum(turn.missed for turn in turns)} of {sum(len(turn.again) for turn in turns)}"


def _spread(times: Sequence[float]) -> str:
    return f"{said(statistics.median(times))} ({said(min(times))} – {said(max(times))})"


def _ratios(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Give how often as long ours took as theirs, round by round."""
    found = [one / other for one, other in zip(ours, theirs, strict=True)]
    return f"{statistics.median(found):.2f} ({min(found):.2f} – {max(found):.2f})"


def main() -> None:
    """Measure and print all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="small sizes only")
    parser.add_argument("--only", choices=("scale", "beside"), help="one half only")
    parser.add_argument("--rounds", type=int, default=3, help="rounds beside LeaderWorkerSet")
    chosen = parser.parse_args()
    print(f"Measured with {machine()}.")
    try:
        if chosen.only != "beside":
            _show(scale(QUICK if chosen.quick else SIZES, 12 if chosen.quick else EVENTS))
        if chosen.only != "scale":
            _show(beside(10 if chosen.quick else GROUPS, 5 if chosen.quick else LOSSES, chosen.rounds))
    except Missing as error:
        sys.exit(f"error: {error}")


def _show(tables: Iterator[str]) -> None:
    for one in tables:
        print(f"\n{one}", flush=True)


if __name__ == "__main__":
    main()
