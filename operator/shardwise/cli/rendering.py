"""The command ``render``: the manifests that the operator would apply."""

import json
import sys
from collections.abc import Callable
from functools import partial
from itertools import groupby

import click

from shardwise.cli.answers import write_failures
from shardwise.cli.examples import examples
from shardwise.cli.looking import Look, looking
from shardwise.cli.offline import Answer, plan_all, read_objects
from shardwise.cli.options import independent_option, objects_option
from shardwise.cli.output import in_yaml, write_config_hint
from shardwise.cli.verdicts import exit_status
from shardwise.domain.launch import Wanted
from shardwise.domain.plan import Plan
from shardwise.reconcile.open_places import open_to
from shardwise.reconcile.usable_fleet import UsableFleet
from shardwise.render.bundle import bundle
from shardwise.render.manifest import Manifest
from shardwise.render.pods import OpenTo


@click.command(
    epilog=examples(
        (
            "See the pods and Services of an object without the operator",
            "shardwise render -f llama.yaml --fleet nodes.yaml",
        ),
        ("Run an object without the operator", "shardwise render -f llama.yaml | kubectl apply -f -"),
    )
)
@objects_option(required=True)
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
@independent_option
def render(files: tuple[str, ...], look: Look, form: str, *, independent: bool) -> None:
    """Print the manifests the operator would apply, ready for `kubectl apply -f -`."""
    objects, seen = read_objects(files), look.seen()
    answers = plan_all(objects, seen, independent=independent, site=look.site)
    where = partial(open_to, usable=UsableFleet(seen.store.fleet()))
    bundled = [manifest for _, roles in groupby(answers, _key) for manifest in _bundled(list(roles), where)]
    manifests = [_with_keys(manifest) for manifest in bundled]
    _write_manifests(manifests, form)
    _write_secrets(manifests)
    write_failures(answers)
    write_config_hint((answer.outcome for answer in answers), configured=look.configured)
    sys.exit(exit_status(answer.verdict for answer in answers))


def _key(answer: Answer) -> tuple[str, str, int]:
    return answer.namespace, answer.name, answer.document


def _bundled(roles: list[Answer], where: Callable[[Wanted, Plan], OpenTo]) -> tuple[Manifest, ...]:
    """Give the manifests of an object, whose roles have an answer each. ``where`` is as of ``bundle``."""
    placed = [answer.placed for answer in roles if answer.placed is not None]
    return bundle(*placed[0], *placed[1:], where=where) if placed else ()


def _write_manifests(manifests: list[Manifest], form: str) -> None:
    """Write manifests as YAML documents, or as a JSON List."""
    if form == "json":
        click.echo(json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}, indent=2))
    elif manifests:
        click.echo("---\n".join(in_yaml(manifest) for manifest in manifests), nl=False)


def _write_secrets(manifests: list[Manifest]) -> None:
    """Warn on standard error of private keys among the manifests: each call makes new ones."""
    for manifest in manifests:
        if manifest["kind"] == "Secret":
            name = f"{manifest['metadata']['namespace']}/{manifest['metadata']['name']}"
            click.echo(
                f"note: Secret {name} holds private keys made just now; keep it out of version control", err=True
            )


def _with_keys(manifest: Manifest) -> Manifest:
    """Give a Secret its keys; any other manifest stays as it is."""
    if manifest["kind"] != "Secret":
        return manifest
    from shardwise.cluster.keys import with_keys  # noqa: PLC0415 - few objects need keys, and cryptography loads slowly

    return with_keys(manifest)
