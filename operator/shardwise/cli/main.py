"""The entry point: a group that loads a command's module only when the command is used."""

import gc
import io
import sys
from importlib import import_module
from typing import Final

import click
from click.shell_completion import CompletionItem

from shardwise import __version__
from shardwise.cli.examples import examples
from shardwise.cli.wrong import WRONG_INPUT, WrongInput

_COMMANDS: Final = {
    "completion": ("completing", "completion", "Print the script that completes command lines in a shell."),
    "crds": ("definitions", "crds", "Write the CustomResourceDefinition and the chart's schema."),
    "explain": ("explaining", "explain", "Say where an object stands, and why."),
    "fleet": ("showing", "fleet", "Show the fleet as Shardwise sees it."),
    "inspect": ("inspect", "inspect", "Say a model's facts, sizes and legal degrees."),
    "plan": ("planning", "plan", "Say where each object would run, split how, and why."),
    "render": ("rendering", "render", "Print the manifests the operator would apply."),
    "run": ("running", "operate", "Run the operator, until told to end."),
    "status": ("following", "status", "Show the state of a ShardedModel: its replicas and their ranks."),
}
"""Each command's module and function, and its line in the overview."""


class LazyGroup(click.Group):
    """Knows its commands by name, and loads a command's module when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands."""
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command; ``None`` where there is none of that name."""
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module, function, _ = _COMMANDS[cmd_name]
        command = getattr(import_module(f"shardwise.cli.{module}"), function)
        return command if isinstance(command, click.Command) else None

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the name of a command, without loading a command: a shell asks with every key."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [
            CompletionItem(name, help=line) for name, (_, _, line) in _COMMANDS.items() if name.startswith(incomplete)
        ]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the overview, without loading a command."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in _COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        ("See where an object would run on the cluster of the current context", "shardwise plan -f llama.yaml"),
        (
            "Apply the object, and watch its ranks come up",
            "kubectl apply -f llama.yaml; shardwise status llama --watch",
        ),
        ("See why an object waits, and for which GPUs", "shardwise explain llama"),
    ),
)
@click.version_option(__version__, prog_name="shardwise")
def cli() -> None:
    """Place and launch sharded inference on Kubernetes, and explain every decision."""


_PATIENT: Final = (100_000, 50, 100)
"""Thresholds of the garbage collector: the number of new objects it waits for before it looks."""


def main() -> None:
    """Run the command line."""
    # Classes and documents stay until the end. The collector would look through them again and again: it takes a
    # twentieth of the time of `shardwise plan` (benchmarks/commands.py), and a quarter of the time that the operator
    # needs to start among 5,000 nodes (benchmarks/cluster.py).
    gc.set_threshold(*_PATIENT)
    run_commands(cli)


def run_commands(commands: click.Group, program: str | None = None) -> None:
    """Run a group of commands; each problem of the input is a line on standard error, and the exit status is 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show × shows ? instead of a traceback
    try:
        commands(prog_name=program)
    except WrongInput as error:
        for line in error.lines:
            click.echo(f"error: {line}", err=True)
        sys.exit(WRONG_INPUT)
