"""Showing the fleet: as text, as data, and as a picture with plans drawn on it."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

import yaml

from shardwise.cli.offline import Answer
from shardwise.cli.snapshot import Snapshot
from shardwise.controller.store import STRANGERS, Key
from shardwise.domain.occupancy import Holding, Occupied
from shardwise.domain.plan import Plan
from shardwise.domain.units import plural
from shardwise.drawing import draw
from shardwise.explain import fleet_document, fleet_text, summary, with_gpus

_NAMED: Final = 4
"""Plans that fit the title of a picture."""


def fleet_shown(snapshot: Snapshot, form: str) -> str:
    """Show the fleet of a snapshot as ``text``, ``json``, ``yaml`` or ``svg``."""
    fleet = snapshot.ledger().occupied(_name)
    levels = [level.name for level in snapshot.site.levels]
    if form == "text":
        return fleet_text(fleet, levels) + "\n"
    if form == "svg":
        shown = with_gpus(fleet)
        return draw(shown, levels, "Fleet", summary(shown))
    document = fleet_document(fleet, levels)
    if form == "json":
        return json.dumps(document, indent=2) + "\n"
    return yaml.safe_dump(document, sort_keys=False, width=120, allow_unicode=True)


def plans_drawn(snapshot: Snapshot, answers: Sequence[Answer]) -> str:
    """Draw the plans of the answers on the fleet; what they do not use is drawn faintly."""
    ledger = snapshot.ledger()
    placed = [(answer, answer.outcome) for answer in answers if isinstance(answer.outcome, Plan)]
    for answer, _ in placed:
        ledger.release((answer.namespace, answer.name))
    added: dict[str, list[Holding]] = {}
    for answer, plan in placed:
        for node, holding in _holdings(answer, plan):
            added.setdefault(node, []).append(holding)
    fleet = [_with(one, added.get(one.node.name, [])) for one in with_gpus(ledger.occupied(_name))]
    levels = [level.name for level in snapshot.site.levels]
    return draw(fleet, levels, _title(placed), summary(fleet))


def _title(placed: Sequence[tuple[Answer, Plan]]) -> str:
    named = [f"{answer.name}: {plan.layout}" for answer, plan in placed[:_NAMED]]
    more = [plural(len(placed) - _NAMED, "other")] if len(placed) > _NAMED else []
    return "; ".join([*named, *more]) or "Nothing placed"


def _name(key: Key) -> str:
    return "" if key == STRANGERS else "/".join(key)


def _holdings(answer: Answer, plan: Plan) -> Iterator[tuple[str, Holding]]:
    by = f"{answer.namespace}/{answer.name}"
    for group in plan.groups:
        for pod in group.pods:
            yield pod.node, Holding(by, pod.gpus, pod.ranks, plan.layout.tensor, group.replica)


def _with(one: Occupied, added: Iterable[Holding]) -> Occupied:
    return replace(one, holdings=(*added, *one.holdings))
