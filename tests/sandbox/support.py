"""A small custom kind, builders of objects, a clock that tests move, and short HTTP requests."""

import io
from datetime import UTC, datetime
from typing import Any

import aiohttp

Json = dict[str, Any]


def widget_crd() -> Json:
    spec = {
        "type": "object",
        "required": ["size"],
        "properties": {
            "size": {"type": "integer", "minimum": 1, "maximum": 10},
            "mode": {"type": "string", "enum": ["fast", "slow"], "default": "fast"},
            "replicas": {"type": "integer", "default": 1, "minimum": 0},
            "limit": {"x-kubernetes-int-or-string": True},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            "tags": {"type": "object", "maxProperties": 2, "additionalProperties": {"type": "string", "maxLength": 3}},
            "args": {"type": "array", "maxItems": 3, "items": {"type": "string"}},
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "parts": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
                "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {
                        "name": {"type": "string", "pattern": "^[a-z]+$"},
                        "count": {"type": "integer", "default": 1},
                        "colour": {"type": "string"},
                    },
                },
            },
        },
    }
    conditions = {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type"],
            "properties": {key: {"type": "string"} for key in ("type", "status", "reason", "message")},
        },
    }
    status = {
        "type": "object",
        "default": {"observedGeneration": -1},
        "properties": {
            "observedGeneration": {"type": "integer"},
            "replicas": {"type": "integer"},
            "selector": {"type": "string"},
            "conditions": conditions,
        },
    }
    schema = {"type": "object", "required": ["spec"], "properties": {"spec": spec, "status": status}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.test.dev"},
        "spec": {
            "group": "test.dev",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"], "categories": ["testing"]},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": {
                        "status": {},
                        "scale": {
                            "specReplicasPath": ".spec.replicas",
                            "statusReplicasPath": ".status.replicas",
                            "labelSelectorPath": ".status.selector",
                        },
                    },
                    "selectableFields": [{"jsonPath": ".spec.mode"}],
                    "additionalPrinterColumns": [
                        {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
                        {
                            "name": "Ready",
                            "type": "string",
                            "jsonPath": '.status.conditions[?(@.type=="Ready")].status',
                        },
                        {"name": "Why", "type": "string", "jsonPath": ".status.conditions[0].reason", "priority": 1},
                    ],
                }
            ],
        },
    }


def widget(name: str = "w", /, **spec: Any) -> Json:
    body = {"size": 1, **spec}
    return {"apiVersion": "test.dev/v1", "kind": "Widget", "metadata": {"name": name}, "spec": body}


def config_map(name: str, namespace: str = "default", /, **data: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    }


def pod(name: str, gpus: int = 0, /, *, group: str = "", probe: bool = False, **spec: Any) -> Json:
    container: Json = {"name": "main", "image": "engine:1"}
    if gpus:
        container["resources"] = {"limits": {"nvidia.com/gpu": str(gpus)}}
    if probe:
        container["readinessProbe"] = {"httpGet": {"path": "/health", "port": 8000}}
    labels = {"shardwise.dev/group": group} if group else {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {"containers": [container], **spec},
    }


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.time = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time


class Http:
    """Short requests to a cluster, for tables of cases."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session = session
        self.url = url

    async def __call__(
        self, method: str, path: str, body: Any = None, content_type: str = "application/json", **query: Any
    ) -> tuple[int, Any]:
        headers = {"Content-Type": content_type, "User-Agent": "tester/1.0"}
        accept = query.pop("accept", None)
        if accept:
            headers["Accept"] = accept
        kwargs: Json = {} if body is None else {"json": body}
        if isinstance(body, str):
            # A stream, because aiohttp warns of large bodies in a single piece.
            kwargs = {"data": io.BytesIO(body.encode())}
        params = {key: str(value) for key, value in query.items()}
        async with self.session.request(method, self.url + path, params=params, headers=headers, **kwargs) as answer:
            return answer.status, await answer.json()
