"""Generated files: the options of the commands that write them, and the writing."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click

check_option: Final = click.option("--check", is_flag=True, help="Change nothing; fail when a file is stale.")
root_option: Final = click.option(
    "--root",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=Path(),
    help="Root of the repository whose files are meant; default: the current folder.",
)


def write_generated(wanted: Mapping[Path, str], command: str, *, check: bool) -> None:
    """Write each file whose text differs from ``wanted``. With ``check`` only name these files, and exit with 1.

    ``command`` is the command that writes the files, as a user types it.
    """
    stale = [path for path, text in wanted.items() if not path.is_file() or path.read_text() != text]
    for path in stale:
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path])
        click.echo(f"{path} {f'is stale; run `{command}`' if check else 'written'}", err=check)
    if check and stale:
        sys.exit(1)
