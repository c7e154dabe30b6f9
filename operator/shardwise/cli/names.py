"""Completing the names of ShardedModels: a shell asks for those of the cluster while a command line is typed."""

import click
from click.shell_completion import CompletionItem

SECONDS = 2.0
"""How long a cluster may take to answer. Whoever types waits for no longer."""


def complete_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Give the names that begin with a text, in the namespace that is typed; none if the cluster gives no answer."""
    del parameter
    from shardwise.cli.listed import names_of  # noqa: PLC0415 - the client loads slowly, and only a name needs it

    where = context.params.get("kubeconfig"), context.params.get("context"), context.params.get("namespace")
    return [CompletionItem(name) for name in names_of(*where, seconds=SECONDS) if name.startswith(incomplete)]
