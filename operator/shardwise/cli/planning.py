"""The commands that plan and explain: ``plan``, ``explain``, ``render`` and ``fleet``."""

import sys
import time
from collections.abc import Callable
from typing import Final

import click

from shardwise.cli import output
from shardwise.cli.explaining import explain_all, find_object
from shardwise.cli.looking import Look, looking
from shardwise.cli.offline import plan_all, read_objects
from shardwise.cli.showing import fleet_shown, plans_drawn
from shardwise.render.bundle import bundle
from shardwise.render.manifest import Manifest

NOT_PLACED: Final = 1
WRONG_INPUT: Final = 2


def _objects(*, required: bool) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(
        "-f",
        "--file",
        "files",
        multiple=True,
        required=required,
        help="ShardedModel manifests, YAML or JSON: a file, a folder, or - for standard input. May be repeated.",
    )


def _form(*choices: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(
        "-o",
        "--output",
        "form",
        type=click.Choice(choices),
        default=choices[0],
        show_default=True,
        help=f"Text for people, JSON or YAML for machines{', or a picture' if 'svg' in choices else ''}.",
    )


_independent = click.option("--independent", is_flag=True, help="Plan each object as if it were alone.")


@click.command()
@_objects(required=True)
@looking
@_form("text", "json", "yaml", "svg")
@_independent
def plan(files: tuple[str, ...], look: Look, form: str, *, independent: bool) -> None:
    """Say where each object would run, split how, and why. Objects given together share the fleet, in order."""
    seen = look.seen()
    answers = plan_all(read_objects(files), seen, independent=independent, site=look.site)
    if form == "svg":
        click.echo(plans_drawn(seen, answers), nl=False)
        output.write_failures(answers)
    else:
        output.write_answers(answers, form)
    sys.exit(_exit_status(answer.verdict for answer in answers))


@click.command()
@click.argument("name", required=False)
@click.option("-n", "--namespace", help="Namespace of NAME; default: that of the context.")
@_objects(required=False)
@looking
@_form("text", "json", "yaml")
def explain(name: str | None, namespace: str | None, files: tuple[str, ...], look: Look, form: str) -> None:
    """Say where an object stands: its plan and why, whether it stays, what its groups wait for, or why there is none.

    NAME is a ShardedModel of the cluster, or of the files given by --fleet; -f explains objects of files instead.
    """
    if (name is None) == (not files):
        raise click.UsageError("either NAME or -f is needed, and not both")
    objects = read_objects(files) if name is None else []
    seen = look.seen()
    if name is not None:
        objects = [find_object(seen, name, namespace)]
    explained = explain_all(objects, seen, time.time(), site=look.site)
    output.write_explained(explained, form)
    sys.exit(_exit_status(answer.verdict for answer in explained))


@click.command()
@_objects(required=True)
@looking
@click.option(
    "-o",
    "--output",
    "form",
    type=click.Choice(["yaml", "json"]),
    default="yaml",
    show_default=True,
    help="YAML documents, or one JSON List.",
)
@_independent
def render(files: tuple[str, ...], look: Look, form: str, *, independent: bool) -> None:
    """Print the manifests the operator would apply, ready for `kubectl apply -f -`."""
    answers = plan_all(read_objects(files), look.seen(), independent=independent, site=look.site)
    bundled = [manifest for answer in answers if answer.placed is not None for manifest in bundle(*answer.placed)]
    manifests = [_with_keys(manifest) for manifest in bundled]
    output.write_manifests(manifests, form)
    output.write_secrets(manifests)
    output.write_failures(answers)
    sys.exit(_exit_status(answer.verdict for answer in answers))


@click.command()
@looking
@_form("text", "json", "yaml", "svg")
def fleet(look: Look, form: str) -> None:
    """Show the fleet as Shardwise sees it: NVLink domains, and which GPUs are free, held, or left out and why."""
    click.echo(fleet_shown(look.seen(), form), nl=False)


def _with_keys(manifest: Manifest) -> Manifest:
    """Give a Secret its keys; any other manifest stays as it is."""
    if manifest["kind"] != "Secret":
        return manifest
    from shardwise.cluster.keys import with_keys  # noqa: PLC0415 - few objects need keys, and cryptography loads slowly

    return with_keys(manifest)


def _exit_status(verdicts: output.Outcomes) -> int:
    found = set(verdicts)
    if "invalid" in found:
        return WRONG_INPUT
    return NOT_PLACED if "refused" in found else 0
