"""What a pod needs of its node besides GPUs: the resources that it requests, by name, and the counts of them.

Counts are thousandths of a unit of the resource: a core of ``cpu`` is 1000, a byte of ``memory`` is 1000.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from shardwise.domain.units import read_amount

Amounts = tuple[tuple[str, int], ...]
"""Counts of resources, by name, in the order of the names."""

CPU: Final = "cpu"
MEMORY: Final = "memory"
DISK: Final = "ephemeral-storage"
PODS: Final = "pods"
NATIVE: Final = frozenset({CPU, MEMORY, DISK, PODS})
"""Resources that every kubelet states. A node that does not state them, as in a file made by hand, has no known limit.

A node that does not state any other resource has none of it.
"""

CHANNEL: Final = "IMEX channel"
"""The channel of a ComputeDomain, as a resource: NVIDIA's DRA driver gives a single pod of a node a channel.

Source: kubernetes-sigs/dra-driver-nvidia-gpu, ``computeDomainPublishedDevices`` and ``assertImexChannelNotAllocated``.
"""

A_CHANNEL: Final[Amounts] = ((CHANNEL, 1000),)

HOST_NETWORK: Final = "place on the host network"
"""The network of a node, as a resource for the pods of Shardwise: their ranks listen on the same ports."""

A_HOST_NETWORK: Final[Amounts] = ((HOST_NETWORK, 1000),)


def amounts_of(quantities: Mapping[str, object]) -> dict[str, int]:
    """Read quantities by name. Values that are no quantity are left out."""
    read = {name: read_amount(str(value)) for name, value in quantities.items()}
    return {name: amount for name, amount in read.items() if amount is not None}


def added(*parts: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Add up counts of resources."""
    total: dict[str, int] = {}
    for name, amount in (pair for part in parts for pair in part):
        total[name] = total.get(name, 0) + amount
    return total


def added_by_node(*parts: Mapping[str, Amounts]) -> dict[str, Amounts]:
    """Add up counts of resources by node."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: tuple(sorted(added(*(part.get(name, ()) for part in parts)).items())) for name in names}


def negative(amounts: Amounts) -> Amounts:
    """Give counts that take others away."""
    return tuple((name, -amount) for name, amount in amounts)


@dataclass(frozen=True, slots=True)
class PodNeeds:
    """What a pod needs: ``each_pod`` in any case, ``each_gpu`` for each of its GPUs.

    Pods of groups with several pods also need ``in_group``; pods that hold a part of a stage also need ``in_stage``.
    ``claims``: the pods get their GPUs by resource claims. ``moves_caches``: the pods of every group talk to other
    groups, so that a lone pod needs ``in_group``, too.
    """

    each_pod: Amounts = ()
    each_gpu: Amounts = ()
    in_group: Amounts = ()
    in_stage: Amounts = ()
    claims: bool = False
    moves_caches: bool = False

    def of_pod(self, gpus: int, tensor: int, world: int) -> Amounts:
        """Add up the needs of a pod with so many of a group's ``world`` GPUs. ``tensor`` GPUs make a stage."""
        return _of_pod(self, gpus, gpus < tensor, self.moves_caches or gpus < world)

    @property
    def channels(self) -> bool:
        """Whether NVLink between nodes takes a channel. Only pods that hold a part of a stage have one."""
        return CHANNEL in dict(self.in_stage)

    @property
    def of_the_least_pod(self) -> Amounts:
        """The needs of a pod with a single GPU that is a group of its own: no pod needs less."""
        return _of_pod(self, 1, False, self.moves_caches)


@lru_cache(maxsize=4096)
def _of_pod(needs: PodNeeds, gpus: int, in_stage: bool, in_group: bool) -> Amounts:  # noqa: FBT001 - the two answers of a pod's place
    parts = (
        needs.each_pod,
        ((name, gpus * amount) for name, amount in needs.each_gpu),
        needs.in_group if in_group else (),
        needs.in_stage if in_stage else (),
    )
    return tuple(sorted((name, amount) for name, amount in added(*parts).items() if amount))


@dataclass(frozen=True, slots=True)
class Shortage:
    """A resource of which a node has less than pods need. Counts are in thousandths."""

    resource: str
    asked: int
    left: int


@dataclass(frozen=True, slots=True)
class IdleGpus:
    """Free GPUs that no pod can use, because other pods hold too much of another resource of their nodes.

    On the example ``node``, a pod with its free GPUs asks for more of the ``resource`` than is left. Counts of the
    resource are in thousandths.
    """

    resource: str
    gpus: int
    nodes: int
    node: str
    asked: int
    left: int


def shortage(asked: Iterable[tuple[str, int]], allocatable: Amounts, taken: Amounts) -> Shortage | None:
    """Give the first resource that a node lacks, with the count that is left of it; ``None`` if the node has enough."""
    offered, used = dict(allocatable), dict(taken)
    for name, amount in asked:
        left = left_of(name, offered, used)
        if left is not None and left < amount:
            return Shortage(name, amount, left)
    return None


def left_of(name: str, offered: Mapping[str, int], used: Mapping[str, int]) -> int | None:
    """Give the count of a resource that a node has left; ``None`` if no limit of the node is known."""
    if name in (CHANNEL, HOST_NETWORK):
        most = 1000
    elif name in offered:
        most = offered[name]
    elif name in NATIVE:
        return None
    else:
        most = 0
    return max(0, most - used.get(name, 0))


def most_pods(asked: Amounts, allocatable: Amounts, taken: Amounts, wanted: int) -> int:
    """Count the pods with the same needs for which a node has enough, at most the wanted number."""
    offered, used = dict(allocatable), dict(taken)
    for name, amount in asked:
        left = left_of(name, offered, used)
        if left is not None:
            wanted = min(wanted, left // amount)
    return wanted


def most_gpus(needs: PodNeeds, allocatable: Amounts, taken: Amounts, free: int) -> int:
    """Count the GPUs of a node that pods can use, at most the free GPUs: a single pod needs least for many GPUs."""
    offered, used, each_gpu = dict(allocatable), dict(taken), dict(needs.each_gpu)
    for name, amount in needs.of_the_least_pod:
        left = left_of(name, offered, used)
        if left is None:
            continue
        for_gpu = each_gpu.get(name, 0)
        rest = left - (amount - for_gpu)
        free = min(free, (rest // for_gpu if for_gpu else free) if rest >= 0 else 0)
    return max(0, free)


def needs_by_node(needs: PodNeeds, tensor: int, groups: Iterable[tuple[Sequence[str], int]]) -> dict[str, Amounts]:
    """Add up the needs of the pods of groups, by node. A group is the node of each pod, and the GPUs of a pod.

    ``tensor`` is the number of GPUs that make a stage; 1 for stages that do not use NVLink between nodes.
    """
    found: dict[str, dict[str, int]] = {}
    for nodes, gpus in groups:
        each = needs.of_pod(gpus, tensor, gpus * len(nodes))
        for node in nodes if each else ():
            found[node] = added(found.get(node, {}).items(), each)
    return {node: tuple(sorted(amounts.items())) for node, amounts in found.items()}
