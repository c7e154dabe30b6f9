"""Hints on where a model may run and how it is split: pins, budget, products, placement."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from math import log2
from typing import Any, Final

from shardwise.domain.demand import Demand, Pins, Toleration
from shardwise.domain.fleet import Taint
from shardwise.domain.refusal import Change
from shardwise.planner.trials import MOST_TRIES, Trial, TrialFleet

MOST_BUDGET: Final = 10_000
"""The largest `spec.gpuBudget.total` the object takes."""

_FLIP: Final = 0.5
"""The distance between whole and split experts: less than to twice, or half, a degree."""

_CLUSTERS_OWN: Final = "node.kubernetes.io/"
"""Taints by which Kubernetes reports a node that is out of order. Nobody should tolerate them."""


def pins(demand: Demand, tried_on: TrialFleet) -> Iterator[Trial]:
    """Try to move a single pin, the shortest way first; then, where there are several pins, drop all of them."""
    pinned = [
        name for name in ("tensor", "pipeline", "expert", "data", "context") if getattr(demand.pins, name) is not None
    ]
    moved = [move for name in pinned for move in _moves(demand, name, tried_on)]
    for _, name, value in sorted(moved):
        pins = replace(demand.pins, **{name: value})
        yield Trial(replace(demand, pins=pins), f"spec.parallelism.{name}", value)
    if len(pinned) > 1:
        yield Trial(replace(demand, pins=Pins()), "spec.parallelism", None, Change.UNSET)


def _moves(demand: Demand, name: str, tried_on: TrialFleet) -> list[tuple[float, str, Any]]:
    """Give the nearest value of a pin with which a layout fits, and its distance; an empty list where there is none."""
    asked = getattr(demand.pins, name)
    freed = replace(demand, pins=replace(demand.pins, **{name: None}))
    values = {getattr(layout, name) for layout, _ in tried_on.fitting(freed)} - {asked}
    return sorted((_FLIP if name == "expert" else abs(log2(value / asked)), name, value) for value in values)[:1]


def budget(demand: Demand, tried_on: TrialFleet) -> Iterator[Trial]:
    """Try the smallest budgets, of those that a layout needs which fits when the budget is as large as the fleet."""
    free = sum(facts.free for facts in tried_on.surveyed(demand))
    most = replace(demand, gpu_budget=min(free, MOST_BUDGET))
    wanted = {layout.world_size * replicas for layout, replicas in tried_on.fitting(most)}
    for total in sorted(wanted):
        yield Trial(replace(demand, gpu_budget=total), "spec.gpuBudget.total", total)


def products(demand: Demand, tried_on: TrialFleet) -> Iterator[Trial]:
    """Try the product that the planner would choose if every product were allowed."""
    if not demand.products:
        return
    best = tried_on.plan(replace(demand, products=()))
    if best is not None:
        widened = replace(demand, products=(*demand.products, best.product))
        yield Trial(widened, "spec.gpuBudget.products", best.product, Change.ADD)


def within(demand: Demand, tried_on: TrialFleet) -> Iterator[Trial]:
    """Try the levels above the wanted level, nearest first, then no level. All levels count as above a bare label."""
    if demand.within is None:
        return
    ladder = ("node", "domain", *tried_on.fleet.levels)
    above = ladder[ladder.index(demand.within) + 1 :] if demand.within in ladder else tried_on.fleet.levels
    for level in above[: MOST_TRIES - 1]:
        yield Trial(replace(demand, within=level), "spec.placement.within", level)
    yield Trial(replace(demand, within=None), "spec.placement.within", None, Change.UNSET)


def node_selector(demand: Demand, _: TrialFleet) -> Iterator[Trial]:
    """Try to remove a single label, then all of them."""
    field = "spec.placement.nodeSelector"
    for key, _value in demand.node_selector[: MOST_TRIES - 1]:
        left = tuple(label for label in demand.node_selector if label[0] != key)
        yield Trial(replace(demand, node_selector=left), field, key, Change.REMOVE)
    if len(demand.node_selector) > 1:
        yield Trial(replace(demand, node_selector=()), field, None, Change.UNSET)


def tolerations(demand: Demand, tried_on: TrialFleet) -> Iterator[Trial]:
    """Try to tolerate each taint of usable nodes, the taint with the most free GPUs first."""
    freed: Counter[Taint] = Counter()
    for node in tried_on.fleet.nodes:
        if node.taints and node.exclusion is None and node.free:
            freed.update(dict.fromkeys(filter(_may_be_tolerated, node.taints), node.free))
    for taint in sorted(freed, key=lambda taint: (-freed[taint], taint.key, taint.value, taint.effect)):
        added = Toleration(taint.key, "Equal", taint.value, taint.effect)
        if added not in demand.tolerations:
            widened = replace(demand, tolerations=(*demand.tolerations, added))
            yield Trial(widened, "spec.placement.tolerations", added, Change.ADD)


def _may_be_tolerated(taint: Taint) -> bool:
    return taint.effect != "PreferNoSchedule" and not taint.key.startswith(_CLUSTERS_OWN)
