"""The clusters of the sandbox's own tests."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from tests.sandbox.support import Clock, Http, widget_crd

from shardwise_sandbox import Sandbox, sample_fleet


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def still(clock: Clock) -> Sandbox:
    """Give a cluster without server and tasks: a test runs each step."""
    return Sandbox(now=clock, objects=[widget_crd()])


@pytest.fixture
def fleet(clock: Clock) -> Sandbox:
    """Give a still cluster with the sample fleet."""
    return Sandbox(now=clock, objects=[widget_crd(), *sample_fleet()])


@pytest.fixture
async def served(clock: Clock) -> AsyncIterator[Sandbox]:
    """Give a served cluster with running controllers and the sample fleet."""
    async with Sandbox(now=clock, objects=[widget_crd(), *sample_fleet()]) as cluster:
        yield cluster


@pytest.fixture
async def http(served: Sandbox) -> AsyncIterator[Http]:
    async with aiohttp.ClientSession() as session:
        yield Http(session, served.url)
