"""The command ``status``: the state of an object, once, or anew with every change until nothing more happens."""

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

import click

from shardwise.cli.examples import examples
from shardwise.cli.looking import context_option, kubeconfig_option
from shardwise.cli.names import complete_names
from shardwise.cli.status_view import StatusView, status_view
from shardwise.cli.terminal import console
from shardwise.cli.verdicts import NOT_PLACED
from shardwise.cli.wrong import WrongInput
from shardwise.cluster import Cluster, ClusterError, Refused, Retryable, connect
from shardwise.observe.kinds import POD, SHARDED_MODEL
from shardwise.render.manifest import MODEL
from shardwise.render.names import label_value

Show = Callable[[StatusView], None]


@click.command(
    epilog=examples(
        ("See whether an object serves, and how far each replica is", "shardwise status llama-70b -n serving"),
        ("Watch the ranks come up until the object is Ready", "shardwise status llama-70b --watch"),
    )
)
@click.argument("name", shell_complete=complete_names)
@click.option("-n", "--namespace", help="Namespace of NAME; default: that of the context.")
@click.option("-w", "--watch", is_flag=True, help="Show every change until the object is Ready or Stalled.")
@click.option(
    "--interval", type=click.FloatRange(0.1, 60), default=1.0, show_default=True, help="Seconds between two looks."
)
@kubeconfig_option
@context_option
def status(
    *, name: str, namespace: str | None, watch: bool, interval: float, kubeconfig: Path | None, context: str | None
) -> None:
    """Show the state of a ShardedModel: its replicas and their ranks, its updates, its place in the queue.

    The exit status is 0 if the object is Ready, else 1.
    """
    try:
        with _shown(live=watch and sys.stdout.isatty()) as show:
            last = asyncio.run(_follow(name, namespace, (kubeconfig, context), show, interval if watch else None))
    except Refused as error:
        raise WrongInput(_refused(name, error)) from error
    except ClusterError as error:
        raise WrongInput(str(error)) from error
    except KeyboardInterrupt:
        return
    sys.exit(0 if last.condition == "Ready" else NOT_PLACED)


async def _follow(
    name: str, namespace: str | None, where: tuple[Path | None, str | None], show: Show, interval: float | None
) -> StatusView:
    """Look at an object, again and again with an interval, and show it. An API server that is away is waited for."""
    connection = await connect(*where)
    cluster = Cluster(connection)
    try:
        view = await _looked(cluster, namespace or connection.namespace, name)
        show(view)
        while interval is not None and not view.settled:
            await asyncio.sleep(interval)
            try:
                view = await _looked(cluster, namespace or connection.namespace, name)
            except Retryable as error:
                click.echo(f"waiting: {error}", err=True)
                continue
            show(view)
        return view
    finally:
        await cluster.close()


async def _looked(cluster: Cluster, namespace: str, name: str) -> StatusView:
    obj = await cluster.get(SHARDED_MODEL, namespace, name)
    pods, _ = await cluster.list(POD, f"{MODEL}={label_value(name)}", namespace=namespace)
    return status_view(obj, pods, time.time())


@contextmanager
def _shown(*, live: bool) -> Iterator[Show]:
    """Give the way to show an object: in place on a terminal that follows, else below each other when it changes."""
    if not live:
        yield _Printed().show
        return
    from rich.live import Live  # noqa: PLC0415 - only a terminal that follows needs it
    from rich.text import Text  # noqa: PLC0415 - as above

    with Live(console=console(), auto_refresh=False) as screen:
        yield lambda view: screen.update(Text(view.text, style=view.colour), refresh=True)


class _Printed:
    """Prints an object when it has changed, a blank line between two states."""

    def __init__(self) -> None:
        self._last: object = None

    def show(self, view: StatusView) -> None:
        """Print an object, unless nothing but time has changed."""
        state = view.status, view.generation, view.pods
        if state == self._last:
            return
        if self._last is not None:
            click.echo()
        self._last = state
        if sys.stdout.isatty():
            console().print(view.text, style=view.colour)
        else:
            click.echo(view.text)


def _refused(name: str, error: Refused) -> str:
    if error.status != HTTPStatus.NOT_FOUND:
        return str(error)
    return f"no ShardedModel `{name}`: {error}"
