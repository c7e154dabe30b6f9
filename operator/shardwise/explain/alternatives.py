"""The few alternatives of a plan that explain most, and counts of the others."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from shardwise.domain.layout import Layout
from shardwise.domain.plan import Alternative, LayoutOutcome, Plan, Rule
from shardwise.domain.refusal import RejectedLayout
from shardwise.explain.causes import fate

MOST: Final = 5


def telling(plan: Plan) -> tuple[Alternative, ...]:
    """Choose at most five alternatives, in the order of the plan.

    First comes the runner-up, then the best layout of each other product, then the closest layout for each other kind
    of cause, then the next layouts in order.
    """
    ranked = [*_fitting(plan), *sorted(_refused(plan), key=_closeness)]
    firsts = [*ranked[:1], *_first_of(ranked, lambda other: other.product, {plan.product})]
    firsts += _first_of(ranked, lambda other: type(other.cause), {type(other.cause) for other in firsts})
    kept = list(dict.fromkeys(id(other) for other in (*firsts, *ranked)))[:MOST]
    return tuple(other for other in ranked if id(other) in kept)


def rest(plan: Plan, shown: Iterable[Alternative]) -> tuple[tuple[str, int], ...]:
    """Count the alternatives that are not shown, by their fate, the commonest fate first."""
    left = Counter(fate(other.cause) for other in plan.alternatives)
    left.subtract(fate(other.cause) for other in shown)
    return tuple(sorted(((name, count) for name, count in left.items() if count), key=lambda item: (-item[1], item[0])))


def grounds(plan: Plan) -> Alternative | None:
    """Find the simpler layout, on fewer GPUs or nodes, whose cause shows why the rule applies.

    ``None`` where no simpler layout was tried, or where the rule needs no such proof.
    """
    simpler = [
        other for other in plan.alternatives if other.product == plan.product and _is_simpler(plan, other.layout)
    ]
    lacking = [other for other in simpler if other.cause.supports_rule]
    return max(lacking, key=lambda other: (other.layout.world_size, other.layout.tensor), default=None)


def _is_simpler(plan: Plan, layout: Layout) -> bool:
    match plan.rule:
        case Rule.ONE_GPU | Rule.PINNED:
            return False
        case (
            Rule.TENSOR_IN_NODE_PIPELINE_ACROSS
            | Rule.PIPELINE_ACROSS_NODES
            | Rule.STAGES_IN_DOMAIN
            | Rule.STAGES_BETWEEN_NODES
            | Rule.MULTI_NODE_NVLINK
            | Rule.MULTI_NODE_NVLINK_PIPELINE_ACROSS
        ):
            return layout.world_size <= max(pod.gpus for group in plan.groups for pod in group.pods)
        case _:
            return layout.world_size == 1


def _fitting(plan: Plan) -> Iterator[Alternative]:
    return (other for other in plan.alternatives if other.outcome is LayoutOutcome.FITS)


def _refused(plan: Plan) -> Iterator[Alternative]:
    return (other for other in plan.alternatives if other.outcome is not LayoutOutcome.FITS)


def _closeness(other: Alternative) -> tuple[int, float, Layout, str]:
    return RejectedLayout(other.layout, other.product, other.cause).distance


def _first_of(
    ranked: Iterable[Alternative], trait: Callable[[Alternative], object], seen: set[object]
) -> list[Alternative]:
    """Give the first alternative for each trait that is not in ``seen``."""
    found: dict[object, Alternative] = {}
    for other in ranked:
        if trait(other) not in seen:
            found.setdefault(trait(other), other)
    return list(found.values())
