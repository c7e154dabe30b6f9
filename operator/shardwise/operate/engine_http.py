"""A question to an engine over HTTP, at the address of its pod: bounded in time and size, without proxies."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import ip_address
from typing import Final

import aiohttp

SECONDS: Final = 10.0
"""The time that an engine gets for its whole answer. It answers such questions without its ranks."""

CONNECT_SECONDS: Final = 5.0
"""The time for a connection, which the kernel of the pod's node makes."""

MOST_BYTES: Final = 4 << 20
"""Bytes of an answer that are read. vLLM's and SGLang's have some hundred thousand."""


@dataclass(frozen=True, slots=True)
class Place:
    """A path at a port of a pod's address; with a ``body`` of JSON to post. ``seconds`` is 0 for :data:`SECONDS`."""

    address: str
    port: int
    path: str
    body: str = ""
    seconds: float = 0.0

    @property
    def url(self) -> str:
        """The URL. Raises :class:`ValueError` if the address is no IP address: no name is ever looked up."""
        address = ip_address(self.address)
        host = f"[{address}]" if address.version == 6 else str(address)  # noqa: PLR2004 - the version of IP
        return f"http://{host}:{self.port}{self.path}"


class Unanswered(Exception):
    """Nothing answers at an address, or not in time."""


class Silent(Unanswered):
    """A connection was made, and no answer came in time."""


Fetch = Callable[[Place], Awaitable[str]]
"""Gets the text at a place; empty where an engine answers that it offers none. Raises :class:`Unanswered`."""


async def fetched(place: Place) -> str:
    """Get the text at a place over HTTP. Nothing else is followed or trusted: no redirect, no proxy, no cookie.

    An answer in another encoding, or longer than :data:`MOST_BYTES`, is cut. Raises :class:`Unanswered`.
    """
    limit = aiohttp.ClientTimeout(total=place.seconds or SECONDS, sock_connect=CONNECT_SECONDS)
    jar = aiohttp.DummyCookieJar()
    try:
        async with (
            aiohttp.ClientSession(timeout=limit, cookie_jar=jar, auto_decompress=False) as session,
            session.request(
                "POST" if place.body else "GET",
                place.url,
                data=place.body or None,
                headers={"Accept-Encoding": "identity"} | (_JSON if place.body else {}),
                allow_redirects=False,
            ) as answer,
        ):
            if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise Unanswered(f"HTTP {answer.status}")
            return await _text(answer.content) if answer.status == HTTPStatus.OK else ""
    except (aiohttp.ClientError, OSError, ValueError) as error:
        if isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ConnectionTimeoutError):
            raise Silent("no answer in time") from error
        raise Unanswered(str(error) or type(error).__name__) from error


_JSON: Final = {"Content-Type": "application/json"}


async def _text(content: aiohttp.StreamReader) -> str:
    found = bytearray()
    async for piece in content.iter_any():
        found += piece
        if len(found) >= MOST_BYTES:
            break
    return found[:MOST_BYTES].decode(errors="replace")
