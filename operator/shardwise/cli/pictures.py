"""Pictures: the fleet, alone or with plans drawn on it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from shardwise.cli.offline import Answer
from shardwise.cli.reading import Seen, holder_name
from shardwise.domain.occupancy import Holding, Occupied
from shardwise.domain.plan import Plan
from shardwise.domain.units import plural
from shardwise.drawing import draw
from shardwise.explain.fleet_report import summary, with_gpus

_NAMED: Final = 4
"""Plans that fit the title of a picture."""


def fleet_drawn(seen: Seen) -> str:
    """Draw the fleet."""
    return _drawn(seen, "Fleet", with_gpus(seen.store.ledger.occupied(holder_name)))


def plans_drawn(seen: Seen, answers: Sequence[Answer]) -> str:
    """Draw the plans of the answers on the fleet; GPUs that they do not use are drawn faintly.

    The objects of the answers hold nothing afterwards.
    """
    ledger = seen.store.ledger
    placed = [(answer, answer.outcome) for answer in answers if isinstance(answer.outcome, Plan)]
    for answer, _ in placed:
        ledger.release((answer.namespace, answer.name))
    added: dict[str, list[Holding]] = {}
    for answer, plan in placed:
        for node, holding in _holdings(answer, plan):
            added.setdefault(node, []).append(holding)
    fleet = [_with(node, added.get(node.node.name, [])) for node in with_gpus(ledger.occupied(holder_name))]
    return _drawn(seen, _title(placed), fleet)


def _drawn(seen: Seen, title: str, fleet: Sequence[Occupied]) -> str:
    levels = [level.name for level in seen.store.ledger.site.levels]
    return draw(fleet, levels, title, summary(fleet))


def _title(placed: Sequence[tuple[Answer, Plan]]) -> str:
    named = [f"{answer.name}: {plan.layout}" for answer, plan in placed[:_NAMED]]
    more = [plural(len(placed) - _NAMED, "other")] if len(placed) > _NAMED else []
    return "; ".join([*named, *more]) or "Nothing placed"


def _holdings(answer: Answer, plan: Plan) -> Iterator[tuple[str, Holding]]:
    by = f"{answer.namespace}/{answer.name}"
    for group in plan.groups:
        for pod in group.pods:
            yield pod.node, Holding(by, pod.gpus, pod.ranks, plan.layout.tensor, group.replica)


def _with(node: Occupied, added: Iterable[Holding]) -> Occupied:
    return replace(node, holdings=(*added, *node.holdings))
