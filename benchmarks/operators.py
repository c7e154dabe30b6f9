"""The operator of an older build and of this build, each started among groups that run, in turns in one run.

``python -m benchmarks.operators BASE=f49441d`` takes the older build from the history of the repository, with its own
benchmark, and runs both on the in-memory API at 5,000 nodes, 500 objects and 2,000 pods. ``NODES=20000`` takes another
number of nodes, ``ROUNDS=1`` a single round, ``BASE=`` this build alone. ``KEEP=FOLDER`` keeps what was launched.
"""

import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.commands import BASE, ROOT
from benchmarks.timing import machine, said, table

Figures = dict[str, float]

OBJECTS: Final = 500
EVENTS: Final = 60


def figures(root: Path, nodes: int, objects: int, events: int, state: Path) -> Figures:
    """Start the operator of a checkout, and give what was measured: seconds, bytes and writes, by name."""
    sizes = map(str, (nodes, objects, events))
    command = [sys.executable, str(ROOT / "benchmarks" / "probe_operator.py"), *sizes, str(state)]
    env = os.environ | {"PYTHONPATH": f"{root / 'operator'}{os.pathsep}{root}"}
    ran = subprocess.run(command, env=env, cwd=root, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603 - our own
    found: Figures = json.loads(ran.stdout.splitlines()[-1])
    return found


def checked_out(commit: str, folder: Path) -> Path:
    """Unpack a commit with its benchmarks and tests."""
    packed = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True)  # noqa: S603, S607 - our own repository
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def _medians(runs: Sequence[Figures]) -> Figures:
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def _told(name: str, value: float) -> str:
    if name == "memory":
        return f"{value / 1e6:.0f} MB"
    if name == "writes":
        return f"{value:.0f}"
    return said(value)


def main() -> None:
    """Measure and print."""
    given = dict(arg.split("=", 1) for arg in sys.argv[1:])
    base, nodes, objects = given.get("BASE", BASE), int(given.get("NODES", "5000")), int(given.get("OBJECTS", OBJECTS))
    rounds, events = int(given.get("ROUNDS", "3")), int(given.get("EVENTS", EVENTS))
    with tempfile.TemporaryDirectory() as name:
        builds = ({base: checked_out(base, Path(name) / "base")} if base else {}) | {"this build": ROOT}
        keep = Path(given.get("KEEP") or name)
        found: dict[str, list[Figures]] = {build: [] for build in builds}
        for _ in range(rounds):
            for build, root in builds.items():
                state = keep / f"{build.replace(' ', '-')}-{nodes}-{objects}.state"
                found[build].append(figures(root, nodes, objects, events, state))
                print(build, found[build][-1], file=sys.stderr, flush=True)
    print(f"Measured with {machine()}: {nodes} nodes, {objects} objects, medians of {rounds} rounds in turns.\n")
    medians = {
        build: {key: statistics.median(run[key] for run in runs) for key in runs[0]} for build, runs in found.items()
    }
    old, new = medians.get(base), medians["this build"]
    rows = [
        [key, *(_told(key, of[key]) for of in medians.values()), f"{value / old[key]:.2f}" if old and old[key] else ""]
        for key, value in new.items()
    ]
    print(table(["", *medians, "ratio"], rows))


if __name__ == "__main__":
    main()
