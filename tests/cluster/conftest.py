"""One real control plane for the whole run, and the operator on it as the chart installs it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Final

import aiohttp
import pytest
from tests.cluster.binaries import Missing
from tests.cluster.conformance import Api, fresh_namespace
from tests.cluster.existing import LABEL, NotOurs, existing_cluster
from tests.cluster.installed import Installed, Running, chart_installed
from tests.cluster.plane import ControlPlane, control_plane
from tests.cluster.reached import Reached, fleet
from tests.cluster.scenes import can_run, gates, scene
from tests.cluster.waiting import wait_until
from tests.sandbox.support import widget_crd

from shardwise_sandbox import Sandbox, compute_domain_definition, sample_fleet
from shardwise_sandbox.demo import fleet_documents

__all__ = ["can_run", "gates", "scene"]

_RUNNING = pytest.StashKey[Reached]()
_SHOWN = pytest.StashKey[int]()
_LOGS_SHOWN: Final = 3
_LEFT_OUT = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let an existing cluster be named; by nothing else is one ever used."""
    told = (
        "run on this context of your kubeconfig, one of kind's: CRDs, roles and fake nodes are made there and deleted"
    )
    parser.addoption("--on-existing", metavar="CONTEXT", default="", help=told)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what needs the real control plane: `make test` leaves it out, `make test-cluster` runs it.

    On an existing cluster what stops its servers or reads their files is left out, and said to be.
    """
    for item in items:
        if {"plane", "own_plane"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("cluster")
    if _existing(config):
        ours = [item for item in items if "own_plane" in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=ours)
        items[:] = [item for item in items if item not in ours]
        config.stash[_LEFT_OUT] = [item.nodeid for item in ours]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what an existing cluster cannot be asked."""
    for name in config.stash.get(_LEFT_OUT, []):
        terminalreporter.write_line(f"left out, needs a control plane of its own: {name}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the logs of the control plane with a test that failed on it."""
    report = yield
    running = item.config.stash.get(_RUNNING, None)
    if report.failed and running is not None and item.get_closest_marker("cluster"):
        shown = item.config.stash[_SHOWN] = item.config.stash.get(_SHOWN, 0) + 1
        if shown <= _LOGS_SHOWN:  # what fails a fixture of all tests would show them a hundred times
            report.sections.append(("control plane", "\n".join(running.processes.last_words())))
    return report


@pytest.fixture(scope="session")
def plane(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reached]:
    """Give a cluster with the demo's fleet: a control plane of our own, unless another is named."""
    folder, context = tmp_path_factory.mktemp("plane"), _existing(request.config)
    try:
        with existing_cluster(folder, context) if context else control_plane(folder) as running:
            request.config.stash[_RUNNING] = running
            fleet(running, fleet_documents())
            running.kubectl("apply", "--server-side", "-f", "-", given=compute_domain_definition())
            running.established("computedomains.resource.nvidia.com")
            yield running
    except (NotOurs, Missing) as error:  # said once, not by every test
        pytest.exit(f"error: {error}", returncode=pytest.ExitCode.USAGE_ERROR)


@pytest.fixture(scope="session")
def own_plane(plane: Reached) -> ControlPlane:
    """Give the control plane to those who stop its servers or read their files."""
    assert isinstance(plane, ControlPlane)
    return plane


def _existing(config: pytest.Config) -> str:
    return str(config.getoption("--on-existing", default=""))


@pytest.fixture(scope="session")
def installed(plane: Reached) -> Iterator[Installed]:
    """Give the chart, installed by Helm."""
    with chart_installed(plane) as release:
        yield release


@pytest.fixture
def running(installed: Installed) -> Iterator[Running]:
    """Give the operator as a process of its own, with the rights of the chart, and an empty namespace to use."""
    with installed.running() as operator:
        yield operator


@pytest.fixture(params=["in-memory", pytest.param("real", marks=pytest.mark.cluster)])
async def api(request: pytest.FixtureRequest) -> AsyncIterator[Api]:
    """Give each of the two API servers, with a kind of our own and an empty namespace."""
    namespace = fresh_namespace()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(asyncio.sleep, 0.1)  # aiohttp's TLS connections are closed a little after its session
        session = await stack.enter_async_context(aiohttp.ClientSession())
        if request.param == "real":
            real: Reached = request.getfixturevalue("widgets")
            made = Api(session, real.url, namespace, real.tls(), real.forget)
        else:
            sandbox = await stack.enter_async_context(Sandbox(objects=[widget_crd(), *sample_fleet()]))
            made = Api(session, sandbox.url, namespace, tls=False, forget=sandbox.compact)
        labels = dict([LABEL.split("=")])
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}
        assert (await made.call("POST", "/api/v1/namespaces", body)).status == 201
        if request.param == "real":
            await made.there("serviceaccounts", "default")  # pods need it, and a controller makes it
        yield made


@pytest.fixture(scope="session")
def widgets(plane: Reached) -> Reached:
    """Give the control plane with the widgets' kind on it."""
    plane.kubectl("apply", "--server-side", "-f", "-", given=widget_crd())
    plane.established("widgets.test.dev")
    wait_until(lambda: plane.kubectl("get", "widgets", "-A", "-o", "name") == "", "widgets served")
    return plane
