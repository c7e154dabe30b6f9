"""Objects that are nested too deeply for Python's reader blind nobody to the others."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from shardwise.cluster.answers import Answer
from shardwise.cluster.nesting import DEEPEST, read_json, shallow

DEEP = 20_000
"""Levels that no release of Python reads."""


def nested(levels: int, inside: str = "1") -> str:
    """Give lists and objects in turn."""
    opened = ('{"a":[' * levels)[: 6 * (levels // 2) + 5 * (levels % 2)]
    closed = ("]}" * levels)[: 2 * (levels // 2)]
    return opened + inside + ("}" + closed if levels % 2 else closed)


def depth(value: Any) -> int:
    count = 0
    while isinstance(value, dict | list):
        value = next(iter(value.values() if isinstance(value, dict) else value), None)
        count += 1
    return count


@pytest.mark.parametrize("levels", [0, 1, 2, DEEPEST - 1, DEEPEST])
def test_a_text_that_is_not_too_deep_stays_as_it_is(levels: int) -> None:
    text = nested(levels).encode()
    json.loads(text)
    assert shallow(text) == text


@pytest.mark.parametrize("levels", [DEEPEST + 1, DEEPEST + 2, 5000, DEEP])
def test_of_a_text_that_is_too_deep_the_value_inside_is_left_out(levels: int) -> None:
    cut = json.loads(shallow(nested(levels).encode()))
    assert depth(cut) == DEEPEST
    assert b"null" in shallow(nested(levels).encode())


def test_the_objects_beside_it_are_kept_whole() -> None:
    text = f'{{"items": [{{"x": "]}}{{"}}, {nested(DEEP)}, {{"y": "\\\\\\"[", "z": []}}]}}'
    found = read_json(text)
    assert found["items"][0] == {"x": "]}{"}
    assert found["items"][2] == {"y": '\\"[', "z": []}
    assert depth(found["items"][1]) == DEEPEST - 2


quoted = st.text('"\\[]{}a\n', max_size=6)
values = st.recursive(quoted, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(quoted, inner, max_size=3))


@given(values, values)
def test_brackets_in_strings_do_not_count(before: Any, behind: Any) -> None:
    text = f"[{json.dumps(before)}, {nested(DEEPEST + 50)}, {json.dumps(behind)}]"
    found = json.loads(shallow(text.encode()))
    assert [found[0], found[2]] == [before, behind]
    assert depth(found[1]) == DEEPEST - 1


@asynccontextmanager
async def answering(body: bytes) -> AsyncIterator[aiohttp.ClientResponse]:
    """Ask a server that gives this answer."""

    async def give(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    app = web.Application()
    app.router.add_get("/", give)
    async with (
        TestServer(app) as server,
        aiohttp.ClientSession(response_class=Answer) as session,
        session.get(server.make_url("/")) as response,
    ):
        yield response


async def test_an_answer_is_read_to_any_depth() -> None:
    async with answering(f'{{"items": [1, {nested(DEEP)}]}}'.encode()) as response:
        found = await response.json()
    assert found["items"][0] == 1
    assert depth(found["items"][1]) == DEEPEST - 2


@pytest.mark.parametrize("size", [7, 100, 1024 * 1024])
async def test_the_lines_of_a_watch_are_read_to_any_depth_whatever_the_chunks(size: int) -> None:
    lines = ['{"type": "ADDED", "object": 1}', nested(DEEP), '{"type": "BOOKMARK"}']
    async with answering("\n".join(lines).encode()) as response:
        text = b"".join([chunk async for chunk in response.content.iter_chunked(size)])
    first, deep, last = text.split(b"\n")
    assert (first.decode(), last.decode()) == (lines[0], lines[2])
    assert depth(json.loads(deep)) == DEEPEST


async def test_other_ways_to_read_an_answer_stay() -> None:
    async with answering(b"{}\n") as response:
        assert await response.read() == b"{}\n"
