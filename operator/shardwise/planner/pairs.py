"""Planning prefill and decode together: two demands, one budget, and layouts that can exchange KV caches.

Each role is planned by the planner of any demand. Decode is planned first, beside the smallest prefill that there can
be; then prefill for the layout of decode. If the layout that suits decode best suits no prefill, decode follows the
smallest prefill instead.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil
from typing import Final

from shardwise.domain.demand import Demand, Objective, Pins
from shardwise.domain.fleet import Fleet
from shardwise.domain.layout import Layout
from shardwise.domain.notes import CacheByTcp, RolesCounted
from shardwise.domain.plan import Plan
from shardwise.domain.refusal import Hint, Refusal
from shardwise.domain.role_causes import ShareShort
from shardwise.domain.roles import RoleName, SharedBudget
from shardwise.planner import plan
from shardwise.planner.trials import MOST_TRIES

PROMPT_TOKENS: Final = 4
"""Prompt tokens for each token of an answer, where an object does not say its load: long prompts are why roles part."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The plans of both roles. The replicas of an object have a number each: those of decode come first."""

    decode: Plan
    prefill: Plan

    def of(self, name: RoleName) -> Plan:
        """Give the plan of a role."""
        return self.decode if name is RoleName.DECODE else self.prefill


@dataclass(frozen=True, slots=True)
class PairRefusal:
    """Why there is no plan for both roles: the refusal of one role, beside the GPUs of the other."""

    role: RoleName
    refusal: Refusal
    beside: int = 0


def plan_pair(decode: Demand, prefill: Demand, fleet: Fleet) -> Pair | PairRefusal:
    """Plan both roles on a fleet. Both demands have the budget of the object.

    With a bounding place, each place is tried, the place with the most free GPUs first.
    """
    refused: PairRefusal | None = None
    for inside in _inside(decode, fleet):
        found = _counted(decode, prefill, inside, _planned(decode, prefill, inside))
        if isinstance(found, Pair):
            return Pair(found.decode, found.prefill.numbered_from(found.decode.replicas))
        refused = refused or _hinted(decode, prefill, inside, found)
    assert refused is not None  # noqa: S101 - at least one place is tried
    return refused


def _hinted(decode: Demand, prefill: Demand, fleet: Fleet, refused: PairRefusal) -> PairRefusal:
    """Add the smallest budget with which both roles have a plan, if a role found too few GPUs in the budget."""
    causes = (rejected.cause for rejected in refused.refusal.rejected)
    totals = {short.taken + short.needed for short in causes if isinstance(short, ShareShort)}
    for total in sorted(totals)[:MOST_TRIES]:
        found = _planned(replace(decode, gpu_budget=total), replace(prefill, gpu_budget=total), fleet)
        if isinstance(found, Pair):
            made = found.of(refused.role)
            hint = Hint("spec.gpuBudget.total", total, made.layout, made.product, made.gpus, tight=made.tight)
            return replace(refused, refusal=replace(refused.refusal, hints=(hint,)))
    return refused


def for_other(demand: Demand, other: Layout | None) -> Demand:
    """Give the demand of a role whose caches come from, or go to, groups of a layout."""
    return demand if demand.half is None else replace(demand, half=replace(demand.half, other=other))


def within_of(demand: Demand) -> str | None:
    """Give the bounding place of both roles, if the object states it."""
    return None if demand.half is None else demand.half.role.within


def _inside(demand: Demand, fleet: Fleet) -> Iterator[Fleet]:
    """Give the fleet as each bounding place leaves it; the whole fleet if the roles need not lie together."""
    level = within_of(demand)
    if level is None:
        yield fleet
        return
    free: dict[str, int] = {}
    for node in fleet.nodes:
        place = fleet.place(node, level)
        free[place] = free.get(place, 0) + node.free
    free.pop("", None)
    for place in sorted(free, key=lambda found: (-free[found], found)) or [""]:
        yield only_in(fleet, level, place)


def only_in(fleet: Fleet, level: str, place: str) -> Fleet:
    """Give the fleet without the free GPUs outside a place."""
    return fleet.with_nodes(
        node._replace(free=0) for node in fleet.nodes if node.free and fleet.place(node, level) != place
    )


def _planned(decode: Demand, prefill: Demand, fleet: Fleet) -> Pair | PairRefusal:
    least = plan(replace(prefill, objective=Objective.FEWEST_GPUS), fleet, hinted=False)
    if isinstance(least, Refusal):
        return PairRefusal(RoleName.PREFILL, least)
    first = _beside(decode, prefill, least, fleet)
    if isinstance(first, Refusal):
        return PairRefusal(RoleName.DECODE, first, least.gpus)
    second = _beside(for_other(prefill, first.layout), decode, first, fleet)
    if isinstance(second, Plan):
        return Pair(first, second)
    follows = _beside(for_other(decode, least.layout), prefill, least, fleet)
    return Pair(follows, least) if isinstance(follows, Plan) else PairRefusal(RoleName.PREFILL, second, first.gpus)


def _beside(demand: Demand, other: Demand, made: Plan, fleet: Fleet) -> Plan | Refusal:
    """Plan a role with the budget and the fleet that the plan of the other role leaves."""
    return plan(sharing(demand, made.gpus), without(fleet, other, made), hinted=False)


def sharing(demand: Demand, taken: int) -> Demand:
    """Give the demand of a role, which has the budget of its object, the GPUs that the other role leaves of it."""
    shared = SharedBudget(demand.gpu_budget, taken)
    return replace(demand, gpu_budget=shared.left, half=demand.half and replace(demand.half, shared=shared))


def without(fleet: Fleet, demand: Demand, made: Plan) -> Fleet:
    """Give the fleet without the GPUs, and without all other resources, that the pods of a plan take."""
    return fleet.without(made.gpus_by_node(), made.needs_by_node(demand.needs))


def _counted(decode: Demand, prefill: Demand, fleet: Fleet, found: Pair | PairRefusal) -> Pair | PairRefusal:
    """Give the pair with as many replicas as the estimates ask for, where the object does not state them."""
    if isinstance(found, PairRefusal):
        return found
    note = CacheByTcp()
    pair = found if decode.has_rdma else replace(found, decode=_noted(found.decode, note))
    if not (decode.is_counted or prefill.is_counted):
        return pair
    counts = _counts(decode, prefill, pair)
    for at_most in range(max(counts), 0, -1):
        fewer = _fewer(decode, counts[0], at_most), _fewer(prefill, counts[1], at_most)
        if fewer == (pair.decode.replicas, pair.prefill.replicas):
            break
        more = _planned(_again(decode, pair.decode, fewer[0]), _again(prefill, pair.prefill, fewer[1]), fleet)
        if isinstance(more, Pair):
            pair = Pair(_reasoned(more.decode, pair.decode), _reasoned(more.prefill, pair.prefill))
            break
    return replace(pair, decode=_noted(pair.decode, _said(pair, counts)))


def _said(pair: Pair, counts: tuple[int, int]) -> RolesCounted:
    decode, prefill = pair.decode, pair.prefill
    wanted, speeds = (counts[1], counts[0]), (_prefill_speed(prefill), _decode_speed(decode))
    return RolesCounted(prefill.replicas, decode.replicas, wanted, *speeds, PROMPT_TOKENS)


def _reasoned(more: Plan, first: Plan) -> Plan:
    """Give a plan of more replicas with the reasons for which their shape was chosen first."""
    return replace(more, rule=first.rule, alternatives=first.alternatives, notes=first.notes)


def _noted(made: Plan, note: CacheByTcp | RolesCounted) -> Plan:
    return replace(made, notes=(*made.notes, note))


def _fewer(demand: Demand, count: int, at_most: int) -> int:
    return min(count, at_most) if demand.is_counted else demand.replicas


def _again(demand: Demand, made: Plan, replicas: int) -> Demand:
    """Demand more replicas of a planned shape."""
    return replace(
        demand,
        replicas=replicas,
        pins=Pins.of(made.layout),
        products=(made.product,),
        context_length=made.context_length,
        least_context=None,
        together=demand.pins.data is None,
    )


def _counts(decode: Demand, prefill: Demand, pair: Pair) -> tuple[int, int]:
    """Give the replicas of decode and of prefill whose estimated speeds suit each other, inside the budget."""
    ratio = PROMPT_TOKENS * _decode_speed(pair.decode) / _prefill_speed(pair.prefill)
    if not prefill.is_counted:
        wanted = max(1, ceil(prefill.replicas / ratio)), prefill.replicas
    elif not decode.is_counted:
        wanted = decode.replicas, max(1, ceil(decode.replicas * ratio))
    else:
        wanted = (1, max(1, round(ratio))) if ratio >= 1 else (max(1, round(1 / ratio)), 1)
    return wanted


def _decode_speed(made: Plan) -> float:
    return made.estimate.answer_tokens_per_second_per_gpu * made.layout.world_size


def _prefill_speed(made: Plan) -> float:
    return made.estimate.prompt_tokens_per_second_per_gpu * made.layout.world_size
