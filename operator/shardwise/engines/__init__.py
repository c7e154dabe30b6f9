"""How an engine is started on a planned group: words of its command line, variables, ports, probes and files. Pure.

Every engine has a module. The modules keep the protocol in ``shardwise.engines.protocol`` and do not know each other.
"""

from collections.abc import Mapping
from typing import Final

from shardwise.domain.engine import EngineName
from shardwise.domain.launch import Wanted
from shardwise.domain.plan import GroupPlacement, Plan
from shardwise.domain.release import image_of, release_of
from shardwise.engines import sglang, tensorrt_llm, vllm
from shardwise.engines.context import PodContext
from shardwise.engines.figures import Figures
from shardwise.engines.launch import File, GroupLaunch, PodLaunch, Probe, Script
from shardwise.engines.problems import found_problems
from shardwise.engines.protocol import Engine
from shardwise.engines.token_request import TokenRequest

__all__ = [
    "ENGINES",
    "Engine",
    "Figures",
    "File",
    "GroupLaunch",
    "PodLaunch",
    "Probe",
    "Script",
    "TokenRequest",
    "launch",
    "problems",
]

ENGINES: Final[Mapping[EngineName, Engine]] = {
    EngineName.VLLM: vllm,
    EngineName.SGLANG: sglang,
    EngineName.TENSORRT_LLM: tensorrt_llm,
}
"""Every engine that an object may name."""


def launch(wanted: Wanted, plan: Plan, group: GroupPlacement, hosts: tuple[str, ...]) -> GroupLaunch:
    """Describe how the pods of a group are started. ``hosts`` are the DNS names of its pods; the first pod leads."""
    engine = ENGINES[plan.engine]
    release = release_of(wanted, engine.READ)
    pods = tuple(PodContext(wanted, plan, group, place, hosts, release) for place in group.pods)
    return engine.launch(image_of(wanted, engine.DEFAULT_IMAGE), pods)


def problems(wanted: Wanted) -> tuple[tuple[str, str], ...]:
    """Give ``(field path, message)`` for each field of the object that its launch cannot honour, each once."""
    each = wanted.roles or (wanted,)
    found = (problem for part in each for problem in found_problems(part, ENGINES[part.demand.engine]))
    return tuple(dict.fromkeys(found))
