"""One client for both API servers, the real one and the in-memory one, so that the same tests run against both."""

import asyncio
import contextlib
import itertools
import json
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

Json = dict[str, Any]

JSON: Final = "application/json"
MERGE: Final = "application/merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"
STRATEGIC: Final = "application/strategic-merge-patch+json"
APPLY: Final = "application/apply-patch+yaml"
GROUP: Final = "test.dev/v1"
LIMIT: Final = 30.0

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Answer:
    """What the server answered."""

    status: int
    body: Json

    @property
    def reason(self) -> str:
        """Give the machine-readable reason of a refusal."""
        return str(self.body.get("reason"))

    @property
    def causes(self) -> list[tuple[str, str]]:
        """Give reason and field of each cause of a refusal, sorted.

        The real server adds what follows from a value of the wrong type: that its CEL rules could not be evaluated, or
        that a scale could not be read. Those name no field, or one with a dot before it.
        """
        causes = (self.body.get("details") or {}).get("causes") or ()
        found = sorted((str(cause.get("reason")), str(cause.get("field"))) for cause in causes)
        own = [(reason, field) for reason, field in found if not field.startswith((".", "<nil>"))]
        return own or found


@dataclass
class Api:
    """An API server and a namespace of its own on it."""

    session: aiohttp.ClientSession
    url: str
    namespace: str
    tls: ssl.SSLContext | bool
    forget: Callable[[], None]
    """Let the server forget its history, so that what began before is too old to go on."""

    async def call(self, method: str, path: str, body: object = None, content_type: str = JSON, **query: Any) -> Answer:
        """Make a call, and give the answer."""
        data = None if body is None else json.dumps(body)
        headers = {"Accept": JSON} | ({"Content-Type": content_type} if body is not None else {})
        async with self.session.request(
            method, self.url + path, data=data, headers=headers, params=query, ssl=self.tls
        ) as answer:
            text = await answer.text()
            told = answer.content_type == JSON or text.startswith("{")  # OpenAPI's index comes as plain text
            return Answer(answer.status, json.loads(text) if told else {"message": text})

    def path(self, plural: str, name: str = "", subresource: str = "") -> str:
        """Give the path of widgets, or of a core kind, in our namespace."""
        root = f"/apis/{GROUP}" if plural == "widgets" else "/api/v1"
        if plural == "leases":
            root = "/apis/coordination.k8s.io/v1"
        parts = (f"{root}/namespaces/{self.namespace}/{plural}", name, subresource)
        return "/".join(part for part in parts if part)

    async def create(self, plural: str, body: Json, **query: Any) -> Answer:
        """Create an object."""
        return await self.call("POST", self.path(plural), body, **query)

    async def made(self, plural: str, body: Json) -> Json:
        """Create an object that must be taken, and give it."""
        answer = await self.create(plural, body)
        assert answer.status == 201, answer.body
        return answer.body

    async def get(self, plural: str, name: str) -> Answer:
        """Get an object."""
        return await self.call("GET", self.path(plural, name))

    async def list(self, plural: str, **query: Any) -> list[str]:
        """List the names of what is there."""
        answer = await self.call("GET", self.path(plural), **query)
        assert answer.status == 200, answer.body
        return [item["metadata"]["name"] for item in answer.body["items"]]

    async def patch(
        self, plural: str, name: str, body: object, kind: str = MERGE, sub: str = "", **query: Any
    ) -> Answer:
        """Patch an object."""
        return await self.call("PATCH", self.path(plural, name, sub), body, kind, **query)

    async def apply(self, plural: str, body: Json, manager: str = "a", sub: str = "", **query: Any) -> Answer:
        """Apply an object, server-side."""
        return await self.patch(plural, body["metadata"]["name"], body, APPLY, sub, fieldManager=manager, **query)

    async def delete(self, plural: str, name: str, body: Json | None = None) -> Answer:
        """Delete an object."""
        return await self.call("DELETE", self.path(plural, name), body)

    async def gone(self, plural: str, name: str) -> None:
        """Wait until an object is gone."""
        await self._answers(plural, name, 404)

    async def there(self, plural: str, name: str) -> None:
        """Wait until an object is there."""
        await self._answers(plural, name, 200)

    async def _answers(self, plural: str, name: str, status: int) -> None:
        async with _limited(f"{status} for {plural} {name}"):
            while (await self.get(plural, name)).status != status:  # noqa: ASYNC110 - a server, not a task of ours
                await asyncio.sleep(0.02)

    @contextlib.asynccontextmanager
    async def watch(self, plural: str, **query: Any) -> AsyncIterator["Watch"]:
        """Watch a kind in our namespace."""
        params = {"watch": "true", **query}
        async with self.session.get(self.url + self.path(plural), params=params, ssl=self.tls) as answer:
            yield Watch(answer)


class Watch:
    """The lines of a watch, one event each."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def next(self) -> tuple[str, Json]:
        """Give type and object of the next event."""
        async with _limited("the next event of a watch"):
            line = await self._answer.content.readline()
        assert line, "the watch has ended"
        event = json.loads(line)
        return event["type"], event["object"]

    async def rest(self) -> list[str]:
        """Give the types of the events that come until the server ends the watch."""
        async with _limited("the end of a watch"):
            return [json.loads(line)["type"] async for line in self._answer.content]

    async def until(self, kind: str) -> Json:
        """Give the object of the next event of a type."""
        while True:
            found, obj = await self.next()
            if found == kind:
                return obj


@contextlib.asynccontextmanager
async def _limited(what: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(LIMIT):
            yield
    except TimeoutError as error:
        raise TimeoutError(f"waited {LIMIT:g} s in vain for: {what}") from error


def fresh_namespace() -> str:
    """Name a namespace nobody has used."""
    return f"conformance-{next(_numbers)}"
