"""Answers of the API server for clients that read JSON themselves: :mod:`nesting` says why they need help."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp

from shardwise.cluster.nesting import read_json, shallow


class Lines:
    """A stream of lines, each a JSON document without the values that are nested too deeply."""

    def __init__(self, stream: aiohttp.StreamReader) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the stream has
        return getattr(self._stream, name)

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """Give whole lines, read in chunks of at most ``size`` bytes."""
        begun: list[bytes] = []
        async for chunk in self._stream.iter_chunked(size):
            first, *rest = chunk.split(b"\n")
            begun.append(first)
            for line in rest:
                yield shallow(b"".join(begun)) + b"\n"
                begun = [line]
        if any(begun):
            yield shallow(b"".join(begun))


class Answer(aiohttp.ClientResponse):
    """An answer whose JSON may be nested to any depth."""

    async def start(self, connection: Any) -> "Answer":  # noqa: ANN401 - aiohttp does not publish its type
        """Read the headers."""
        await super().start(connection)
        self.content: Any = Lines(self.content)
        return self

    async def json(
        self,
        *,
        encoding: str | None = None,
        loads: Callable[[str], Any] = read_json,
        content_type: str | None = "application/json",
    ) -> Any:  # noqa: ANN401 - any JSON
        """Read the whole answer as JSON."""
        return await super().json(encoding=encoding, loads=loads, content_type=content_type)
