"""Writing for all commands: text and data on standard output, problems on standard error."""

import json
import sys
from collections.abc import Iterable

import click
import yaml


def write_blocks(blocks: Iterable[tuple[str, str]]) -> None:
    """Write texts, each with its colour, a blank line between two. Only a terminal shows colours."""
    for position, (text, colour) in enumerate(blocks):
        if position:
            print()
        if sys.stdout.isatty():
            from shardwise.cli.terminal import console  # noqa: PLC0415 - rich loads slowly, and a pipe needs none

            console().print(text, style=colour)
        else:
            print(text)


def write_data(data: object, form: str) -> None:
    """Write data as JSON or YAML."""
    click.echo(json.dumps(data, indent=2) if form == "json" else in_yaml(data), nl=form == "json")


def write_problems(name: str, namespace: str, outcome: object) -> None:
    """Write the errors of an object, if its outcome is a list of errors, on standard error."""
    for line in outcome if isinstance(outcome, tuple) else ():
        click.echo(f"error: {namespace}/{name}: {line}", err=True)


def titled(name: str, role: str) -> str:
    """Give the title of an object, or of a role of it: the name, and the role if there is one."""
    return f"{name} ({role})" if role else name


def write_config_hint(outcomes: Iterable[object], *, configured: bool) -> None:
    """Say on standard error that no operator configuration was given, if an error is about an entry of it."""
    lines = (line for outcome in outcomes if isinstance(outcome, tuple) for line in outcome)
    if not configured and any("of the operator's configuration" in line for line in lines):
        click.echo("hint: this command was given no operator configuration; give it by --config FILE", err=True)


def in_yaml(document: object) -> str:
    """Give a document as YAML, with its fields in their order."""
    return yaml.safe_dump(document, sort_keys=False, width=120, allow_unicode=True)
