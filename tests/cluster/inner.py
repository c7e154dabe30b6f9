"""A run of pytest within a test: what a whole run does when it fails, is interrupted, or is given a cluster."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.cluster.processes import is_running
from tests.support.repository import ROOT


def pytest_in(folder: Path, *args: str, **env: str) -> subprocess.Popen[str]:
    """Run the tests that lie in a folder as `make test-cluster` would, in a process group of their own."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.cluster.conftest",
        "-p",
        "no:cacheprovider",
        "-m",
        "cluster",
    ]
    config = ["-c", str(ROOT / "pyproject.toml"), f"--rootdir={ROOT}", f"--basetemp={folder / 'temp'}"]
    return subprocess.Popen(  # noqa: S603 - ourselves
        [*command, *config, *args, str(folder)],
        cwd=ROOT,
        env=os.environ | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
    )


def alive_in(folder: Path) -> Sequence[str]:
    """List the command lines of processes that were told of a folder."""
    told = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_text().replace("\0", " ")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(folder) in command and is_running(int(process.name)):
            told.append(command)
    return told
