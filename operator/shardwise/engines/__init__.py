"""How an engine is started on a planned group: words of its command line, environment, ports and probes. Pure.

One module an engine; they do not know one another. This version launches vLLM and refuses the others by name.
"""

from collections.abc import Iterable

from shardwise.domain.engine import EngineName
from shardwise.domain.launch import Wanted
from shardwise.domain.plan import GroupPlacement, Plan
from shardwise.engines import vllm
from shardwise.engines.contradictions import argument_problems, env_problems
from shardwise.engines.launch import GroupLaunch, PodLaunch, Probe

__all__ = ["GroupLaunch", "PodLaunch", "Probe", "UnsupportedEngine", "launch", "problems"]


class UnsupportedEngine(ValueError):
    """An engine this version cannot launch. The message names those it can."""


def launch(wanted: Wanted, plan: Plan, group: GroupPlacement, leader_host: str) -> GroupLaunch:
    """Say how the pods of one group are started. ``leader_host`` is the DNS name of the pod that leads.

    Raises :class:`UnsupportedEngine`.
    """
    _check_supported(plan.engine)
    return vllm.launch(wanted, plan, group, leader_host)


def problems(wanted: Wanted) -> tuple[tuple[str, str], ...]:
    """Give ``(field path, message)`` for what an object asks of its engine that cannot be honoured."""
    found: Iterable[tuple[str, str]]
    try:
        _check_supported(wanted.demand.engine)
    except UnsupportedEngine as error:
        found = [("spec.engine.name", str(error))]
    else:
        found = [*argument_problems(wanted.launch.args), *env_problems(one.name for one in wanted.launch.env)]
    return tuple(found)


def _check_supported(engine: EngineName) -> None:
    if engine is not EngineName.VLLM:
        raise UnsupportedEngine(f"`{engine.value}` cannot be launched by this version; `vllm` can")
