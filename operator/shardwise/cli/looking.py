"""The options that say where a command looks: files, or a cluster; and how nodes are read."""

import gc
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click

from shardwise.cli.configuration import read_site
from shardwise.cli.reading import Seen, read_files
from shardwise.domain.site import FleetSite, Site

kubeconfig_option = click.option(
    "--kubeconfig", type=click.Path(path_type=Path, dir_okay=False), help="Default: the usual places."
)
context_option = click.option("--context", help="Context of the kubeconfig; default: its current one.")
config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="The operator configuration: how nodes are read and pods are started. See docs/configuration.md.",
)
_fleet_option = click.option(
    "--fleet",
    "fleets",
    multiple=True,
    help="Output of `kubectl get nodes,pods,shardedmodels,priorityclasses,resourcequotas,crds -A -o yaml` (or json); "
    "nodes alone will do. For GPUs by DRA add resourceslices,resourceclaims,deviceclasses. May be repeated. "
    "Default: the cluster of the current context.",
)


@dataclass(frozen=True, slots=True)
class Context:
    """Which cluster: a kubeconfig and a context of it; by default the current ones."""

    kubeconfig: Path | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """Where to look: the files given, else the cluster of a context. ``site`` is the operator's configuration."""

    fleets: tuple[str, ...]
    cluster: Context
    site: Site
    configured: bool = True
    """Whether the operator's configuration was given; else it is empty, whatever the operator of the cluster has."""

    def seen(self) -> Seen:
        """Look, once. Raises ``WrongInput`` for files that are wrong and for a cluster that does not let us."""
        site = self.site.fleet
        seen = read_files(self.fleets, site) if self.fleets else _read_live(self.cluster, site)
        # The documents stay until the end. Looked through by the garbage collector again and again, the documents of
        # 5,000 nodes take a third of the time that planning many objects takes (benchmarks/plan.py).
        gc.freeze()
        return seen


def _read_live(cluster: Context, site: FleetSite) -> Seen:
    from shardwise.cli.live import read_live  # noqa: PLC0415 - the client loads slowly, and files need none

    return read_live(cluster.kubeconfig, cluster.name, site)


def looking(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options above, as the argument ``look``."""

    @_fleet_option
    @kubeconfig_option
    @context_option
    @config_option
    @wraps(command)
    def with_look(
        *,
        fleets: tuple[str, ...],
        kubeconfig: Path | None,
        context: str | None,
        config: Path | None,
        **others: Any,  # noqa: ANN401 - the command's own
    ) -> None:
        command(look=Look(fleets, Context(kubeconfig, context), read_site(config), config is not None), **others)

    return with_look
