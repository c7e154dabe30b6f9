"""The companions of pods: files, keys, NVLink between nodes, and claims of GPUs.

The name of a companion contains a digest of its content or of the part that cannot be changed. So the same name always
means the same content. Attempts and replicas share companions, and a companion that no group names any more is deleted.
Keys belong to the object, and the object of a gang has the name of its attempt.
"""

import re
from typing import Final

from shardwise.domain.digest import json_digest
from shardwise.domain.launch import Launch, NodeNvlink, Wanted
from shardwise.domain.plan import GroupPlacement, Plan, PodPlacement
from shardwise.engines import GroupLaunch
from shardwise.engines.environment import spans_nodes
from shardwise.queues import GANGS
from shardwise.render.manifest import Manifest, common_labels, metadata
from shardwise.render.names import is_group_of, joined

CONFIG_MAP: Final = ("v1", "ConfigMap")
COMPUTE_DOMAIN: Final = ("resource.nvidia.com/v1beta1", "ComputeDomain")
CLAIM_TEMPLATE: Final = ("resource.k8s.io/v1", "ResourceClaimTemplate")

POD_GROUPS: Final = tuple((version, module.GROUP_KIND) for module in GANGS.values() for version in module.SERVED_BY)
"""The objects by which gang schedulers know groups. Each has the name of its attempt."""

LABELS: Final = {
    "shardwise.dev/config-map": CONFIG_MAP,
    "shardwise.dev/compute-domain": COMPUTE_DOMAIN,
    "shardwise.dev/claim-template": CLAIM_TEMPLATE,
    **{f"shardwise.dev/pod-group.{version.replace('/', '.')}": (version, kind) for version, kind in POD_GROUPS},
}
"""Labels of a group's headless Service that name its companions, so that they are found when the group goes."""

_DIGITS: Final = 8
_SUFFIX: Final = re.compile(r"-(files-[0-9a-f]{8}|gpus-[0-9a-f]{8}|\d+-nvlink-\d+)$")


def companions(wanted: Wanted, plan: Plan, placed: GroupPlacement, started: GroupLaunch) -> tuple[Manifest, ...]:
    """Make all companions of a group but the keys."""
    found = []
    if started.files:
        found.append(_files(wanted.launch, started))
    if needs_compute_domain(wanted, plan, placed):
        found.append(_compute_domain(wanted.launch, placed))
    if wanted.site.gpu_device_class is not None:
        found.append(_claim_template(wanted.launch, wanted.site.gpu_device_class, placed.pods[0]))
    return tuple(found)


def companion_labels(manifests: tuple[Manifest, ...]) -> dict[str, str]:
    """Give the labels that name companions."""
    kinds = {kind: label for label, kind in LABELS.items()}
    return {kinds[manifest["apiVersion"], manifest["kind"]]: manifest["metadata"]["name"] for manifest in manifests}


def is_named_by_us(model: str, api_version: str, kind: str, name: str) -> bool:
    """Tell whether an object has the name of such a companion of a model: anybody may write labels on a Service."""
    if (api_version, kind) in POD_GROUPS:
        return is_group_of(model, name)
    suffix = _SUFFIX.search(name)
    return suffix is not None and name == joined(model, suffix.group())


def needs_compute_domain(wanted: Wanted, plan: Plan, placed: GroupPlacement) -> bool:
    """Tell whether ranks talk over NVLink between nodes in a cluster that does not give channels to every pod."""
    return wanted.site.node_nvlink is NodeNvlink.COMPUTE_DOMAIN and spans_nodes(plan, placed)


def keys(wanted: Wanted) -> Manifest:
    """Make the Secret for an object's keys, without the keys. The client that creates the Secret makes them, once."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(wanted.launch.owner, keys_name(wanted.launch), common_labels(wanted.launch)),
        "type": "Opaque",
        "immutable": True,
    }


def keys_name(launch: Launch) -> str:
    """Name the Secret for keys. A new object with the name of a deleted object does not get the old keys."""
    return joined(launch.owner.name, f"-ssh-{json_digest(launch.owner.uid, _DIGITS)}")


def files_name(launch: Launch, started: GroupLaunch) -> str:
    """Name the ConfigMap of a group's files by their content."""
    return joined(launch.owner.name, f"-files-{json_digest(_texts(started), _DIGITS)}")


def domain_name(launch: Launch, placed: GroupPlacement) -> str:
    """Name the ComputeDomain of a replica. The number of nodes cannot be changed, so it is part of the name."""
    return joined(launch.owner.name, f"-{placed.replica}-nvlink-{nodes_of(placed)}")


def channel_name(launch: Launch, placed: GroupPlacement) -> str:
    """Name the claim template of a ComputeDomain's channels, which its controller makes."""
    return joined(launch.owner.name, f"-{placed.replica}-channel-{nodes_of(placed)}")


def claim_template_name(launch: Launch, device_class: str, place: PodPlacement) -> str:
    """Name the claim template of a pod's GPUs."""
    return joined(launch.owner.name, f"-gpus-{json_digest(_devices(device_class, place.gpus), _DIGITS)}")


def nodes_of(placed: GroupPlacement) -> int:
    """Count the nodes of a group."""
    return len({pod.node for pod in placed.pods})


def _texts(started: GroupLaunch) -> dict[str, str]:
    return {file.name: file.text for file in started.files}


def _files(launch: Launch, started: GroupLaunch) -> Manifest:
    return {
        "apiVersion": CONFIG_MAP[0],
        "kind": CONFIG_MAP[1],
        "metadata": metadata(launch.owner, files_name(launch, started), common_labels(launch)),
        "data": _texts(started),
        "immutable": True,
    }


def _compute_domain(launch: Launch, placed: GroupPlacement) -> Manifest:
    """Ask for IMEX channels between the nodes.

    Drivers before 25.8 wait for the number of nodes that is given here. Later drivers let each pod start when the
    daemon of its own node is ready, and only report with the number that the domain is complete.
    """
    channel = {"resourceClaimTemplate": {"name": channel_name(launch, placed)}}
    return {
        "apiVersion": COMPUTE_DOMAIN[0],
        "kind": COMPUTE_DOMAIN[1],
        "metadata": metadata(launch.owner, domain_name(launch, placed), common_labels(launch)),
        "spec": {"numNodes": nodes_of(placed), "channel": channel},
    }


def _claim_template(launch: Launch, device_class: str, place: PodPlacement) -> Manifest:
    name = claim_template_name(launch, device_class, place)
    return {
        "apiVersion": CLAIM_TEMPLATE[0],
        "kind": CLAIM_TEMPLATE[1],
        "metadata": metadata(launch.owner, name, common_labels(launch)),
        "spec": {"spec": _devices(device_class, place.gpus)},
    }


def _devices(device_class: str, count: int) -> Manifest:
    exactly = {"deviceClassName": device_class, "allocationMode": "ExactCount", "count": count}
    return {"devices": {"requests": [{"name": "gpus", "exactly": exactly}]}}
