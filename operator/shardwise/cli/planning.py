"""The command ``plan``."""

import sys

import click

from shardwise.cli.answers import write_answers, write_failures
from shardwise.cli.examples import examples
from shardwise.cli.looking import Look, looking
from shardwise.cli.offline import plan_all, read_objects
from shardwise.cli.options import form_option, independent_option, objects_option
from shardwise.cli.output import write_config_hint
from shardwise.cli.verdicts import exit_status


@click.command(
    epilog=examples(
        ("Plan an object on the cluster of the current context", "shardwise plan -f llama.yaml"),
        ("Plan without a cluster, on nodes saved by kubectl", "shardwise plan -f llama.yaml --fleet nodes.yaml"),
        ("Draw the plan", "shardwise plan -f llama.yaml --fleet nodes.yaml -o svg > plan.svg"),
    )
)
@objects_option(required=True)
@looking
@form_option("text", "json", "yaml", "svg")
@independent_option
def plan(files: tuple[str, ...], look: Look, form: str, *, independent: bool) -> None:
    """Say where each object would run, split how, and why. Objects given together share the fleet, in order."""
    seen = look.seen()
    answers = plan_all(read_objects(files), seen, independent=independent, site=look.site)
    if form == "svg":
        from shardwise.cli.pictures import plans_drawn  # noqa: PLC0415 - text and data need no picture

        click.echo(plans_drawn(seen, answers), nl=False)
        write_failures(answers)
    else:
        write_answers(answers, form)
    write_config_hint((answer.outcome for answer in answers), configured=look.configured)
    sys.exit(exit_status(answer.verdict for answer in answers))
