"""Following a hint, as its user would."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.support.models import facts

from shardwise.domain.demand import Demand, Objective, Pins
from shardwise.domain.engine import EngineName
from shardwise.domain.refusal import Hint
from shardwise.domain.units import parse_latency

CHANGES: dict[str, Callable[[Demand, Any], Demand]] = {
    "spec.engine.name": lambda demand, value: replace(demand, engine=EngineName(value)),
    "spec.gpuBudget.products": lambda demand, value: replace(demand, products=(*demand.products, value)),
    "spec.gpuBudget.total": lambda demand, value: replace(demand, gpu_budget=value),
    "spec.model.concurrency": lambda demand, value: replace(demand, concurrency=value),
    "spec.model.contextLength": lambda demand, value: replace(demand, context_length=value),
    "spec.model.gpuMemoryReserve": lambda demand, _: replace(demand, reserve=None),
    "spec.model.kvCacheDtype": lambda demand, _: replace(demand, kv_bytes=1),
    "spec.model.minContextLength": lambda demand, value: replace(demand, least_context=value),
    "spec.model.quantization": lambda demand, value: replace(demand, model=facts(demand.model.name, value)),
    "spec.objective": lambda demand, value: replace(demand, objective=Objective(value)),
    "spec.target": lambda demand, value: replace(demand, target=value),
    "spec.target.requestsPerSecond": lambda demand, value: with_target(demand, rate=value),
    "spec.target.timePerToken": lambda demand, value: with_target(demand, per_token=parse_latency(value)),
    "spec.target.timeToFirstToken": lambda demand, value: with_target(demand, first_token=parse_latency(value)),
    "spec.parallelism": lambda demand, _: replace(demand, pins=Pins()),
    "spec.parallelism.expert": lambda demand, value: replace(demand, pins=replace(demand.pins, expert=value)),
    "spec.parallelism.pipeline": lambda demand, value: replace(demand, pins=replace(demand.pins, pipeline=value)),
    "spec.parallelism.tensor": lambda demand, value: replace(demand, pins=replace(demand.pins, tensor=value)),
    "spec.placement.nodeSelector": lambda demand, value: replace(demand, node_selector=_without(demand, value)),
    "spec.placement.tolerations": lambda demand, value: replace(demand, tolerations=(*demand.tolerations, value)),
    "spec.placement.within": lambda demand, value: replace(demand, within=value),
    "spec.replicas": lambda demand, value: replace(demand, replicas=value),
}
"""What a user does who follows a hint, by the field it names."""


def with_target(demand: Demand, **changes: Any) -> Demand:
    assert demand.target is not None
    return replace(demand, target=replace(demand.target, **changes))


def _without(demand: Demand, key: str | None) -> tuple[tuple[str, str], ...]:
    return tuple(label for label in demand.node_selector if key is not None and label[0] != key)


def follow(demand: Demand, hint: Hint) -> Demand:
    return CHANGES[hint.field](demand, hint.value)
