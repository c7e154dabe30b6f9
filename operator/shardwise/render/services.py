"""The two Services: a headless Service where a group's pods meet, and a Service for clients."""

from collections.abc import Mapping
from typing import Any

from shardwise.domain.digest import json_digest
from shardwise.domain.launch import Launch
from shardwise.engines import GroupLaunch
from shardwise.render.companions import companion_labels
from shardwise.render.manifest import (
    GROUP,
    REVISION,
    Manifest,
    common_labels,
    group_labels,
    metadata,
    serving_selector,
)
from shardwise.render.names import group_name, serving_name


def rendezvous(
    launch: Launch, started: GroupLaunch, replica: int, attempt: int, beside: tuple[Manifest, ...]
) -> Manifest:
    """Make the headless Service of a group, labelled with the names of its companions.

    It publishes pods that are not ready, because no pod becomes ready before the ranks have met by these names.
    """
    name = group_name(launch.owner.name, replica, attempt)
    spec: Manifest = {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": {GROUP: name},
        "ports": [{"name": port_name, "port": port, "protocol": "TCP"} for port_name, port in started.ports],
    }
    labels = group_labels(launch, replica, attempt) | companion_labels(beside)
    return _service(metadata(launch.owner, name, labels), spec)


def is_as_made(service: Mapping[str, Any]) -> bool:
    """Tell whether the spec of a group's live Service still is the content that its label names.

    This takes a digest and no manifest: thousands of groups that are up can be looked at each time.
    """
    spec = service.get("spec") or {}
    made = {name: spec.get(name) for name in ("clusterIP", "publishNotReadyAddresses", "selector")}
    ports = [{name: port.get(name) for name in ("name", "port", "protocol")} for port in spec.get("ports") or ()]
    return json_digest(made | {"ports": ports}) == (service["metadata"].get("labels") or {}).get(REVISION)


def to_leaders(launch: Launch) -> Manifest:
    """Make the Service that clients use. It reaches the ready leaders of all groups that serve (0047).

    It names their port instead of a number: during a change of the engine, leaders listen on different ports.
    """
    spec: Manifest = {
        "type": launch.service.type,
        "selector": serving_selector(launch),
        "ports": [{"name": "http", "port": launch.service.port, "targetPort": "http", "protocol": "TCP"}],
    }
    return _service(metadata(launch.owner, serving_name(launch.owner.name), common_labels(launch)), spec)


def _service(found: Manifest, spec: Manifest) -> Manifest:
    """Label a Service with its content, so that other content is told from fields that somebody changed."""
    labelled = found | {"labels": found["labels"] | {REVISION: json_digest(spec)}}
    return {"apiVersion": "v1", "kind": "Service", "metadata": labelled, "spec": spec}
