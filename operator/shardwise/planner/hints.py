"""What would help: one change of the object after the other, each the least of its kind, each planned with.

They stand in the order of how little they change: where the model may run and how it is split; then how much is served;
then in what precision; last, by which engine. A kind is tried only where the causes leave it a chance, and what it is
searched over grows one way: if a value fits, every lesser one does.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from math import log2
from typing import Any, Final

from shardwise.domain.demand import Demand, Pins, Toleration
from shardwise.domain.engine import EngineName
from shardwise.domain.fleet import Fleet, Taint
from shardwise.domain.layout import Layout
from shardwise.domain.model import ModelFacts, Precision, Quantization, Weight
from shardwise.domain.plan import Plan
from shardwise.domain.refusal import (
    BlockSplit,
    Change,
    DomainTooSmall,
    Hint,
    MemoryShort,
    NoExperts,
    NoRoom,
    NotDivisible,
    OverBudget,
    PipelineUnsupported,
    RejectedLayout,
    TooManyStages,
)
from shardwise.planner.pools import Eligible, eligible
from shardwise.planner.shorten import at_least, with_shorter_context
from shardwise.planner.solve import Surveyed, fits, fitting, solve, survey

MOST_HINTS: Final = 5

MOST_BUDGET: Final = 10_000
"""The largest `spec.gpuBudget.total` the object takes."""

_SHORTEST_CONTEXT: Final = 2048
"""Tokens below which a shorter context is no longer worth a hint."""

_MOST_TRIES: Final = 4
"""Values of one field that are tried, the least change first, before the next field's turn."""

_FLIP: Final = 0.5
"""How far dealing experts out whole is from splitting them: nearer than twice, or half, a degree."""

_CLUSTERS_OWN: Final = "node.kubernetes.io/"
"""Taints by which Kubernetes says that a node is out of order: nothing to tolerate."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A change to try: the demand as it would then be, and what the hint would say."""

    demand: Demand
    field: str
    value: Any
    change: Change = Change.SET


class Trials:
    """A fleet to try changed demands on; the nodes they may use are found once for each way to choose them."""

    def __init__(self, fleet: Fleet, demand: Demand, pools: Eligible, surveyed: tuple[Surveyed, ...]) -> None:
        self.fleet = fleet
        self._pools = {_choosing(demand): pools}
        self._surveyed = {(_choosing(demand), demand.pins.tensor): surveyed}

    def plan(self, demand: Demand) -> Plan | None:
        """Plan a changed demand, as it would be once it is written so."""
        surveyed = self.surveyed(demand)
        return solve(demand, surveyed).plan or with_shorter_context(demand, surveyed)

    def fits(self, demand: Demand) -> bool:
        """Tell whether a changed demand has a plan."""
        return fits(at_least(demand), self.surveyed(demand))

    def fitting(self, demand: Demand) -> Iterator[Layout]:
        """Give the layouts that nothing rules out for a changed demand."""
        return (layout for layout, _ in fitting(at_least(demand), self.surveyed(demand)))

    def surveyed(self, demand: Demand) -> tuple[Surveyed, ...]:
        """Give the pools a demand may use."""
        chosen = _choosing(demand)
        key = chosen, demand.pins.tensor
        if key not in self._surveyed:
            if chosen not in self._pools:
                self._pools[chosen] = eligible(demand, self.fleet)
            self._surveyed[key] = survey(demand, self._pools[chosen])
        return self._surveyed[key]


Kind = Callable[[Demand, Trials], Iterator[Trial]]


def hints(demand: Demand, trials: Trials, rejected: tuple[RejectedLayout, ...]) -> tuple[Hint, ...]:
    """Give at most five changes that work, one of each kind, the smallest first."""
    causes = {type(layout.cause) for layout in rejected}
    found = (_first(kind(demand, trials), trials) for kind, helps in _KINDS if not helps or causes & set(helps))
    return tuple(islice((one for one in found if one is not None), MOST_HINTS))


def _choosing(demand: Demand) -> tuple[object, ...]:
    return demand.products, demand.node_selector, demand.tolerations, demand.within


def _first(tried: Iterable[Trial], trials: Trials) -> Hint | None:
    """Give the first change the planner finds a plan with."""
    for trial in islice(tried, _MOST_TRIES):
        plan = trials.plan(trial.demand)
        if plan is not None:
            return Hint(trial.field, trial.value, plan.layout, plan.product, plan.gpus, trial.change, plan.tight)
    return None


def _pins(demand: Demand, trials: Trials) -> Iterator[Trial]:
    """Try to move one pin, the shortest way first; where several are pinned and none alone will do, drop them all."""
    pinned = [name for name in ("tensor", "pipeline", "expert") if getattr(demand.pins, name) is not None]
    moved = [move for name in pinned for move in _moves(demand, name, trials)]
    for _, name, value in sorted(moved):
        pins = replace(demand.pins, **{name: value})
        yield Trial(replace(demand, pins=pins), f"spec.parallelism.{name}", value)
    if len(pinned) > 1:
        yield Trial(replace(demand, pins=Pins()), "spec.parallelism", None, Change.UNSET)


def _moves(demand: Demand, name: str, trials: Trials) -> list[tuple[float, str, Any]]:
    """Let go of one pin, and give the nearest value that something fits with, and how far it is."""
    asked = getattr(demand.pins, name)
    freed = replace(demand, pins=replace(demand.pins, **{name: None}))
    values = {getattr(layout, name) for layout in trials.fitting(freed)} - {asked}
    return sorted((_FLIP if name == "expert" else abs(log2(value / asked)), name, value) for value in values)[:1]


def _budget(demand: Demand, trials: Trials) -> Iterator[Trial]:
    """Try the smallest budgets for which something fits once the budget is as large as the fleet."""
    free = sum(facts.free for facts in trials.surveyed(demand))
    most = replace(demand, gpu_budget=min(free, MOST_BUDGET))
    wanted = {layout.world_size * demand.replicas for layout in trials.fitting(most)}
    for total in sorted(wanted):
        yield Trial(replace(demand, gpu_budget=total), "spec.gpuBudget.total", total)


def _products(demand: Demand, trials: Trials) -> Iterator[Trial]:
    if not demand.products:
        return
    best = trials.plan(replace(demand, products=()))
    if best is not None:
        widened = replace(demand, products=(*demand.products, best.product))
        yield Trial(widened, "spec.gpuBudget.products", best.product, Change.ADD)


def _within(demand: Demand, trials: Trials) -> Iterator[Trial]:
    """Try the levels above the one asked for, nearest first; then none. A bare label's place among them is unknown."""
    if demand.within is None:
        return
    ladder = ("node", "domain", *trials.fleet.levels)
    above = ladder[ladder.index(demand.within) + 1 :] if demand.within in ladder else trials.fleet.levels
    for level in above[: _MOST_TRIES - 1]:
        yield Trial(replace(demand, within=level), "spec.placement.within", level)
    yield Trial(replace(demand, within=None), "spec.placement.within", None, Change.UNSET)


def _node_selector(demand: Demand, _: Trials) -> Iterator[Trial]:
    """Take out one label, whichever suffices; then all."""
    field = "spec.placement.nodeSelector"
    for key, _value in demand.node_selector[: _MOST_TRIES - 1]:
        left = tuple(label for label in demand.node_selector if label[0] != key)
        yield Trial(replace(demand, node_selector=left), field, key, Change.REMOVE)
    if len(demand.node_selector) > 1:
        yield Trial(replace(demand, node_selector=()), field, None, Change.UNSET)


def _tolerations(demand: Demand, trials: Trials) -> Iterator[Trial]:
    """Try to tolerate the taints of usable nodes, that with the most free GPUs first."""
    freed: Counter[Taint] = Counter()
    for node in trials.fleet.nodes:
        if node.exclusion is None and node.free:
            freed.update(dict.fromkeys(filter(_may_be_tolerated, node.taints), node.free))
    for taint in sorted(freed, key=lambda taint: (-freed[taint], taint.key, taint.value, taint.effect)):
        added = Toleration(taint.key, "Equal", taint.value, taint.effect)
        if added not in demand.tolerations:
            widened = replace(demand, tolerations=(*demand.tolerations, added))
            yield Trial(widened, "spec.placement.tolerations", added, Change.ADD)


def _may_be_tolerated(taint: Taint) -> bool:
    return taint.effect != "PreferNoSchedule" and not taint.key.startswith(_CLUSTERS_OWN)


def _engine(demand: Demand, _: Trials) -> Iterator[Trial]:
    for engine in EngineName:
        if engine is not demand.engine:
            yield Trial(replace(demand, engine=engine), "spec.engine.name", engine.value)


def _replicas(demand: Demand, trials: Trials) -> Iterator[Trial]:
    fewer = _largest(range(1, demand.replicas), lambda count: replace(demand, replicas=count), trials)
    if fewer is not None:
        yield Trial(replace(demand, replicas=fewer), "spec.replicas", fewer)


def _reserve(demand: Demand, _: Trials) -> Iterator[Trial]:
    if demand.reserve is not None:
        yield Trial(replace(demand, reserve=None), "spec.model.gpuMemoryReserve", None, Change.UNSET)


def _cache_in_fp8(demand: Demand, _: Trials) -> Iterator[Trial]:
    if demand.kv_bytes > 1:
        yield Trial(replace(demand, kv_bytes=1), "spec.model.kvCacheDtype", "fp8")


def _concurrency(demand: Demand, trials: Trials) -> Iterator[Trial]:
    fewer = _largest(range(1, demand.concurrency), lambda count: replace(demand, concurrency=count), trials)
    if fewer is not None:
        yield Trial(replace(demand, concurrency=fewer), "spec.model.concurrency", fewer)


def _context(demand: Demand, trials: Trials) -> Iterator[Trial]:
    if demand.least_context is not None:
        return
    shorter = _largest(_lengths(demand.context_length), lambda tokens: replace(demand, context_length=tokens), trials)
    if shorter is not None:
        yield Trial(replace(demand, context_length=shorter), "spec.model.contextLength", shorter)


def _least_context(demand: Demand, trials: Trials) -> Iterator[Trial]:
    """Where the object says to how few tokens its context may be lowered, it is that which is too much."""
    if demand.least_context is None:
        return
    lower = _largest(_lengths(demand.least_context), lambda tokens: replace(demand, least_context=tokens), trials)
    if lower is not None:
        yield Trial(replace(demand, least_context=lower), "spec.model.minContextLength", lower)


def _lengths(asked: int) -> list[int]:
    """Give the lengths people ask for below the one that was: powers of two, and those halfway between."""
    powers = [_SHORTEST_CONTEXT << step for step in range(max(1, asked).bit_length())]
    return sorted(length for power in powers for length in (power, power * 3 // 2) if length < asked)


def _weights_in_fp8(demand: Demand, _: Trials) -> Iterator[Trial]:
    if demand.model.quantization is Quantization.NONE:
        yield Trial(replace(demand, model=_in_fp8(demand.model)), "spec.model.quantization", "fp8")


@lru_cache(maxsize=256)
def _in_fp8(model: ModelFacts) -> ModelFacts:
    """Give the model as the engine loads it when told to quantise to fp8: one scale a tensor, no blocks.

    The same each time, so that what the planner remembers of it is found again.
    """
    kinds = tuple(replace(layer, weights=tuple(map(_stored_in_fp8, layer.weights))) for layer in model.kinds)
    return replace(model, quantization=Quantization.FP8, kinds=kinds, checkpoint_bytes=None)


def _stored_in_fp8(weight: Weight) -> Weight:
    return replace(weight, precision=Precision(1.0)) if weight.linear else weight


def _largest(values: Sequence[int], changed: Callable[[int], Demand], trials: Trials) -> int | None:
    """Search ascending values for the largest that fits; ``None`` where not even the first does. O(log values)."""
    if not values or not trials.fits(changed(values[0])):
        return None
    low, high = 0, len(values)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if trials.fits(changed(values[middle])) else (low, middle)
    return values[low]


ILLEGAL: Final = (NotDivisible, BlockSplit, NoExperts, TooManyStages, PipelineUnsupported)
"""Causes that lie in model and engine, whatever the GPUs."""

_SPACE: Final = (NoRoom, DomainTooSmall)

_KINDS: Final[tuple[tuple[Kind, tuple[type, ...]], ...]] = (
    (_pins, ()),
    (_budget, (OverBudget,)),
    (_products, ()),
    (_within, ()),
    (_node_selector, ()),
    (_tolerations, ()),
    (_replicas, (OverBudget, *_SPACE)),
    (_cache_in_fp8, (MemoryShort,)),
    (_reserve, (MemoryShort,)),
    (_concurrency, (MemoryShort,)),
    (_context, (MemoryShort,)),
    (_least_context, (MemoryShort,)),
    (_weights_in_fp8, (MemoryShort,)),
    (_engine, ILLEGAL),
)
"""The kinds in their order, each with the causes it may take away; none given, it may always help."""
