"""Plans by hand, so that a launch is tested without the planner; and how vLLM's own parser reads a command line."""

import json
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any, NoReturn

from tests.support.models import DATA, LLAMA_8B, a_demand

from shardwise.domain.demand import Demand
from shardwise.domain.engine import EngineName
from shardwise.domain.launch import Launch, Owner, Wanted
from shardwise.domain.layout import Layout
from shardwise.domain.plan import Estimate, GroupPlacement, MemoryUse, Plan, PodPlacement, Rule
from shardwise.domain.units import GIB
from shardwise.engines import GroupLaunch, launch

LEADER = "llama-0-0-0.llama-0-0.default.svc"
"""Where a group's leader is found: given to the engine, not made by it."""


OF_OTHER_RELEASES = frozenset({"--no-enable-expert-parallel"})
"""Refused although 0.33.0 does not know it: an older image spells `--disable-expert-parallel` so."""


def wants(demand: Demand | None = None, **changes: Any) -> Wanted:
    """Give an object that serves a model; keywords are fields of ``Launch``."""
    made = Launch(Owner("llama", "default", "uid-1"), LLAMA_8B, "served")
    return Wanted(demand or a_demand(LLAMA_8B), replace(made, **changes))


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
    return launch(wanted or wants(), plan, plan.groups[0], LEADER)


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
def known_flags() -> frozenset[str]:
    """Give the options of vLLM, long and short, as its own source declares them."""
    return frozenset(json.loads((DATA / "flags" / "vllm.json").read_text())["flags"])


class _Parser(ArgumentParser):
    """Refuses by an exception: a test must not exit."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


@cache
def _parser() -> ArgumentParser:
    parser = _Parser(add_help=False)
    for flag in sorted(known_flags() | OF_OTHER_RELEASES):
        parser.add_argument(flag, nargs="?", const="", dest=flag)
    return parser


def as_vllm_reads(word: str) -> str | None:
    """Give the option vLLM takes a word for: its parser is argparse's, with ``_`` for ``-`` in long names.

    ``None`` where the word is ambiguous or no option at all.
    """
    name, equals, value = word.partition("=")
    spelled = (name.replace("_", "-") if name.startswith("--") else name) + equals + value
    try:
        found, rest = _parser().parse_known_args([spelled], None)
    except ValueError:
        return None
    (read,) = [key for key, given in vars(found).items() if given is not None] or [None]
    return None if rest else read
