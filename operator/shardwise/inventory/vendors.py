"""The names that each vendor's device plugin and labeller use for a node's GPUs.

Sources: NVIDIA/k8s-device-plugin v0.20 internal/lm (GPU feature discovery); ROCm/k8s-device-plugin
cmd/k8s-node-labeller. NVIDIA's memory label counts MiB; AMD's label counts GiB and ends in ``G``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from shardwise.domain.fleet import AMD, NVIDIA
from shardwise.domain.units import GIB, MIB

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Vendor:
    """The extended resource that a pod requests, and the labels that describe the GPUs.

    ``count`` and ``capability``, the labels of the major and the minor compute capability, are ``None`` for AMD, which
    has no such labels. ``memory_bytes`` reads the memory label, 0 for an empty label.
    """

    resource: str
    product: str
    memory: str
    count: str | None
    capability: tuple[str, str] | None
    memory_bytes: Callable[[str], int]


def read_count(value: object) -> int | None:
    """Read a whole number such as ``"8"``; ``None`` for other values."""
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() else None


VENDORS: Final = (
    Vendor(
        NVIDIA,
        "nvidia.com/gpu.product",
        "nvidia.com/gpu.memory",
        "nvidia.com/gpu.count",
        ("nvidia.com/gpu.compute.major", "nvidia.com/gpu.compute.minor"),
        lambda text: (read_count(text) or 0) * MIB,
    ),
    Vendor(
        AMD,
        "amd.com/gpu.product-name",
        "amd.com/gpu.vram",
        None,
        None,
        lambda text: (read_count(text.removesuffix("G")) or 0) * GIB,
    ),
)
PRODUCT_LABELS: Final = tuple(vendor.product for vendor in VENDORS)
RESOURCES: Final = frozenset(vendor.resource for vendor in VENDORS)
LABELS: Final = frozenset(
    key
    for vendor in VENDORS
    for key in (vendor.product, vendor.memory, vendor.count, *(vendor.capability or ()))
    if key is not None
)
"""The labels that describe the GPUs of a node. A label that begins with a product's and a dot may describe some."""


def vendor_of(labels: Labels, allocatable: Mapping[str, object]) -> Vendor:
    """Give the vendor of a node's GPUs by the offered resource, else by the labels, else NVIDIA."""
    offered = (vendor for vendor in VENDORS if read_count(allocatable.get(vendor.resource)))
    labelled = (vendor for vendor in VENDORS if vendor.product in labels)
    return next(offered, None) or next(labelled, VENDORS[0])


def is_mixed(vendor: Vendor, labels: Labels, offered: int) -> bool:
    """Tell whether a node has several products.

    NVIDIA's labels then describe a single product, because the products overwrite each other's labels: more GPUs are
    offered than the label counts. AMD's labeller then writes a label for each value instead of the plain label.
    """
    counted = read_count(labels.get(vendor.count)) if vendor.count is not None else None
    if counted is not None and offered > counted:
        return True
    return vendor.product not in labels and any(key.startswith(f"{vendor.product}.") for key in labels)
