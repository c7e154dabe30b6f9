"""The entry point and its commands."""

import asyncio
import gc
import io
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from shardwise import __version__
from shardwise.api import crd, values
from shardwise.cli import output
from shardwise.cli.configuration import read_site
from shardwise.cli.documents import WrongInput
from shardwise.cli.explaining import explain_all, find_object
from shardwise.cli.generated import check_option, root_option, write_generated
from shardwise.cli.inspect import inspected
from shardwise.cli.looking import Look, config_option, context_option, kubeconfig_option, looking
from shardwise.cli.offline import plan_all, read_objects
from shardwise.cli.showing import fleet_shown, plans_drawn
from shardwise.cluster import ClusterError, with_keys
from shardwise.controller import LeadershipLost, Options, run
from shardwise.domain.model import Quantization
from shardwise.render import bundle

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


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="shardwise")
def cli() -> None:
    """Place and launch sharded inference on Kubernetes, and explain every decision."""


def main() -> None:
    """Run the command line; what is wrong with the input is said in one line each, on standard error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show × shows ? instead of a traceback
    try:
        cli(standalone_mode=True)
    except WrongInput as error:
        for line in error.lines:
            click.echo(f"error: {line}", err=True)
        sys.exit(WRONG_INPUT)
    except ClusterError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(WRONG_INPUT)


@cli.command()
@_objects(required=True)
@looking
@_form("text", "json", "yaml", "svg")
@_independent
def plan(files: tuple[str, ...], look: Look, form: str, *, independent: bool) -> None:
    """Say where each object would run, split how, and why. Objects given together share the fleet, in order."""
    seen = look.seen()
    answers = plan_all(read_objects(files), seen, independent=independent, site=look.site.launch)
    if form == "svg":
        click.echo(plans_drawn(seen, answers), nl=False)
        output.write_failures(answers)
    else:
        output.write_answers(answers, form)
    sys.exit(_exit_status(answer.verdict for answer in answers))


@cli.command()
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
    explained = explain_all(objects, seen, time.time(), site=look.site.launch)
    output.write_explained(explained, form)
    sys.exit(_exit_status(one.verdict for one in explained))


@cli.command()
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
    answers = plan_all(read_objects(files), look.seen(), independent=independent, site=look.site.launch)
    made = [one for answer in answers if answer.placed is not None for one in bundle(*answer.placed)]
    manifests = [with_keys(one) if one["kind"] == "Secret" else one for one in made]
    output.write_manifests(manifests, form)
    output.write_secrets(manifests)
    output.write_failures(answers)
    sys.exit(_exit_status(answer.verdict for answer in answers))


@cli.command()
@looking
@_form("text", "json", "yaml", "svg")
def fleet(look: Look, form: str) -> None:
    """Show the fleet as Shardwise sees it: NVLink domains, and which GPUs are free, held, or left out and why."""
    click.echo(fleet_shown(look.seen(), form), nl=False)


@cli.command()
@click.argument("model")
@click.option(
    "--quantization",
    type=click.Choice(["auto", *(kind.value for kind in Quantization)]),
    default="auto",
    show_default=True,
    help="As in the object: as the config says, or how the weights will be quantised.",
)
@click.option(
    "-o",
    "--output",
    "form",
    type=click.Choice(["text", "json", "yaml"]),
    default="text",
    show_default=True,
    help="Text for people, JSON or YAML for machines.",
)
def inspect(model: str, quantization: str, form: str) -> None:
    """Say a model's facts, sizes and legal degrees: MODEL is a config.json, or a model's id."""
    output.write_model(inspected(model, quantization), form)


@cli.command()
@check_option
@root_option
def crds(*, check: bool, root: Path) -> None:
    """Write what is generated from the models: the CustomResourceDefinition, and the chart's schema of its values."""
    wanted = {root / folder / crd.FILE_NAME: crd.text() for folder in crd.FOLDERS}
    schema = root / values.FILE
    if schema.is_file():
        wanted[schema] = values.with_configuration(schema.read_text())
    write_generated(wanted, "shardwise crds", check=check)


_PATIENT: Final = (100_000, 50, 100)
"""Thresholds of the garbage collector: how many new objects it waits for before it looks."""


@cli.command(name="run")
@kubeconfig_option
@context_option
@click.option("--workers", type=click.IntRange(1, 64), default=4, show_default=True, help="Objects worked on at once.")
@click.option("--relist", type=click.FloatRange(1), default=300.0, show_default=True, help="Seconds between relists.")
@config_option
@click.option("--liveness", help="Address of the health endpoint, such as http://0.0.0.0:8080/healthz.")
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Lines for people, or one JSON object a line.",
)
@click.option("--leader-elect", is_flag=True, help="Act only while holding a Lease, so that several may run.")
@click.option(
    "--lease", default="default/shardwise", show_default=True, metavar="NAMESPACE/NAME", help="The Lease to hold."
)
@click.option("-v", "--verbose", is_flag=True, help="Log every event.")
def operate(  # noqa: PLR0913 - one parameter an option
    *,
    kubeconfig: Path | None,
    context: str | None,
    workers: int,
    relist: float,
    config: Path | None,
    liveness: str | None,
    log_format: str,
    leader_elect: bool,
    lease: str,
    verbose: bool,
) -> None:
    """Run the operator, until told to end."""
    output.set_up_logs(log_format, verbose=verbose)
    held = _lease(lease) if leader_elect else None
    options = Options(kubeconfig, context, workers, relist, liveness, site=read_site(config), lease=held)
    # What was listed stays. Looked through by the garbage collector again and again, it takes a quarter of the time
    # that starting among 5,000 nodes takes (benchmarks/cluster.py).
    gc.set_threshold(*_PATIENT)
    try:
        asyncio.run(run(options))
    except KeyboardInterrupt:
        logging.getLogger(__name__).info("stopped")
    except LeadershipLost as error:
        # Another may act by now: what this process has begun ends with it, and its pod is started again.
        raise WrongInput(str(error)) from error


def _lease(text: str) -> tuple[str, str]:
    namespace, slash, name = text.partition("/")
    if not (namespace and slash and name) or "/" in name:
        raise WrongInput(f"--lease: `{text}` is no NAMESPACE/NAME such as `shardwise/shardwise`")
    return namespace, name


def _exit_status(verdicts: output.Outcomes) -> int:
    found = set(verdicts)
    if "invalid" in found:
        return WRONG_INPUT
    return NOT_PLACED if "refused" in found else 0
