"""What `helm test` runs: it asks all operators who leads, and ends with status 1 unless all is well."""

import asyncio
import contextlib
import importlib.util
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from types import ModuleType
from typing import Any

import pytest
from tests.support.repository import ROOT

from shardwise.cluster import Outage
from shardwise.controller.health import Health
from shardwise.controller.health import served as operator_served

LEADER = {"/readyz": (200, "leader"), "/leadz": (200, "ok")}
STANDBY = {"/readyz": (200, "standby"), "/leadz": (503, "standby")}
STUCK = {"/readyz": (503, "no object was finished for 130 s"), "/leadz": (503, "no object was finished for 130 s")}


@pytest.fixture
def leads(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Give the script, with no pause between its tries."""
    path = ROOT / "charts" / "shardwise" / "files" / "leads.py"
    spec = importlib.util.spec_from_file_location("leads", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0)
    monkeypatch.setattr(module, "TRIES", 2)
    return module


@contextlib.contextmanager
def served(host: str, port: int, answers: dict[str, tuple[int, str]]) -> Iterator[int]:
    """Serve an operator's health endpoints at an address of loopback."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, words = answers[self.path]
            self.send_response(status)
            self.end_headers()
            self.wfile.write(f"{words}\n".encode())

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with ThreadingTCPServer((host, port), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def behind_one_name(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Let the name `operators` have so many addresses of loopback, as that of a headless Service has."""
    resolved = socket.getaddrinfo

    def behind_the_name(host: str, port: int, *args: Any, **more: Any) -> list[Any]:
        names = [f"127.0.0.{number + 1}" for number in range(count)] if host == "operators" else [host]
        return [found for name in names for found in resolved(name, port, *args, **more)]

    monkeypatch.setattr(socket, "getaddrinfo", behind_the_name)


def ended(leads: ModuleType, monkeypatch: pytest.MonkeyPatch, operators: list[dict[str, tuple[int, str]]]) -> Any:
    """Run the script against operators behind one name, and give its exit status."""
    behind_one_name(monkeypatch, len(operators))
    with contextlib.ExitStack() as stack:
        port = 0
        for number, answers in enumerate(operators):
            port = stack.enter_context(served(f"127.0.0.{number + 1}", port, answers))
        with pytest.raises(SystemExit) as end:
            leads.main("operators", str(port))
    return end.value.code


@pytest.mark.parametrize(
    ("operators", "status", "told"),
    [
        pytest.param([LEADER], 0, "1 of 1 operators lead, 1 must", id="a single operator that leads"),
        pytest.param([STANDBY, LEADER], 0, "127.0.0.1: ready, standby", id="a leader and a standby"),
        pytest.param([STANDBY, STANDBY], 1, "0 of 2 operators lead, 1 must", id="nobody leads"),
        pytest.param([LEADER, LEADER], 1, "2 of 2 operators lead, 1 must", id="two lead"),
        pytest.param([LEADER, STUCK], 1, "not ready, no object was finished for 130 s", id="a standby is not ready"),
    ],
)
def test_it_passes_if_exactly_one_leads_and_all_are_ready(
    leads: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    operators: list[dict[str, tuple[int, str]]],
    status: int,
    told: str,
) -> None:
    assert ended(leads, monkeypatch, operators) == status
    assert told in capsys.readouterr().out


def test_a_name_that_nobody_answers_to_fails_with_the_name(
    leads: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nobody(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    with pytest.raises(SystemExit) as end:
        leads.main("operators", "8080")
    assert end.value.code == 1
    assert "operators cannot be reached: [Errno -2] Name or service not known" in capsys.readouterr().out


async def test_it_understands_the_endpoints_that_operators_serve(
    leads: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The real ones: of a leader and of a standby, before and after the standby has listed everything."""
    behind_one_name(monkeypatch, 2)
    leader, standby = (Health(Outage(time.monotonic)) for _ in range(2))
    leader.listed = leader.leads = True
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    async with operator_served(("127.0.0.1", port), leader), operator_served(("127.0.0.2", port), standby):
        with pytest.raises(SystemExit, match="1"):
            await asyncio.to_thread(leads.main, "operators", str(port))
        assert "127.0.0.2: not ready, the objects of the cluster are not listed yet" in capsys.readouterr().out
        standby.listed = True
        with pytest.raises(SystemExit, match="0"):
            await asyncio.to_thread(leads.main, "operators", str(port))
        assert "127.0.0.1: ready, leader\n127.0.0.2: ready, standby" in capsys.readouterr().out
