"""The nodes that a demand may use, grouped by GPU product, and why other nodes are left out."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from shardwise.domain.demand import Demand
from shardwise.domain.exclusions import LeftOut
from shardwise.domain.fleet import NVIDIA, Fleet, Node
from shardwise.domain.hardware import ComputeCapability, GpuKind, bare_product
from shardwise.domain.needs import Amounts, IdleGpus, most_pods
from shardwise.planner.alike import Classes
from shardwise.planner.members import Domains, Members, gpus_of
from shardwise.planner.places import Domain, FreeCounts
from shardwise.planner.same_fleet import sorted_for
from shardwise.planner.sorting import Sorting

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
    """The eligible nodes of a GPU product.

    ``left_out`` counts the product's nodes that may not be used, by NVLink domain. ``ipv6``: the first address of pods
    on the first node is of IPv6. ``needs_driver``: pods can use NVLink between the nodes only by ComputeDomains, which
    the cluster does not serve. ``apart``: they do not use it.
    """

    members: Members = field(compare=False)
    left_out: Mapping[str, int] = field(default_factory=dict)
    ipv6: bool = False
    needs_driver: bool = False
    apart: bool = False

    @property
    def shares_stages(self) -> bool:
        """Whether a tensor group may lie on several nodes."""
        return self.joined or (self.kind.rack and not self.apart)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes, in name order. O(nodes), once."""
        return self.members.nodes

    @property
    def size(self) -> int:
        """The number of nodes."""
        return len(self.members.names)

    @cached_property
    def gpus(self) -> int:
        """The GPUs of all nodes, whether free or not. O(classes), once."""
        return sum(alike.gpus * count for alike, count in self.members.counts.items())

    @property
    def free(self) -> int:
        """The free GPUs of all nodes."""
        return self.members.free

    @cached_property
    def most_free(self) -> int:
        """The free GPUs of the node with the most. O(places · free counts), once."""
        return max(counts[-1] for root in self.domains.places.roots for counts in root.held)

    @cached_property
    def pod_counts(self) -> dict[tuple[int, Amounts], int]:
        """The pods that :meth:`pods_for` has counted; empty if nobody has asked."""
        return {}

    def pods_for(self, share: int, needs: Amounts) -> int:
        """Count the pods with a share of GPUs that all nodes together have room for. O(nodes), once for each share."""
        known = self.pod_counts.get((share, needs))
        if known is None:
            rooms = (most_pods(needs, node.allocatable, node.taken, node.free // share) for node in self.nodes)
            known = self.pod_counts[share, needs] = sum(rooms)
        return known

    @cached_property
    def domains(self) -> Domains:
        """The NVLink domains. Only proven multi-node NVLink joins nodes; elsewhere each node is its own domain."""
        return self.members.joined() if self.joined else self.members.domains(shared=self.shares_stages)

    def nodes_of(self, domain: Domain) -> Sequence[Node]:
        """Give the nodes of a domain, in name order."""
        return self.domains.nodes[domain] if self.domains.shared else (self.members.node(domain[1]),)

    def all_domains(self) -> dict[Domain, Sequence[Node]]:
        """Give the nodes of every domain, in the order of the domains. O(nodes)."""
        if not self.domains.shared:
            return {self.domains.domain(node): (node,) for node in self.nodes}
        return {domain: self.domains.nodes[domain] for domain in sorted(self.domains.nodes)}

    @cached_property
    def domain_counts(self) -> Mapping[str, DomainCounts]:
        """The number of domains with the same free counts, by bounding place. Large fleets have few counts."""
        return {
            root.path[0]: {counts: len(domains) for counts, domains in root.held.items()}
            for root in self.domains.places.roots
        }

    def place_slots(self, tensor: int) -> Mapping[int, int]:
        """Count the bounding places by their slots, which are the tensor groups of a degree that have free GPUs there.

        Each place counts them once for a degree.
        """
        return Counter(root.slots(tensor) for root in self.domains.places.roots)

    @cached_property
    def largest_domain(self) -> int:
        """The GPUs of the NVLink domain with the most, whether free or not."""
        return max(self.domains.sizes) if self.shares_stages else max(self.node_sizes)

    @cached_property
    def nodes_of_largest_domain(self) -> tuple[int, int]:
        """The usable nodes of the largest NVLink domain, and all its nodes. O(domains), once."""
        if not self.shares_stages:
            return 1, 1
        largest = min(domain for domain, nodes in self.domains.nodes.items() if gpus_of(nodes) == self.largest_domain)
        nodes = self.domains.nodes[largest]
        left_out = self.left_out.get(nodes[0].domain, 0) if self.kind.rack and not self.apart else 0
        return len(nodes), len(nodes) + left_out

    @cached_property
    def unlabelled(self) -> tuple[int, str]:
        """The number of nodes that no label puts into an NVLink domain, and the first of them. O(nodes) if any."""
        first = (node.name for node in self.nodes if node.domain == node.name) if self.members.alone else ()
        return self.members.alone, next(iter(first), "")


@dataclass(frozen=True, slots=True)
class Eligible:
    """The pools of a demand, and the number of nodes left out for each reason, most nodes first.

    The free GPUs of a pool's nodes are those that pods can use: ``idle`` are others, for want of another resource.
    """

    pools: tuple[Pool, ...]
    excluded: tuple[tuple[LeftOut, int], ...]
    idle: tuple[IdleGpus, ...] = ()


def eligible(demand: Demand, fleet: Fleet, *, emptied: bool = False) -> Eligible:
    """Sort a fleet's nodes into the pools a demand may use. ``emptied``: as if nobody held any GPU.

    O(nodes) for the first demand of a wish, then O(nodes that changed since).
    """
    sorting = sorted_for(demand, fleet, emptied=emptied)
    return sorting.once(lambda: _eligible(demand, sorting))


def _eligible(demand: Demand, sorting: Sorting) -> Eligible:
    pools = (_pool(demand, sorting, members) for members in sorting.members)
    by_product = tuple(sorted(pools, key=lambda pool: (pool.product, pool.members.names[0])))
    return Eligible(by_product, sorting.excluded, sorting.idle)


def _pool(demand: Demand, sorting: Sorting, members: Members) -> Pool:
    first, classes = members.node(members.names[0]), members.counts
    kind = sorting.fleet.kind(first.product)
    return Pool(
        kind=kind,
        product=first.product,
        memory=max(0, min(alike.memory for alike in classes) - kind.driver_memory),
        node_sizes=frozenset(alike.gpus for alike in classes),
        members=members,
        resource=first.resource,
        ipv6=first.ipv6,
        left_out=sorting.left_out.get(bare_product(first.product), {}),
        needs_driver=kind.rack and not sorting.fleet.compute_domains and demand.needs.channels,
        compute_capability=min(
            (alike.compute_capability for alike in classes if alike.compute_capability), default=None
        ),
    )


def usable(demand: Demand, fleet: Fleet) -> Callable[[Node], bool]:
    """Give a test that tells of a node whether the demand may use it, with or without free GPUs."""
    classes = Classes(demand, fleet)
    return lambda node: classes.why_not(classes.of(node)) is None
