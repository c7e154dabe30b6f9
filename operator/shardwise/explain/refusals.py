"""A refusal in words: a line for a condition, and a derivation for people."""

from collections.abc import Iterator
from typing import Final

from shardwise.domain.needs import IdleGpus
from shardwise.domain.refusal import Refusal, RefusalReason, RejectedLayout
from shardwise.domain.summary import DemandSummary
from shardwise.domain.units import amount_text, plural
from shardwise.explain.causes import cause, sentence
from shardwise.explain.derivation import Clause, derive
from shardwise.explain.exclusions import exclusion
from shardwise.explain.hints import hint
from shardwise.explain.layouts import LISTED, listed, others
from shardwise.explain.targets import asked_target

MOST_MESSAGE: Final = 1024
"""A condition's message stays within this many characters."""

_HINTS_IN_MESSAGE: Final = 2


def refusal_message(refusal: Refusal) -> str:
    """Say a refusal in a line of at most 1 KiB."""
    parts = [refusal_headline(refusal)]
    if refusal.nearest is not None:
        parts.append(f"nearest {rejection_text(refusal.nearest)}")
    if refusal.excluded:
        parts.append(f"of {plural(refusal.nodes, 'node')} left out: {_excluded(refusal)}")
    parts.extend(map(idle_text, refusal.idle[:1]))
    parts.extend(f"hint: {hint(given)}" for given in refusal.hints[:_HINTS_IN_MESSAGE])
    message = "; ".join(parts)
    return message if len(message) <= MOST_MESSAGE else message[: MOST_MESSAGE - 1] + "…"


def refusal_text(refusal: Refusal, name: str) -> str:
    """Say a refusal at length, as a derivation: each cause once, with the layouts it covers. No trailing newline."""
    return "\n".join(_lines(refusal, name))


def clause_text(clause: Clause) -> str:
    """Say which layouts a cause covers, and why they cannot be used."""
    why = clause.closest.cause
    said = None if len(clause.layouts) == 1 else sentence(why).many(why)
    return f"{listed(clause.layouts)}: {cause(why)}" if said is None else f"{listed(clause.layouts)} {said}"


def closest_text(clause: Clause) -> str | None:
    """Say the nearest layout of a clause and its cause; ``None`` where the clause says them already."""
    if len(clause.layouts) == 1 or not sentence(clause.closest.cause).tells_nearest:
        return None
    return f"nearest {clause.closest.layout}: {cause(clause.closest.cause)}"


def refusal_headline(refusal: Refusal) -> str:
    """Say the shortage in a short phrase."""
    if not refusal.nodes:
        return "there are no nodes"
    if not refusal.rejected:
        return f"0 of {plural(refusal.nodes, 'node')} may be used"
    if refusal.reason is RefusalReason.QUOTA_SHORT:
        return "waiting for quota"
    wait = "waiting for GPUs: " if refusal.waits else ""
    return f"{wait}no layout fits on {plural(refusal.free_gpus, 'free GPU')}"


def _lines(refusal: Refusal, name: str) -> Iterator[str]:
    yield f"× no placement for `{name}`: {refusal_headline(refusal)}"
    yield from _derivation(refusal)
    if refusal.asked is not None:
        yield f"asked: {_asked(refusal.asked)}"
        if refusal.asked.target is not None:
            yield f"target: {asked_target(refusal.asked.target)}"
    if refusal.pools or refusal.excluded:  # nobody counted the nodes where the plan in force is refused
        yield f"nodes: {_nodes(refusal)}"
    yield from (f"idle: {idle_text(idle)}" for idle in refusal.idle)
    yield from (f"hint: {hint(given)}" for given in refusal.hints)


def idle_text(idle: IdleGpus) -> str:
    """Say how many free GPUs no pod can use, and for want of which resource."""
    nodes, asked = plural(idle.nodes, "node"), amount_text(idle.resource, idle.asked)
    counts = f"{asked} asked on `{idle.node}`, {amount_text(idle.resource, idle.left)} left"
    return f"{plural(idle.gpus, 'free GPU')} on {nodes} cannot be used for want of `{idle.resource}`: {counts}"


def _derivation(refusal: Refusal) -> Iterator[str]:
    lead = "╰─▶ Because"
    for clause in derive(refusal):
        yield f"{lead} {clause_text(clause)}"
        nearest = closest_text(clause)
        if nearest is not None:
            yield f"        {nearest}"
        lead = "    And because"
    if refusal.rejected:
        yield "    So no layout fits"


def _asked(asked: DemandSummary) -> str:
    replicas = f"{asked.replicas} replicas of " if asked.replicas != 1 else ""
    sequences = plural(asked.concurrency, "sequence")
    gpus = plural(asked.gpu_budget, "GPU")
    if asked.shared_budget is not None:
        gpus = f"{asked.gpu_budget} of {plural(asked.shared_budget, 'GPU')}"
    return f"{replicas}{sequences} of {asked.context_length} tokens, {gpus} at most"


def _nodes(refusal: Refusal) -> str:
    usable = sum(pool.nodes for pool in refusal.pools)
    pools = (f"{pool.gpus} {pool.product}, {pool.free} free" for pool in refusal.pools)
    parts = [f"{usable} of {refusal.nodes} usable", *pools]
    if refusal.excluded:
        parts.append(f"left out: {_excluded(refusal)}")
    return "; ".join(parts)


def rejection_text(rejected: RejectedLayout) -> str:
    """Say why a layout on a GPU product cannot be used."""
    return f"{rejected.layout} on {rejected.product}: {cause(rejected.cause)}"


def _excluded(refusal: Refusal) -> str:
    """Count the nodes left out for each reason, the commonest reason first."""
    counted = sorted(
        ((exclusion(why, count), exclusion(why), count) for why, count in refusal.excluded), key=_commonest
    )
    shown = ", ".join(f"{count} {said}" for said, _, count in counted[:LISTED])
    return shown + others(sum(count for *_, count in counted[LISTED:]))


def _commonest(counted: tuple[str, str, int]) -> tuple[int, str]:
    _, of_a_node, count = counted
    return -count, of_a_node
