"""A pod as real processes, from the moment it is bound until nothing of it runs."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

from tests.process_kubelet.container import Container, Json, Mount, Sandbox
from tests.process_kubelet.image import CONTAIN, Image
from tests.process_kubelet.probes import repeat, succeeds

_LEAST_SECONDS: Final = 2.0
"""Seconds between SIGTERM and SIGKILL, even if a hook has used up the grace (kubelet's minimumGracePeriodInSeconds)."""

_log: Final = logging.getLogger(__name__)


class Host(Protocol):
    """What a pod needs of its kubelet."""

    image: Image
    folder: Path
    pace: float

    async def tell(self, manifest: Json, status: Json, conditions: dict[str, bool]) -> None:
        """Write the status of a pod."""

    def join(self, process: int, address: str) -> None:
        """Connect the network of a process with an address."""

    def ended(self, pod: str, container: str, code: int) -> None:
        """Note the end of a container, and its exit code."""

    async def gone(self, manifest: Json) -> None:
        """Tell the API server that nothing of a pod runs."""


@dataclass
class Pod:
    """A pod and its containers. ``address`` is its own, ``ended`` is true when nothing of it runs."""

    host: Host
    manifest: Json
    address: str
    status: Json = field(default_factory=dict)
    containers: dict[str, Container] = field(default_factory=dict)
    ended: bool = False
    _held: asyncio.subprocess.Process | None = None
    _life: asyncio.Task[None] | None = None
    _end: asyncio.Task[None] | None = None
    _deadline: float = float("inf")
    _hastened: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.name, self.uid = self.manifest["metadata"]["name"], self.manifest["metadata"]["uid"]
        self.folder = self.host.folder / f"{self.name}-{self.uid[:8]}"
        self.folder.mkdir(parents=True)
        self.hosts = self.folder / "hosts"
        self.hosts.write_text("")

    @property
    def hostname(self) -> str:
        """Give the name that the pod has inside."""
        return str(self.manifest["spec"].get("hostname", self.name))

    def names(self) -> list[str]:
        """Give the names by which others find the pod: its own, and those of its headless Service."""
        spec, namespace = self.manifest["spec"], self.manifest["metadata"]["namespace"]
        if self.ended or not spec.get("subdomain"):
            return []
        service = f"{spec['subdomain']}.{namespace}.svc"
        return [name + end for name in (service, f"{self.hostname}.{service}") for end in ("", ".cluster.local")]

    def begin(self) -> None:
        """Start the life of the pod."""
        self._life = asyncio.create_task(self._guarded(self._live()))

    def told(self, manifest: Json) -> None:
        """Hear what the API server has of the pod. A second deletion can shorten the grace of the first."""
        self.manifest = manifest
        if "deletionTimestamp" not in manifest["metadata"]:
            return
        grace = manifest["metadata"].get("deletionGracePeriodSeconds", 30)
        deadline = asyncio.get_running_loop().time() + grace
        if deadline < self._deadline - 1:
            self._deadline = deadline
            self._hastened.set()
        if self._end is None:
            self._end = asyncio.create_task(self._guarded(self._finish()))

    async def vanish(self) -> None:
        """Kill what is left of the pod: the API server does not know it any more."""
        tasks = [task for task in (self._life, self._end) if task is not None and task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for container in self.containers.values():
            container.signal(signal.SIGKILL)
            await container.wait()
        if self._held is not None:
            with contextlib.suppress(ProcessLookupError):
                self._held.kill()
            await self._held.wait()
        self.ended = True

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:
            _log.exception("%s", self.name)
            raise

    async def _live(self) -> None:
        spec = self.manifest["spec"]
        init = spec.get("initContainers") or []
        self.status = {
            "phase": "Pending",
            "podIP": self.address,
            "podIPs": [{"ip": self.address}],
            "startTime": now(),
            "initContainerStatuses": [_created(container) for container in init],
            "containerStatuses": [_created(container) for container in spec["containers"]],
        }
        await self._hold()
        await self._tell(Initialized=not init, Ready=False, ContainersReady=False)
        for place, container in enumerate(init):
            code = await self._run(container, self.status["initContainerStatuses"][place], watched=False)
            if code or self._end is not None:
                return await self._over("Failed")
        await self._tell(Initialized=True)
        self.status["phase"] = "Running"
        code = await self._run(spec["containers"][0], self.status["containerStatuses"][0], watched=True)
        return await self._over("Failed" if code else "Succeeded")

    async def _over(self, phase: str) -> None:
        """Say that the pod has ended. Kubernetes takes it out of its Services."""
        self.ended = True
        self.status["phase"] = phase
        await self._tell(Ready=False, ContainersReady=False)

    async def _hold(self) -> None:
        """Make the namespaces of the pod, and connect them."""
        pipe = asyncio.subprocess.PIPE
        self._held = await asyncio.create_subprocess_exec(*CONTAIN, "pod", self.hostname, stdout=pipe)
        assert self._held.stdout is not None
        await self._held.stdout.readline()
        await asyncio.to_thread(self.host.join, self._held.pid, self.address)

    async def _run(self, spec: Json, told: Json, *, watched: bool) -> int:
        """Run a container to its end; give its exit code."""
        container = self.containers[spec["name"]] = self._container(spec)
        started = now()
        await container.start()
        told["state"] = {"running": {"startedAt": started}}
        await self._tell()
        watching = asyncio.create_task(self._guarded(self._watch(spec, told, container))) if watched else None
        try:
            code = await container.wait()
        finally:
            if watching is not None:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
        ended = {"exitCode": code, "reason": "Error" if code else "Completed", "startedAt": started}
        if code and spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            ended["message"] = container.last_lines()
        told |= {"state": {"terminated": ended | {"finishedAt": now()}}, "ready": False, "started": False}
        self.host.ended(self.name, spec["name"], code)
        if not watched and not code:
            told["ready"] = True
            await self._tell()
        return code

    async def _watch(self, spec: Json, told: Json, container: Container) -> None:
        """Probe a container as its spec says: startup first, then readiness and liveness side by side."""
        ask = {kind: self._asking(spec[kind], container) for kind in _PROBES if kind in spec}
        passed: list[bool] = []

        async def begun(yes: bool) -> bool:
            passed.append(yes)
            return True

        if "startupProbe" in spec:
            await repeat(spec["startupProbe"], self.host.pace, ask["startupProbe"], begun)
            if not passed[0]:
                await self._stop(container, spec)
                return
        told["started"] = True

        async def ready(yes: bool) -> bool:
            told["ready"] = yes
            await self._tell(Ready=yes, ContainersReady=yes)
            return False

        async def alive(yes: bool) -> bool:
            if not yes:
                await self._stop(container, spec)
            return not yes

        tells = {"readinessProbe": ready, "livenessProbe": alive}
        if "readinessProbe" not in spec:
            await ready(True)
        going = (repeat(spec[kind], self.host.pace, ask[kind], tell) for kind, tell in tells.items() if kind in ask)
        await asyncio.gather(*going)

    def _asking(self, probe: Json, container: Container) -> Any:
        return lambda: succeeds(probe, self.address, container)

    async def _stop(self, container: Container, spec: Json) -> None:
        """End a container: its hook, SIGTERM, and SIGKILL when its time is over."""
        loop = asyncio.get_running_loop()
        if self._deadline == float("inf"):  # a probe ends it: the grace of the pod counts
            self._deadline = loop.time() + self.manifest["spec"]["terminationGracePeriodSeconds"]
        hook = ((spec.get("lifecycle") or {}).get("preStop") or {}).get("exec")
        if hook and container.running:
            await self._in_time(container.execute(hook["command"]))
        container.signal(signal.SIGTERM)
        least = loop.time() + _LEAST_SECONDS
        self._deadline = max(self._deadline, least)
        await self._in_time(container.wait())
        container.signal(signal.SIGKILL)

    async def _in_time(self, work: Coroutine[Any, Any, int]) -> None:
        """Let work end before the deadline, which may come nearer meanwhile."""
        doing, loop = asyncio.ensure_future(work), asyncio.get_running_loop()
        try:
            while not doing.done() and loop.time() < self._deadline:
                self._hastened.clear()
                sooner = asyncio.ensure_future(self._hastened.wait())
                left = self._deadline - loop.time()
                await asyncio.wait({doing, sooner}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                sooner.cancel()
        finally:
            doing.cancel()
            await asyncio.gather(doing, return_exceptions=True)

    async def _finish(self) -> None:
        """End a pod that is deleted."""
        spec = self.manifest["spec"]
        for container in (*spec["containers"], *(spec.get("initContainers") or ())):
            running = self.containers.get(container["name"])
            if running is not None and running.running:
                await self._stop(running, container)
                await running.wait()
                assert self._life is not None
                await asyncio.wait({self._life})  # until the end of the container is told
        await self.vanish()
        await self.host.gone(self.manifest)

    def _container(self, spec: Json) -> Container:
        assert self._held is not None
        sandbox = Sandbox(self._held.pid, self.folder, self.hosts, self.host.image)
        mounts = [self._mount(mount) for mount in spec.get("volumeMounts") or ()]
        return Container(sandbox, spec, mounts, {one["name"]: self._value(one) for one in spec.get("env") or ()})

    def _mount(self, mount: Json) -> Mount:
        (volume,) = [volume for volume in self.manifest["spec"]["volumes"] if volume["name"] == mount["name"]]
        target, read_only = mount["mountPath"], mount.get("readOnly", False)
        if "hostPath" in volume:
            source = Path(volume["hostPath"]["path"]) / mount.get("subPath", "")
            return Mount(target, str(source), read_only=read_only)
        if "emptyDir" not in volume:
            raise NotImplementedError(f"{self.name}: process kubelets have no volumes such as {volume}")
        if volume["emptyDir"].get("medium") == "Memory":
            return Mount(target, size=volume["emptyDir"].get("sizeLimit", "").removesuffix("i").lower())
        source = self.folder / "volumes" / volume["name"]
        source.mkdir(parents=True, exist_ok=True)
        return Mount(target, str(source), read_only=read_only)

    def _value(self, variable: Json) -> str:
        if "valueFrom" not in variable:
            return str(variable.get("value", "")).replace("$$", "$")
        meta = self.manifest["metadata"]
        fields = {"status.podIP": self.address, "metadata.name": self.name, "metadata.namespace": meta["namespace"]}
        return str(fields[variable["valueFrom"]["fieldRef"]["fieldPath"]])

    async def _tell(self, **conditions: bool) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(self.host.tell(self.manifest, self.status, conditions))


_PROBES: Final = ("startupProbe", "readinessProbe", "livenessProbe")


def now() -> str:
    """Give the time as the API writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _created(container: Json) -> Json:
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": "",
        "ready": False,
        "started": False,
        "restartCount": 0,
        "state": {"waiting": {"reason": "PodInitializing"}},
        "lastState": {},
    }
