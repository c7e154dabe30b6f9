"""Demands of roles and fleets whose refusals say each way in which a layout cannot exchange KV caches."""

from collections.abc import Mapping
from dataclasses import replace

from tests.support.fleets import a_fleet, gb200_rack, h100s
from tests.support.models import LLAMA_8B, LLAMA_70B, LLAMA_405B, R1, a_demand, facts, pinned

from shardwise.domain.demand import Demand
from shardwise.domain.engine import EngineName
from shardwise.domain.fleet import Fleet
from shardwise.domain.layout import Layout
from shardwise.domain.roles import Half, Role, RoleName


def _half(demand: Demand, role: RoleName, other: Layout | None = None) -> Demand:
    return replace(demand, half=Half(Role(role), other))


REFUSED_ROLES: Mapping[str, tuple[Demand, Fleet]] = {
    "decode in stages": (_half(a_demand(LLAMA_405B, budget=16), RoleName.DECODE), a_fleet(h100s(2))),
    "a prefill of two stages": (
        _half(a_demand(facts("openai/gpt-oss-20b"), pins=pinned(1, 2)), RoleName.PREFILL),
        a_fleet(h100s(1)),
    ),
    "a decode of another width": (
        _half(a_demand(LLAMA_8B, engine=EngineName.SGLANG, pins=pinned(4, 1)), RoleName.DECODE, Layout(2, 1)),
        a_fleet(h100s(1)),
    ),
    "a prefill that is too wide": (
        _half(a_demand(LLAMA_70B, budget=16, pins=pinned(16, 1)), RoleName.PREFILL, Layout(8, 1)),
        a_fleet(gb200_rack(4)),
    ),
    "a decode that divides caches": (
        _half(a_demand(facts(R1), budget=8, pins=replace(pinned(8, 1), context=4)), RoleName.DECODE),
        a_fleet(gb200_rack(2)),
    ),
}
