"""The cluster and the operator of the demo, and the waiting of its steps."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeVar

from rich.console import Console

from shardwise.api import crd
from shardwise.api.base import KIND
from shardwise.controller import Options, run
from shardwise.domain.units import plural
from shardwise.render.manifest import MODEL
from shardwise_sandbox import Sandbox, compute_domain_definition
from shardwise_sandbox.asked import asked_in
from shardwise_sandbox.demo.documents import fleet_documents

Json = dict[str, Any]
_Seen = TypeVar("_Seen")

NAMESPACE: Final = "default"
LIMIT_SECONDS: Final = 30.0
"""The seconds that a step waits before the demo fails."""


class DemoFailed(Exception):
    """A check of the demo failed."""


@dataclass(frozen=True, slots=True)
class DemoSession:
    """A running cluster with a running operator, and the screen that shows them."""

    cluster: Sandbox
    kubeconfig: Path
    screen: Console
    operator: asyncio.Task[None]

    def status(self, name: str) -> Json:
        """Return the status of an object; empty if the object does not exist."""
        found = self.cluster.find(KIND, NAMESPACE, name)
        return {} if found is None else found.get("status") or {}

    def pods(self, name: str) -> list[Json]:
        """List the pods of an object, sorted by name."""
        return list(self.cluster.list("pods", NAMESPACE, labels=f"{MODEL}={name}"))

    def services(self, name: str) -> list[Json]:
        """List the Services of an object."""
        return list(self.cluster.list("services", NAMESPACE, labels=f"{MODEL}={name}"))

    async def follow_until_ready(self, name: str, *, restarts: int = 0) -> Json:
        """Show each new message of an object until it is Ready after ``restarts`` restarts. Return its status."""
        shown = self.status(name).get("message", "")
        while True:
            news = partial(self._news, name, shown, restarts)
            status = await self._wait(news, f"{name} to be Ready after {plural(restarts, 'restart')}")
            shown = status["message"]
            self.screen.print(f"  {name}: {shown}", style="green" if is_true(status, "Ready") else "")
            if _has_recovered(status, restarts):
                return status
            check(not is_true(status, "Stalled"), f"{name} is stalled: {shown}")

    def _news(self, name: str, last: str, restarts: int) -> Json:
        """Return the status if its message is new or the object is Ready again; a message can return unseen."""
        status = self.status(name)
        said = status.get("message", "")
        return status if said and (said != last or _has_recovered(status, restarts)) else {}

    async def wait_clean(self, name: str) -> None:
        """Wait until all pods and Services of an object are gone."""
        await self._wait(lambda: not (self.pods(name) or self.services(name)), f"{name} to be cleaned up")

    async def _wait(self, condition: Callable[[], _Seen], awaited: str) -> _Seen:
        try:
            return await self.cluster.wait_for(condition, what=awaited, timeout=LIMIT_SECONDS)
        except TimeoutError as error:
            raise DemoFailed(str(error)) from error


def check(holds: bool, failure: str) -> None:  # noqa: FBT001 - reads as a sentence where it is called
    """Fail the demo with the message ``failure``, unless the check holds."""
    if not holds:
        raise DemoFailed(failure)


def is_true(status: Json, condition: str) -> bool:
    """Return whether the condition has the status True."""
    return any(item["type"] == condition and item["status"] == "True" for item in status.get("conditions") or ())


def _has_recovered(status: Json, restarts: int) -> bool:
    return is_true(status, "Ready") and status["restarts"] == restarts


@contextlib.asynccontextmanager
async def running_session(screen: Console) -> AsyncIterator[DemoSession]:
    """Start the cluster and the operator; stop both at the end."""
    with TemporaryDirectory(prefix="shardwise-demo-") as folder:
        async with Sandbox(objects=[crd.definition(), compute_domain_definition(), *fleet_documents()]) as cluster:
            kubeconfig = Path(folder) / "kubeconfig"
            cluster.write_kubeconfig(kubeconfig)
            stop, ready = asyncio.Event(), asyncio.Event()
            operator = asyncio.create_task(run(Options(kubeconfig=kubeconfig, fetch=asked_in(cluster)), stop, ready))
            try:
                await _started(operator, ready)
                yield DemoSession(cluster, kubeconfig, screen, operator)
            finally:
                stop.set()
                await operator


async def _started(operator: asyncio.Task[None], ready: asyncio.Event) -> None:
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({operator, waiting}, return_when=asyncio.FIRST_COMPLETED, timeout=LIMIT_SECONDS)
    waiting.cancel()
    if operator.done():
        operator.result()
    check(ready.is_set(), f"the operator was not ready within {LIMIT_SECONDS:.0f} s")
