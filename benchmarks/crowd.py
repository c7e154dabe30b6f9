"""Measure what hostile objects cost the others: a crowd of good objects on a real API server, alone and among them.

``make bench-crowd`` (about ten minutes) makes 960 good objects, and then 960 among 40 hostile ones; ``--quick`` takes
a tenth. Times are from the apply of the whole crowd. Nothing leaves the loopback interface.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.timing import machine, said, table
from tests.cluster.crowd import crowd_running, good, hostile, lease, unserved
from tests.cluster.installed import Running, chart_installed
from tests.cluster.plane import ControlPlane, control_plane
from tests.cluster.reached import fleet
from tests.cluster.waiting import wait_until

from shardwise_sandbox.demo import fleet_documents

GOOD: Final = 960
EACH: Final = 10
"""Hostile objects of each of the four kinds."""

_SPARE_NODES: Final = 70
"""Nodes for the GPUs that refused objects hold for a minute: so the good ones need not wait for these."""

_LIMIT: Final = 1800.0


@dataclass(frozen=True)
class Crowd:
    """Seconds until half of the good objects and until all of them were served, and whether the Lease moved."""

    half: float
    all: float
    lease_moved: bool


def measured(operator: Running, count: int, each: int) -> Crowd:
    """Apply a crowd, the hostile objects first, and wait until all good objects are served."""
    before = lease(operator)["leaseTransitions"]
    if each:
        operator.apply(*hostile(each))
    begun = time.monotonic()
    operator.apply(*good(count))
    half = _until(operator, count // 2, begun)
    everything = _until(operator, 0, begun)
    moved = lease(operator)["leaseTransitions"] != before
    operator.delete_all(_LIMIT)
    return Crowd(half, everything, moved)


def _until(operator: Running, left: int, begun: float) -> float:
    wait_until(lambda: len(unserved(operator)) <= left, f"all but {left} served", _LIMIT)
    return time.monotonic() - begun


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    tenth = 10 if parser.parse_args().quick else 1
    count, each = GOOD // tenth, EACH // tenth
    with tempfile.TemporaryDirectory(prefix="shardwise-bench-") as name, control_plane(Path(name)) as plane:
        fleet(plane, fleet_documents())
        found = _both(plane, Path(name), count, each)
    sys.stdout.write(f"{machine()}\n\n{_table(count, found)}\n")


def _both(plane: ControlPlane, folder: Path, count: int, each: int) -> dict[int, Crowd]:
    """Measure the good objects alone, and then among the hostile ones."""
    nodes = count // 8 + _SPARE_NODES
    with chart_installed(plane) as installed, crowd_running(installed, folder, nodes) as operator:
        wait_until(lambda: lease(operator).get("holderIdentity"), "a leader")
        return {hostile_each: measured(operator, count, hostile_each) for hostile_each in (0, each)}


def _table(count: int, found: dict[int, Crowd]) -> str:
    rows = [
        [str(count), str(4 * each), said(crowd.half), said(crowd.all), "yes" if crowd.lease_moved else "no"]
        for each, crowd in found.items()
    ]
    alone, among = found.values()
    ratio = ["", "ratio", f"{among.half / alone.half:.2f}", f"{among.all / alone.all:.2f}", ""]
    return table(["good objects", "hostile objects", "half served", "all served", "Lease moved"], [*rows, ratio])


if __name__ == "__main__":
    main()
