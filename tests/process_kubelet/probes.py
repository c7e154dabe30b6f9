"""Probes as a kubelet makes them: over HTTP, by a bare connection, or by a command in the container."""

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
from tests.process_kubelet.container import Container, Json


async def succeeds(probe: Json, address: str, container: Container) -> bool:
    """Make a probe once."""
    try:
        async with asyncio.timeout(probe.get("timeoutSeconds", 1)):
            if "exec" in probe:
                return await container.execute(probe["exec"]["command"]) == 0
            if "tcpSocket" in probe:
                _, writer = await asyncio.open_connection(address, int(probe["tcpSocket"]["port"]))
                writer.close()
                return True
            get = probe["httpGet"]
            url = f"http://{address}:{get['port']}{get.get('path', '/')}"
            async with aiohttp.ClientSession() as session, session.get(url) as answer:
                return 200 <= answer.status < 400
    except (OSError, TimeoutError, aiohttp.ClientError):
        return False


async def repeat(
    probe: Json, pace: float, ask: Callable[[], Awaitable[bool]], tell: Callable[[bool], Awaitable[bool]]
) -> None:
    """Ask again and again, and tell each change, until ``tell`` gives true.

    A change is as many equal answers in a row as the thresholds say. A second between probes lasts ``pace`` seconds.
    """
    known: bool | None = None
    last, row = False, 0
    while True:
        answer = await ask()
        row = row + 1 if answer == last else 1
        last = answer
        enough = row >= (probe.get("successThreshold", 1) if answer else probe.get("failureThreshold", 3))
        if enough and answer != known:
            known = answer
            if await tell(answer):
                return
        await asyncio.sleep(probe.get("periodSeconds", 10) * pace)
