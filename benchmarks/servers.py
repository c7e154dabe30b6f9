"""The two API servers the operator is measured on, in memory and real, reached alike; and every call they got."""

import abc
import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import aiohttp
from benchmarks.kubelets import played
from tests.cluster.conformance import JSON, Api
from tests.cluster.plane import ControlPlane

from shardwise.api import crd
from shardwise_sandbox import Fault, Sandbox, compute_domain_definition
from shardwise_sandbox.faults import RequestInfo

Json = dict[str, Any]

NAMESPACE: Final = "default"
_OURS: Final = "benchmark"
"""Our user agent: who calls by another is the operator."""

_OPERATOR: Final = "operator"
"""The operator's user name on the real server."""

_WRITES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE", "create", "update", "patch", "delete"})
_AT_ONCE: Final = 32
_UNCHECKED: Final = "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition"
"""What a controller-manager undoes, and there is none: pods need an account, nodes are tainted until they are seen."""


@dataclass(frozen=True)
class Call:
    """One call, when it reached the server, in seconds since the epoch."""

    at: float
    path: str
    writes: bool
    ours: bool

    def is_about(self, name: str) -> bool:
        """Tell whether it names an object, or something named after it."""
        return any(part == name or part.startswith(f"{name}-") for part in self.path.split("/"))


@dataclass
class Server(abc.ABC):
    """An API server. ``kubeconfig`` is the operator's."""

    name: str
    api: Api
    kubeconfig: Path

    @abc.abstractmethod
    def calls(self) -> list[Call]:
        """Give all calls since they were last counted anew, in the order of their arrival."""

    @abc.abstractmethod
    def count_anew(self) -> None:
        """Forget the calls so far."""

    @abc.abstractmethod
    async def add_nodes(self, nodes: Iterable[Json]) -> None:
        """Make nodes, with the status they come with."""

    async def write_all(self, calls: Iterable[tuple[str, str, Json, str]]) -> list[Json]:
        """Make calls (method, path, body, content type), many at once; all must succeed. Gives the answers in order."""
        limit = asyncio.Semaphore(_AT_ONCE)

        async def one(method: str, path: str, body: Json, kind: str) -> Json:
            async with limit:
                return await self.write(method, path, body, kind)

        return list(await asyncio.gather(*(one(*call) for call in calls)))

    async def write(self, method: str, path: str, body: Json | None, kind: str) -> Json:
        """Make a call that must succeed. What is applied is the operator's, as if it had written it."""
        query = {"fieldManager": "shardwise", "force": "true"} if "apply-patch" in kind else {}
        answer = await self.api.call(method, path, body, kind, **query)
        if answer.status >= 300:  # noqa: PLR2004 - HTTP's
            raise RuntimeError(f"{method} {path}: {answer.status} {answer.body.get('message')}")
        return answer.body

    async def get(self, path: str) -> Json:
        """Read."""
        return (await self.api.call("GET", path)).body


@dataclass
class InMemory(Server):
    """The in-memory API, served over HTTP by this process. Its own scheduler and kubelets run."""

    sandbox: Sandbox = field(kw_only=True)
    _calls: list[Call] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sandbox.faults = self._note

    def _note(self, request: RequestInfo) -> Fault | None:
        ours = request.user_agent == _OURS
        self._calls.append(Call(time.time(), request.path, request.is_write, ours))
        return None

    def calls(self) -> list[Call]:
        """Give the calls."""
        return list(self._calls)

    def count_anew(self) -> None:
        """Forget the calls."""
        self._calls.clear()
        self.sandbox.requests.clear()

    async def add_nodes(self, nodes: Iterable[Json]) -> None:
        """Make nodes behind the API: it takes no status with what is created."""
        self.sandbox.create_all(nodes)


@dataclass
class Real(Server):
    """etcd and kube-apiserver, and nobody else; kubelets are played by this process."""

    plane: ControlPlane = field(kw_only=True)
    _read: int = 0

    def calls(self) -> list[Call]:
        """Read the audit log."""
        with self.plane.audit_log.open("rb") as log:
            log.seek(self._read)
            lines = log.read().rpartition(b"\n")[0].splitlines()
        return sorted(_audited(lines), key=lambda call: call.at)

    def count_anew(self) -> None:
        """Read on from here."""
        self._read = self.plane.audit_log.stat().st_size

    async def add_nodes(self, nodes: Iterable[Json]) -> None:
        """Make nodes, as kubelets do."""
        await self.write_all(("POST", "/api/v1/nodes", node, JSON) for node in nodes)


def _audited(lines: Sequence[bytes]) -> Iterator[Call]:
    for line in lines:
        said = json.loads(line)
        user, watching = said["user"].get("username"), said["stage"] == "ResponseStarted"
        if user in ("admin", _OPERATOR) and not watching:
            at = datetime.fromisoformat(said["requestReceivedTimestamp"]).timestamp()
            path = said["requestURI"].partition("?")[0]
            yield Call(at, path, said["verb"] in _WRITES, user != _OPERATOR)


@contextlib.asynccontextmanager
async def in_memory(folder: Path) -> AsyncIterator[Server]:
    """Serve the in-memory API."""
    async with _session() as session, Sandbox(objects=[crd.definition(), compute_domain_definition()]) as sandbox:
        kubeconfig = sandbox.write_kubeconfig(folder / "kubeconfig")
        api = Api(session, sandbox.url, NAMESPACE, tls=False, forget=sandbox.compact)
        yield InMemory("in memory", api, kubeconfig, sandbox=sandbox)


@contextlib.asynccontextmanager
async def real(folder: Path) -> AsyncIterator[Server]:
    """Start etcd and kube-apiserver, and play the kubelets."""
    plane = ControlPlane(folder / "plane")
    try:
        plane.start_servers(_UNCHECKED)
        plane.kubectl("apply", "--server-side", "-f", "-", given=crd.definition())
        plane.established("shardedmodels.shardwise.dev")
        kubeconfig = plane.kubeconfig_for(_OPERATOR, plane.keys.issue(_OPERATOR, _OPERATOR, "system:masters"))
        async with administrator(plane) as api, played(api):
            yield Real("real", api, kubeconfig, plane=plane)
    finally:
        plane.processes.stop_all()


@contextlib.asynccontextmanager
async def administrator(plane: ControlPlane) -> AsyncIterator[Api]:
    """Reach a control plane as its administrator."""
    async with _session() as session:
        yield Api(session, plane.url, NAMESPACE, plane.tls(), plane.forget)


def _session() -> aiohttp.ClientSession:
    """Make a session in which a watch may last."""
    timeout = aiohttp.ClientTimeout(total=None)
    return aiohttp.ClientSession(headers={"User-Agent": _OURS}, timeout=timeout, read_bufsize=2**20)
