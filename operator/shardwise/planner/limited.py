"""Placing the pods of groups where the resources of nodes besides GPUs limit their number.

A pod needs the more of some resources the more GPUs it has, and of others the same however many it has: RDMA devices, a
channel of a ComputeDomain, the disk for the weights. How many pods a node holds therefore depends on their share of
GPUs. For a single share the count is exact: a node holds as many pods as its scarcest resource allows. So each share
has its own slots, and a group takes the share with the best place.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from shardwise.domain.demand import Demand
from shardwise.domain.fleet import Node
from shardwise.domain.layout import Layout
from shardwise.domain.needs import Amounts, added, most_pods, shortage
from shardwise.domain.plan import GroupPlacement
from shardwise.domain.refusal import PodsShort
from shardwise.planner.domain_slots import DomainSlots
from shardwise.planner.group_places import Shares, place_group, shares_up_to
from shardwise.planner.places import Domain, FreeCounts, PoolPlaces
from shardwise.planner.pools import Pool


def overfull(demand: Demand, pool: Pool, layout: Layout, groups: Sequence[GroupPlacement]) -> PodsShort | None:
    """Give the first node that lacks a resource for the pods placed on it; ``None`` if every node has enough."""
    counted = Counter((pod.node, pod.gpus) for group in groups for pod in group.pods)
    asked: dict[str, dict[str, int]] = {}
    pods: Counter[str] = Counter()
    for (node, gpus), count in counted.items():
        needs = pod_needs(demand, pool, layout, gpus)
        if needs:
            asked[node] = added(asked.get(node, {}).items(), ((name, count * amount) for name, amount in needs))
            pods[node] += count
    return next(_lacking(pool, asked, pods), None)


def _lacking(pool: Pool, asked: dict[str, dict[str, int]], pods: Counter[str]) -> Iterator[PodsShort]:
    for name in sorted(asked):
        node = pool.members.node(name)
        found = shortage(sorted(asked[name].items()), node.allocatable, node.taken)
        if found is not None:
            yield PodsShort(pool.product, name, pods[name], found.resource, found.asked, found.left)


def may_hold(demand: Demand, pool: Pool, layout: Layout) -> bool:
    """Tell whether the nodes have room for the pods of all groups, wherever they are: cheap, and an upper bound."""
    groups = 0
    for share in shares_up_to(pool.most_free, layout, rack=pool.shares_stages):
        pods = pool.pods_for(share, pod_needs(demand, pool, layout, share))
        groups += pods // (layout.world_size // share)
    return groups >= demand.replicas


def lacking_for_a_pod(demand: Demand, pool: Pool, layout: Layout) -> PodsShort | None:
    """Give a node with enough free GPUs for the largest pod of a layout that lacks another resource for it."""
    share = next(shares_up_to(pool.most_free, layout, rack=pool.shares_stages), None)
    if share is None:
        return None
    needs = pod_needs(demand, pool, layout, share)
    lacks = ((node, shortage(needs, node.allocatable, node.taken)) for node in pool.nodes if node.free >= share)
    found = next(((node, short) for node, short in lacks if short is not None), None)
    if found is None:
        return None
    node, short = found
    return PodsShort(pool.product, node.name, 1, short.resource, short.asked, short.left)


def pod_needs(demand: Demand, pool: Pool, layout: Layout, share: int) -> Amounts:
    """Give the needs of a pod with a share of a group's GPUs. Without NVLink between nodes it needs no channel."""
    joined = layout.world_size if links_data_ranks(pool, layout) else layout.tensor
    return demand.needs.of_pod(share, 1 if pool.joined else joined, layout.world_size)


def links_data_ranks(pool: Pool, layout: Layout) -> bool:
    """Tell whether data ranks on several nodes use NVLink between them."""
    return layout.data > 1 and pool.shares_stages and not pool.joined


@dataclass(slots=True)
class PodRoom:
    """The GPUs and other resources that pods have taken of each node while groups are placed."""

    gpus: Counter[str] = field(default_factory=Counter)
    others: dict[str, dict[str, int]] = field(default_factory=dict)
    slots: list["ShareSlots"] = field(default_factory=list)

    def pods(self, node: Node, share: int, needs: Amounts) -> int:
        """Count the pods with a share of GPUs that a node still holds."""
        taken = node.taken
        if node.name in self.others:
            taken = tuple(added(taken, self.others[node.name].items()).items())
        return most_pods(needs, node.allocatable, taken, (node.free - self.gpus[node.name]) // share)

    def take(self, domain: Domain, node: str, share: int, needs: Amounts) -> None:
        """Take a pod's share of a node, which lies in a domain."""
        before = [slots.free_counts(domain) for slots in self.slots]
        self.gpus[node] += share
        self.others[node] = added(self.others.get(node, {}).items(), needs)
        for slots, counts in zip(self.slots, before, strict=True):
            slots.count_again(domain, counts)


class ShareSlots(DomainSlots):
    """The slots of a pool for pods with a single share of GPUs, as far as all resources of the nodes allow pods."""

    def __init__(self, pool: Pool, layout: Layout, share: int, needs: Amounts, room: PodRoom) -> None:
        self.share: int = share
        self._needs = needs
        self._room = room
        super().__init__(pool, layout.tensor)
        room.slots.append(self)

    def free(self, node: Node) -> int:
        """Count the GPUs of a node that pods with this share can hold."""
        return self.share * self._room.pods(node, self.share, self._needs)

    def take(self, domain: Domain, node: str, gpus: int) -> None:
        """Take a pod's share of a domain's node, for the slots of all shares."""
        self._room.take(domain, node, gpus, self._needs)

    def count_again(self, domain: Domain, before: FreeCounts) -> None:
        """Count the GPUs of a domain again, after pods of some share were taken."""
        self._move(domain, before)

    def _placed(self, pool: Pool) -> PoolPlaces:
        """Sort all domains anew: what a pod needs besides GPUs makes other counts of them. O(nodes)."""
        place = pool.domains.place
        domains = (
            (domain, place(nodes), tuple(sorted(map(self.free, nodes)))) for domain, nodes in pool.all_domains().items()
        )
        return PoolPlaces.of(len(pool.domains.places.levels) - 1, domains)


def limited_slots(demand: Demand, pool: Pool, layout: Layout) -> tuple[ShareSlots, ...]:
    """Make the slots for each share that a pod of a layout may hold, the largest share first."""
    room = PodRoom()
    shares = shares_up_to(pool.most_free, layout, rack=pool.shares_stages)
    return tuple(ShareSlots(pool, layout, share, pod_needs(demand, pool, layout, share), room) for share in shares)


def place_limited_group(
    slots: Sequence[ShareSlots], layout: Layout, left: int
) -> tuple[ShareSlots, Shares, int] | None:
    """Choose the share and the domains of the next of ``left`` groups: the narrowest place, then the fewest domains.

    Of equal places, the place for the fewest pods is taken.
    """
    found = ((position, of_share, place_group(of_share, layout, left)) for position, of_share in enumerate(slots))
    rated = [
        (of_share.level_of(placed[0]), len(placed[0]), position, of_share, placed)
        for position, of_share, placed in found
        if placed is not None
    ]
    if not rated:
        return None
    *_, chosen, (shares, share) = min(rated, key=lambda rating: rating[:3])
    return chosen, shares, share
