"""Reading the metadata of Kubernetes objects: their names, versions and owners, and which of them matter."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from shardwise.domain.needs import CHANNEL, HOST_NETWORK, PODS
from shardwise.inventory import CLAIMED_GPUS, SHARERS, gpu_request, gpus_asked, is_finished, other_requests
from shardwise.observe.kinds import SHARDED_MODEL
from shardwise.queues import marks
from shardwise.render.manifest import MANAGED_BY, MODEL, OPERATOR
from shardwise.render.names import label_value

Key = tuple[str, str]
"""Namespace and name."""

STRANGERS: Final[Key] = ("", "")
"""The holder of all GPUs that none of our objects holds."""

OURS: Final = f"{MANAGED_BY}={OPERATOR}"
"""Label selector of the objects that a Shardwise operator has made."""

Json = Mapping[str, Any]


def key_of(obj: Json) -> Key:
    """Give an object's namespace and name; the namespace of a node is empty."""
    metadata = obj["metadata"]
    return metadata.get("namespace") or "", metadata["name"]


def version_of(obj: Json) -> int:
    """Give an object's resourceVersion as a number: it grows with every change (guaranteed since Kubernetes 1.35)."""
    return int(obj["metadata"].get("resourceVersion") or 0)


def owner_of(obj: Json) -> Key | None:
    """Give the key of the ShardedModel that an object was made for; ``None`` where a stranger made it."""
    metadata = obj["metadata"]
    labels = metadata.get("labels")
    if not labels or labels.get(MANAGED_BY) != OPERATOR or MODEL not in labels:
        return None
    owners = metadata.get("ownerReferences") or ()
    name = next((owner["name"] for owner in owners if owner.get("kind") == SHARDED_MODEL.name), None)
    if name is None or label_value(name) != labels[MODEL]:
        return None
    return metadata.get("namespace") or "", name


def is_relevant(pod: Json) -> bool:
    """Tell whether a pod matters: the operator made it, it holds resources of a node, or it asks for GPUs."""
    if owner_of(pod) is not None:
        return True
    return not is_finished(pod) and bool((pod.get("spec") or {}).get("nodeName") or gpu_request(pod))


def slim_pod(pod: Json) -> dict[str, Any]:
    """Keep of a pod of ours the fields that are read, and of any other pod only its node and its requests.

    A cluster has many pods of others. Their requests are added up as if they had a single container.
    """
    kept: dict[str, Any] = _once(_slim_own_pod(pod) if owner_of(pod) is not None else _slim_strange_pod(pod))
    return kept


def _slim_own_pod(pod: Json) -> dict[str, Any]:
    metadata, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    owners = [part(owner, ("kind", "name")) for owner in metadata.get("ownerReferences") or ()]
    kept = part(spec, _SPEC_OF_POD)
    kept |= {name: [part(each, _CONTAINER) for each in spec.get(name) or ()] for name in _CONTAINERS if name in spec}
    node_affinity = (spec.get("affinity") or {}).get("nodeAffinity")
    if node_affinity:
        kept["affinity"] = {"nodeAffinity": node_affinity}
    shown = part(status, _STATUS_OF_POD)
    shown |= {name: [part(each, _SHOWN) for each in status.get(name) or ()] for name in _STATUSES if name in status}
    conditions = [part(each, _POD_CONDITION) for each in status.get("conditions") or ()]
    return {
        "metadata": part(metadata, _OF_POD) | {"ownerReferences": owners},
        "spec": kept,
        "status": shown | ({"conditions": conditions} if conditions else {}),
    }


_OF_POD: Final = (
    "name", "namespace", "uid", "resourceVersion", "labels", "deletionTimestamp", "deletionGracePeriodSeconds",
)  # fmt: skip
_SPEC_OF_POD: Final = (
    "nodeName", "resources", "resourceClaims", "hostNetwork", "overhead", "schedulingGates", "schedulingGroup",
)  # fmt: skip
_CONTAINERS: Final = ("containers", "initContainers")
_CONTAINER: Final = ("name", "restartPolicy", "resources")
_STATUS_OF_POD: Final = ("phase", "reason", "message", "podIP")
_STATUSES: Final = ("containerStatuses", "initContainerStatuses")
_SHOWN: Final = ("name", "state", "lastState", "restartCount")
_POD_CONDITION: Final = ("type", "status", "reason", "message", "lastTransitionTime")


def part(obj: Json, names: Iterable[str]) -> dict[str, Any]:
    """Give some fields of an object, as far as it has them."""
    return {name: obj[name] for name in names if name in obj}


def _slim_strange_pod(pod: Json) -> dict[str, Any]:
    metadata, spec = pod["metadata"], pod.get("spec") or {}
    requests = {name: f"{amount}m" for name, amount in other_requests(pod) if name not in (PODS, CHANNEL, HOST_NETWORK)}
    kept: dict[str, Any] = {"containers": [{"resources": {"requests": requests | gpus_asked(pod)}}]}
    kept |= {name: spec[name] for name in ("nodeName", "resourceClaims", "hostNetwork") if spec.get(name)}
    phase = (pod.get("status") or {}).get("phase")
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if key == CLAIMED_GPUS or marks(key)}
    named = part(metadata, ("name", "namespace", "uid", "resourceVersion"))
    return {
        "metadata": named | ({"labels": labels} if labels else {}),
        "spec": kept,
        "status": {} if phase is None else {"phase": phase},
    }


def slim_model(obj: Json) -> dict[str, Any]:
    """Keep of a ShardedModel everything but the record of who wrote which field, and what kubectl last applied."""
    metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    if _LAST_APPLIED in (metadata.get("annotations") or {}):
        annotations = metadata["annotations"].items()
        metadata["annotations"] = {key: value for key, value in annotations if key != _LAST_APPLIED}
    kept: dict[str, Any] = _once({**obj, "metadata": metadata})
    return kept


_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"


def slim_node(node: Json) -> dict[str, Any]:
    """Keep of a node the fields that are read. Texts that thousands of nodes repeat are kept once."""
    whole, status = slim(node), node.get("status") or {}
    addresses = [found for found in status.get("addresses") or () if found.get("type") == "InternalIP"]
    conditions = (part(found, _CONDITION) for found in status.get("conditions") or ())
    read = {
        "metadata": part(whole["metadata"], _OF_NODE),
        "spec": part(node.get("spec") or {}, _SPEC_OF_NODE),
        "status": {
            "allocatable": status.get("allocatable") or {},
            "conditions": list(conditions),
            "addresses": addresses[:1],
        },
    }
    kept: dict[str, Any] = _once(read)
    return kept


_OF_NODE: Final = ("name", "resourceVersion", "labels", "annotations")
_SPEC_OF_NODE: Final = ("taints", "unschedulable", "podCIDR", "podCIDRs")
_CONDITION: Final = ("type", "status")


def _once(value: Any, levels: int = 50) -> Any:  # noqa: ANN401 - any part of an object
    """Give a part of an object with each of its texts as the text that all objects share.

    Parts below some ``levels`` stay as they are: only configs of models are that deep.
    """
    if isinstance(value, str):
        return sys.intern(value)
    if not levels:
        return value
    if isinstance(value, dict):
        return {sys.intern(name): _once(part, levels - 1) for name, part in value.items()}
    return [_once(part, levels - 1) for part in value] if isinstance(value, list) else value


def slim_owned(obj: Json) -> dict[str, Any]:
    """Keep of a Service or a disruption budget the fields that the operator compares, and who else owns them."""
    metadata = part(obj["metadata"], _COMPARED)
    foreign = list(_foreign(obj["metadata"].get("managedFields") or ()))
    if foreign:
        metadata["managedFields"] = foreign
    kept: dict[str, Any] = _once(part(obj, ("apiVersion", "kind", "spec")) | {"metadata": metadata})
    return kept


_COMPARED: Final = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "deletionTimestamp",
    "labels",
    "ownerReferences",
)


def _foreign(entries: Iterable[Json]) -> Iterator[Json]:
    """Give the managed fields that were not applied by us, without those of a status: usually none."""
    for entry in entries:
        ours = (entry.get("manager"), entry.get("operation")) == (OPERATOR, "Apply")
        if not ours and not entry.get("subresource"):
            yield {"manager": entry.get("manager"), "fieldsV1": entry.get("fieldsV1") or {}}


def slim(obj: Json) -> dict[str, Any]:
    """Drop fields that nobody here reads and that fill the memory on a large cluster.

    Of the annotations, only the presence of those that tell of shared GPUs stays: their values list every GPU.
    """
    metadata = {name: value for name, value in obj["metadata"].items() if name not in ("managedFields", "annotations")}
    kept = [key for key in SHARERS if key in (obj["metadata"].get("annotations") or {})]
    if kept:
        metadata["annotations"] = dict.fromkeys(kept, "")
    status = {name: value for name, value in (obj.get("status") or {}).items() if name != "images"}
    return {**obj, "metadata": metadata, "status": status}
