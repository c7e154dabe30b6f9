"""The nodes that a demand may use, grouped by GPU product, and why other nodes are left out."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

from shardwise.domain.demand import Demand, Toleration
from shardwise.domain.exclusions import (
    ClaimsUnread,
    LeftOut,
    Mismatch,
    NoLabel,
    NoPlace,
    OtherVendor,
    TooSmall,
    Untolerated,
)
from shardwise.domain.fleet import NVIDIA, Exclusion, Fleet, Node, Taint
from shardwise.domain.hardware import ComputeCapability, GpuKind, bare_product
from shardwise.domain.needs import Amounts, IdleGpus, most_gpus, most_pods, shortage
from shardwise.planner.affinity import matches_any
from shardwise.planner.same_fleet import on_same_fleet

FreeCounts = tuple[int, ...]
"""The free GPUs of each node of a domain, sorted."""

DomainCounts = Mapping[FreeCounts, int]
"""The number of domains with the same free counts."""


@dataclass(frozen=True, slots=True)
class PoolGpus:
    """The GPUs of a pool, whichever of them are free: what layouts are judged by.

    ``product`` is the product label of the first node; drivers may spell it differently. ``memory`` is the size of the
    smallest GPU in bytes, as CUDA counts it, ``node_sizes`` the different GPU counts of the nodes. ``resource`` is the
    extended resource that a pod requests. ``joined``: all nodes count as a single domain without NVLink, because a pin
    asks for a wider tensor group. ``compute_capability`` is the least of the nodes; ``None`` if no node's is known.
    """

    kind: GpuKind
    product: str
    memory: int
    node_sizes: frozenset[int]
    resource: str = NVIDIA
    joined: bool = False
    compute_capability: ComputeCapability | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyedGpus(PoolGpus):
    """The GPUs of a pool, with the number of GPUs of all nodes, and of the largest NVLink domain."""

    gpus: int
    largest_domain: int


@dataclass(frozen=True, kw_only=True)
class Pool(PoolGpus):
    """The eligible nodes of a GPU product, in name order.

    ``places`` are the nodes' places at the level inside which a group must stay; empty if no level is asked for.
    ``left_out`` counts the product's nodes that may not be used, by NVLink domain. ``needs_driver``: pods can use
    NVLink between the nodes only by ComputeDomains, which the cluster does not serve. ``apart``: they do not use it.
    """

    nodes: tuple[Node, ...]
    places: tuple[str, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    needs_driver: bool = False
    apart: bool = False

    @property
    def shares_stages(self) -> bool:
        """Whether a tensor group may lie on several nodes."""
        return self.joined or (self.kind.rack and not self.apart)

    @cached_property
    def gpus(self) -> int:
        """The GPUs of all nodes, whether free or not. Computed once."""
        return sum(node.gpus for node in self.nodes)

    @cached_property
    def free(self) -> int:
        """The free GPUs of all nodes. Computed once."""
        return sum(node.free for node in self.nodes)

    @cached_property
    def by_name(self) -> Mapping[str, Node]:
        """The nodes by their names. Computed once."""
        return {node.name: node for node in self.nodes}

    @cached_property
    def most_free(self) -> int:
        """The free GPUs of the node with the most. Computed once."""
        return max((node.free for node in self.nodes), default=0)

    @cached_property
    def pod_counts(self) -> dict[tuple[int, Amounts], int]:
        """The pods that :meth:`pods_for` has counted; empty if nobody has asked."""
        return {}

    def pods_for(self, share: int, needs: Amounts) -> int:
        """Count the pods with a share of GPUs that all nodes together have room for. Computed once for each share."""
        known = self.pod_counts.get((share, needs))
        if known is None:
            rooms = (most_pods(needs, node.allocatable, node.taken, node.free // share) for node in self.nodes)
            known = self.pod_counts[share, needs] = sum(rooms)
        return known

    @cached_property
    def domains(self) -> tuple[tuple[str, list[Node]], ...]:
        """The nodes by NVLink domain, each with its bounding place, in name order. Computed once. O(nodes).

        Only proven multi-node NVLink joins nodes. Elsewhere each node is its own domain.
        """
        bounds = self.places or ("",) * len(self.nodes)
        if not self.shares_stages:
            return tuple((bound, [node]) for node, bound in zip(self.nodes, bounds, strict=True))
        found: dict[tuple[str, str], list[Node]] = {}
        for node, bound in zip(self.nodes, bounds, strict=True):
            found.setdefault((bound, "" if self.joined else node.domain), []).append(node)
        return tuple((bound, nodes) for (bound, _), nodes in sorted(found.items(), key=lambda domain: domain[0]))

    @cached_property
    def domain_counts(self) -> Mapping[str, DomainCounts]:
        """The number of domains with the same free counts, by bounding place. Large fleets have few counts."""
        found: dict[str, Counter[FreeCounts]] = {}
        bounds = (bound for bound, _ in self.domains)
        for (bound, counts), count in Counter(zip(bounds, self.free_counts, strict=True)).items():
            found.setdefault(bound, Counter())[counts] = count
        return found

    @cached_property
    def free_counts(self) -> tuple[FreeCounts, ...]:
        """The free GPUs of each domain's nodes, in the order of the domains. Computed once."""
        return tuple(free_counts_of(nodes) for _, nodes in self.domains)

    def place_slots(self, tensor: int) -> Mapping[int, int]:
        """Count the bounding places by their slots, which are the tensor groups of a degree that have free GPUs there.

        Computed once for each degree. Large fleets have few different counts.
        """
        known = self._place_slots.get(tensor)
        if known is None:
            slots = (stage_slots(counted, tensor) for counted in self.domain_counts.values())
            known = self._place_slots[tensor] = Counter(slots)
        return known

    @cached_property
    def _place_slots(self) -> dict[int, Mapping[int, int]]:
        return {}

    @cached_property
    def largest_domain(self) -> list[Node]:
        """The usable nodes of the NVLink domain with the most GPUs, whether free or not. Computed once."""
        return max((nodes for _, nodes in self.domains), key=_gpus)


def stage_slots(counted: DomainCounts, tensor: int) -> int:
    """Count the tensor groups of a degree for which GPUs are free."""
    return sum(count * (sum(free) // tensor) for free, count in counted.items())


def _gpus(nodes: Sequence[Node]) -> int:
    return nodes[0].gpus if len(nodes) == 1 else sum(node.gpus for node in nodes)


def free_counts_of(nodes: Sequence[Node]) -> FreeCounts:
    """Give the free GPUs of the nodes of a domain, sorted."""
    return (nodes[0].free,) if len(nodes) == 1 else tuple(sorted(node.free for node in nodes))


@dataclass(frozen=True, slots=True)
class Eligible:
    """The pools of a demand, and the number of nodes left out for each reason, most nodes first.

    The free GPUs of a pool's nodes are those that pods can use: ``idle`` are others, for want of another resource.
    """

    pools: tuple[Pool, ...]
    excluded: tuple[tuple[LeftOut, int], ...]
    idle: tuple[IdleGpus, ...] = ()


def eligible(demand: Demand, fleet: Fleet) -> Eligible:
    """Sort a fleet's nodes into the pools a demand may use. O(nodes) for each wish on a fleet."""
    choice = demand.products, demand.own_image, demand.node_selector, demand.node_affinity
    wish = (*choice, demand.tolerations, demand.within, demand.needs)
    return on_same_fleet(fleet, ("eligible", wish), lambda: _sorted_out(demand, fleet))


def _sorted_out(demand: Demand, fleet: Fleet) -> Eligible:
    excluded: Counter[LeftOut] = Counter()
    pools: dict[tuple[str, str], list[Node]] = {}
    left_out: dict[str, Counter[str]] = {}
    wanted = _Wanted(demand, fleet)
    idle = _Idle(demand)
    for node in fleet.nodes:
        why_not = wanted.why_not(node)
        if why_not is None:
            pools.setdefault((wanted.bare(node.product), node.resource), []).append(idle.without(node))
        else:
            excluded[why_not] += 1
            left_out.setdefault(wanted.bare(node.product), Counter())[node.domain] += 1
    found = (_pool(demand, fleet, nodes, left_out.get(bare, {})) for (bare, _), nodes in pools.items())
    by_product = tuple(sorted(found, key=lambda pool: pool.product))
    return Eligible(by_product, _commonest_first(_with_most(excluded)), idle.found())


class _Idle:
    """The GPUs that no pod can use, while the nodes are gone through. Nodes with equal resources are counted once."""

    def __init__(self, demand: Demand) -> None:
        self._needs = demand.needs
        self._usable: dict[object, int] = {}
        self._idle: dict[str, IdleGpus] = {}

    def without(self, node: Node) -> Node:
        """Give a node with the free GPUs that pods can use."""
        if not node.free or not (node.allocatable or node.taken):
            return node
        alike = node.free, node.allocatable, node.taken
        usable = self._usable.get(alike)
        if usable is None:
            usable = self._usable[alike] = most_gpus(self._needs, node.allocatable, node.taken, node.free)
        if usable == node.free:
            return node
        self._note(node, node.free - usable)
        return replace(node, free=usable)

    def _note(self, node: Node, gpus: int) -> None:
        whole = self._needs.of_pod(node.free, 1, node.free)
        short = shortage(whole, node.allocatable, node.taken)
        if short is None:
            return
        known = self._idle.get(short.resource)
        if known is None:
            known = IdleGpus(short.resource, 0, 0, node.name, short.asked, short.left)
        self._idle[short.resource] = replace(known, gpus=known.gpus + gpus, nodes=known.nodes + 1)

    def found(self) -> tuple[IdleGpus, ...]:
        """Give the idle GPUs by the resource that is short, most GPUs first."""
        return tuple(sorted(self._idle.values(), key=lambda idle: (-idle.gpus, idle.resource)))


def _with_most(excluded: Mapping[LeftOut, int]) -> Mapping[LeftOut, int]:
    """Count nodes that offer too little of a resource together, with the most that any of them offers."""
    found: Counter[LeftOut] = Counter()
    most: dict[str, int] = {}
    for why in excluded:
        if isinstance(why, TooSmall):
            most[why.resource] = max(why.offered, most.get(why.resource, 0))
    for why, count in excluded.items():
        found[replace(why, offered=most[why.resource]) if isinstance(why, TooSmall) else why] += count
    return found


def usable(demand: Demand, fleet: Fleet) -> Callable[[Node], bool]:
    """Give a test that tells of a node whether the demand may use it, with or without free GPUs."""
    wanted = _Wanted(demand, fleet)
    return lambda node: wanted.why_not(node) is None


def _commonest_first(excluded: Mapping[LeftOut, int]) -> tuple[tuple[LeftOut, int], ...]:
    """Sort by count, then by reason: the names of the nodes decide nothing."""
    return tuple(sorted(excluded.items(), key=lambda counted: (-counted[1], str(counted[0]))))


def _pool(demand: Demand, fleet: Fleet, nodes: list[Node], left_out: Mapping[str, int]) -> Pool:
    nodes.sort(key=lambda node: node.name)
    kind = fleet.kind(nodes[0].product)
    return Pool(
        kind=kind,
        product=nodes[0].product,
        memory=max(0, min(node.memory for node in nodes) - kind.driver_memory),
        nodes=tuple(nodes),
        node_sizes=frozenset(node.gpus for node in nodes),
        places=() if demand.within is None else tuple(fleet.place(node, demand.within) for node in nodes),
        resource=nodes[0].resource,
        left_out=left_out,
        needs_driver=kind.rack and not fleet.compute_domains and demand.needs.channels,
        compute_capability=min((node.compute_capability for node in nodes if node.compute_capability), default=None),
    )


class _Wanted:
    """A demand's requirements for nodes. Products repeat, so that each name is looked up once."""

    def __init__(self, demand: Demand, fleet: Fleet) -> None:
        self._demand = demand
        self._fleet = fleet
        self._products = frozenset(bare_product(product) for product in demand.products)
        self._bare: dict[str, str] = {}
        self._small: dict[Amounts, TooSmall | None] = {}

    def bare(self, product: str) -> str:
        """Give a product's name as the hardware table spells it."""
        found = self._bare.get(product)
        return found if found is not None else self._bare.setdefault(product, bare_product(product))

    def why_not(self, node: Node) -> LeftOut | None:
        """Give the reason why a node may not be used, or ``None``."""
        if node.exclusion is not None:
            uncounted = self._demand.needs.claims and node.exclusion in _UNCOUNTED
            return ClaimsUnread(node.resource) if uncounted else node.exclusion
        if self._products and self.bare(node.product) not in self._products:
            return Mismatch.UNLISTED_PRODUCT
        if node.resource != NVIDIA and not (self._products and self._demand.own_image):
            return OtherVendor(node.resource)
        return self._unplaced(node) or _untolerated(node, self._demand.tolerations) or self._too_small(node)

    def _too_small(self, node: Node) -> TooSmall | None:
        """Tell whether even the smallest pod needs more than the node offers. Nodes with equal offers are read once."""
        if node.allocatable not in self._small:
            found = shortage(self._demand.needs.of_the_least_pod, node.allocatable, ())
            small = None if found is None else TooSmall(found.resource, found.asked, found.left)
            self._small[node.allocatable] = small
        return self._small[node.allocatable]

    def _unplaced(self, node: Node) -> LeftOut | None:
        demand = self._demand
        if demand.node_selector and not set(demand.node_selector) <= set(node.labels):
            return Mismatch.NODE_SELECTOR
        if demand.node_affinity and not matches_any(demand.node_affinity, dict(node.labels)):
            return Mismatch.NODE_AFFINITY
        if demand.within is not None and not self._fleet.place(node, demand.within):
            return _no_place(demand.within, self._fleet.levels)
        return None


_UNCOUNTED: Final = frozenset({Exclusion.OFFERS_NONE, Exclusion.NO_GPUS})
"""Exclusions of nodes that may have GPUs which no device plugin counts."""


def _no_place(within: str, levels: tuple[str, ...]) -> NoPlace | NoLabel:
    if within in levels:
        return NoPlace(within)
    # Users' label keys have a prefix. A plain word is more likely the name of a level that is not configured.
    return NoLabel(within, () if "/" in within else ("node", "domain", *levels))


def _untolerated(node: Node, tolerations: Sequence[Toleration]) -> Untolerated | None:
    """Give the first taint that keeps pods away. Every pod tolerates the taint that GPU operators set on nodes."""
    for taint in node.taints:
        given = (*tolerations, Toleration(key=node.resource, operator="Exists"))
        if taint.effect != "PreferNoSchedule" and not any(_tolerates(toleration, taint) for toleration in given):
            return Untolerated(taint)
    return None


def _tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Decide as Kubernetes does: an empty effect or key matches all, Exists matches every value."""
    if toleration.effect not in ("", taint.effect):
        return False
    if toleration.key not in ("", taint.key):
        return False
    return toleration.operator == "Exists" or (toleration.key != "" and toleration.value == taint.value)
