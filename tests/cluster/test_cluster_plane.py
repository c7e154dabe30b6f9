"""The testbed's own promises: nothing of it outlives a run, a failure shows its logs, what is missing is said."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cluster import binaries
from tests.cluster.inner import alive_in, ended, pytest_in
from tests.cluster.installed import ACCOUNT, Running
from tests.cluster.plane import ControlPlane
from tests.cluster.processes import is_running
from tests.cluster.reached import Reached
from tests.cluster.waiting import wait_until
from tests.support.repository import ROOT

STARTS_ONE = """
import sys, time
from pathlib import Path
from tests.cluster.processes import Processes
processes = Processes(Path(sys.argv[1]))
processes.start("sleeper", sys.executable, "-c", "import time; time.sleep(600)")
print(*processes.pids(), flush=True)
time.sleep(600)
"""

FAILS_THEN_WAITS = """
import time
from pathlib import Path

def test_fails(running):
    assert running.alive() and not "what a test may find"

def test_waits(running):
    Path(__file__).with_name("waits").touch()
    time.sleep(600)
"""


@pytest.mark.cluster
def test_nothing_is_left_of_a_run_that_is_interrupted_and_what_failed_in_it_shows_its_logs(tmp_path: Path) -> None:
    """Ctrl-C in the middle of a test, with the operator running; a kubeconfig in the environment is never looked at."""
    (tmp_path / "test_inner.py").write_text(FAILS_THEN_WAITS)
    run = pytest_in(tmp_path, "-x", "--maxfail=2", KUBECONFIG=str(tmp_path / "nobody's"))
    wait_until(lambda: (tmp_path / "waits").exists() or run.poll() is not None, "the second test of the inner run")
    servers = [line.split()[0].rpartition("/")[2] for line in alive_in(tmp_path / "temp")]
    os.killpg(run.pid, signal.SIGINT)
    said = ended(run)
    assert run.returncode == pytest.ExitCode.INTERRUPTED, said
    assert {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok"} <= set(servers)
    assert alive_in(tmp_path / "temp") == []
    assert "1 failed" in said
    for part in ("control plane", "--- kube-apiserver.log", "--- operator.log", "--- etcd.log"):
        assert part in said


def test_nothing_is_left_of_a_run_that_is_killed(tmp_path: Path) -> None:
    """Killed, so that no clean-up of its own can run."""
    command = [sys.executable, "-c", STARTS_ONE, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:  # noqa: S603 - ourselves
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_running(pid)
        parent.kill()
    wait_until(lambda: not is_running(pid), "the process ended with its parent")


def test_a_program_that_is_not_built_is_named_with_how_to_build_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not skipped in silence."""
    monkeypatch.setattr(binaries, "_go_version", lambda: "go0")
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    with pytest.raises(binaries.Missing, match="kube-apiserver is not built; `make testbed` builds it"):
        binaries.find("kube-apiserver")
    with pytest.raises(binaries.Missing, match="kustomize/stage of kwok is not there; `make testbed` brings it"):
        binaries.beside("kwok", "kustomize/stage")


def test_binaries_somebody_has_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of envtest."""
    (tmp_path / "etcd").touch()
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    assert binaries.find("etcd") == tmp_path / "etcd"


def test_a_wait_that_is_in_vain_says_for_what() -> None:
    with pytest.raises(TimeoutError, match="waited 0 s in vain for: the moon; last answer: None"):
        wait_until(lambda: None, "the moon", limit=0)


@pytest.mark.parametrize("tool", binaries.ALL, ids=lambda tool: tool.module)
def test_every_tool_is_pinned_by_checksums(tool: binaries.Tool) -> None:
    """go.mod names a version, go.sum its content."""
    folder = binaries.TOOLS / tool.module
    assert (folder / "go.sum").stat().st_size > 0
    module = (folder / "go.mod").read_text()
    assert all(package in module for _, package in tool.programs)


def test_each_plane_has_ports_of_its_own(tmp_path: Path) -> None:
    """Two runs on one machine do not meet."""
    one, other = ControlPlane(tmp_path / "a"), ControlPlane(tmp_path / "b")
    assert one.url == one.url != other.url


def a_call(user: str, verb: str, code: int, decision: str) -> str:
    call = {"user": {"username": user}, "verb": verb, "requestURI": "/api/v1/secrets", "responseStatus": {"code": code}}
    return json.dumps(call | {"annotations": {"authorization.k8s.io/decision": decision}}) + "\n"


def test_a_call_the_operator_may_not_make_is_found(tmp_path: Path) -> None:
    """Not another's, nor one a quota refused, nor those of an earlier test, nor half a line."""
    plane: Reached = ControlPlane(tmp_path)
    plane.audit_log.write_text(a_call(ACCOUNT, "list", 403, "forbid"))
    operator = Running(plane, tmp_path / "kubeconfig")
    assert operator.forbidden() == []
    others = (
        a_call(ACCOUNT, "get", 200, "allow"),
        a_call(ACCOUNT, "create", 403, "allow"),
        a_call("admin", "get", 403, "forbid"),
        a_call(ACCOUNT, "delete", 403, "forbid"),
    )
    with plane.audit_log.open("a") as log:
        log.write("".join(others) + '{"us')
    assert operator.forbidden() == ["delete /api/v1/secrets"]


def test_without_an_audit_log_the_operators_own_tells_what_was_forbidden(tmp_path: Path) -> None:
    operator = Running(ControlPlane(tmp_path), tmp_path / "kubeconfig")
    operator.log.write_text('cannot list pods: pods is forbidden: User "x" cannot list resource "pods"\nall is well\n')
    (said,) = operator.forbidden()
    assert "pods is forbidden" in said
