"""``python -m shardwise_sandbox``: the demo and the writer of generated pages, for developers of Shardwise."""

import sys
from pathlib import Path

import click

from shardwise.cli.generated import check_option, root_option, write_generated
from shardwise.cli.main import run_commands
from shardwise.cli.wrong import WrongInput
from shardwise_sandbox.demo import play, write_files
from shardwise_sandbox.estimate_errors import FILE, errors_text
from shardwise_sandbox.pages import pages as generated_pages

PROGRAM = "python -m shardwise_sandbox"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Try Shardwise without a cluster, and write its generated pages."""


@cli.command()
@click.option("--keep", is_flag=True, help="Keep the API running at the end, and print its kubeconfig.")
@click.option(
    "--files",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Do not run the demo; write its objects and nodes into a folder, to try `shardwise plan` with them.",
)
def demo(*, keep: bool, folder: Path | None) -> None:
    """Run the real operator against an in-memory Kubernetes API: plan, launch, break, heal, delete."""
    if folder is None:
        sys.exit(play(keep=keep))
    try:
        paths = write_files(folder)
    except OSError as error:
        raise WrongInput(f"{error.filename or folder} cannot be written: {error.strerror}") from error
    click.echo("\n".join(map(str, paths)))


@cli.command()
@check_option
@root_option
def pages(*, check: bool, root: Path) -> None:
    """Write the generated pages about the engines and the reasons."""
    texts = {root / path: text for path, text in generated_pages().items()}
    write_generated(texts, f"{PROGRAM} pages", check=check)


@cli.command()
@check_option
@root_option
def errors(*, check: bool, root: Path) -> None:
    """Hold the planner's estimates of speed against measurements, and write how far they are off."""
    write_generated({root / FILE: errors_text(root)}, f"{PROGRAM} errors", check=check)


def main() -> None:
    """Run a command. Wrong input gets a message on standard error and exit status 2."""
    run_commands(cli, PROGRAM)


if __name__ == "__main__":
    main()
