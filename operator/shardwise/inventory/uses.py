"""The resources besides GPUs that holders have of each node: the larger of the counts of bound pods and of the plan.

The resources of bound pods are added up only when a pod is gone or anybody asks, and once for pods that are alike.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Generic, TypeVar

from shardwise.domain.needs import Amounts, added, negative

H = TypeVar("H")


class Uses(Generic[H]):
    """The resources of each holder on each node. A holder is any hashable value."""

    def __init__(self) -> None:
        self._bound: dict[str, dict[H, list[Amounts]]] = {}
        self._planned: dict[str, dict[H, Amounts]] = {}
        self._nodes: dict[H, set[str]] = {}

    def bind(self, holder: H, node: str, amounts: Amounts) -> None:
        """Add the resources of a pod that was bound to a node; negative counts take a gone pod away."""
        if not amounts:
            return
        holders = self._bound.get(node)
        if holders is None:
            holders = self._bound[node] = {}
        parts = holders.get(holder)
        if parts is None:
            holders[holder] = [amounts]
            self._nodes.setdefault(holder, set()).add(node)
            return
        parts.append(amounts)
        if amounts[0][1] <= 0:  # a pod is gone, or the first of its resources cannot tell
            self._add_up(holder, node)

    def _add_up(self, holder: H, node: str) -> None:
        """Put the sum of the parts in their place. Each part is added up once: later it is in the sum."""
        holders = self._bound[node]
        total = _added_up(holders[holder])
        if total:
            holders[holder] = [total]
            return
        del holders[holder]
        if not holders:
            del self._bound[node]
        self._note(holder, node)

    def plan(self, holder: H, amounts: Mapping[str, Amounts]) -> set[str]:
        """Note the resources that a plan gives its object on each node. Name the nodes with a change."""
        before = {node for node in self.nodes(holder) if holder in self._planned.get(node, {})}
        for node in before - amounts.keys():
            del self._planned[node][holder]
            if not self._planned[node]:
                del self._planned[node]
            self._note(holder, node)
        for node, planned in amounts.items():
            self._planned.setdefault(node, {})[holder] = planned
            self._note(holder, node)
        return before | amounts.keys()

    def release(self, holder: H) -> set[str]:
        """Free the resources of the bound pods of a holder. Name their nodes."""
        nodes = self.nodes(holder)
        for node in nodes:
            self.bind(holder, node, negative(_added_up(self._bound.get(node, {}).get(holder, ()))))
        return nodes

    def nodes(self, holder: H) -> set[str]:
        """Name the nodes of which a holder has resources."""
        return set(self._nodes.get(holder, ()))

    def taken(self, node: str, without: H | None = None) -> Amounts:
        """Add up the resources of a node that holders have, as if the holder ``without`` had none."""
        bound, planned = self._bound.get(node), self._planned.get(node)
        if not bound and not planned:
            return ()
        if bound and not planned and len(bound) == 1 and without is None:
            (parts,) = bound.values()
            return _total(tuple(parts))
        bound, planned = bound or {}, planned or {}
        held = (
            _larger(_total(tuple(bound.get(holder, ()))), planned.get(holder, ()))
            for holder in {**bound, **planned}
            if holder != without
        )
        return tuple(sorted(added(*(counts.items() for counts in held)).items()))

    def _note(self, holder: H, node: str) -> None:
        if holder in self._bound.get(node, {}) or holder in self._planned.get(node, {}):
            self._nodes.setdefault(holder, set()).add(node)
        elif holder in self._nodes:
            self._nodes[holder].discard(node)
            if not self._nodes[holder]:
                del self._nodes[holder]


def _added_up(parts: Iterable[Amounts]) -> Amounts:
    return tuple(sorted((name, amount) for name, amount in added(*parts).items() if amount))


@lru_cache(maxsize=4096)
def _total(parts: tuple[Amounts, ...]) -> Amounts:
    """Add up the parts of a holder on a node. Nodes with pods that are alike have equal parts."""
    return _added_up(parts)


def _larger(bound: Amounts, planned: Amounts) -> dict[str, int]:
    held = dict(bound)
    return held | {name: max(amount, held.get(name, 0)) for name, amount in planned}
