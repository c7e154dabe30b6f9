"""A running operator on an in-memory cluster, and what tests ask of the two."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shardwise.api import crd
from shardwise.controller import Options, run
from shardwise.domain.site import Site
from shardwise_sandbox import FaultHook, Sandbox, compute_domain_definition, sample_fleet
from shardwise_sandbox.asked import asked_in

Json = dict[str, Any]

LIMIT = 20.0
"""Seconds a test waits for anything; on a machine that is not overloaded everything takes a few milliseconds."""


def a_model(name: str = "llama", model: str = "meta-llama/Llama-3.1-8B", gpus: int = 1, **spec: Any) -> Json:
    """Make a ShardedModel; keywords are further fields of its spec, ``model_`` ones of its model."""
    extra = {key.removeprefix("model_"): spec.pop(key) for key in list(spec) if key.startswith("model_")}
    budget = {"total": gpus, **spec.pop("budget", {})}
    return {
        "apiVersion": "shardwise.dev/v1alpha1",
        "kind": "ShardedModel",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"model": {"name": model, **extra}, "gpuBudget": budget, **spec},
    }


def a_large_model(name: str = "large", **spec: Any) -> Json:
    """Make a model that needs both H100 nodes of the sample fleet, TP8×PP2."""
    budget = {"products": ["NVIDIA-H100-80GB-HBM3"]}
    return a_model(name, "meta-llama/Llama-3.1-405B", 16, budget=budget, model_contextLength=8192, **spec)


@dataclass
class Operating:
    """A cluster, and an operator that can be stopped and started again."""

    cluster: Sandbox
    kubeconfig: Path
    clock: list[float] = field(default_factory=lambda: [1_800_000_000.0])
    relist_seconds: float = 3600.0
    site: Site = field(default_factory=Site)
    namespaces: tuple[str, ...] = ()
    _stop: asyncio.Event | None = None
    _task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the operator, and wait until it has listed everything."""
        self._stop, ready = asyncio.Event(), asyncio.Event()
        options = Options(
            kubeconfig=self.kubeconfig,
            relist_seconds=self.relist_seconds,
            now=lambda: self.clock[0],
            site=self.site,
            namespaces=self.namespaces,
            fetch=asked_in(self.cluster),
        )
        self._task = asyncio.create_task(run(options, self._stop, ready))
        async with asyncio.timeout(LIMIT):
            await ready.wait()

    async def stop(self) -> None:
        """Stop the operator, if it runs."""
        if self._stop is not None and self._task is not None:
            self._stop.set()
            await self._task
        self._stop = self._task = None

    async def until(self, so: Callable[[], Any], what: str) -> None:
        """Wait until something is so."""
        await self.cluster.wait_for(so, what=what, timeout=LIMIT)

    async def ready(self, name: str, *, restarts: int | None = None) -> Json:
        """Wait until an object is Ready, for its present generation, and give its status."""
        await self.until(lambda: self._is_ready(name, restarts), f"{name} Ready, restarts {restarts}")
        return self.status(name)

    async def condition(self, name: str, kind: str, status: str = "True", reason: str | None = None) -> Json:
        """Wait until an object has a condition, and give the condition."""

        def has() -> bool:
            one = self.condition_of(name, kind)
            return one.get("status") == status and reason in (None, one.get("reason"))

        await self.until(has, f"{name} {kind}={status} {reason or ''}")
        return self.condition_of(name, kind)

    def status(self, name: str) -> Json:
        """Give the status of an object."""
        found = self.cluster.find("ShardedModel", "default", name)
        return {} if found is None else found.get("status") or {}

    def condition_of(self, name: str, kind: str) -> Json:
        """Give a condition of an object; empty where it has none."""
        return next(
            (condition for condition in self.status(name).get("conditions") or () if condition["type"] == kind), {}
        )

    def pods(self, name: str) -> Sequence[Json]:
        """List the pods of an object."""
        return self.cluster.list("pods", labels=f"shardwise.dev/model={name}")

    def pod_names(self, name: str) -> list[str]:
        """Name the pods of an object."""
        return [pod["metadata"]["name"] for pod in self.pods(name)]

    def nodes_of(self, name: str) -> list[str]:
        """Name the nodes of an object's pods, in rank order."""
        return [pod["spec"]["nodeName"] for pod in self.pods(name)]

    def events(self, name: str) -> list[str]:
        """List the reasons of an object's Events."""
        events = self.cluster.list("events")
        return [event["reason"] for event in events if event["involvedObject"]["name"] == name]

    def writes_to(self, part: str) -> int:
        """Count the writes to paths that hold a text."""
        return sum(request.is_write and part in request.path for request in self.cluster.requests)

    def _is_ready(self, name: str, restarts: int | None) -> bool:
        found = self.cluster.find("ShardedModel", "default", name) or {}
        status = found.get("status") or {}
        current = status.get("observedGeneration") == (found.get("metadata") or {}).get("generation")
        count = restarts in (None, status.get("restarts"))
        return current and count and self.condition_of(name, "Ready").get("status") == "True"


@contextlib.asynccontextmanager
async def operating(
    folder: Path,
    *,
    nodes: Sequence[Json] | None = None,
    compute_domains: bool = True,
    site: Site | None = None,
    namespaces: tuple[str, ...] = (),
    faults: FaultHook | None = None,
) -> AsyncIterator[Operating]:
    """Run an operator on a cluster with the sample fleet, or with other nodes, and NVIDIA's DRA driver unless said.

    It serves all namespaces, or those named. ``faults`` are injected from the beginning.
    """
    fleet = sample_fleet() if nodes is None else nodes
    kinds = [crd.definition(), *([compute_domain_definition()] if compute_domains else [])]
    async with Sandbox(objects=[*kinds, *fleet]) as cluster:
        kubeconfig = folder / "kubeconfig"
        cluster.write_kubeconfig(kubeconfig)
        cluster.faults = faults
        running = Operating(cluster, kubeconfig, site=site or Site(), namespaces=namespaces)
        await running.start()
        try:
            yield running
        finally:
            await running.stop()
