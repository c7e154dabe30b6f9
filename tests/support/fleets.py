"""Fleets to plan on, node by node: DGX-like H100 and H200, GB200 racks of 4-GPU trays, L40S over PCIe."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from shardwise.domain.fleet import Exclusion, Fleet, Node, Taint
from shardwise.domain.hardware import gpu_kind
from shardwise.domain.needs import PodNeeds
from shardwise.domain.units import MIB

A100 = "NVIDIA-A100-SXM4-80GB"
B200 = "NVIDIA-B200"
GB200 = "NVIDIA-GB200"
H100 = "NVIDIA-H100-80GB-HBM3"
H200 = "NVIDIA-H200"
L40S = "NVIDIA-L40S"
RTX_PRO = "NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition"
T4 = "Tesla-T4"
UNKNOWN = "Acme-Turbo-9000"

MEMORY_MIB: Mapping[str, int] = {
    A100: 81920,
    B200: 183359,
    GB200: 189471,
    H100: 81559,
    H200: 143771,
    L40S: 46068,
    RTX_PRO: 97887,
    T4: 15360,
    UNKNOWN: 81920,
}
"""What nvidia.com/gpu.memory reports, in MiB."""


def cuda_bytes(product: str, memory_mib: int | None = None) -> int:
    """Give the memory of a GPU that CUDA offers, in bytes."""
    labelled = MEMORY_MIB[product] if memory_mib is None else memory_mib
    return labelled * MIB - gpu_kind(product).driver_memory


def a_node(
    name: str = "node-0",
    *,
    product: str = H100,
    gpus: int = 8,
    free: int | None = None,
    domain: str | None = None,
    labels: Mapping[str, str] | None = None,
    taints: Iterable[Taint] = (),
    exclusion: Exclusion | None = None,
    memory_mib: int | None = None,
    places: Iterable[str] = (),
) -> Node:
    """Give a node, all of it free and its own NVLink domain, unless said."""
    return Node(
        name=name,
        product=product,
        gpus=gpus,
        free=gpus if free is None else free,
        memory=(MEMORY_MIB[product] if memory_mib is None else memory_mib) * MIB,
        domain=name if domain is None else domain,
        labels=tuple(sorted((labels or {}).items())),
        taints=tuple(taints),
        exclusion=exclusion,
        places=tuple(places),
        compute_capability=gpu_kind(product).compute_capability,
    )


def a_fleet(*parts: Node | Iterable[Node], levels: tuple[str, ...] = ()) -> Fleet:
    """Give a fleet of nodes and groups of nodes, in name order."""
    nodes = [node for part in parts for node in ([part] if isinstance(part, Node) else part)]
    return Fleet(tuple(sorted(nodes, key=lambda node: node.name)), levels)


RDMA = PodNeeds(in_group=(("rdma/ib", 1000),), moves_caches=True)
"""A card for each pod of a group, and for each pod that moves KV caches; of nodes as by ``with_rdma``."""


def with_rdma(nodes: Iterable[Node]) -> list[Node]:
    """Give the nodes with eight RDMA cards each."""
    return [node._replace(allocatable=(("rdma/ib", 8000),)) for node in nodes]


def h100s(count: int, *, free: Iterable[int] | None = None, prefix: str = "h100") -> tuple[Node, ...]:
    """Give 8-GPU H100 nodes with NVSwitch; ``free`` says how many GPUs of each nobody holds."""
    return _row(prefix, H100, 8, count, free)


def h200s(count: int, *, free: Iterable[int] | None = None) -> tuple[Node, ...]:
    """Give 8-GPU H200 nodes with NVSwitch."""
    return _row("h200", H200, 8, count, free)


def l40s(count: int, *, gpus: int = 8, free: Iterable[int] | None = None) -> tuple[Node, ...]:
    """Give L40S nodes: no NVLink at all."""
    return _row("l40s", L40S, gpus, count, free)


def gb200_rack(trays: int, *, clique: str = "rack-0", free: Iterable[int] | None = None) -> tuple[Node, ...]:
    """Give the 4-GPU trays of one GB200 rack, all in one NVLink clique."""
    return tuple(tray._replace(domain=clique) for tray in _row(f"{clique}-tray", GB200, 4, trays, free))


PRICES: Mapping[str, float] = {
    A100: 1.5,
    B200: 5.0,
    GB200: 5.5,
    H100: 2.5,
    H200: 3.25,
    L40S: 0.8,
    RTX_PRO: 1.75,
    T4: 0.25,
}
"""Made-up money for an hour of a GPU."""


def priced(fleet: Fleet, prices: Mapping[str, float] = PRICES) -> Fleet:
    """Give a fleet whose products have prices."""
    kinds = tuple(replace(fleet.kind(product), price=price) for product, price in prices.items())
    return replace(fleet, kinds=kinds)


def _row(prefix: str, product: str, gpus: int, count: int, free: Iterable[int] | None) -> tuple[Node, ...]:
    held = list(free) if free is not None else [gpus] * count
    if len(held) != count:
        message = f"{len(held)} free counts for {count} nodes"
        raise ValueError(message)
    return tuple(
        a_node(f"{prefix}-{index:02d}", product=product, gpus=gpus, free=held[index]) for index in range(count)
    )
