"""The resources besides GPUs that holders have of each node: the larger of the counts of bound pods and of the plan."""

from collections.abc import Mapping
from typing import Generic, TypeVar

from shardwise.domain.needs import Amounts, added, negative

H = TypeVar("H")

_Counts = dict[str, int]


class Uses(Generic[H]):
    """The resources of each holder on each node. A holder is any hashable value."""

    def __init__(self) -> None:
        self._bound: dict[str, dict[H, _Counts]] = {}
        self._planned: dict[str, dict[H, Amounts]] = {}
        self._nodes: dict[H, set[str]] = {}

    def bind(self, holder: H, node: str, amounts: Amounts) -> None:
        """Add the resources of a pod that was bound to a node; negative counts take a gone pod away."""
        if not amounts:
            return
        holders = self._bound.get(node)
        if holders is None:
            holders = self._bound[node] = {}
        counts = holders.get(holder)
        if counts is None:
            counts = holders[holder] = {}
            self._nodes.setdefault(holder, set()).add(node)
        for name, amount in amounts:
            counts[name] = counts.get(name, 0) + amount
            if not counts[name]:
                del counts[name]
        if not counts:
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
            bound = self._bound.get(node, {}).get(holder, {})
            self.bind(holder, node, negative(tuple(bound.items())))
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
            return tuple(sorted(next(iter(bound.values())).items()))
        bound, planned = bound or {}, planned or {}
        parts = (
            _larger(bound.get(holder, {}), planned.get(holder, ()))
            for holder in {**bound, **planned}
            if holder != without
        )
        return tuple(sorted(added(*(part.items() for part in parts)).items()))

    def _note(self, holder: H, node: str) -> None:
        if holder in self._bound.get(node, {}) or holder in self._planned.get(node, {}):
            self._nodes.setdefault(holder, set()).add(node)
        elif holder in self._nodes:
            self._nodes[holder].discard(node)
            if not self._nodes[holder]:
                del self._nodes[holder]


def _larger(bound: Mapping[str, int], planned: Amounts) -> _Counts:
    return dict(bound) | {name: max(amount, bound.get(name, 0)) for name, amount in planned}
