"""Plans by hand, so that a launch is tested without the planner; and how the engines' own parsers read their words."""

import itertools
import json
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, NoReturn

from tests.support.launches import a_launch
from tests.support.models import DATA, LLAMA_8B, R1, a_demand

from shardwise.domain.demand import Demand
from shardwise.domain.engine import EngineName
from shardwise.domain.launch import CacheKind, EnvVar, LaunchSite, Source, SourceKind, Wanted, WeightCache
from shardwise.domain.layout import Layout
from shardwise.domain.plan import Estimate, GroupPlacement, MemoryUse, Plan, PodPlacement, Rule
from shardwise.domain.roles import Connector, Role, RoleName
from shardwise.domain.units import GIB
from shardwise.engines import GroupLaunch, PodLaunch, launch, problems

HOSTS = tuple(f"llama-0-0-{index}.llama-0-0.default.svc" for index in range(16))
"""Where the pods of a group are found: given to the engine, not made by it."""

LEADER = HOSTS[0]

SGLANG, TENSORRT_LLM, VLLM = EngineName.SGLANG, EngineName.TENSORRT_LLM, EngineName.VLLM


OF_OTHER_RELEASES = frozenset({"--no-enable-expert-parallel"})
"""Refused although 0.33.0 does not know it: an older image spells `--disable-expert-parallel` so."""


ALLOWED = LaunchSite(host_paths=("/data",))
"""A cluster whose operator lets objects mount what is below /data."""


SOURCES = [
    Source(),
    Source(revision="v1.0", token_secret="hub", token_key="read", pre_pull=True),
    Source(cache=WeightCache(CacheKind.HOST_PATH, "/data/cache")),
    Source(SourceKind.PERSISTENT_VOLUME_CLAIM, location="claim", path="a/b"),
    Source(SourceKind.HOST_PATH, location="/data/llama"),
    Source(SourceKind.IMAGE, location="registry.example/llama@sha256:0"),
]
"""Every kind of place that weights come from."""

GROUPS_OF_DATA = [
    (Layout(4, 1, True, 2), (8,)),
    (Layout(8, 1, True, 2, 8), (8, 8)),
    (Layout(8, 2, True, 2), (8, 8, 8, 8)),
]
"""Data ranks of several GPUs, for engines that have them: on one node, on a node each, and on two nodes each."""


def wants(demand: Demand | None = None, *, site: LaunchSite = ALLOWED, **changes: Any) -> Wanted:
    """Give an object that serves a model; keywords are fields of the parts of ``Launch``."""
    return Wanted(
        demand or a_demand(LLAMA_8B), a_launch("llama", LLAMA_8B, **{"served_name": "served"} | changes), site=site
    )


def wants_of(engine: EngineName, *, site: LaunchSite = ALLOWED, **changes: Any) -> Wanted:
    """Give an object for an engine; on TensorRT-LLM it is served under its own name, as nothing else can be had."""
    named = {"served_name": LLAMA_8B} if engine is TENSORRT_LLM else {}
    return wants(a_demand(LLAMA_8B, engine=engine), site=site, **(named | changes))


def a_group(*gpus: int, replica: int = 0) -> GroupPlacement:
    """Give a group with a pod of so many GPUs on each of its nodes."""
    starts = [sum(gpus[:index]) for index in range(len(gpus))]
    pods = (
        PodPlacement(index, f"node-{replica}-{index}", "domain-0", count, tuple(range(start, start + count)))
        for index, (start, count) in enumerate(zip(starts, gpus, strict=True))
    )
    return GroupPlacement(replica, tuple(pods))


def a_plan(layout: Layout, *pods: int, replicas: int = 1, weights: int = GIB, **changes: Any) -> Plan:
    """Give a plan: the GPUs of each pod of a group, all on one node unless said. ``weights`` are bytes a GPU."""
    gpus = pods or (layout.world_size,)
    made = Plan(
        layout=layout,
        product="NVIDIA-H200",
        engine=EngineName.VLLM,
        context_length=8192,
        concurrency=1,
        groups=tuple(a_group(*gpus, replica=replica) for replica in range(replicas)),
        memory=MemoryUse(weights, GIB, GIB, GIB, 128 * GIB),
        rule=Rule.ONE_GPU,
        tight=False,
        estimate=Estimate(0.01, 100.0),
        alternatives=(),
    )
    return replace(made, **changes)


def started(plan: Plan, wanted: Wanted | None = None) -> GroupLaunch:
    """Launch the first group of a plan."""
    made = wanted or wants()
    if made.demand.engine is not plan.engine:
        made = replace(made, demand=replace(made.demand, engine=plan.engine))
    return launch(made, plan, plan.groups[0], HOSTS)


def dispatch_variables() -> set[str]:
    """Give the variables with which SGLang sizes the buffers of its all-to-alls, each in a pod of eight data ranks."""
    found: set[str] = set()
    for backend in ("deepep_v2", "mooncake", "nixl", "pplx"):
        demand = a_demand(R1, engine=SGLANG, all_to_all=backend)
        (pod,) = started(a_plan(Layout(1, 1, True, 8), engine=SGLANG), wants(demand)).pods
        found |= {variable.name for variable in pod.env if "DISPATCH" in variable.name}
    return found


def by_name(pod: PodLaunch) -> dict[str, EnvVar]:
    """Give a pod's variables by name; each has one."""
    assert len({variable.name for variable in pod.env}) == len(pod.env)
    return {variable.name: variable for variable in pod.env}


def values_of(pod: PodLaunch) -> dict[str, str | None]:
    """Give the variables of a pod that have a plain value."""
    return {variable.name: variable.value for variable in pod.env if variable.value is not None}


def options(args: Sequence[str]) -> dict[str, str]:
    """Read arguments as options with a value, or with none; fail on an option that is given twice."""
    found: dict[str, str] = {}
    for index, word in enumerate(args):
        if word.startswith("--"):
            assert word not in found, f"{word} is given twice"
            after = args[index + 1] if index + 1 < len(args) else ""
            found[word] = "" if after.startswith("--") else after
    return found


@cache
def known_flags(engine: EngineName = VLLM, part: str = "flags") -> frozenset[str]:
    """Give the options of an engine, long and short, as its own source declares them."""
    return frozenset(json.loads((DATA / "flags" / f"{engine.value}.json").read_text())[part])


class _Parser(ArgumentParser):
    """Refuses by an exception: a test must not exit."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


@cache
def _parser(engine: EngineName) -> ArgumentParser:
    parser = _Parser(add_help=False)
    for flag in sorted(known_flags(engine) | (OF_OTHER_RELEASES if engine is VLLM else frozenset())):
        parser.add_argument(flag, nargs="?", const="", dest=flag)
    return parser


def as_engine_reads(engine: EngineName, word: str) -> str | None:
    """Give the option an engine takes a word for; ``None`` where the word is ambiguous or no option at all.

    vLLM's parser is argparse's, with ``_`` for ``-`` in long names; SGLang's is argparse's own; TensorRT-LLM's is
    click's, which takes whole names only.
    """
    name, equals, value = word.partition("=")
    if engine is TENSORRT_LLM:
        return name if name in known_flags(engine) else None
    dashed = engine is VLLM and name.startswith("--")
    spelled = (name.replace("_", "-") if dashed else name) + equals + value
    try:
        found, rest = _parser(engine).parse_known_args([spelled], None)
    except ValueError:
        return None
    read: str | None = next((key for key, given in vars(found).items() if given is not None), None)
    return None if rest else read


def role_groups(
    engine: EngineName, layouts: Sequence[tuple[Layout, tuple[int, ...]]], site: LaunchSite
) -> Iterator[tuple[Plan, Wanted, GroupLaunch]]:
    """Launch groups of both roles, with each connector that the engine has; one model keeps states."""
    models = (LLAMA_8B, "Qwen/Qwen3-Next-80B-A3B-Instruct")
    for model, name, connector in itertools.product(models, RoleName, Connector):
        wanted = wants(a_demand(model, engine=engine), site=site, model=model, served_name=model)
        wanted = replace(wanted, launch=replace(wanted.launch, role=Role(name, connector)))
        if not problems(wanted):
            for layout, pods in layouts:
                plan = a_plan(layout, *pods, engine=engine)
                yield plan, wanted, started(plan, wanted)


def served(engine: EngineName, pod: PodLaunch) -> tuple[str, ...]:
    """Give the words of the engine itself, without those of mpirun before them."""
    if engine is TENSORRT_LLM and "trtllm-serve" in pod.args:
        return pod.args[pod.args.index("trtllm-serve") + 1 :]
    return pod.args
