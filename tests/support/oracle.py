"""An exact oracle for placement: every way to spread pods over a small fleet, tried one after the other.

It shares no code and no idea with the planner: pods are counted onto nodes by exhaustion, and each tensor group must
find all its pods inside one NVLink domain.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from shardwise.domain.fleet import Node
from shardwise.domain.layout import Layout


def fewest_domains(nodes: Sequence[Node], layout: Layout, *, rack: bool) -> int | None:
    """Give the fewest NVLink domains one group can lie in, or ``None`` where it does not fit at all."""
    return min((len(_domains(nodes, counts, rack)) for counts, _ in _ways(nodes, layout, rack)), default=None)


def fits(nodes: Sequence[Node], layout: Layout, replicas: int, *, rack: bool) -> bool:
    """Tell whether so many groups fit at once, whatever the order they are placed in."""
    if replicas == 0:
        return True
    return any(
        fits(_without(nodes, counts, share), layout, replicas - 1, rack=rack)
        for counts, share in _ways(nodes, layout, rack)
    )


def _ways(nodes: Sequence[Node], layout: Layout, rack: bool) -> Iterator[tuple[tuple[int, ...], int]]:
    """Give every legal count of pods on each node, for every share of GPUs a pod may have."""
    for share in range(1, layout.world_size + 1):
        if layout.world_size % share:
            continue
        if share < layout.tensor and (layout.tensor % share or not rack):
            continue
        if share >= layout.tensor and share % layout.tensor:
            continue
        pods_per_group = max(1, layout.tensor // share)
        for counts in _counts([node.free // share for node in nodes], layout.world_size // share):
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


def _without(nodes: Sequence[Node], counts: Sequence[int], share: int) -> list[Node]:
    return [replace(node, free=node.free - count * share) for node, count in zip(nodes, counts, strict=True)]
