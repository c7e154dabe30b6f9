"""The values that objects may use on this cluster: the part of the operator configuration that narrows their rights."""

from dataclasses import dataclass
from typing import Final

ANY: Final = ("*",)
"""Allows every value that is not reserved."""

SELECTED_LABELS: Final = frozenset(
    {
        "app",
        "app.kubernetes.io/component",
        "app.kubernetes.io/instance",
        "component",
        "k8s-app",
        "name",
        "role",
        "run",
        "tier",
    }
)
"""Keys of labels by which Services usually select pods: a pod with such a label may get the traffic of others."""

SYSTEM_PRIORITY: Final = "system-"
"""How the names of the PriorityClasses begin that Kubernetes keeps for the pods of the cluster itself."""

API_SERVICE: Final = "kubernetes"
"""The name of the Service of the API server, in the namespace ``default``."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """The values that the objects of a namespace may use.

    An entry that ends with ``*`` allows every value that begins with the text before the ``*``. The entry ``*`` alone
    does not allow a reserved value, which must be named: a label of ``SELECTED_LABELS``, a PriorityClass of the system,
    the name of the API server's Service. ``service_ports`` are ranges, both ends included. ``gpus`` is the most
    GPUs that all objects of the namespace may hold together; ``None`` for no limit. ``host_network`` tells whether pods
    may use the network of their nodes.
    """

    service_types: tuple[str, ...] = ("ClusterIP",)
    service_ports: tuple[tuple[int, int], ...] = ((1, 65535),)
    service_names: tuple[str, ...] = ANY
    priority_classes: tuple[str, ...] = ANY
    pod_labels: tuple[str, ...] = ANY
    images: tuple[str, ...] = ANY
    service_accounts: tuple[str, ...] = ANY
    scheduling_gates: tuple[str, ...] = ()
    host_network: bool = False
    gpus: int | None = None


def allows(entries: tuple[str, ...], value: str, *, reserved: bool = False) -> bool:
    """Tell whether a list of entries allows a value. ``reserved`` values are not allowed by the entry ``*``."""
    return any(_covers(entry, value) and not (reserved and entry == "*") for entry in entries)


def _covers(entry: str, value: str) -> bool:
    return value.startswith(entry[:-1]) if entry.endswith("*") else value == entry
