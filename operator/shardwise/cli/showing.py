"""The command ``fleet``, and pictures: the fleet as text, as data, and as a picture with plans drawn on it."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

import click

from shardwise.cli.looking import Look, looking
from shardwise.cli.offline import Answer
from shardwise.cli.options import form_option
from shardwise.cli.output import in_yaml
from shardwise.cli.reading import Seen
from shardwise.domain.occupancy import Holding, Occupied
from shardwise.domain.plan import Plan
from shardwise.domain.units import plural
from shardwise.drawing import draw
from shardwise.explain.fleet_report import fleet_document, fleet_text, summary, with_gpus
from shardwise.observe import STRANGERS, Key

_NAMED: Final = 4
"""Plans that fit the title of a picture."""


@click.command()
@looking
@form_option("text", "json", "yaml", "svg")
def fleet(look: Look, form: str) -> None:
    """Show the fleet as Shardwise sees it: NVLink domains, and which GPUs are free, held, or left out and why."""
    click.echo(fleet_shown(look.seen(), form), nl=False)


def fleet_shown(seen: Seen, form: str) -> str:
    """Show the fleet of a cluster as ``text``, ``json``, ``yaml`` or ``svg``."""
    ledger = seen.store.ledger
    fleet = ledger.occupied(_name)
    levels = [level.name for level in ledger.site.levels]
    if form == "text":
        return fleet_text(fleet, levels) + "\n"
    if form == "svg":
        shown = with_gpus(fleet)
        return draw(shown, levels, "Fleet", summary(shown))
    document = fleet_document(fleet, levels)
    if form == "json":
        return json.dumps(document, indent=2) + "\n"
    return in_yaml(document)


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
    fleet = [_with(node, added.get(node.node.name, [])) for node in with_gpus(ledger.occupied(_name))]
    levels = [level.name for level in ledger.site.levels]
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


def _with(node: Occupied, added: Iterable[Holding]) -> Occupied:
    return replace(node, holdings=(*added, *node.holdings))
