"""One real control plane for the whole run, and the operator on it as the chart installs it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
from tests.cluster.conformance import Api, fresh_namespace
from tests.cluster.installed import Installed, Running, chart_installed
from tests.cluster.plane import ControlPlane, as_kwok, control_plane, wait_until
from tests.sandbox.support import widget_crd

from shardwise.cli.demo import fleet_documents
from shardwise.sandbox import Sandbox, compute_domain_definition, sample_fleet


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
        running.kubectl("apply", "--server-side", "-f", "-", given=compute_domain_definition())
        running.kubectl("wait", "--for=condition=Established", "crd/computedomains.resource.nvidia.com")
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


@pytest.fixture(params=["in-memory", pytest.param("real", marks=pytest.mark.cluster)])
async def api(request: pytest.FixtureRequest) -> AsyncIterator[Api]:
    """Give each of the two API servers, with a kind of our own and an empty namespace."""
    namespace = fresh_namespace()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(asyncio.sleep, 0.1)  # aiohttp's TLS connections are closed a little after its session
        session = await stack.enter_async_context(aiohttp.ClientSession())
        if request.param == "real":
            real: ControlPlane = request.getfixturevalue("widgets")
            made = Api(session, real.url, namespace, real.ssl_context())
        else:
            sandbox = await stack.enter_async_context(Sandbox(objects=[widget_crd(), *sample_fleet()]))
            made = Api(session, sandbox.url, namespace, tls=False)
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        assert (await made.call("POST", "/api/v1/namespaces", body)).status == 201
        if request.param == "real":
            await made.there("serviceaccounts", "default")  # pods need it, and a controller makes it
        yield made


@pytest.fixture(scope="session")
def widgets(plane: ControlPlane) -> ControlPlane:
    """Give the control plane with the widgets' kind on it."""
    plane.kubectl("apply", "--server-side", "-f", "-", given=widget_crd())
    plane.kubectl("wait", "--for=condition=Established", "crd/widgets.test.dev", "--timeout=60s")
    wait_until(lambda: plane.kubectl("get", "widgets", "-A", "-o", "name") == "", "widgets served")
    return plane
