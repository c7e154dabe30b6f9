"""How much CPU and memory the command line takes, beside an older build: both run in turns, in one run.

``python -m benchmarks.commands BASE=f49441d`` takes the older build from the history of the repository.
"""

import io
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.timing import machine, said, table

ROOT = Path(__file__).parents[1]
BASE = "f49441d"
"""The build before commands loaded only what they need."""

RUNS = 7
KIB = 1024
_PROBE = """
import os, resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss)
"""
"""Runs a command and prints its CPU seconds and its peak memory: in a process of its own, since the peak is of all."""


@dataclass(frozen=True)
class Cost:
    """CPU seconds, and peak memory in KiB."""

    seconds: float
    memory: float


def cost(source: Path, args: Sequence[str], bytecode: Path) -> Cost:
    """Run a command of a build once.

    ``bytecode`` is a folder for compiled modules: installed packages are compiled, whatever the environment here says.
    """
    kept = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(bytecode)}
    env = os.environ | {"PYTHONPATH": str(source), **kept}
    command = [sys.executable, "-c", _PROBE, sys.executable, "-m", "shardwise", *args]
    ran = subprocess.run(command, env=env, capture_output=True, text=True, check=True)  # noqa: S603 - our own
    seconds, memory = ran.stdout.split()
    return Cost(float(seconds), float(memory))


def measured(builds: Sequence[Path], args: Sequence[str], bytecode: Path) -> list[Cost]:
    """Give the medians of each build, run in turns so that a busy machine slows all alike."""
    for source in builds:
        cost(source, args, bytecode)  # compiles the modules
    rounds = [[cost(source, args, bytecode) for source in builds] for _ in range(RUNS)]
    return [
        Cost(statistics.median(run.seconds for run in costs), statistics.median(run.memory for run in costs))
        for costs in zip(*rounds, strict=True)
    ]


def unpacked(commit: str, folder: Path) -> Path:
    """Unpack the sources of a commit, and give the folder to import from."""
    packed = subprocess.run(["git", "archive", commit, "operator"], cwd=ROOT, capture_output=True, check=True)  # noqa: S603, S607 - our own repository
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder / "operator"


def write_demo(folder: Path) -> None:
    """Write the demo's objects and fleet."""
    env = os.environ | {"PYTHONPATH": str(ROOT / "operator")}
    command = [sys.executable, "-m", "shardwise_sandbox", "demo", "--files", str(folder)]
    subprocess.run(command, env=env, stdout=subprocess.DEVNULL, check=True)  # noqa: S603 - our own


def row(name: str, old: Cost, new: Cost) -> list[str]:
    """Say what a command costs in both builds, and how many times less."""
    return [
        name,
        said(old.seconds),
        said(new.seconds),
        f"{old.seconds / new.seconds:.1f} ×",
        f"{old.memory / KIB:.0f} MiB",
        f"{new.memory / KIB:.0f} MiB",
        f"{old.memory / new.memory:.1f} ×",
    ]


def main() -> None:
    """Measure and print all."""
    base = next((arg.partition("=")[2] for arg in sys.argv[1:] if arg.startswith("BASE=")), BASE)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        builds = (unpacked(base, folder / "base"), ROOT / "operator")
        write_demo(folder / "demo")
        fleet = str(folder / "demo" / "fleet.yaml")
        files = ("-f", str(folder / "demo"), "--fleet", fleet)
        commands: dict[str, tuple[str, ...]] = {
            "--version": ("--version",),
            "--help": ("--help",),
            "plan": ("plan", *files),
            "render": ("render", *files),
            "explain": ("explain", *files),
            "fleet": ("fleet", "--fleet", fleet),
            "inspect": ("inspect", "meta-llama/Llama-3.1-8B"),
        }
        rows = [row(command, *measured(builds, args, folder / "bytecode")) for command, args in commands.items()]
    print(f"Measured with {machine()}; {base} beside this build, medians of {RUNS} runs in turns.\n")
    print(table(["command", "CPU before", "CPU now", "", "memory before", "memory now", ""], rows))


if __name__ == "__main__":
    main()
