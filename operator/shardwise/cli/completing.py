"""The command ``completion``: the script with which a shell completes the words of a command line."""

import click
from click.shell_completion import get_completion_class

from shardwise.cli.examples import examples

_SHELLS = ("bash", "zsh", "fish")


@click.command(
    epilog=examples(
        ("Complete words in this bash", 'eval "$(shardwise completion bash)"'),
        ("Complete words in every zsh", 'shardwise completion zsh > "${fpath[1]}/_shardwise"'),
        ("Complete words in every fish", "shardwise completion fish > ~/.config/fish/completions/shardwise.fish"),
    )
)
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that completes command lines in a shell."""
    root = context.find_root()
    program = "kubectl-shardwise" if root.info_name == "kubectl-shardwise" else "shardwise"
    made = get_completion_class(shell)
    if made is None:
        raise click.UsageError(f"no completion for {shell}")
    variable = f"_{program.replace('-', '_').upper()}_COMPLETE"
    click.echo(made(root.command, {}, program, variable).source())
