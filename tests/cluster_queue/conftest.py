"""A real control plane with the real Kueue, and the operator on it as the chart installs it."""

from collections.abc import Iterator

import pytest
from tests.cluster.binaries import Missing
from tests.cluster.installed import Running, chart_installed
from tests.cluster.plane import ControlPlane, control_plane
from tests.cluster.reached import fleet
from tests.cluster_queue.kueue import a_team, kueue
from tests.support.repository import ROOT

from shardwise_sandbox import h100_node

STAGES = ROOT / "tests" / "cluster_queue" / "stages.yaml"
QUOTA = 16


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder: only `make test-queue` runs them."""
    for item in items:
        if "cluster_queue" in item.nodeid:
            item.add_marker("queue")


@pytest.fixture(scope="session")
def queue_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Give a control plane with Kueue, a queue with quota for two of three nodes of its flavour, and another node."""
    try:
        with control_plane(tmp_path_factory.mktemp("queue"), stages=STAGES) as plane:
            nodes = [h100_node(f"h100-{number}") for number in range(4)]
            for node in nodes[1:]:
                node["metadata"]["labels"]["pool"] = "serving"
            fleet(plane, nodes)
            with kueue(plane):
                plane.kubectl("apply", "-f", "-", given={"apiVersion": "v1", "kind": "List", "items": a_team(QUOTA)})
                yield plane
    except Missing as error:
        pytest.exit(f"error: {error}", returncode=pytest.ExitCode.USAGE_ERROR)


@pytest.fixture(scope="session")
def running(queue_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Give the operator, with the rights of the chart, told to read Kueue's objects."""
    config = tmp_path_factory.mktemp("operator") / "config.yaml"
    config.write_text("launch: {queues: {kueue: {}}}\n")
    with chart_installed(queue_plane) as release, release.running(arguments=(f"--config={config}",)) as operator:
        yield operator


@pytest.fixture
def operator(running: Running) -> Iterator[Running]:
    """Give it with no objects, and nothing left in the queue afterwards."""
    yield running
    running.delete_all()
    workloads = ("get", "workloads.kueue.x-k8s.io", "-n", "default", "-o", "name")
    running.until(lambda: running.plane.kubectl(*workloads) == "", "no Workload left")
