"""The command that runs the operator: ``run``."""

import asyncio
import logging
import re
import sys
from pathlib import Path
from typing import Final

import click

from shardwise.cli.configuration import read_site
from shardwise.cli.examples import examples
from shardwise.cli.logs import LEVELS, set_up_logs
from shardwise.cli.looking import config_option, context_option, kubeconfig_option
from shardwise.cli.wrong import WrongInput
from shardwise.cluster import ClusterError
from shardwise.controller import Options, log_an_outage_once, run

_PORTS: Final = 2**16
_NAMESPACE: Final = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"

SWITCH_SECONDS: Final = 0.0005
"""How long a thread may run while another thread waits for the interpreter; Python's own value is 5 ms.

Decisions run in threads, and the loop waits for the interpreter each time that it has something to do.
"""


@click.command(
    name="run",
    epilog=examples(
        (
            "Run the operator against the current context, with metrics at localhost:8080/metrics",
            "shardwise run --health 127.0.0.1:8080",
        ),
        (
            "Run the operator as the chart does, beside another that is ready to take over",
            "shardwise run --leader-elect --lease shardwise/shardwise --log-format json",
        ),
    ),
)
@kubeconfig_option
@context_option
@click.option("--workers", type=click.IntRange(1, 64), default=4, show_default=True, help="Objects worked on at once.")
@click.option("--relist", type=click.FloatRange(1), default=300.0, show_default=True, help="Seconds between relists.")
@config_option
@click.option(
    "--health",
    metavar="HOST:PORT",
    help="Where to serve /healthz (alive), /readyz (ready as leader or standby), /leadz (leads) and /metrics.",
)
@click.option(
    "--metrics-objects",
    type=click.IntRange(0, 100_000),
    default=1000,
    show_default=True,
    help="Objects that get metrics of their own, the oldest first.",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Lines for people, or one JSON object a line.",
)
@click.option("--leader-elect", is_flag=True, help="Act only while holding a Lease, so that several may run.")
@click.option(
    "--lease", default="default/shardwise", show_default=True, metavar="NAMESPACE/NAME", help="The Lease to hold."
)
@click.option(
    "--namespace",
    "namespaces",
    multiple=True,
    metavar="NAME",
    help="Serve the objects of this namespace alone; may be given again. Default: all namespaces.",
)
@click.option(
    "--log-level",
    type=click.Choice(LEVELS),
    default="info",
    show_default=True,
    help="The least important lines that are logged. `debug` also logs every event.",
)
@click.option("-v", "--verbose", is_flag=True, help="The same as --log-level=debug.")
def operate(  # noqa: PLR0913 - one parameter an option
    *,
    kubeconfig: Path | None,
    context: str | None,
    workers: int,
    relist: float,
    config: Path | None,
    health: str | None,
    metrics_objects: int,
    log_format: str,
    leader_elect: bool,
    lease: str,
    namespaces: tuple[str, ...],
    log_level: str,
    verbose: bool,
) -> None:
    """Run the operator, until told to end."""
    set_up_logs(log_format, "debug" if verbose else log_level)
    log_an_outage_once()
    sys.setswitchinterval(SWITCH_SECONDS)
    held = _lease(lease) if leader_elect else None
    address = _address(health) if health is not None else None
    options = Options(
        kubeconfig,
        context,
        workers,
        relist,
        address,
        site=read_site(config),
        lease=held,
        measured_objects=metrics_objects,
        namespaces=_namespaces(namespaces),
    )
    try:
        asyncio.run(run(options))
    except KeyboardInterrupt:
        logging.getLogger(__name__).info("stopped")
    except ClusterError as error:
        raise WrongInput(str(error)) from error
    except OSError as error:
        raise WrongInput(f"--health: {error}") from error


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < _PORTS:
        raise WrongInput(f"--health: `{text}` is no HOST:PORT such as `0.0.0.0:8080`")
    return host.strip("[]"), int(port)


def _namespaces(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if re.fullmatch(_NAMESPACE, name) is None:
            raise WrongInput(f"--namespace: `{name}` is no name of a namespace such as `team-a`")
    return tuple(sorted(set(names)))


def _lease(text: str) -> tuple[str, str]:
    namespace, slash, name = text.partition("/")
    if not (namespace and slash and name) or "/" in name:
        raise WrongInput(f"--lease: `{text}` is no NAMESPACE/NAME such as `shardwise/shardwise`")
    return namespace, name
