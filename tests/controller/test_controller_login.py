"""kopf gets a session of ours, and can tell credentials that it had before from new ones."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import kopf
import pytest
from kubernetes.aio.client import Configuration
from pytest_mock import MockerFixture

from shardwise.cluster import Connection
from shardwise.cluster.answers import Answer
from shardwise.controller.watches import _log_in

LogIn = Callable[[], Awaitable[kopf.AiohttpSession]]
KNOWN = Connection(
    server="http://cluster.invalid",
    token="first",
    ca_path=None,
    certificate_path=None,
    private_key_path=None,
    insecure=False,
    settings=Configuration(),
)


@pytest.fixture
async def log_in(mocker: MockerFixture) -> AsyncIterator[LogIn]:
    """Give the handler that kopf calls; each call of ``Connection.renewed`` gives the next credentials."""
    tokens = iter(("first", "first", "second"))
    mocker.patch.object(Connection, "renewed", lambda self: _soon(replace(self, token=next(tokens))))
    registry = kopf.OperatorRegistry()
    _log_in(registry, KNOWN, {}, [])
    (handler,) = registry._activities.get_all_handlers()
    opened: list[kopf.AiohttpSession] = []

    async def call() -> kopf.AiohttpSession:
        session: kopf.AiohttpSession = await handler.fn()  # type: ignore[misc, call-arg]
        opened.append(session)
        return session

    yield call
    for session in opened:
        await session.aiohttp_session.close()


async def _soon(connection: Connection) -> Connection:
    return connection


async def test_credentials_that_did_not_change_give_the_same_session(log_in: LogIn) -> None:
    """Kopf refuses what it had before, and asks in vain no server that turned them down."""
    first, again, other = await log_in(), await log_in(), await log_in()
    assert again == first
    assert other != first
    headers = [session.aiohttp_session.headers["Authorization"] for session in (first, other)]
    assert headers == ["Bearer first", "Bearer second"]


async def test_answers_are_read_to_any_depth(log_in: LogIn) -> None:
    session = await log_in()
    assert issubclass(session.aiohttp_session._response_class, Answer)
    assert session.server == "http://cluster.invalid"
    await log_in()
    await log_in()
