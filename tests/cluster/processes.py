"""Processes beside the tests: each with a log of its own, ended with the run, never left behind."""

import ctypes
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

LIMIT: Final = 120.0
"""Seconds anything may take to become so, or to end."""

_PDEATHSIG: Final = 1
_TAIL: Final = 40


@dataclass
class Processes:
    """Processes by name, and their logs in one folder.

    On Linux the kernel ends them with whoever started them, however that one died. They are in process groups of their
    own, so that ctrl-C reaches the tests alone, which then end them in order.
    """

    folder: Path
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, *command: str, env: Mapping[str, str] | None = None) -> None:
        """Start a process; what it says is added to its log."""
        with self.log(name).open("ab") as log:
            self._running[name] = subprocess.Popen(  # noqa: S603 - built from the modules beside this file, or ourselves
                command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=env,
                process_group=0 if _SEES_TO_THEM else None,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - calls the kernel only
            )

    def stop(self, name: str, how: signal.Signals = signal.SIGKILL) -> int:
        """End a process, and give its exit status; 0 where there is none.

        Raises ``subprocess.TimeoutExpired`` for one that does not end when asked to; it is killed then.
        """
        process = self._running.pop(name, None)
        if process is None:
            return 0
        process.send_signal(how)
        try:
            return process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(LIMIT)
            raise

    def signal(self, name: str, how: signal.Signals) -> None:
        """Send a signal to a process that goes on, such as to stand still for a while."""
        self._running[name].send_signal(how)

    def stop_all(self) -> None:
        """End every process, those that were started last first."""
        for name in reversed(tuple(self._running)):
            self.stop(name)

    def alive(self, name: str) -> bool:
        """Tell whether a process runs."""
        return name in self._running and self._running[name].poll() is None

    def pids(self) -> list[int]:
        """Give the numbers of the processes."""
        return [process.pid for process in self._running.values()]

    def log(self, name: str) -> Path:
        """Give the file of what a process said."""
        return self.folder / f"{name}.log"

    def last_words(self) -> Iterator[str]:
        """Give the last lines of every log."""
        for path in sorted(self.folder.glob("*.log")):
            yield f"--- {path.name}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-_TAIL:])


def is_running(pid: int) -> bool:
    """Judge by the state, as Linux tells it: where nobody reaps, the dead keep their number."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


_SEES_TO_THEM: Final = sys.platform == "linux"


def die_with_parent() -> None:
    """Ask the kernel, in a new process, to end it with whoever started it; only Linux can be asked."""
    if _SEES_TO_THEM:
        ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)
