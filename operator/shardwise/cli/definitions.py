"""The command that writes generated files: ``crds``."""

from pathlib import Path

import click

from shardwise.api import crd, values
from shardwise.cli.examples import examples
from shardwise.cli.generated import check_option, root_option, write_generated


@click.command(
    epilog=examples(
        ("Write the files after a change of the models", "shardwise crds"),
        ("Check that the files are fresh, as CI does", "shardwise crds --check"),
    )
)
@check_option
@root_option
def crds(*, check: bool, root: Path) -> None:
    """Write the CustomResourceDefinition and the chart's schema of its values, generated from the models."""
    wanted = {root / folder / crd.FILE_NAME: crd.text() for folder in crd.FOLDERS}
    schema = root / values.FILE
    if schema.is_file():
        wanted[schema] = values.with_configuration(schema.read_text())
    write_generated(wanted, "shardwise crds", check=check)
