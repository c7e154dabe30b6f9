"""Kubelets that run pods as real processes on this machine, against any API server.

They keep what a real kubelet keeps: init containers in their order, words and variables as they are, addresses, names
of headless Services, probes, hooks, SIGTERM, grace, SIGKILL, exit codes, termination messages and phases. They have no
images, devices, limits of CPU and memory, Secrets, ConfigMaps, and no pods of several containers.
"""

import asyncio
import contextlib
import json
import logging
import ssl
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp
from tests.process_kubelet.container import Json
from tests.process_kubelet.image import Image
from tests.process_kubelet.network import Network
from tests.process_kubelet.pod import Pod, now

_log: Final = logging.getLogger(__name__)
_OK: Final = 200
_MERGE: Final = "application/merge-patch+json"
_LOOK_SECONDS: Final = 0.1
_BEAT_SECONDS: Final = 4.0
"""Seconds between the heartbeats of nodes. A control plane evicts pods from nodes that fall silent."""


class Refused(Exception):
    """An answer of the API server that is an error."""


@dataclass(frozen=True)
class Line:
    """A line to an API server."""

    session: aiohttp.ClientSession
    url: str
    tls: ssl.SSLContext | bool = True

    async def call(self, method: str, path: str, body: object = None, kind: str = "application/json") -> Json:
        """Make a request, and give the answer. Raises :class:`Refused` with the code and the reason."""
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": kind}
        async with self.session.request(method, self.url + path, data=data, headers=headers, ssl=self.tls) as answer:
            found: Json = await answer.json()
            if answer.status >= 400:
                raise Refused(f"{answer.status} {method} {path}: {found.get('message')}")
            return found


@dataclass
class Kubelets:
    """The kubelets of some nodes. A second between two probes lasts ``pace`` seconds; graces are what they are.

    ``exits`` are the containers that have ended: pod, container and exit code.
    """

    line: Line
    nodes: Collection[str]
    image: Image
    folder: Path
    pace: float = 1.0
    pods: dict[str, Pod] = field(default_factory=dict)
    exits: list[tuple[str, str, int]] = field(default_factory=list)
    _network: Network = field(default_factory=Network)

    async def serve(self) -> None:
        """Look at the pods again and again, and let nodes send their heartbeats."""
        beating = asyncio.create_task(self._beat())
        try:
            while True:
                with contextlib.suppress(aiohttp.ClientError, OSError, Refused):
                    await self._look()
                await asyncio.sleep(_LOOK_SECONDS)
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)

    async def kill_all(self) -> None:
        """Kill all pods at once, and let the API server forget them."""
        there = list(self.pods.values())
        await asyncio.gather(*(pod.vanish() for pod in there))
        for pod in there:
            await self.gone(pod.manifest)

    async def stop(self) -> None:
        """Kill all pods at once, and give the network back."""
        await asyncio.gather(*(pod.vanish() for pod in self.pods.values()))
        self._network.close()

    def pod(self, name: str) -> Pod:
        """Give a pod by its name, the newest if there were several."""
        return [pod for pod in self.pods.values() if pod.name == name][-1]

    async def _look(self) -> None:
        listed = (await self.line.call("GET", "/api/v1/pods"))["items"]
        there = {item["metadata"]["uid"]: item for item in listed if self._runs(item["spec"])}
        for uid, manifest in there.items():
            if uid not in self.pods and "deletionTimestamp" in manifest["metadata"]:
                await self.gone(manifest)
                continue
            if uid not in self.pods:
                address = self._network.new_address()
                self.pods[uid] = Pod(self, manifest, address)
                self.pods[uid].begin()
            self.pods[uid].told(manifest)
        for uid in set(self.pods) - set(there):
            pod = self.pods.pop(uid)
            await pod.vanish()
            self._network.give_back(pod.address)
        self._write_hosts()

    def _runs(self, spec: Json) -> bool:
        """Tell whether a pod is for us: no daemon of the cluster, which would be restarted for ever."""
        return spec.get("nodeName") in self.nodes and spec["restartPolicy"] == "Never"

    def _write_hosts(self) -> None:
        """Let pods find one another by name, as cluster DNS does."""
        shared = "".join(f"{pod.address} {name}\n" for pod in self.pods.values() for name in pod.names())
        for pod in self.pods.values():
            text = f"127.0.0.1 localhost\n{pod.address} {pod.hostname}\n{shared}"
            if pod.hosts.read_text() != text:
                pod.hosts.write_text(text)

    async def tell(self, manifest: Json, status: Json, conditions: Mapping[str, bool]) -> None:
        """Write the status of a pod. The conditions that others wrote stay."""
        meta = manifest["metadata"]
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        with contextlib.suppress(Refused):  # it is gone, or another has its name
            there = await self.line.call("GET", path)
            if there["metadata"]["uid"] != meta["uid"]:
                return
            found = {one["type"]: one for one in (there.get("status") or {}).get("conditions") or ()}
            for kind, yes in conditions.items():
                if found.get(kind, {}).get("status") != str(yes):
                    found[kind] = {"type": kind, "status": str(yes), "lastTransitionTime": now()}
            patch = {"status": {**status, "conditions": list(found.values())}}
            await self.line.call("PATCH", f"{path}/status", patch, _MERGE)

    def join(self, process: int, address: str) -> None:
        """Connect the network of a pod."""
        self._network.join(process, address)

    def ended(self, pod: str, container: str, code: int) -> None:
        """Note the end of a container."""
        _log.info("%s: %s ended with %d", pod, container, code)
        self.exits.append((pod, container, code))

    async def gone(self, manifest: Json) -> None:
        """Tell the API server that nothing of a pod runs any more."""
        meta = manifest["metadata"]
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": meta["uid"]}}
        with contextlib.suppress(Refused):
            await self.line.call("DELETE", f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}", body)

    async def _beat(self) -> None:
        while True:
            for name in self.nodes:
                ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now()}
                ready |= {"message": "kubelet is posting ready status", "lastTransitionTime": now()}
                with contextlib.suppress(aiohttp.ClientError, OSError, Refused):
                    status = {"status": {"conditions": [ready]}}
                    await self.line.call("PATCH", f"/api/v1/nodes/{name}/status", status, _MERGE)
            await asyncio.sleep(_BEAT_SECONDS)


@contextlib.asynccontextmanager
async def process_kubelets(
    line: Line, nodes: Collection[str], image: Image, folder: Path, pace: float = 1.0
) -> AsyncIterator[Kubelets]:
    """Run the kubelets of some nodes for as long as the block lasts; no process outlives it."""
    kubelets = Kubelets(line, nodes, image, folder, pace)
    serving = asyncio.create_task(kubelets.serve())
    try:
        yield kubelets
    finally:
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving
        await kubelets.stop()
