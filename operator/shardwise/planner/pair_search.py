"""The search for the plans of both roles.

Decode is planned first, beside the smallest prefill that there can be; then prefill for the layout of decode. If the
layout that suits decode best suits no prefill, decode follows the smallest prefill instead.

With a target, the sum of both roles counts: the fewest GPUs, or the lowest price. The engine's law may join the tensor
degrees of both, so that the best decode has a dear prefill. So decode is also planned for the smallest prefill of each
tensor degree, and the best pair is taken.
"""

from collections.abc import Iterator
from dataclasses import replace

from shardwise.domain.demand import Demand, Objective
from shardwise.domain.fleet import Fleet
from shardwise.domain.plan import LayoutOutcome, Plan
from shardwise.domain.refusal import Refusal
from shardwise.domain.roles import RoleName
from shardwise.planner import plan
from shardwise.planner.choose import is_for_size
from shardwise.planner.halves import Pair, PairRefusal, beside, for_other


def best_pair(decode: Demand, prefill: Demand, fleet: Fleet) -> Pair | PairRefusal:
    """Plan both roles: the pair of the least size if both are sized to a target, else the first pair."""
    least = _least(prefill, fleet)
    if isinstance(least, Refusal):
        return PairRefusal(RoleName.PREFILL, least)
    first = _first(decode, prefill, least, fleet)
    if decode.target is None or not (is_for_size(decode) and is_for_size(prefill)):
        return first
    others = _pairs_by_degree(decode, prefill, least, fleet)
    pairs = [found for found in (first, *others) if isinstance(found, Pair)]
    by_price = decode.objective is prefill.objective is Objective.CHEAPEST
    return min(pairs, key=lambda pair: _size(pair, by_price=by_price), default=first)


def any_pair(decode: Demand, prefill: Demand, fleet: Fleet) -> Pair | None:
    """Give the first pair that is found; ``None`` where there is none. Quicker than :func:`best_pair`."""
    least = _least(prefill, fleet)
    if isinstance(least, Refusal):
        return None
    first = _first(decode, prefill, least, fleet)
    if isinstance(first, Pair):
        return first
    return None if decode.target is None else next(_pairs_by_degree(decode, prefill, least, fleet), None)


def _size(pair: Pair, *, by_price: bool) -> tuple[float, int]:
    price = sum(made.gpus * (made.price or 0.0) for made in (pair.decode, pair.prefill))
    return (price if by_price else 0.0), pair.gpus


def first_pair(decode: Demand, prefill: Demand, fleet: Fleet) -> Pair | PairRefusal:
    """Plan the best decode with a prefill for its layout; or, where it has none, decode for the smallest prefill."""
    least = _least(prefill, fleet)
    return PairRefusal(RoleName.PREFILL, least) if isinstance(least, Refusal) else _first(decode, prefill, least, fleet)


def _least(prefill: Demand, fleet: Fleet) -> Plan | Refusal:
    """Plan the smallest prefill that there can be."""
    return plan(replace(prefill, objective=Objective.FEWEST_GPUS), fleet, hinted=False)


def _first(decode: Demand, prefill: Demand, least: Plan, fleet: Fleet) -> Pair | PairRefusal:
    """See :func:`first_pair`."""
    first = beside(decode, prefill, least, fleet)
    if isinstance(first, Refusal):
        return PairRefusal(RoleName.DECODE, first, least.gpus)
    second = beside(for_other(prefill, first), decode, first, fleet)
    if isinstance(second, Plan):
        return Pair(first, second)
    follows = beside(for_other(decode, least), prefill, least, fleet)
    refused = PairRefusal(RoleName.PREFILL, second, first.gpus)
    return refused if isinstance(follows, Refusal) else _with(follows, decode, prefill, least, fleet) or refused


def _with(made: Plan, decode: Demand, prefill: Demand, least: Plan, fleet: Fleet) -> Pair | None:
    """Give a pair of a decode that was planned for a prefill. Its time counts in the target of prefill."""
    if prefill.target is None:
        return Pair(made, least)
    found = beside(for_other(prefill, made), decode, made, fleet)
    return Pair(made, found) if isinstance(found, Plan) else None


def _pairs_by_degree(decode: Demand, prefill: Demand, least: Plan, fleet: Fleet) -> Iterator[Pair]:
    """Give a pair for each different decode that suits a prefill of some tensor degree."""
    found: set[object] = set()
    for tensor in _degrees(least):
        other = _least(replace(prefill, pins=replace(prefill.pins, tensor=tensor)), fleet)
        made = other if isinstance(other, Refusal) else beside(for_other(decode, other), prefill, other, fleet)
        if isinstance(other, Refusal) or isinstance(made, Refusal) or (made.layout, made.product) in found:
            continue
        found.add((made.layout, made.product))
        pair = _with(made, decode, prefill, other, fleet)
        if pair is not None:
            yield pair


def _degrees(made: Plan) -> list[int]:
    """Give the tensor degrees of the layouts that fit."""
    fitting = (other.layout for other in made.alternatives if other.outcome is LayoutOutcome.FITS)
    return sorted({made.layout.tensor, *(layout.tensor for layout in fitting)})
