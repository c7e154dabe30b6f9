"""An exact oracle for placement: every way to spread pods over a small fleet, tried one after the other.

It shares no code and no idea with the planner: pods are counted onto nodes by exhaustion, and each tensor group must
find all its pods inside one NVLink domain.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache

from shardwise.domain.fleet import Node
from shardwise.domain.layout import Layout

Limit = Callable[[Node, int], int]
"""The most pods with a share of GPUs that a node has other resources for."""


def _unlimited(node: Node, share: int) -> int:
    return node.free // share


def fewest_domains(nodes: Sequence[Node], layout: Layout, *, rack: bool, limit: Limit = _unlimited) -> int | None:
    """Give the fewest NVLink domains one group can lie in, or ``None`` where it does not fit at all."""
    ways = _ways(nodes, layout, rack, limit)
    return min((len(_domains(nodes, counts, rack)) for counts, _ in ways), default=None)


def fits(nodes: Sequence[Node], layout: Layout, replicas: int, *, rack: bool) -> bool:
    """Tell whether so many groups fit at once, whatever the order they are placed in."""
    return fewest_parts(nodes, layout, replicas, rack=rack) is not None


def fewest_parts(nodes: Sequence[Node], layout: Layout, replicas: int, *, rack: bool) -> int | None:
    """Give the fewest domains that so many groups can lie in, each group's counted; ``None`` where they do not fit."""

    @cache
    def best(free: tuple[int, ...], left: int) -> int | None:
        if left == 0:
            return 0
        here = [node._replace(free=gpus) for node, gpus in zip(nodes, free, strict=True)]
        ways = {
            (
                tuple(gpus - count * share for gpus, count in zip(free, counts, strict=True)),
                _crossed(here, counts, rack),
            )
            for counts, share in _ways(here, layout, rack)
        }
        rests = ((parts, best(after, left - 1)) for after, parts in ways)
        return min((parts + rest for parts, rest in rests if rest is not None), default=None)

    return best(tuple(node.free for node in nodes), replicas)


def narrowest(nodes: Sequence[Node], layout: Layout, *, rack: bool) -> tuple[int, int] | None:
    """Give the narrowest level that holds a group in one place, and the fewest domains it then lies in.

    Level 0 is the NVLink domain, then come the levels of the nodes' places, then no place at all.
    """
    heights = len(nodes[0].places)
    for level in range(heights + 2):
        found = [fewest_domains(inside, layout, rack=rack) for inside in _places(nodes, level, rack)]
        fitting = [count for count in found if count is not None]
        if fitting:
            return level, min(fitting)
    return None


def bounded(nodes: Sequence[Node], layout: Layout, replicas: int, level: int, *, rack: bool) -> bool:
    """Tell whether so many groups fit, each inside one place of a level of the nodes' places."""
    places = [inside for inside in _places(nodes, level + 1, rack) if inside]
    room = 0
    for inside in places:
        here = 0
        while here < replicas and fits(inside, layout, here + 1, rack=rack):
            here += 1
        room += here
    return room >= replicas


def _places(nodes: Sequence[Node], level: int, rack: bool) -> list[list[Node]]:
    found: dict[object, list[Node]] = {}
    for node in nodes:
        if level == 0:
            place: object = node.domain if rack else node.name
        elif level <= len(node.places):
            place = node.places[level - 1 :] if node.places[level - 1] else None
        else:
            place = "anywhere"
        if place is not None:
            found.setdefault(place, []).append(node)
    return list(found.values())


def _ways(
    nodes: Sequence[Node], layout: Layout, rack: bool, limit: Limit = _unlimited
) -> Iterator[tuple[tuple[int, ...], int]]:
    """Give every legal count of pods on each node, for every share of GPUs a pod may have."""
    for share in range(1, layout.world_size + 1):
        if layout.world_size % share:
            continue
        if share < layout.tensor and (layout.tensor % share or not rack):
            continue
        if share >= layout.tensor and share % layout.tensor:
            continue
        if layout.data > 1 and not all(
            share % block == 0 or block % share == 0
            for block in (layout.tensor * layout.pipeline, layout.tensor * layout.data)
        ):
            continue
        pods_per_group = max(1, layout.tensor // share)
        for counts in _counts(
            [min(node.free // share, limit(node, share)) for node in nodes], layout.world_size // share
        ):
            held = _domains(nodes, counts, rack)
            if all(pods % pods_per_group == 0 for pods in held.values()):
                yield counts, share


def _counts(room: list[int], pods: int) -> Iterator[tuple[int, ...]]:
    if not room:
        if pods == 0:
            yield ()
        return
    for here in range(min(room[0], pods) + 1):
        if pods - here <= sum(room[1:]):
            for rest in _counts(room[1:], pods - here):
                yield (here, *rest)


def _domains(nodes: Sequence[Node], counts: Sequence[int], rack: bool) -> Mapping[str, int]:
    held: dict[str, int] = {}
    for node, count in zip(nodes, counts, strict=True):
        if count:
            domain = node.domain if rack else node.name
            held[domain] = held.get(domain, 0) + count
    return held


def _crossed(nodes: Sequence[Node], counts: Sequence[int], rack: bool) -> int:
    return len(_domains(nodes, counts, rack))
