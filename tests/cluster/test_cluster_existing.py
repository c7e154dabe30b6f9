"""An existing cluster: used only where its context is named, refused where that would do harm, left as it was."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.cluster.existing import NotOurs, existing_cluster
from tests.cluster.inner import ended, pytest_in
from tests.cluster.plane import ControlPlane, control_plane
from tests.cluster.reached import as_kwok
from tests.support.repository import ROOT

from shardwise_sandbox.demo import fleet_documents

EVERYTHING = "nodes,namespaces,crds,clusterroles,clusterrolebindings,pods,services,deployments,secrets,serviceaccounts"

INNER = """
from tests.support.operating import a_model

def test_the_operator(running):
    running.apply(a_model("here"))
    running.ready("here")

async def test_conformance(api):
    assert await api.list("widgets") == []

def test_stops_a_server(own_plane):
    own_plane.processes.stop("etcd")
"""


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Give a cluster without nodes that somebody else might run, as a context of one's kubeconfig."""
    with control_plane(tmp_path_factory.mktemp("other")) as running:
        running.processes.stop("kwok")
        config = yaml.safe_load(running.kubeconfig.read_text())
        config["contexts"] = [
            {"name": name, "context": config["contexts"][0]["context"]} for name in ("kind-x", "prod")
        ]
        (running.folder / "mine").write_text(yaml.safe_dump(config | {"current-context": "prod"}))
        yield running


def names(cluster: ControlPlane) -> set[str]:
    return set(cluster.kubectl("get", EVERYTHING, "-A", "-o", "name").split())


@pytest.mark.cluster
def test_a_cluster_that_is_named_is_used_and_left_as_it_was(other: ControlPlane, tmp_path: Path) -> None:
    """What would stop its servers is left out, and named."""
    before = names(other)
    (tmp_path / "test_inner.py").write_text(INNER)
    run = pytest_in(tmp_path, "--on-existing=kind-x", KUBECONFIG=str(other.folder / "mine"))
    said = ended(run)
    assert run.returncode == 0, said
    assert "2 passed, 2 deselected" in said
    assert "left out, needs a control plane of its own: " in said
    assert "test_inner.py::test_stops_a_server" in said
    users = {line.split('"username":"')[1].split('"')[0] for line in other.audit_log.read_text().splitlines()}
    assert "system:serviceaccount:shardwise:shardwise" in users
    assert names(other) == before


@pytest.mark.cluster
def test_a_cluster_that_is_used_is_refused(
    other: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our names are taken, or GPUs are there; nothing of it is touched."""
    monkeypatch.setenv("KUBECONFIG", str(other.folder / "mine"))
    other.kubectl("create", "namespace", "shardwise")
    with (
        pytest.raises(NotOurs, match="namespace/shardwise is there: the tests would delete it"),
        existing_cluster(tmp_path / "a", "kind-x"),
    ):
        pass
    other.kubectl("create", "-f", "-", given=as_kwok(fleet_documents())[0])
    with pytest.raises(NotOurs, match="node .* has GPUs"), existing_cluster(tmp_path / "b", "kind-x"):
        pass
    assert {"namespace/shardwise"} <= names(other)
    other.kubectl("delete", "nodes", "--all")
    other.kubectl("delete", "namespace", "shardwise")


@pytest.mark.cluster
def test_a_context_that_is_not_there_is_refused(
    other: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(other.folder / "mine"))
    with pytest.raises(NotOurs, match="context `kind-y`: .*kind-y"), existing_cluster(tmp_path, "kind-y"):
        pass


def test_a_context_that_is_not_one_of_kinds_is_refused_unseen(tmp_path: Path) -> None:
    """Not even kubectl is asked."""
    with pytest.raises(NotOurs, match="context `prod` is not one of kind's"), existing_cluster(tmp_path, "prod"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_is_said_once_and_ends_the_run(tmp_path: Path) -> None:
    """Not by every test that asks for the cluster."""
    (tmp_path / "test_inner.py").write_text("def test_one(plane): ...\ndef test_other(plane): ...\n")
    run = pytest_in(tmp_path, "--on-existing=prod")
    said = ended(run)
    assert run.returncode == pytest.ExitCode.USAGE_ERROR
    assert said.count("error: context `prod` is not one of kind's") == 1


@pytest.mark.parametrize(
    ("args", "env", "used"),
    [
        (["EXISTING=kind-x"], {}, True),
        ([], {"EXISTING": "kind-x", "KUBECONFIG": "mine"}, False),
        ([], {}, False),
    ],
    ids=["named", "in the environment", "nothing"],
)
def test_make_names_a_cluster_only_where_its_command_line_does(
    args: list[str], env: dict[str, str], used: bool
) -> None:
    """A variable of the environment may be there by accident."""
    cleared = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MFLAGS", "EXISTING")}
    command = ["make", "--dry-run", "test-cluster", *args]
    shown = subprocess.run(command, cwd=ROOT, env=cleared | env, capture_output=True, text=True, check=True)  # noqa: S603
    assert ("--on-existing=kind-x" in shown.stdout) is used
