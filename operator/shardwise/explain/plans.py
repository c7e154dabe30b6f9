"""A chosen plan in words."""

from collections.abc import Iterator
from typing import Final

from shardwise.domain.plan import Alternative, GroupPlacement, Plan, Verdict
from shardwise.domain.units import gib, plural
from shardwise.explain.causes import cause
from shardwise.explain.rules import rule

LISTED_ALTERNATIVES: Final = 5


def plan_message(plan: Plan) -> str:
    """Say a plan in one line, for a condition: layout, product, nodes, rule."""
    if not plan.groups:
        return f"{plan.layout} on {plan.product}, 0 replicas"
    tight = ", tight" if plan.tight else ""
    return f"{plan.layout} on {_where(plan)}{tight}; {rule(plan.rule)}"


def plan_text(plan: Plan, name: str) -> str:
    """Say a plan at length: where, memory, the rule, and why the alternatives lost. No trailing newline."""
    return "\n".join(_lines(plan, name))


def _lines(plan: Plan, name: str) -> Iterator[str]:
    yield f"✓ `{name}`: {plan.layout} on {_where(plan)}"
    yield f"  chosen   {rule(plan.rule)}"
    yield f"  memory   {_memory(plan)}"
    yield f"  serves   {plural(plan.concurrency, 'sequence')} of {plan.context_length} tokens"
    yield f"  speed    about {plan.estimate.seconds_per_token * 1000:.1f} ms a token for one sequence (estimate)"
    for group in plan.groups:
        yield from _placement(group)
    yield from (f"  note     {note}" for note in plan.notes)
    yield from _alternatives(plan.alternatives)


def _where(plan: Plan) -> str:
    nodes = list(dict.fromkeys(pod.node for group in plan.groups for pod in group.pods))
    shown = ", ".join(nodes[:LISTED_ALTERNATIVES])
    more = f" and {len(nodes) - LISTED_ALTERNATIVES} others" if len(nodes) > LISTED_ALTERNATIVES else ""
    replicas = f", {plan.replicas} replicas" if plan.replicas != 1 else ""
    return f"{plural(plan.gpus, plan.product, plan.product)}{replicas} ({shown}{more})"


def _memory(plan: Plan) -> str:
    use = plan.memory
    slack = f"{gib(use.slack)} of slack" + (", tight: under 5 % of the budget" if plan.tight else "")
    return (
        f"{gib(use.needed)} of {gib(use.budget)} a GPU: weights {gib(use.weights)}, KV cache {gib(use.kv_cache)}, "
        f"activations {gib(use.activations)}, reserve {gib(use.reserve)}; {slack}"
    )


def _placement(group: GroupPlacement) -> Iterator[str]:
    for pod in group.pods:
        ranks = f"rank {pod.ranks[0]}" if len(pod.ranks) == 1 else f"ranks {pod.ranks[0]}–{pod.ranks[-1]}"
        domain = "" if pod.domain == pod.node else f", NVLink domain {pod.domain}"
        yield f"  replica {group.replica}, pod {pod.index}: {ranks} on {pod.node}{domain}"


def _alternatives(alternatives: tuple[Alternative, ...]) -> Iterator[str]:
    shown = telling(alternatives, LISTED_ALTERNATIVES)
    for position, one in enumerate(shown):
        lead = "instead" if position == 0 else "       "
        verdict = "" if one.verdict is Verdict.FITS else "refused: "
        yield f"  {lead}  {one.layout!s:<11} {one.product}: {verdict}{cause(one.cause)}"
    if len(alternatives) > len(shown):
        yield f"           and {len(alternatives) - len(shown)} others"


def telling(alternatives: tuple[Alternative, ...], most: int) -> tuple[Alternative, ...]:
    """Choose the alternatives that teach most: one of each kind of cause and product first, in the order given."""
    seen: set[tuple[str, str]] = set()
    first: list[Alternative] = []
    rest: list[Alternative] = []
    for one in alternatives:
        kind = (type(one.cause).__name__, one.product)
        (rest if kind in seen else first).append(one)
        seen.add(kind)
    kept = set(map(id, (first + rest)[:most]))
    return tuple(one for one in alternatives if id(one) in kept)
