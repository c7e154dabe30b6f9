"""The two Services: one for a group's own rendezvous, one for clients."""

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
    leader_selector,
    metadata,
)
from shardwise.render.names import group_name, serving_name


def rendezvous(
    launch: Launch, started: GroupLaunch, replica: int, attempt: int, beside: tuple[Manifest, ...]
) -> Manifest:
    """Make the headless Service of a group, labelled with the names of what its pods need beside them.

    It publishes pods that are not ready: no pod becomes ready before the ranks have met by these names.
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


def to_leaders(launch: Launch) -> Manifest:
    """Make the Service clients use: it reaches the leaders of all replicas that are ready.

    By the name of their port: while one engine takes the place of another, they listen on different ones.
    """
    spec: Manifest = {
        "type": launch.service.type,
        "selector": leader_selector(launch),
        "ports": [{"name": "http", "port": launch.service.port, "targetPort": "http", "protocol": "TCP"}],
    }
    return _service(metadata(launch.owner, serving_name(launch.owner.name), common_labels(launch)), spec)


def _service(found: Manifest, spec: Manifest) -> Manifest:
    """Label a Service with its content, so that a change shows without comparing what the API server filled in."""
    labelled = found | {"labels": found["labels"] | {REVISION: json_digest(spec)}}
    return {"apiVersion": "v1", "kind": "Service", "metadata": labelled, "spec": spec}
