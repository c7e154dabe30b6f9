"""A steady load of requests through a Service: each request goes to a pod that the Service selects when it begins."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
from tests.process_kubelet.kubelet import Refused
from tests.process_kubelet.scene import Scene

CLIENTS: Final = 2


@dataclass(frozen=True)
class Asked:
    """A request: the pod that it went to, when it began and ended (monotonic seconds), and its tokens or its error.

    ``place`` is empty if the Service selected no pod.
    """

    place: str
    began: float
    ended: float
    tokens: list[int]
    error: str = ""

    @property
    def seconds(self) -> float:
        """The time that the client waited."""
        return self.ended - self.began


@dataclass(frozen=True)
class Request:
    """A request that clients repeat: a completion of ``count`` tokens, with further fields of its body."""

    prompt: str
    count: int
    more: Mapping[str, Any] = field(default_factory=dict)


async def _ask(scene: Scene, place: str, request: Request) -> tuple[list[int], str]:
    if not place:
        return [], "the Service selects no pod"
    try:
        return await scene.ask(place, request.prompt, request.count, **request.more), ""
    except (aiohttp.ClientError, OSError, Refused) as error:
        return [], repr(error)


@contextlib.asynccontextmanager
async def steady_load(scene: Scene, service: str, request: Request, pause: float = 0.0) -> AsyncIterator[list[Asked]]:
    """Let clients ask again and again, ``pause`` seconds after each answer, for as long as the block lasts.

    Each client goes round the pods that the Service selects. Give the requests that have ended; after the block, all.
    """
    asked: list[Asked] = []
    done = asyncio.Event()

    async def client(turn: int) -> None:
        while not done.is_set():
            began = time.monotonic()
            there = await scene.endpoints(service)
            place = there[turn % len(there)] if there else ""
            tokens, error = await _ask(scene, place, request)
            asked.append(Asked(place, began, time.monotonic(), tokens, error))
            turn += 1
            await asyncio.sleep(pause)

    clients = [asyncio.create_task(client(number)) for number in range(CLIENTS)]
    try:
        yield asked
    finally:
        done.set()
        await asyncio.gather(*clients)
