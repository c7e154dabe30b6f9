"""A cluster with groups that were launched long ago: what the operator wrote for them, to be written on any API server.

The operator's own parts launch them on the in-memory API, step by step (tests/support/driven.py), and every manifest
they write is kept. Written again elsewhere, with the uids objects have there, it is what an operator that starts finds.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tests.support.driven import Driven, Operator, Wire
from tests.support.operating import a_model

from shardwise_sandbox import h100_node

Json = dict[str, Any]

PODS_EACH: Final = 4
"""Pods of every object, whatever its kind."""

LARGE: Final = 3
"""Which of four objects in a row is large: its groups span two nodes."""

_AGE: Final = 3600.0
"""Seconds since the groups were launched: they have served, and failed for the last time, long ago."""

_FIGURES: Final = {"planned": 100_000, "measured": 100_000}
"""Tokens of a KV cache. An operator that starts asks only those engines whose figures the status lacks."""

_SMALL: Final = ("meta-llama/Llama-3.1-8B", {"tensor": 1, "pipeline": 1}, 4)
_MIDDLE: Final = ("meta-llama/Llama-3.1-70B", {"tensor": 4, "pipeline": 1}, 4)
_LARGE: Final = ("meta-llama/Llama-3.1-405B", {"tensor": 8, "pipeline": 2}, 2)
_IMAGE: Final = "registry.example.com/team/engine-"
_KINDS: Final = (_SMALL, _SMALL, _MIDDLE, _LARGE)


@dataclass(frozen=True)
class Launched:
    """Nodes, objects, the status of each by name, and what was made for them, in order."""

    nodes: tuple[Json, ...]
    models: tuple[Json, ...]
    statuses: Mapping[str, Json]
    made: tuple[Json, ...]

    def pods(self) -> list[Json]:
        """List the manifests of the pods."""
        return [manifest for manifest in self.made if manifest["kind"] == "Pod"]


def nodes(count: int) -> tuple[Json, ...]:
    """Make nodes of eight H100, each with as many images as a kubelet reports."""
    return tuple(_with_images(h100_node(f"h100-{index:05}")) for index in range(count))


def _with_images(node: Json) -> Json:
    """Add what makes up most of a real Node."""
    images = [{"names": [f"{_IMAGE}{at}@sha256:{at:064x}", f"{_IMAGE}{at}:v1"], "sizeBytes": at} for at in range(50)]
    return node | {"status": node["status"] | {"images": images}}


def a_large_model(name: str, replicas: int = 1) -> Json:
    """Make an object whose groups span two nodes, eight GPUs on each: TP8×PP2."""
    return _model(name, *_LARGE[:2], replicas)


def models(count: int) -> tuple[Json, ...]:
    """Make objects of four pods each: half of 1 GPU a pod, a quarter of 4, a quarter of two groups of two times 8."""
    return tuple(_model(f"m{index:03}", *_KINDS[index % len(_KINDS)]) for index in range(count))


def _model(name: str, model: str, layout: Mapping[str, int], replicas: int) -> Json:
    gpus = layout["tensor"] * layout["pipeline"] * replicas
    return a_model(name, model, gpus, replicas=replicas, parallelism=dict(layout), model_contextLength=8192)


def launched(fleet: tuple[Json, ...], wanted: tuple[Json, ...]) -> Launched:
    """Launch objects on nodes, all of them. Raises ``RuntimeError`` where one does not come to serve."""
    return asyncio.run(_launched(fleet, wanted))


async def _launched(fleet: tuple[Json, ...], wanted: tuple[Json, ...]) -> Launched:
    driven = Driven(fleet)
    driven.now = time.time() - _AGE
    driven.wire = wire = _Kept(driven.sandbox)
    driven.operator = Operator(wire, lambda: driven.now)
    for model in wanted:
        driven.sandbox.create(model)
    await driven.settle(most=100 * len(wanted))
    unready = [name for name, status in wire.statuses.items() if not status.get("readyReplicas")]
    if unready or len(wire.statuses) < len(wanted):
        raise RuntimeError(f"not launched: {', '.join(unready) or 'some that were never looked at'}")
    statuses = {name: _told(status) for name, status in wire.statuses.items()}
    return Launched(fleet, wanted, statuses, tuple(wire.made.values()))


def _told(status: Json) -> Json:
    """Add the figures of the engines, which groups tell once, when they begin to serve."""
    return status | {"groups": [group | {"kvCacheTokens": _FIGURES} for group in status["groups"]]}


@dataclass
class _Kept(Wire):
    """Calls to the API, and the last of what was written of each object."""

    statuses: dict[str, Json] = field(default_factory=dict)
    made: dict[tuple[str, str], Json] = field(default_factory=dict)

    async def apply(self, manifest: Mapping[str, Any]) -> Json:
        """Apply an object, and keep the manifest."""
        self.made[manifest["kind"], manifest["metadata"]["name"]] = dict(manifest)
        return await super().apply(manifest)

    async def merge(self, manifest: Mapping[str, Any], patch: Mapping[str, Any]) -> Json:
        """Merge a patch into an object, and keep the labels that it then has."""
        merged = await super().merge(manifest, patch)
        kept = self.made[manifest["kind"], manifest["metadata"]["name"]]
        kept["metadata"] = kept["metadata"] | {"labels": merged["metadata"]["labels"]}
        return merged

    async def apply_status(self, manifest: Mapping[str, Any]) -> Json:
        """Apply a status, and keep it."""
        self.statuses[manifest["metadata"]["name"]] = manifest["status"]
        return await super().apply_status(manifest)
