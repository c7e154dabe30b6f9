"""The layouts to try on a pool: every tensor degree that the model allows, at every depth that the GPUs allow."""

from collections.abc import Iterator
from typing import Final

from shardwise.domain.demand import Demand
from shardwise.domain.layout import Layout
from shardwise.planner.data_support import has_data, row_of
from shardwise.planner.legality import has_experts, heads, legal_tensors

MOST_GPUS = 576
"""The largest group considered: eight NVL72 racks."""

_LEAST_PART: Final = 8


def layouts(demand: Demand, gpus: int) -> Iterator[Layout]:
    """Enumerate layouts for a pool of so many GPUs, in a fixed order, each once. Pins narrow the enumeration.

    Illegal tensor degrees are left out, unless the user pins them: the refusal then names the number. A model that no
    degree suits is tried on a lone rank, for the same reason.
    """
    gpus = min(MOST_GPUS, max(1, gpus))
    context = demand.pins.context or 1
    if demand.pins.data in (None, 1):
        for expert in _expert_choices(demand):
            for tensor in _tensors(demand, gpus, expert=expert):
                for pipeline in _pipelines(demand, gpus // tensor):
                    yield Layout(tensor, pipeline, expert, context=context)
    if demand.pins.data != 1:
        yield from _with_data(demand, gpus)


def _expert_choices(demand: Demand) -> tuple[bool, ...]:
    if not has_experts(demand.model):
        return (demand.pins.expert is True,)
    return (False, True) if demand.pins.expert is None else (demand.pins.expert,)


def _tensors(demand: Demand, gpus: int, *, expert: bool) -> tuple[int, ...]:
    if demand.pins.tensor is not None:
        return (demand.pins.tensor,)
    most = min(gpus, heads(demand.model))
    legal = legal_tensors(demand.model, demand.engine, demand.setup, expert=expert, most=most)
    found = tuple(tensor for tensor in legal if tensor > 1 or not expert or demand.pins.expert is True)
    return found if found or expert else (1,)


def _pipelines(demand: Demand, most: int) -> Iterator[int]:
    if demand.pins.pipeline is not None:
        yield demand.pins.pipeline
        return
    yield from range(1, max(1, min(most, len(demand.model.order))) + 1)


def _with_data(demand: Demand, gpus: int) -> Iterator[Layout]:
    """Enumerate the layouts with several data ranks.

    Experts are dealt out whole, unless the user wants them split. Depths are powers of two: their number has to stay
    small, because it is multiplied by the data degrees.
    """
    pinned = demand.pins.data
    if pinned is None and not _may_choose_data(demand):
        return
    whole = has_experts(demand.model) if demand.pins.expert is None else demand.pins.expert
    for tensor in _tensors_beside_data(demand, gpus):
        for data in (pinned,) if pinned else _data_degrees(tensor, gpus // (demand.pins.pipeline or 1)):
            for pipeline in _depths(demand, gpus // (data * tensor)):
                yield Layout(tensor, pipeline, whole, data, demand.pins.context or 1)


def _may_choose_data(demand: Demand) -> bool:
    """Tell whether the planner may choose several data ranks: not if both other degrees are pinned."""
    is_free = demand.pins.tensor is None or demand.pins.pipeline is None
    return is_free and has_experts(demand.model) and has_data(demand.engine, demand.release)


def _tensors_beside_data(demand: Demand, most: int) -> tuple[int, ...]:
    if demand.pins.tensor is not None:
        return (demand.pins.tensor,)
    if row_of(demand.engine).alone:
        return (1,)
    most = min(most, heads(demand.model))
    return legal_tensors(demand.model, demand.engine, demand.setup, expert=True, most=most) or (1,)


_MULTIPLES: Final = (1, 3, 5, 9)
"""Stages have a power of two of GPUs or, from a node of eight on, so many times as many: a rack of 72, and some numbers
of nodes between powers of two."""


def _data_degrees(tensor: int, most: int) -> Iterator[int]:
    """Give the data degrees that are tried, ascending."""
    powers = [2**exponent for exponent in range(most.bit_length())]
    sizes = {multiple * power for multiple in _MULTIPLES for power in powers if multiple == 1 or power >= _LEAST_PART}
    for gpus in sorted(size for size in sizes if 2 * tensor <= size <= most):
        if gpus % tensor == 0:
            yield gpus // tensor


def _depths(demand: Demand, most: int) -> Iterator[int]:
    if demand.pins.pipeline is not None:
        yield demand.pins.pipeline
        return
    depth = 1
    while depth <= max(1, min(most, len(demand.model.order))):
        yield depth
        depth *= 2
