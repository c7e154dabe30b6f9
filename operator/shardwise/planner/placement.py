"""Where the ranks go: tensor groups inside one NVLink domain, stages close together, the rest of the fleet kept whole.

A group's pods hold equal shares of GPUs, as vLLM's multi-node launch asks: a share is one or several whole stages on
one node, or, inside a multi-node NVLink domain, an equal part of a stage. Units (a pod, or a stage cut over nodes) are
dealt to domains as Kueue's topology-aware scheduling does: the smallest domain that holds all, else the largest first
and the best fit for the last. All ties break by what is left over, then by name, so that equal fleets give equal plans.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from shardwise.domain.demand import Demand
from shardwise.domain.fleet import Node
from shardwise.domain.layout import Layout
from shardwise.domain.plan import GroupPlacement, PodPlacement
from shardwise.planner.pools import Pool


@dataclass(frozen=True, slots=True)
class Bin:
    """A place with room for whole units: a domain or a node. ``spare`` GPUs are too few for one unit more."""

    name: str
    units: int
    spare: int = 0


def place(demand: Demand, pool: Pool, layout: Layout) -> tuple[GroupPlacement, ...] | None:
    """Place all replicas of a layout on a pool's free GPUs, or give ``None`` when they do not fit."""
    free = {node.name: node.free for node in pool.nodes}
    groups: list[GroupPlacement] = []
    for replica in range(demand.replicas):
        pods = _place_group(demand, pool, layout, free)
        if pods is None:
            return None
        groups.append(GroupPlacement(replica, pods))
        for pod in pods:
            free[pod.node] -= pod.gpus
    return tuple(groups)


Shapes = Mapping[tuple[int, ...], int]
"""How many domains have nodes with just these free GPUs, sorted."""


def shapes(pool: Pool) -> Shapes:
    """Count the domains of a pool by the free GPUs of their nodes. O(nodes); large fleets have few shapes."""
    return Counter(tuple(sorted(node.free for node in nodes)) for nodes in domains(pool).values())


def stage_slots(counted: Shapes, tensor: int) -> int:
    """Count the tensor groups of this degree that free GPUs hold, each domain with the share that suits it best."""
    return sum(count * _domain_slots(free, tensor) for free, count in counted.items())


def largest_domain(pool: Pool) -> int:
    """Give the GPUs of the pool's largest NVLink domain, whether free or not."""
    return max((sum(node.gpus for node in nodes) for nodes in domains(pool).values()), default=0)


def domains(pool: Pool) -> Mapping[str, Sequence[Node]]:
    """Group a pool's nodes by NVLink domain. Only racks of proven multi-node NVLink hold more than one node."""
    return _by_domain(pool, pool.nodes)


def _by_domain(pool: Pool, nodes: Iterable[Node]) -> dict[str, list[Node]]:
    found: dict[str, list[Node]] = {}
    for node in nodes:
        found.setdefault(node.domain if pool.kind.rack else node.name, []).append(node)
    return found


def _domain_slots(free: Sequence[int], tensor: int) -> int:
    return max(sum(gpus // share for gpus in free) // (tensor // share) for share in _divisors(tensor))


def _place_group(
    demand: Demand, pool: Pool, layout: Layout, free: Mapping[str, int]
) -> tuple[PodPlacement, ...] | None:
    candidates = [
        pods
        for nodes in _scopes(demand, pool)
        for share in _shares(layout, max((free[node.name] for node in nodes), default=0))
        if (pods := _place_share(pool, nodes, layout, share, free)) is not None
    ]
    return min(candidates, key=_spread, default=None)


def _spread(pods: tuple[PodPlacement, ...]) -> tuple[int, int, tuple[str, ...]]:
    """Prefer fewer domains, then fewer pods; names decide the rest."""
    return len({pod.domain for pod in pods}), len(pods), tuple(pod.node for pod in pods)


def _scopes(demand: Demand, pool: Pool) -> Iterator[tuple[Node, ...]]:
    """Give the sets of nodes a group must stay inside: all, or those of one place at the bounding level."""
    if demand.within is None:
        yield pool.nodes
        return
    values: dict[str, list[Node]] = {}
    for node, place in zip(pool.nodes, pool.places, strict=True):
        values.setdefault(place, []).append(node)
    for _, nodes in sorted(values.items()):
        yield tuple(nodes)


def _shares(layout: Layout, most: int) -> Iterator[int]:
    """Give the GPUs a pod may hold, largest first: whole stages, or an equal part of one."""
    for share in reversed(_divisors(layout.world_size)):
        if share <= most and (share % layout.tensor == 0 or layout.tensor % share == 0):
            yield share


@lru_cache(maxsize=1024)
def _divisors(number: int) -> tuple[int, ...]:
    return tuple(divisor for divisor in range(1, number + 1) if number % divisor == 0)


def _place_share(
    pool: Pool, nodes: Iterable[Node], layout: Layout, share: int, free: Mapping[str, int]
) -> tuple[PodPlacement, ...] | None:
    """Place one group with pods of ``share`` GPUs. A stage cut over nodes needs a domain of several nodes."""
    pods_per_unit = max(1, layout.tensor // share)
    if pods_per_unit > 1 and not pool.kind.rack:
        return None
    units = layout.world_size // (share * pods_per_unit)
    members = _by_domain(pool, (node for node in nodes if free[node.name] >= share))
    rooms = [_bin(name, held, share, pods_per_unit, free) for name, held in members.items()]
    dealt = deal(units, rooms)
    if dealt is None:
        return None
    hosts = [host for name, count in dealt for host in _hosts(members[name], count * pods_per_unit, share, free)]
    return tuple(_pod(index, node, share) for index, node in enumerate(hosts))


def _bin(name: str, nodes: Sequence[Node], share: int, pods_per_unit: int, free: Mapping[str, int]) -> Bin:
    units = sum(free[node.name] // share for node in nodes) // pods_per_unit
    return Bin(name, units, sum(free[node.name] for node in nodes) - units * share * pods_per_unit)


def _hosts(nodes: Sequence[Node], pods: int, share: int, free: Mapping[str, int]) -> list[Node]:
    """Choose the nodes of a domain for so many pods; a node stands once for each pod it gets."""
    by_name = {node.name: node for node in nodes}
    rooms = [Bin(node.name, free[node.name] // share, free[node.name] % share) for node in nodes]
    return [by_name[name] for name, count in deal(pods, rooms) or () for _ in range(count)]


def deal(units: int, bins: Sequence[Bin]) -> tuple[tuple[str, int], ...] | None:
    """Deal units to as few bins as will hold them, leaving the least over; ``None`` when they do not fit.

    The smallest bin that holds all; else the largest first, and the best fit for what is left. Ties: the least spare,
    then the name. O(bins · log bins).
    The result is in name order, so that neighbouring stages sit in neighbouring places.
    """
    ordered = sorted((one for one in bins if one.units > 0), key=lambda one: (-one.units, one.spare, one.name))
    taken: dict[str, int] = {}
    left = units
    for position, largest in enumerate(ordered):
        if left <= largest.units:
            enough = (one for one in ordered[position:] if one.units >= left)
            best = min(enough, key=lambda one: (one.units, one.spare, one.name))
            taken[best.name] = left
            return tuple(sorted(taken.items(), key=lambda item: natural(item[0])))
        taken[largest.name] = largest.units
        left -= largest.units
    return None


@lru_cache(maxsize=65536)
def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Order names as people count: ``gpu-2`` before ``gpu-10``."""
    parts: list[tuple[int, int, str]] = []
    text = ""
    for char in name:
        if text and text[-1].isdigit() != char.isdigit():
            parts.append(_part(text))
            text = ""
        text += char
    return (*parts, _part(text)) if text else tuple(parts)


def _part(text: str) -> tuple[int, int, str]:
    return (0, int(text), "") if text.isdecimal() else (1, 0, text)


def _pod(index: int, node: Node, share: int) -> PodPlacement:
    ranks = tuple(range(index * share, (index + 1) * share))
    return PodPlacement(index, node.name, node.domain, share, ranks)
