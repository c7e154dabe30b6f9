"""The layouts to try on a pool: every tensor degree that the model allows, at every depth that the GPUs allow."""

from collections.abc import Iterator

from shardwise.domain.demand import Demand
from shardwise.domain.layout import Layout
from shardwise.planner.legality import has_experts, heads, legal_tensors

MOST_GPUS = 576
"""The largest group considered: eight NVL72 racks."""


def layouts(demand: Demand, gpus: int) -> Iterator[Layout]:
    """Enumerate layouts for a pool of so many GPUs, in a fixed order, each once. Pins narrow the enumeration.

    Illegal tensor degrees are left out, unless the user pins them: the refusal then names the number. A model that no
    degree suits is tried on a lone rank, for the same reason.
    """
    gpus = min(MOST_GPUS, max(1, gpus))
    for expert in _expert_choices(demand):
        for tensor in _tensors(demand, gpus, expert=expert):
            for pipeline in _pipelines(demand, gpus // tensor):
                yield Layout(tensor, pipeline, expert)


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
