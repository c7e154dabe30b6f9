"""What planning costs in an older build and in this build, side by side in one run.

``python -m benchmarks.against BASE=f49441d`` takes the older build from the history of the repository; ``make bench
BASE=f49441d`` does the same. Every figure is the CPU time of a process (``benchmarks/probe.py``). The builds take
turns, so that a busy machine slows both, and the figures are medians of the rounds.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.commands import BASE, ROOT, unpacked
from benchmarks.timing import machine, said, table

Seconds = dict[str, float]

ROUNDS: Final = 3
NODES: Final = 5_000
MANY_NODES: Final = 50_000
PEERS_NODES: Final = 1_000


def seconds(source: Path, case: str, nodes: int) -> Seconds:
    """Give the CPU seconds of a case in a build."""
    command = [sys.executable, str(ROOT / "benchmarks" / "probe.py"), case, str(nodes)]
    env = os.environ | {"PYTHONPATH": str(source)}
    ran = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603 - our own
    found: Seconds = json.loads(ran.stdout)
    return found


def in_turns(builds: Sequence[tuple[Path, int]], case: str) -> list[Seconds]:
    """Give the medians of a case in each build, on a number of nodes of its own."""
    rounds = [[seconds(source, case, nodes) for source, nodes in builds] for _ in range(ROUNDS)]
    return [_medians(found) for found in zip(*rounds, strict=True)]


def _medians(found: Sequence[Seconds]) -> Seconds:
    return {name: statistics.median(seconds[name] for seconds in found) for name in found[0]}


def compared(title: str, case: str, builds: Sequence[tuple[Path, int]]) -> None:
    """Print the times of a case in both builds, and how many times less this build takes."""
    old, new = in_turns(builds, case)
    rows = [[name, said(old[name]), said(new[name]), f"{old[name] / new[name]:.1f} ×"] for name in old]
    print(f"\n#### {title}\n\n{table(['', 'before', 'now', ''], rows)}", flush=True)


def main() -> None:
    """Measure and print all."""
    base = next((arg.partition("=")[2] for arg in sys.argv[1:] if arg.startswith("BASE=")), BASE)
    with tempfile.TemporaryDirectory() as folder:
        before, now = unpacked(base, Path(folder)), ROOT / "operator"
        print(f"Measured with {machine()}; {base} beside this build, medians of {ROUNDS} rounds in turns.")
        both = ((before, NODES), (now, NODES))
        compared(f"An object on {NODES} nodes, after an event", "planning", both)
        beyond = ((before, NODES), (now, MANY_NODES))
        compared(f"Before on {NODES} nodes, now on {MANY_NODES}", "planning", beyond)
        compared(f"The first object of a process on {NODES} nodes", "first", both)
        compared(f"A refusal with hints on {NODES} nodes", "refusals", both)
        compared(f"Objects in a single call on {NODES} nodes", "sequence", both)
        compared(f"Reading {NODES} nodes and {4 * NODES} pods", "reading", both)
        compared(f"An object on {PEERS_NODES} nodes", "planning", ((before, PEERS_NODES), (now, PEERS_NODES)))


if __name__ == "__main__":
    main()
