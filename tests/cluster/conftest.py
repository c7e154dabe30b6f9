"""One real control plane for the whole run, and the operator on it as the chart installs it."""

from collections.abc import Iterator

import pytest
from tests.cluster.installed import Installed, Running, chart_installed
from tests.cluster.plane import ControlPlane, as_kwok, control_plane, wait_until

from shardwise.cli.demo import fleet_documents


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs the real control plane: `make test` leaves it out, `make test-cluster` runs it."""
    for item in items:
        if "plane" in getattr(item, "fixturenames", ()):
            item.add_marker("cluster")


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Give a control plane with the demo's fleet."""
    with control_plane(tmp_path_factory.mktemp("plane")) as running:
        nodes = as_kwok(fleet_documents())
        running.kubectl("create", "-f", "-", given={"apiVersion": "v1", "kind": "List", "items": nodes})
        wait_until(lambda: running.kubectl("get", "nodes").count(" Ready ") == len(nodes), "all nodes Ready")
        yield running


@pytest.fixture(scope="session")
def installed(plane: ControlPlane) -> Iterator[Installed]:
    """Give the chart, installed by Helm."""
    with chart_installed(plane) as release:
        yield release


@pytest.fixture
def running(installed: Installed) -> Iterator[Running]:
    """Give the operator as a process of its own, with the rights of the chart, and an empty namespace to use."""
    with installed.running() as operator:
        yield operator
