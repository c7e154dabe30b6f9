"""A terminal and a pipe: colours where somebody sees them and wants them, progress where it can be taken back."""

import io
import os
import pty
import subprocess
import sys
import threading
from contextlib import redirect_stderr
from pathlib import Path

import pytest
from tests.cli.support import a_model, write

from shardwise.cli import working as module
from shardwise.cli.working import working

COLOUR = "\x1b[33m"


def on_a_terminal(*args: str | Path, **environment: str) -> str:
    """Run a command whose output is a terminal, and give the output."""
    master, screen = pty.openpty()
    clean = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    command = [sys.executable, "-m", "shardwise", *map(str, args)]
    env = clean | {"TERM": "xterm-256color", "COLUMNS": "120"} | environment
    running = subprocess.Popen(command, stdout=screen, stderr=subprocess.DEVNULL, env=env)  # noqa: S603 - our own
    os.close(screen)
    written = b""
    while True:
        try:
            read = os.read(master, 65536)
        except OSError:  # what Linux gives when the last writer has closed the terminal
            break
        if not read:
            break
        written += read
    os.close(master)
    running.wait()
    return written.decode()


@pytest.fixture
def refused(scene: Path, fleet: Path, tmp_path: Path) -> tuple[str | Path, ...]:
    """Give a command whose answer is a refusal, which is yellow."""
    del scene
    return (
        "plan",
        "-f",
        write(tmp_path / "tiny.yaml", a_model("llama-405b", spec__gpuBudget__total=1)),
        "--fleet",
        fleet,
    )


def test_a_terminal_shows_colours(refused: tuple[str | Path, ...]) -> None:
    assert COLOUR in on_a_terminal(*refused)


def test_with_no_color_a_terminal_shows_none(refused: tuple[str | Path, ...]) -> None:
    """https://no-color.org: any value counts that is not empty."""
    shown = on_a_terminal(*refused, NO_COLOR="1")
    assert "\x1b" not in shown
    assert "llama-405b" in shown


class Screen(io.StringIO):
    """A terminal in memory, which tells when it was written to."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal
        self.written_to = threading.Event()

    def isatty(self) -> bool:
        return self.terminal

    def write(self, text: str) -> int:
        found = super().write(text)
        self.written_to.set()
        return found


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(module, "FIRST_SECONDS", 0.0)
    return Screen(terminal=True)


def test_long_work_is_told_on_a_terminal_and_the_line_is_taken_back(screen: Screen) -> None:
    with redirect_stderr(screen), working(lambda: "reading the cluster, 500 objects"):
        assert screen.written_to.wait(20)
    first, *_, last = screen.getvalue().split("\r\x1b[K")[1:]
    assert first == "reading the cluster, 500 objects … 0 s"
    assert last == ""


def test_work_that_fails_takes_its_line_back_too(screen: Screen) -> None:
    def fail() -> None:
        with redirect_stderr(screen), working(lambda: "asking the Hub"):
            assert screen.written_to.wait(20)
            raise OSError("down")

    with pytest.raises(OSError, match="down"):
        fail()
    assert screen.getvalue().endswith("\r\x1b[K")


def test_short_work_says_nothing(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_SECONDS", 60.0)
    with redirect_stderr(screen), working(lambda: "reading the cluster"):
        pass
    assert screen.getvalue() == ""


@pytest.mark.parametrize("dumb", [True, False], ids=["a dumb terminal", "a pipe"])
def test_nothing_is_told_where_it_cannot_be_taken_back(
    screen: Screen, monkeypatch: pytest.MonkeyPatch, dumb: bool
) -> None:
    screen.terminal = dumb
    monkeypatch.setenv("TERM", "dumb" if dumb else "xterm")
    threads = threading.active_count()
    with redirect_stderr(screen), working(lambda: "reading the cluster"):
        assert threading.active_count() == threads
    assert screen.getvalue() == ""
