"""One reconciler between a store and an API server that takes everything."""

import itertools
from collections.abc import Mapping
from typing import Any
from unittest.mock import AsyncMock, Mock

from pytest_mock import MockerFixture
from tests.controller.support import KEY, Json, a_model, a_node, at

from shardwise.cluster import Cluster
from shardwise.hub import model_facts
from shardwise.observe import Key, Store, key_of
from shardwise.operate.reconciler import Reconciler
from shardwise.render.manifest import SERVES

NOW = 1_800_000_000.0
PINNED: Json = {"gpuBudget": {"total": 8}, "parallelism": {"tensor": 8}}
"""Takes a whole node."""


def wire(model: Json) -> Json:
    """Give an object with its kind, as the API server shows it."""
    return {"apiVersion": "shardwise.dev/v1alpha1", "kind": "ShardedModel", **model}


class Scene:
    """A store, a mocked API server that takes everything, and a reconciler between the two."""

    def __init__(self, mocker: MockerFixture) -> None:
        self.store = Store()
        self.store.nodes.put(a_node())
        self.versions = itertools.count(100)
        self.facts = Mock(side_effect=model_facts)
        self.now = NOW
        self.cluster: AsyncMock = mocker.create_autospec(Cluster, instance=True)
        self.cluster.apply_status.side_effect = self.take_status
        self.cluster.apply.side_effect = self.take
        self.cluster.merge.side_effect = self.take_labels
        self.reconciler = Reconciler(self.cluster, self.store, self.facts, lambda: self.now)

    def add(self, name: str = "llama", **spec: Any) -> Key:
        model = wire(a_model(name, next(self.versions), **spec))
        self.store.sharded_models.put(model)
        return key_of(model)

    def edit(self, key: Key, **spec: Any) -> None:
        """Show an object with another spec, and the next generation."""
        known = self.store.sharded_models.objects[key]
        generation = known["metadata"]["generation"] + 1
        edited = {**known, "metadata": known["metadata"] | {"generation": generation}, "spec": known["spec"] | spec}
        self.store.sharded_models.put(at(next(self.versions), edited))

    async def take_status(self, manifest: Mapping[str, Any]) -> Json:
        model = self.store.sharded_models.objects[key_of(manifest)]
        return at(next(self.versions), {**model, "status": manifest["status"]})

    async def take(self, manifest: Mapping[str, Any]) -> Json:
        return at(next(self.versions), manifest)

    async def take_labels(self, manifest: Mapping[str, Any], patch: Mapping[str, Any]) -> Json:
        """Give a known pod with other labels; an object of another kind as it is."""
        pod = self.store.pods.objects.get(key_of(manifest), manifest)
        labels = {**pod["metadata"].get("labels", {}), **patch.get("metadata", {}).get("labels", {})}
        kept = {name: value for name, value in labels.items() if value is not None}
        return at(next(self.versions), {**pod, "metadata": {**pod["metadata"], "labels": kept}})

    async def reconcile(self, key: Key = KEY) -> float | None:
        return await self.reconciler.reconcile(key)

    def calls(self) -> list[str]:
        """Say what was asked of the API server, in order, and forget it."""
        said = [_said(call) for call in self.cluster.mock_calls]
        self.cluster.reset_mock()
        return said

    def status(self, key: Key = KEY) -> Json:
        status: Json = self.store.sharded_models.objects[key]["status"]
        return status

    def condition(self, kind: str) -> tuple[str, str]:
        found = next(condition for condition in self.status()["conditions"] if condition["type"] == kind)
        return found["status"], found["reason"]


def _said(call: Any) -> str:
    name, args, _ = call
    match name:
        case "apply":
            return f"apply {args[0]['kind']} {args[0]['metadata']['name']}"
        case "record":
            return f"record {args[1].reason}"
        case "merge":
            return f"{'serve' if args[1]['metadata']['labels'][SERVES] else 'leave'} {args[0]['metadata']['name']}"
        case "delete":
            return f"delete {args[0].name} {args[2]}"
        case _:
            return str(name)
