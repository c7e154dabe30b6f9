"""How an engine is started on a planned group: words of its command line, environment, ports, probes, files. Pure.

One module an engine; they do not know one another, and keep the protocol in ``shardwise.engines.protocol``.
"""

from collections.abc import Mapping
from typing import Final

from shardwise.domain.engine import EngineName
from shardwise.domain.launch import Wanted
from shardwise.domain.plan import GroupPlacement, Plan
from shardwise.engines import sglang, tensorrt_llm, vllm
from shardwise.engines.launch import File, GroupLaunch, PodLaunch, Probe
from shardwise.engines.problems import found_problems
from shardwise.engines.protocol import Engine
from shardwise.engines.release import image_of

__all__ = ["ENGINES", "Engine", "File", "GroupLaunch", "PodLaunch", "Probe", "launch", "problems"]

ENGINES: Final[Mapping[EngineName, Engine]] = {
    EngineName.VLLM: vllm,
    EngineName.SGLANG: sglang,
    EngineName.TENSORRT_LLM: tensorrt_llm,
}
"""All engines an object may name."""


def launch(wanted: Wanted, plan: Plan, group: GroupPlacement, hosts: tuple[str, ...]) -> GroupLaunch:
    """Say how the pods of one group are started. ``hosts`` are the DNS names of its pods; the first one leads."""
    engine = ENGINES[plan.engine]
    return engine.launch(wanted, plan, group, hosts, image_of(wanted, engine.DEFAULT_IMAGE))


def problems(wanted: Wanted) -> tuple[tuple[str, str], ...]:
    """Give ``(field path, message)`` for what an object asks of its launch that cannot be honoured."""
    return tuple(found_problems(wanted, ENGINES[wanted.demand.engine]))
