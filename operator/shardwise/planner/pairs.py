"""Planning prefill and decode together: two demands, one budget, and layouts that can exchange KV caches.

Each role is planned by the planner of any demand, see ``pair_search``. Without a target, the numbers of replicas that
the object does not state follow from the estimated speeds of both roles. With a target, each role is sized to it.
"""

from dataclasses import replace
from functools import partial
from math import ceil
from typing import Final

from shardwise.domain.demand import Demand, Pins
from shardwise.domain.fleet import Fleet
from shardwise.domain.notes import CacheByTcp, RolesCounted
from shardwise.domain.plan import Plan
from shardwise.planner import RATE_PARTS, resized, with_part_of_rate
from shardwise.planner.halves import Pair, PairRefusal, for_other, inside_places
from shardwise.planner.largest import largest_that_fits
from shardwise.planner.pair_hints import with_hints
from shardwise.planner.pair_search import any_pair, best_pair, first_pair

PROMPT_TOKENS: Final = 4
"""Prompt tokens for each token of an answer, where an object does not say its load: long prompts are why roles part."""


def plan_pair(decode: Demand, prefill: Demand, fleet: Fleet, *, hinted: bool = True) -> Pair | PairRefusal:
    """Plan both roles on a fleet. Both demands have the budget of the object.

    With a bounding place, each place is tried, the place with the most free GPUs first. Without ``hinted``, a refusal
    has no hints.
    """
    refused: PairRefusal | None = None
    for inside in inside_places(decode, fleet):
        found = _counted(decode, prefill, inside, best_pair(decode, prefill, inside))
        if isinstance(found, Pair):
            return Pair(found.decode, found.prefill.numbered_from(found.decode.replicas))
        refused = refused or (with_hints(decode, prefill, inside, found) if hinted else found)
    assert refused is not None  # noqa: S101 - at least one place is tried
    return refused


def part_of_rate(decode: Demand, prefill: Demand, fleet: Fleet) -> Pair | None:
    """Plan the largest part of the rate of a target for which both roles have a plan; ``None`` where no part has one.

    Both roles get the same part, and their sizings are for the whole rate. As ``most_replicas``, each part first gets
    its share of the budget alone.
    """
    for shares in (True, False):
        parts = partial(_of_both, decode, prefill, decode.gpu_budget if shares else None)
        # mypy cannot infer the type of a lambda's default.
        most = largest_that_fits(range(1, RATE_PARTS), lambda count, parts=parts: _fits(parts(count), fleet))  # type: ignore[misc]
        made = None if most is None else plan_pair(*parts(most), fleet, hinted=False)
        if isinstance(made, Pair):
            whole = resized(decode, made.decode, fleet)
            return Pair(whole, resized(for_other(prefill, whole), made.prefill, fleet))
    return None


def _of_both(decode: Demand, prefill: Demand, shared: int | None, parts: int) -> tuple[Demand, Demand]:
    some = (with_part_of_rate(role, shared, parts) if role.replicas else role for role in (decode, prefill))
    return next(some), next(some)


def _fits(roles: tuple[Demand, Demand], fleet: Fleet) -> bool:
    decode, _ = roles
    return any(any_pair(*roles, inside) for inside in inside_places(decode, fleet))


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
        more = first_pair(_again(decode, pair.decode, fewer[0]), _again(prefill, pair.prefill, fewer[1]), fleet)
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
