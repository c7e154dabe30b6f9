"""The options that several commands share: the objects, the form of the output, and whether objects share the fleet."""

from collections.abc import Callable
from typing import Final

import click

Decorator = Callable[[Callable[..., None]], Callable[..., None]]


def objects_option(*, required: bool) -> Decorator:
    """Give the option that names the files of ShardedModels, as the argument ``files``."""
    return click.option(
        "-f",
        "--file",
        "files",
        multiple=True,
        required=required,
        help="ShardedModel manifests, YAML or JSON: a file, a folder, or - for standard input. May be repeated.",
    )


def form_option(*choices: str) -> Decorator:
    """Give the option that chooses the form of the output, as the argument ``form``; the default is the first."""
    return click.option(
        "-o",
        "--output",
        "form",
        type=click.Choice(choices),
        default=choices[0],
        show_default=True,
        help=f"Text for people, JSON or YAML for machines{', or a picture' if 'svg' in choices else ''}.",
    )


independent_option: Final = click.option("--independent", is_flag=True, help="Plan each object as if it were alone.")
