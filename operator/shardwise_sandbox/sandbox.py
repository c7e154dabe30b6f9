"""The sandbox: API, scheduler, kubelets and garbage collector together, with conveniences for tests and the demo."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TypeVar

import yaml

from shardwise_sandbox.admission import WriteOptions
from shardwise_sandbox.api import Api
from shardwise_sandbox.claims import Claims
from shardwise_sandbox.deletion import DeleteOptions
from shardwise_sandbox.engines import Engines
from shardwise_sandbox.errors import ApiError
from shardwise_sandbox.faults import FaultHook, RequestInfo
from shardwise_sandbox.kubelet import Delays, Kubelet
from shardwise_sandbox.kueue import Kueue, kueue_definitions
from shardwise_sandbox.objects import JsonObject, copied, name_of, namespace_of
from shardwise_sandbox.pod_index import PodIndex
from shardwise_sandbox.resources import ResourceType
from shardwise_sandbox.scheduler import Scheduler
from shardwise_sandbox.selectors import Selection, parse_fields, parse_labels
from shardwise_sandbox.server import Server
from shardwise_sandbox.store import ObjectStore, Ref, ref_of
from shardwise_sandbox.validation import CelEvaluator
from shardwise_sandbox.watch import ObjectChange
from shardwise_sandbox.writes import Target

_Value = TypeVar("_Value")
_ROUNDS = 1000
"""The rounds after which ``settle`` concludes that the controllers never finish."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class _Controller(Protocol):
    @property
    def pending(self) -> bool: ...

    def step(self) -> bool: ...


class Sandbox:
    """A Kubernetes cluster in memory. ``async with Sandbox() as cluster:`` serves it at ``cluster.url``.

    Without ``async with``, all synchronous methods work: there is no server, and ``settle`` runs the controllers.
    ``kind`` is a kind, plural, short name or ``plural.group``. The methods copy their arguments, return copies, and
    raise ``ApiError``. Without ``kubelets``, bound pods wait for kubelets that come over HTTP.
    """

    def __init__(  # noqa: PLR0913 - a cluster has many settings, all keyword-only with defaults
        self,
        *,
        now: Callable[[], datetime] = _utc_now,
        history: int = 10_000,
        bookmark_every: float = 60.0,
        delays: Delays | None = None,
        controllers: bool = True,
        kubelets: bool = True,
        objects: Iterable[JsonObject] = (),
        cel_evaluator: CelEvaluator | None = None,
        port: int = 0,
    ) -> None:
        self.api = Api(now, history, cel_evaluator)
        index = PodIndex(self.api.store)
        self.claims = Claims(self.api)
        self.scheduler = Scheduler(self.api, index, self.claims)
        self.kubelet = Kubelet(self.api, index, delays)
        self.engines = Engines(self.api)
        self._server = Server(self.api, bookmark_every)
        self._port = port
        self._runs_controllers = controllers
        self._runs_kubelets = kubelets
        self._tasks: list[asyncio.Task[None]] = []
        self._waiters: set[asyncio.Event] = set()
        self._work: asyncio.Event | None = None
        self.store.listeners.append(self._notice)
        self.store.log.on_subscribe = self._tell_waiters
        self._server.on_answer = self._tell_waiters
        self.kubelet.woken = self._wake
        self.kueue: Kueue | None = None
        self.create_all(objects)

    def add_kueue(self, objects: Iterable[JsonObject]) -> None:
        """Install Kueue, with its objects: flavours and queues."""
        self.create_all([*kueue_definitions(), *objects])
        self.kueue = Kueue(self.api)

    @property
    def store(self) -> ObjectStore:
        """The objects and their history. Its objects are shared: copy an object before you change it."""
        return self.api.store

    @property
    def url(self) -> str:
        """The URL of the API; empty outside ``async with``."""
        return self._server.url

    @property
    def requests(self) -> list[RequestInfo]:
        """All requests, oldest first. Clear the list to start a new count."""
        return self._server.requests

    @property
    def faults(self) -> FaultHook | None:
        """The hook that injects faults into requests; ``None`` for no faults."""
        return self._server.faults

    @faults.setter
    def faults(self, hook: FaultHook | None) -> None:
        self._server.faults = hook

    async def __aenter__(self) -> Self:
        self._work = asyncio.Event()
        await self._server.start(self._port)
        if self._runs_controllers:
            self._tasks.append(asyncio.create_task(self._run_controllers(self._work), name="sandbox-controllers"))
            self._work.set()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kubelet.stop()
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        self._tasks.clear()
        self._work = None
        await self._server.stop()

    async def _run_controllers(self, work: asyncio.Event) -> None:
        while True:
            await work.wait()
            work.clear()
            # Requests come between the rounds, as on a real cluster.
            if self._round():
                work.set()
                await asyncio.sleep(0)

    def _controllers(self) -> Sequence[_Controller]:
        queue = [] if self.kueue is None else [self.kueue]
        kubelets = [self.kubelet] if self._runs_kubelets else []
        return (*queue, self.api.collector, self.claims, self.scheduler, *kubelets)

    def _round(self) -> bool:
        """Run a step of every controller. Return whether any of them did something."""
        worked = [controller.step() for controller in self._controllers()]
        return any(worked)

    def settle(self) -> None:
        """Run scheduler, kubelets and collector until all are done. Kubelet steps with a delay stay delayed."""
        for _ in range(_ROUNDS):
            if not self._round():
                return
        raise RuntimeError(f"the controllers of the sandbox still find work after {_ROUNDS} rounds")

    def _notice(self, change: ObjectChange) -> None:
        del change
        self._wake()

    def _wake(self) -> None:
        if self._work is not None:
            self._work.set()
        self._tell_waiters()

    def _tell_waiters(self) -> None:
        for waiter in self._waiters:
            waiter.set()

    async def wait_for(self, predicate: Callable[[], _Value], what: str = "", timeout: float = 5.0) -> _Value:  # noqa: ASYNC109 - the caller gives a bound in words of the test, and an error that says what was missing
        """Return the result of the predicate as soon as it is true.

        The predicate is called again after each change of the store, each response and each new watch. An ``ApiError``
        counts as false. ``what`` names the awaited event in the message of the ``TimeoutError``.
        """
        changed = asyncio.Event()
        self._waiters.add(changed)
        last: object = None
        try:
            async with asyncio.timeout(timeout):
                while True:
                    changed.clear()
                    last, value = _ask(predicate)
                    if value:
                        return value
                    await changed.wait()
        except TimeoutError:
            recent = "; ".join(map(str, self.requests[-5:])) or "none"
            said = what or getattr(predicate, "__doc__", None) or getattr(predicate, "__qualname__", repr(predicate))
            message = f"waited {timeout:g} s in vain for: {said}; last answer: {last!r}; last requests: {recent}"
            raise TimeoutError(message) from None
        finally:
            self._waiters.discard(changed)

    def kubeconfig(self) -> JsonObject:
        """Return a kubeconfig for the served API."""
        name = "sandbox"
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [{"name": name, "cluster": {"server": self.url}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "default"}}],
            "users": [{"name": name, "user": {"token": name}}],
        }

    def write_kubeconfig(self, path: Path) -> Path:
        """Write the kubeconfig to a file; return its path."""
        path.write_text(yaml.safe_dump(self.kubeconfig()), encoding="utf-8")
        return path

    def _kind(self, kind: str) -> ResourceType:
        return self.store.registry.named(kind)

    def create(self, obj: JsonObject) -> JsonObject:
        """Create an object together with its status, unlike a real server."""
        resource = self.store.registry.of(obj)
        namespace = (namespace_of(obj) or "default") if resource.namespaced else ""
        created = self.api.writer.create(resource, namespace, obj)
        if resource.has_status and "status" in obj:
            target = Target(resource, ref_of(created), "status")
            status = {**created.get("status", {}), **obj["status"]}
            created = self.api.writer.replace(target, {**created, "status": status})
        return copied(created)

    def create_all(self, objects: Iterable[JsonObject]) -> None:
        """Create objects in the given order."""
        for obj in objects:
            self.create(obj)

    def get(self, kind: str, namespace: str, name: str) -> JsonObject:
        """Return a copy of an object; the namespace of cluster-scoped kinds is empty."""
        return copied(self.store.get(self._kind(kind), (namespace, name)))

    def find(self, kind: str, namespace: str, name: str) -> JsonObject | None:
        """Return a copy of an object; ``None`` if it does not exist."""
        return copied(self.store.find(self._kind(kind), (namespace, name)))

    def list(self, kind: str, namespace: str = "", *, labels: str = "", fields: str = "") -> Sequence[JsonObject]:
        """Return copies of the selected objects, sorted by namespace and name. An empty namespace means all."""
        resource = self._kind(kind)
        selection = Selection(namespace, parse_labels(labels), parse_fields(fields, resource.selects))
        return copied(self.api.reader.select(resource, selection))

    def names(self, kind: str, namespace: str = "", *, labels: str = "") -> Sequence[str]:
        """Return the names of the selected objects, sorted by namespace and name."""
        return [name_of(obj) for obj in self.list(kind, namespace, labels=labels)]

    def patch(self, kind: str, namespace: str, name: str, patch: JsonObject, subresource: str = "") -> JsonObject:
        """Apply a merge patch to an object, or to its subresource."""
        target = Target(self._kind(kind), (namespace, name), subresource)
        return copied(self.api.writer.patch(target, _MERGE, copied(patch)))

    def apply(self, obj: JsonObject, *, manager: str = "sandbox", force: bool = False) -> JsonObject:
        """Apply an object server-side."""
        resource = self.store.registry.of(obj)
        ref: Ref = ((namespace_of(obj) or "default") if resource.namespaced else "", name_of(obj))
        applied, _ = self.api.writer.apply(Target(resource, ref), obj, WriteOptions(manager=manager, force=force))
        return copied(applied)

    def delete(self, kind: str, namespace: str, name: str, options: DeleteOptions | None = None) -> None:
        """Delete an object, or begin its deletion."""
        self.api.deleter.delete(self._kind(kind), (namespace, name), options)

    def drop_watches(self, kind: str = "") -> int:
        """End the watches of a kind, or all watches. Clients see the end of the stream. Return how many."""
        return self.store.log.drop(self._kind(kind).key if kind else None)

    def compact(self) -> None:
        """Forget the history: a watch from an old version gets 410.

        ``drop_watches``, then a deletion, then ``compact`` loses the DELETED event.
        """
        self.store.log.compact()

    def bookmark(self) -> None:
        """Send a bookmark now to every watch that accepts bookmarks."""
        self.store.log.bookmark()


_MERGE = "application/merge-patch+json"


def _ask(predicate: Callable[[], _Value]) -> tuple[object, _Value | None]:
    try:
        value = predicate()
    except ApiError as error:
        return error, None
    return value, value
