"""The command ``fleet``: the fleet as text, as data or as a picture."""

import json

import click

from shardwise.cli.examples import examples
from shardwise.cli.looking import Look, looking
from shardwise.cli.options import form_option
from shardwise.cli.output import in_yaml
from shardwise.cli.reading import Seen, holder_name
from shardwise.explain.fleet_report import fleet_document, fleet_text


@click.command(
    epilog=examples(
        ("List the nodes, their free GPUs and the holders of the others", "shardwise fleet"),
        ("Draw the fleet", "shardwise fleet -o svg > fleet.svg"),
    )
)
@looking
@form_option("text", "json", "yaml", "svg")
def fleet(look: Look, form: str) -> None:
    """Show the fleet as Shardwise sees it: NVLink domains, and which GPUs are free, held, or left out and why."""
    click.echo(fleet_shown(look.seen(), form), nl=False)


def fleet_shown(seen: Seen, form: str) -> str:
    """Show the fleet of a cluster as ``text``, ``json``, ``yaml`` or ``svg``."""
    ledger = seen.store.ledger
    fleet = ledger.occupied(holder_name)
    levels = [level.name for level in ledger.site.levels]
    if form == "text":
        return fleet_text(fleet, levels) + "\n"
    if form == "svg":
        from shardwise.cli.pictures import fleet_drawn  # noqa: PLC0415 - text and data need no picture

        return fleet_drawn(seen)
    document = fleet_document(fleet, levels)
    if form == "json":
        return json.dumps(document, indent=2) + "\n"
    return in_yaml(document)
