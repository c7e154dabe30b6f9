"""A cluster whose pods are real processes, with an operator that can be stopped: what users and tests do to it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import aiohttp
from tests.process_kubelet.container import Json
from tests.process_kubelet.kubelet import Kubelets, Line, Refused

LIMIT: Final = 60.0
"""Seconds that anything may take."""

_OK: Final = 200
_APPLY: Final = "application/apply-patch+yaml"
_MERGE: Final = "application/merge-patch+json"
_MODELS: Final = "/apis/shardwise.dev/v1alpha1/namespaces/default/shardedmodels"
_PODS: Final = "/api/v1/namespaces/default/pods"


class Operator(Protocol):
    """The operator of a cluster."""

    async def start(self) -> None:
        """Start it."""

    async def stop(self) -> None:
        """Stop it, as for an update of the operator."""


@dataclass
class Scene:
    """A cluster with process kubelets. Objects live in the namespace ``default``.

    ``has_slices`` tells whether a controller keeps EndpointSlices; else Services are resolved by their selectors.
    """

    line: Line
    kubelets: Kubelets
    operator: Operator
    has_slices: bool = False

    async def apply(self, model: Json) -> None:
        """Apply a model as a user does."""
        path = f"{_MODELS}/{model['metadata']['name']}?fieldManager=user&force=true"
        await self.line.call("PATCH", path, model, _APPLY)

    async def patch(self, name: str, **spec: Any) -> None:
        """Change fields of a model."""
        await self.line.call("PATCH", f"{_MODELS}/{name}", {"spec": spec}, _MERGE)

    async def delete(self, name: str) -> None:
        """Delete a model."""
        await self.line.call("DELETE", f"{_MODELS}/{name}")

    async def delete_all(self) -> None:
        """Delete every model, and kill its pods instead of waiting for their graces."""
        names = [item["metadata"]["name"] for item in (await self.line.call("GET", _MODELS))["items"]]
        for name in names:
            await self.delete(name)
        await self.kubelets.kill_all()
        for name in names:
            await self.gone(name)

    async def status(self, name: str) -> Json:
        """Give the status of a model."""
        return (await self.line.call("GET", f"{_MODELS}/{name}")).get("status") or {}

    async def groups(self, name: str) -> list[tuple[int, str]]:
        """Give attempt and state of each group of a model."""
        groups = (await self.status(name)).get("groups") or ()
        return [(group["attempt"], group["state"]) for group in groups]

    async def is_ready(self, name: str) -> bool:
        """Tell whether a model is Ready for its present generation."""
        found = await self.line.call("GET", f"{_MODELS}/{name}")
        status = found.get("status") or {}
        ready = [one["status"] for one in status.get("conditions") or () if one["type"] == "Ready"]
        return ready == ["True"] and status.get("observedGeneration") == found["metadata"]["generation"]

    async def pods(self, name: str) -> list[Json]:
        """List the pods of a model by name."""
        found = await self.line.call("GET", f"{_PODS}?labelSelector=shardwise.dev/model%3D{name}")
        return sorted(found["items"], key=lambda pod: str(pod["metadata"]["name"]))

    async def pod(self, name: str) -> Json:
        """Give a pod; empty if there is none."""
        try:
            return await self.line.call("GET", f"{_PODS}/{name}")
        except Refused:
            return {}

    async def until(self, so: Callable[[], Awaitable[Any]], what: str, limit: float = LIMIT) -> Any:
        """Wait until something is so, and give it. Raises ``TimeoutError`` with what was waited for."""
        deadline = time.monotonic() + limit
        last: object = None
        while time.monotonic() < deadline:
            try:
                last = await so()
            except (Refused, OSError, aiohttp.ClientError) as error:
                last = error
            else:
                if last:
                    return last
            await asyncio.sleep(0.05)
        raise TimeoutError(f"waited {limit:g} s in vain for: {what}; last answer: {last!r}\n{self._last_words()}")

    def _last_words(self) -> str:
        logs = (container.log for pod in self.kubelets.pods.values() for container in pod.containers.values())
        said = (
            f"--- {log.parent.parent.name} {log.parent.name}\n{log.read_text(errors='replace')[-600:]}" for log in logs
        )
        return "\n".join(said)

    async def ready(self, name: str, limit: float = LIMIT) -> None:
        """Wait until a model is Ready."""
        await self.until(lambda: self.is_ready(name), f"{name} Ready", limit)

    async def gone(self, name: str) -> None:
        """Wait until a model has no pod."""

        async def none() -> bool:
            return not await self.pods(name)

        await self.until(none, f"no pods of {name}")

    async def endpoints(self, service: str) -> list[str]:
        """Give the places where a Service leads now, as hosts with ports."""
        found = await self.line.call("GET", f"/api/v1/namespaces/default/services/{service}")
        return await (self._of_slices(service) if self.has_slices else self._of_selector(found))

    async def _of_slices(self, service: str) -> list[str]:
        path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
        slices = (await self.line.call("GET", f"{path}?labelSelector=kubernetes.io/service-name%3D{service}"))["items"]
        return [
            f"{address}:{slice_['ports'][0]['port']}"
            for slice_ in slices
            for endpoint in slice_.get("endpoints") or ()
            if endpoint["conditions"].get("ready")
            for address in endpoint["addresses"]
        ]

    async def _of_selector(self, service: Json) -> list[str]:
        selector = ",".join(f"{key}%3D{value}" for key, value in service["spec"]["selector"].items())
        pods = (await self.line.call("GET", f"{_PODS}?labelSelector={selector}"))["items"]
        return [
            f"{pod['status']['podIP']}:{_http_port(pod)}"
            for pod in pods
            if _is_ready(pod) and "deletionTimestamp" not in pod["metadata"]
        ]

    async def complete(self, service: str, prompt: str, tokens: int) -> list[int]:
        """Ask for a completion through a Service; give the numbers of the tokens. Raises :class:`Refused`."""
        there = await self.endpoints(service)
        if not there:
            raise Refused(f"the Service {service} has no endpoints")
        return await self.ask(there[0], prompt, tokens)

    async def ask(
        self, place: str, prompt: str, tokens: int, headers: Mapping[str, str] | None = None, **more: Any
    ) -> list[int]:
        """Ask a server itself for a completion. ``more`` are further fields of the body."""
        body = {"prompt": prompt, "max_tokens": tokens, **more}
        url = f"http://{place}/v1/completions"
        async with self.line.session.post(url, json=body, headers=headers) as answer:
            if answer.status != _OK:
                raise Refused(f"{answer.status} {await answer.text()}")
            found: list[int] = (await answer.json(content_type=None))["choices"][0]["token_ids"]
            return found

    async def get(self, place: str, path: str) -> tuple[int, str]:
        """Get a page of a server itself."""
        async with self.line.session.get(f"http://{place}{path}") as answer:
            return answer.status, await answer.text()


def _is_ready(pod: Json) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _http_port(pod: Json) -> int:
    (port,) = [port for port in pod["spec"]["containers"][0]["ports"] if port["name"] == "http"]
    return int(port["containerPort"])


@contextlib.asynccontextmanager
async def nodes_of_processes(line: Line, nodes: list[Json]) -> AsyncIterator[list[str]]:
    """Make nodes on a cluster for as long as the block lasts; give their names."""
    names = [node["metadata"]["name"] for node in nodes]
    for node in nodes:
        made = {key: value for key, value in node.items() if key != "status"}
        await line.call("POST", "/api/v1/nodes", made)
        status = {"status": {key: node["status"][key] for key in ("allocatable", "capacity", "addresses")}}
        await line.call("PATCH", f"/api/v1/nodes/{node['metadata']['name']}/status", status, _MERGE)
    try:
        yield names
    finally:
        for name in names:
            await line.call("DELETE", f"/api/v1/nodes/{name}")


def folder_of_gates(image: Path) -> Path:
    """Give the folder whose files hold fake engines back; all containers see it."""
    gates = image / "gates"
    gates.mkdir(exist_ok=True)
    return gates
