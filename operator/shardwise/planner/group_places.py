"""Choosing the domains of a group, and the nodes of its pods, on the free GPUs of a pool."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from shardwise.domain.fleet import Node
from shardwise.domain.layout import Layout
from shardwise.domain.plan import PodPlacement
from shardwise.planner.deal import Bin, deal, natural
from shardwise.planner.domain_slots import DomainSlots
from shardwise.planner.places import Domain, FreeCounts, PoolPlaces, Scope
from shardwise.planner.together import MOST_DOMAINS, fewest_parts

Shares = Mapping[Domain, int]
"""The number of a group's pods in each domain."""


def place_group(domain_slots: DomainSlots, layout: Layout, left: int) -> tuple[Shares, int] | None:
    """Choose the domains of the next of ``left`` groups. Give the pods in each domain, and a pod's share of GPUs."""
    return _in_one_domain(domain_slots, layout) or _in_one_place(domain_slots, layout, left)


def _in_one_domain(domain_slots: DomainSlots, layout: Layout) -> tuple[Shares, int] | None:
    world = layout.world_size
    roots = [root for root in domain_slots.places.roots if root.slots(world)]
    held = [(counts, domains[0]) for root in roots for counts, domains in root.held.items() if sum(counts) >= world]
    for share in _shares(domain_slots, layout) if held else ():
        pods = world // share
        fits = [(_fit(counts, share, pods), domain) for counts, domain in held if _pods_of(counts, share) >= pods]
        if fits:
            return {min(fits)[1]: pods}, share
    return None


def _fit(counts: FreeCounts, share: int, pods: int) -> tuple[bool, int, int]:
    """Rate how well pods fit a domain: several pods prefer a domain with a spare node, then the least free rest."""
    if pods == 1:
        return False, min(free for free in counts if free >= share) - share, sum(counts)
    left = _pods_of(counts, share) - pods
    return left < counts[-1] // share, left, sum(counts) - share * pods


def _in_one_place(domain_slots: DomainSlots, layout: Layout, left: int) -> tuple[Shares, int] | None:
    """Find the place where the group needs the fewest domains. Levels are searched from the nearest on."""
    for known in domain_slots.levels:
        enough = [scope for scope in known.values() if scope.slots(layout.tensor) >= layout.tensor_groups]
        rated = [(_fewest_domains(scope, layout), scope.slots(layout.tensor), scope.name, scope) for scope in enough]
        if rated:
            fewest, _, _, scope = min(rated, key=lambda rating: rating[:3])
            alone = _in_scope(domain_slots, scope, layout, fewest)
            return alone if left == 1 else _beside_others(domain_slots, scope, layout, left, alone)
    return None


def _beside_others(
    domain_slots: DomainSlots, scope: Scope, layout: Layout, left: int, alone: tuple[Shares, int] | None
) -> tuple[Shares, int] | None:
    """Keep a group's own best domains, unless later groups would then need more domains than necessary."""
    groups = min(left, scope.slots(layout.tensor) // layout.tensor_groups)
    if alone is None or groups < 2 or _slots_of(scope, layout.tensor).total() > MOST_DOMAINS:  # noqa: PLR2004 - a single group has no others beside it
        return alone
    held = (domains for counts, domains in scope.held.items() if sum(counts) >= layout.tensor)
    domains = sorted(domain for some in held for domain in some)
    slots = [domain_slots.slots(domain) for domain in domains]
    together = fewest_parts(slots, layout.tensor_groups, groups)
    shares, share = alone
    after = [free - shares.get(domain, 0) * share // layout.tensor for domain, free in zip(domains, slots, strict=True)]
    rest = fewest_parts(after, layout.tensor_groups, groups - 1)
    if len(shares) + sum(map(len, rest)) == sum(map(len, together)):
        return alone
    return _with_largest_share(
        domain_slots, layout, {domains[position]: count for position, count in together[0].items()}
    )


def _with_largest_share(
    domain_slots: DomainSlots, layout: Layout, stages: Mapping[Domain, int]
) -> tuple[Shares, int] | None:
    for share in _shares(domain_slots, layout):
        pods = {domain: count * layout.tensor // share for domain, count in stages.items()}
        even = all(count * layout.tensor % share == 0 for count in stages.values())
        if even and all(_pods_of(domain_slots.free_counts(domain), share) >= count for domain, count in pods.items()):
            return pods, share
    return None


def _fewest_domains(scope: Scope, layout: Layout) -> int:
    """Count the domains that the tensor groups need, taking the domain with the most slots first."""
    question = "fewest domains", layout.tensor, layout.tensor_groups
    return scope.once(question, lambda place: _count_domains(place, layout))


def _count_domains(scope: Scope, layout: Layout) -> int:
    left, count = layout.tensor_groups, 0
    for slots, domains in sorted(_slots_of(scope, layout.tensor).items(), reverse=True):
        needed = min(domains, -(-left // slots))
        left, count = left - needed * slots, count + needed
        if left <= 0:
            break
    return count


def _slots_of(scope: Scope, tensor: int) -> Counter[int]:
    found: Counter[int] = Counter()
    for counts, domains in scope.held.items():
        if sum(counts) >= tensor:
            found[sum(counts) // tensor] += len(domains)
    return found


def _in_scope(domain_slots: DomainSlots, scope: Scope, layout: Layout, fewest: int) -> tuple[Shares, int] | None:
    """Deal the group to the fewest domains, with the largest share that allows it."""
    for share in _shares(domain_slots, layout):
        cut = Cut(share, max(1, layout.tensor // share), evenly=domain_slots.rack)
        units = layout.world_size // (share * cut.pods)
        for dealt in (_dealt_by_place(domain_slots.places, scope, units, cut), _dealt(scope, units, cut)):
            if dealt is not None and len(dealt) == fewest:
                return {domain: count * cut.pods for domain, count in dealt.items()}, share
    return None


@dataclass(frozen=True, slots=True)
class Cut:
    """How a group is cut into equal units. A unit has ``pods`` pods of ``share`` GPUs each, and holds whole stages.

    ``evenly`` asks for equal parts on the domains, because racks need them.
    """

    share: int
    pods: int
    evenly: bool

    def units(self, counts: FreeCounts) -> int:
        """Count the units that fit a domain with these free GPUs."""
        return _pods_of(counts, self.share) // self.pods

    def spare(self, counts: FreeCounts) -> int:
        """Count the free GPUs that these units leave."""
        return sum(counts) - self.units(counts) * self.share * self.pods


def _dealt_by_place(places: PoolPlaces, scope: Scope, units: int, cut: Cut) -> Mapping[Domain, int] | None:
    """Deal evenly to as few inner places as possible, and the same inside each of them; then to domains."""
    if scope.loose:
        return _dealt(scope, units, cut)
    inner = places.inside(scope)
    capacities = (sum(cut.units(counts) * len(domains) for counts, domains in place.held.items()) for place in inner)
    dealt = deal(units, (Bin(number, room) for number, room in enumerate(capacities)), evenly=True)
    if dealt is None:
        return None
    found: dict[Domain, int] = {}
    for number, count in dealt.items():
        found.update(_dealt_by_place(places, inner[number], count, cut) or {})
    return found


def _dealt(scope: Scope, units: int, cut: Cut) -> Mapping[Domain, int] | None:
    """Deal to the domains of a place, at any depth. Of equal domains, only the first ones can be chosen."""
    bins = (
        Bin(domain, cut.units(counts), cut.spare(counts))
        for counts, domains in scope.held.items()
        for domain in domains[:units]
    )
    return deal(units, bins, evenly=cut.evenly)


def _pods_of(counts: FreeCounts, share: int) -> int:
    return sum(free // share for free in counts)


def _shares(domain_slots: DomainSlots, layout: Layout) -> Iterator[int]:
    """Give the shares of GPUs that a pod may hold, largest first: whole stages, or part of a stage on NVLink racks."""
    if domain_slots.share is not None:
        yield domain_slots.share
        return
    most = max((root.once("most free", _most_free) for root in domain_slots.places.roots), default=0)
    yield from shares_up_to(most, layout, rack=domain_slots.rack)


def _most_free(scope: Scope) -> int:
    return max(counts[-1] for counts in scope.held)


def shares_up_to(most: int, layout: Layout, *, rack: bool) -> Iterator[int]:
    """Give the shares of at most so many GPUs, largest first. In a ``rack``, pods may share a tensor group."""
    for share in reversed(_divisors(layout.world_size)):
        whole = share % layout.tensor == 0
        if share <= most and (whole or (rack and layout.tensor % share == 0)) and _in_blocks(layout, share):
            yield share


def _in_blocks(layout: Layout, share: int) -> bool:
    """Tell whether a pod holds whole data ranks and stages, or equal parts of one: engines start no other pods."""
    if layout.data == 1 or layout.pipeline == 1:
        return True  # a tensor group is a stage, or a data rank
    blocks = layout.data_rank_gpus, layout.stage_gpus
    return all(share % block == 0 or block % share == 0 for block in blocks)


@lru_cache(maxsize=1024)
def _divisors(number: int) -> tuple[int, ...]:
    return tuple(divisor for divisor in range(1, number + 1) if number % divisor == 0)


def pods_in(domain_slots: DomainSlots, shares: Shares, share: int) -> tuple[PodPlacement, ...]:
    """Give the pods of a group in the order of the topology, and take their GPUs."""
    hosts: list[Node] = []
    for domain in sorted(shares, key=lambda domain: _position(domain_slots.nodes(domain))):
        for node in _hosts(domain_slots, domain, shares[domain], share):
            domain_slots.take(domain, node.name, share)
            hosts.append(node)
    return tuple(_pod(index, node, share) for index, node in enumerate(hosts))


def _position(nodes: Sequence[Node]) -> tuple[object, ...]:
    first = nodes[0]
    return (*(natural(place) for place in reversed(first.places)), natural(first.domain), natural(first.name))


def _hosts(domain_slots: DomainSlots, domain: Domain, pods: int, share: int) -> Iterable[Node]:
    """Choose the nodes of a domain for its pods, in name order. A node is listed once for each of its pods."""
    by_name = {node.name: node for node in domain_slots.nodes(domain)}
    bins = [Bin(name, *divmod(domain_slots.free(node), share)) for name, node in by_name.items()]
    dealt = deal(pods, bins) or {}
    return [by_name[name] for name in sorted(dealt, key=natural) for _ in range(dealt[name])]


def _pod(index: int, node: Node, share: int) -> PodPlacement:
    ranks = tuple(range(index * share, (index + 1) * share))
    return PodPlacement(index, node.name, node.domain, share, ranks)
