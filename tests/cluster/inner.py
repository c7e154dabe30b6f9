"""A run of pytest within a test: what a whole run does when it fails, is interrupted, or is given a cluster."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.cluster.processes import LIMIT, die_with_parent, is_running
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
        preexec_fn=_as_in_a_terminal,  # noqa: PLW1509 - calls the kernel only
    )


def _as_in_a_terminal() -> None:
    """Take ctrl-C also where a shell started us in the background, and so told all its children to ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    die_with_parent()


def ended(run: subprocess.Popen[str], limit: float = 2 * LIMIT) -> str:
    """Wait for a run to end by itself, and give what it printed; one that does not is killed."""
    try:
        said, _ = run.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        run.kill()  # what it started ends with it
        said, _ = run.communicate()
        raise TimeoutError(f"waited {limit:g} s in vain for: the end of the inner run; it said:\n{said}") from None
    return said


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
