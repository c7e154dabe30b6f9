"""Of all layouts that lost, the few that teach most; and what became of the others."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from shardwise.domain.layout import Layout
from shardwise.domain.plan import Alternative, LayoutOutcome, Plan, Rule
from shardwise.domain.refusal import RejectedLayout
from shardwise.explain.causes import fate

MOST: Final = 5


def telling(plan: Plan) -> tuple[Alternative, ...]:
    """Choose at most five alternatives, in the order of the plan's.

    The runner-up; the best of each product that lost; of each further way to lose the closest; then whatever came next.
    """
    ranked = [*_fitting(plan), *sorted(_refused(plan), key=_closeness)]
    firsts = [*ranked[:1], *_first_of(ranked, lambda one: one.product, {plan.product})]
    firsts += _first_of(ranked, lambda one: type(one.cause), {type(one.cause) for one in firsts})
    kept = list(dict.fromkeys(id(one) for one in (*firsts, *ranked)))[:MOST]
    return tuple(one for one in ranked if id(one) in kept)


def rest(plan: Plan, shown: Iterable[Alternative]) -> tuple[tuple[str, int], ...]:
    """Count the alternatives that are not shown by what became of them, the commonest first."""
    left = Counter(fate(one.cause) for one in plan.alternatives)
    left.subtract(fate(one.cause) for one in shown)
    return tuple(sorted(((name, count) for name, count in left.items() if count), key=lambda item: (-item[1], item[0])))


def grounds(plan: Plan) -> Alternative | None:
    """Find what made the rule apply: the layout of fewer GPUs, or of fewer nodes, that would have been simpler.

    ``None`` where nothing simpler was tried, or the rule needs none.
    """
    simpler = [one for one in plan.alternatives if one.product == plan.product and _is_simpler(plan, one.layout)]
    lacking = [one for one in simpler if one.cause.supports_rule]
    return max(lacking, key=lambda one: (one.layout.world_size, one.layout.tensor), default=None)


def _is_simpler(plan: Plan, layout: Layout) -> bool:
    match plan.rule:
        case Rule.ONE_GPU | Rule.PINNED:
            return False
        case Rule.TENSOR_IN_NODE_PIPELINE_ACROSS | Rule.MULTI_NODE_NVLINK:
            return layout.world_size <= max(pod.gpus for group in plan.groups for pod in group.pods)
        case _:
            return layout.world_size == 1


def _fitting(plan: Plan) -> Iterator[Alternative]:
    return (one for one in plan.alternatives if one.outcome is LayoutOutcome.FITS)


def _refused(plan: Plan) -> Iterator[Alternative]:
    return (one for one in plan.alternatives if one.outcome is not LayoutOutcome.FITS)


def _closeness(one: Alternative) -> tuple[int, float, Layout, str]:
    return RejectedLayout(one.layout, one.product, one.cause).distance


def _first_of(
    ranked: Iterable[Alternative], trait: Callable[[Alternative], object], seen: set[object]
) -> list[Alternative]:
    """Give the first of each trait that is not seen yet."""
    found: dict[object, Alternative] = {}
    for one in ranked:
        if trait(one) not in seen:
            found.setdefault(trait(one), one)
    return list(found.values())
