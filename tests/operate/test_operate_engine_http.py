"""A question to an engine over HTTP, against a server that answers well, wrongly, slowly, endlessly or not at all."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from shardwise.operate import engine_http
from shardwise.operate.engine_http import MOST_BYTES, Place, Silent, Unanswered, fetched

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def metrics(_: web.Request) -> web.StreamResponse:
    return web.Response(text="vllm:cache_config_info 1.0\n")


async def elsewhere(_: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("/metrics")


async def completions(request: web.Request) -> web.StreamResponse:
    assert request.content_type == "application/json"
    return web.Response(text=f"asked {(await request.json())['max_tokens']}")


async def unauthorized(_: web.Request) -> web.StreamResponse:
    return web.json_response({"error": "Unauthorized"}, status=401)


async def broken(_: web.Request) -> web.StreamResponse:
    return web.Response(status=503, text="starting")


async def slow(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"x" * 65_536)


async def packed(request: web.Request) -> web.StreamResponse:
    """Say what the question accepts, in an encoding that it does not."""
    return web.Response(
        body=b"\x1f\x8b not unpacked", headers={"Content-Encoding": "gzip", "X": request.headers["Accept-Encoding"]}
    )


HANDLERS: dict[str, Handler] = {
    "/metrics": metrics,
    "/elsewhere": elsewhere,
    "/unauthorized": unauthorized,
    "/broken": broken,
    "/slow": slow,
    "/endless": endless,
    "/packed": packed,
}


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    app = web.Application()
    app.add_routes([web.get(path, handler) for path, handler in HANDLERS.items()])
    app.router.add_post("/v1/completions", completions)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server()
    assert server.port is not None
    yield server.port
    await server.close()


TEXTS = [
    pytest.param("/metrics", "vllm:cache_config_info 1.0\n", id="figures, past any proxy"),
    pytest.param("/missing", "", id="404: none are offered"),
    pytest.param("/unauthorized", "", id="401: none are offered to us"),
    pytest.param("/elsewhere", "", id="a redirect is not followed"),
]


@pytest.mark.parametrize(("path", "text"), TEXTS)
async def test_an_answer_is_its_text_or_nothing(port: int, path: str, text: str) -> None:
    assert await fetched(Place("127.0.0.1", port, path)) == text


async def test_an_endless_answer_is_cut(port: int) -> None:
    assert await fetched(Place("127.0.0.1", port, "/endless")) == "x" * MOST_BYTES


async def test_an_answer_is_never_unpacked(port: int) -> None:
    """A megabyte of zeros is a kilobyte of gzip."""
    assert (await fetched(Place("127.0.0.1", port, "/packed"))).endswith(" not unpacked")


async def test_a_slow_answer_is_not_waited_for(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_http, "SECONDS", 0.05)
    with pytest.raises(Silent):
        await fetched(Place("127.0.0.1", port, "/slow"))


async def test_a_question_may_have_a_time_of_its_own(port: int) -> None:
    with pytest.raises(Silent):
        await fetched(Place("127.0.0.1", port, "/slow", seconds=0.05))


async def test_a_question_with_a_body_is_posted(port: int) -> None:
    assert await fetched(Place("127.0.0.1", port, "/v1/completions", '{"max_tokens": 1}')) == "asked 1"


NOBODY = [
    pytest.param("127.0.0.1", 1, id="no engine listens there"),
    pytest.param("::1", 1, id="nor there"),
    pytest.param("metadata.internal", 80, id="a name is not looked up"),
    pytest.param("", 80, id="no address"),
    pytest.param("127.0.0.1/x?", 80, id="more than an address"),
]


@pytest.mark.parametrize(("address", "at"), NOBODY)
async def test_where_nobody_answers_the_question_says_so(address: str, at: int) -> None:
    with pytest.raises(Unanswered) as raised:
        await fetched(Place(address, at, "/metrics"))
    assert not isinstance(raised.value, Silent)


async def test_an_engine_in_trouble_may_be_asked_again(port: int) -> None:
    with pytest.raises(Unanswered, match="HTTP 503"):
        await fetched(Place("127.0.0.1", port, "/broken"))
