"""A chosen plan in words."""

from collections.abc import Iterator
from typing import Final

from shardwise.domain.layout import Layout
from shardwise.domain.plan import Alternative, Estimate, GroupPlacement, LayoutOutcome, Plan, PodPlacement
from shardwise.domain.refusal import MemoryShort
from shardwise.domain.units import GIB, gib, plural
from shardwise.explain.alternatives import grounds, rest, telling
from shardwise.explain.causes import brief
from shardwise.explain.layouts import LISTED, others
from shardwise.explain.notes import note
from shardwise.explain.rules import rule
from shardwise.explain.tables import aligned
from shardwise.explain.targets import target_lines

_MOST_PODS: Final = 16
"""The most pods that are listed: a group of two racks has no more."""

_HEAD: Final = ("", "", "", "GPUs", "GiB a GPU", "ms a token", "tokens/s a GPU", "")
_NUMBERS: Final = (3, 4, 5, 6)
_NONE: Final = "–"


def plan_message(plan: Plan) -> str:
    """Say a plan in a line for a condition: layout, product, nodes, rule."""
    if not plan.groups:
        return f"{plan.layout} on {plan.product}, 0 replicas"
    tight = ", tight" if plan.tight else ""
    return f"{plan.layout} on {whereabouts(plan)}{tight}; {rule(plan.rule)}"


def plan_text(plan: Plan, name: str, *, left_open: bool = False) -> str:
    """Say a plan at length: rule, memory, speed, placement and alternatives. No trailing newline.

    ``left_open`` tells that the scheduler picks the nodes, so that those of the plan are an example.
    """
    return "\n".join(_lines(plan, name, left_open=left_open))


def _lines(plan: Plan, name: str, *, left_open: bool) -> Iterator[str]:
    yield f"✓ `{name}`: {plan.layout} on {whereabouts(plan)}"
    yield f"  chosen   {rule(plan.rule)}{_grounds(plan)}"
    yield f"  memory   {_memory(plan)}"
    yield f"  serves   {plural(plan.concurrency, 'sequence')} of {plan.context_length} tokens"
    yield f"  speed    {_speed(plan)}"
    yield from (f"  {name:<9}{text}" for name, text in target_lines(plan))
    yield from _section("placed", list(_placed(plan.groups)))
    if left_open and plan.groups:
        yield "  note     the scheduler picks the nodes, inside the bounds of the plan; these nodes have room"
    yield from (f"  note     {note(noted)}" for noted in plan.notes)
    yield from _section("layouts", list(_side_by_side(plan)))


def _section(name: str, lines: list[str]) -> Iterator[str]:
    for position, line in enumerate(lines):
        yield f"  {name if position == 0 else '':<9}{line}"


def whereabouts(plan: Plan) -> str:
    """Say a plan's number of GPUs, its product and its nodes."""
    nodes = list(dict.fromkeys(pod.node for group in plan.groups for pod in group.pods if pod.node))
    shown = ", ".join(nodes[:LISTED]) + others(max(0, len(nodes) - LISTED))
    if any(not pod.node for group in plan.groups for pod in group.pods):
        shown = f"{shown}; " * bool(shown) + "the scheduler picks the nodes"
    replicas = f", {plan.replicas} replicas" if plan.replicas != 1 else ""
    return f"{plural(plan.gpus, plan.product, plan.product)}{replicas}" + (f" ({shown})" if shown else "")


def _grounds(plan: Plan) -> str:
    """Say in numbers why the rule applies."""
    simpler = grounds(plan)
    return "" if simpler is None else f" ({simpler.layout}: {brief(simpler.cause)})"


def _memory(plan: Plan) -> str:
    use = plan.memory
    slack = f"{gib(use.slack)} of slack" + (", tight: under 5 % of the budget" if plan.tight else "")
    return (
        f"{gib(use.needed)} of {gib(use.budget)} a GPU: weights {gib(use.weights)}, KV cache {gib(use.kv_cache)}, "
        f"activations {gib(use.activations)}, reserve {gib(use.reserve)}; {slack}"
    )


def _speed(plan: Plan) -> str:
    guess = plan.estimate
    return (
        f"about {guess.seconds_per_token * 1000:.1f} ms a token for one sequence, "
        f"{guess.tokens_per_second_per_gpu:.0f} tokens a second and GPU for many (estimates)"
    )


def _placed(groups: tuple[GroupPlacement, ...]) -> Iterator[str]:
    pods = [(group, pod) for group in groups for pod in group.pods]
    rows = [(_of(group, groups), *_pod(pod)) for group, pod in pods[:_MOST_PODS]]
    yield from aligned(rows)
    if len(pods) > _MOST_PODS:
        yield f"and {plural(len(pods) - _MOST_PODS, 'pod')} more"


def _of(group: GroupPlacement, groups: tuple[GroupPlacement, ...]) -> str:
    return f"replica {group.replica}" if len(groups) > 1 else ""


def _pod(pod: PodPlacement) -> tuple[str, str, str]:
    ranks = f"rank {pod.ranks[0]}" if len(pod.ranks) == 1 else f"ranks {pod.ranks[0]}–{pod.ranks[-1]}"
    domain = "" if pod.domain == pod.node else f", NVLink domain {pod.domain}"
    return f"pod {pod.index}", ranks, f"on {pod.node}{domain}" if pod.node else "on a node that the scheduler picks"


def _side_by_side(plan: Plan) -> Iterator[str]:
    """Give a table of the chosen layout and the shown alternatives, so that their numbers can be compared."""
    shown = telling(plan)
    if not shown:
        return
    several = any(other.product != plan.product for other in plan.alternatives)
    chosen = _cells(plan.layout, plan.product if several else "", plan.memory.needed, plan.estimate)
    rows = [_HEAD, ("→", *chosen, "chosen")]
    rows += [("", *_row(other, several=several), _why(other)) for other in shown]
    yield from aligned(rows, right=_NUMBERS)
    left = rest(plan, shown)
    if left:
        counted = ", ".join(f"{count} {fate}" for fate, count in left)
        yield f"and {plural(sum(count for _, count in left), 'other')}: {counted}"


def _row(other: Alternative, *, several: bool) -> tuple[str, ...]:
    needed = other.cause.needed if isinstance(other.cause, MemoryShort) else None
    needed = other.memory.needed if other.memory is not None else needed
    return _cells(other.layout, other.product if several else "", needed, other.estimate)


def _cells(layout: Layout, product: str, needed: int | None, guess: Estimate | None) -> tuple[str, ...]:
    return (
        str(layout),
        product,
        str(layout.world_size),
        _NONE if needed is None else f"{needed / GIB:.1f}",
        _NONE if guess is None else f"{guess.seconds_per_token * 1000:.1f}",
        _NONE if guess is None else f"{guess.tokens_per_second_per_gpu:.0f}",
    )


def _why(other: Alternative) -> str:
    return brief(other.cause) if other.outcome is LayoutOutcome.FITS else f"refused: {brief(other.cause)}"
