"""The numbers and codes of a plan as JSON data, with the names that `status.plan` and `-o json` share.

No words are here, and so no notes; no places and no alternatives. Sizes are bytes on each GPU.
"""

from collections.abc import Mapping
from typing import Any

from shardwise.domain.engine import EngineName
from shardwise.domain.fleet import NVIDIA
from shardwise.domain.layout import Layout
from shardwise.domain.plan import Estimate, MemoryUse, Plan, Rule
from shardwise.domain.sizing_data import read_sizing, sizing_data

Data = dict[str, Any]


def plan_data(plan: Plan) -> Data:
    """Give a plan as data, which :func:`read_plan` reads back."""
    return {
        **layout_data(plan.layout),
        "gpusPerReplica": plan.layout.world_size,
        "worldSize": plan.layout.world_size,
        "product": plan.product,
        "rule": plan.rule.value,
        "engine": plan.engine.value,
        "contextLength": plan.context_length,
        "concurrency": plan.concurrency,
        "tight": plan.tight,
        "memory": memory_data(plan.memory),
        "estimate": estimate_data(plan.estimate),
    } | _unusual(plan)


def _unusual(plan: Plan) -> Data:
    """Give the fields that are there only where they differ from those of nearly every plan."""
    resource = {} if plan.resource == NVIDIA else {"resource": plan.resource}
    placed = {name: True for name in ("ipv6", "joined", "linked") if getattr(plan, name)}
    sized = {} if plan.sizing is None else {"target": sizing_data(plan.sizing)}
    priced = {} if plan.price is None else {"gpuPricePerHour": plan.price}
    return resource | placed | ({} if plan.states is None else {"states": plan.states}) | sized | priced


def layout_data(layout: Layout) -> Data:
    """Give the degrees of a layout. Those that few layouts have are left out where they are 1."""
    few = {name: degree for name in ("data", "context") if (degree := getattr(layout, name)) > 1}
    return {"tensor": layout.tensor, "pipeline": layout.pipeline, "expert": layout.expert} | few


def memory_data(use: MemoryUse) -> Data:
    """Give the bytes on the fullest GPU."""
    return {
        "weights": use.weights,
        "kvCache": use.kv_cache,
        "activations": use.activations,
        "reserve": use.reserve,
        "needed": use.needed,
        "budget": use.budget,
        "slack": use.slack,
    } | ({"leftFree": use.left_free} if use.left_free else {})


def estimate_data(estimate: Estimate) -> Data:
    """Give an estimate in whole numbers, because a status must not change with the last digit of a float."""
    return {
        "microsecondsPerToken": round(estimate.seconds_per_token * 1e6),
        "tokensPerSecondPerGpu": round(estimate.tokens_per_second_per_gpu),
    }


def read_plan(data: Mapping[str, Any]) -> Plan:
    """Read a plan, without notes, places and alternatives.

    Raises ``AttributeError``, ``KeyError``, ``TypeError`` or ``ValueError`` for data that this version did not write.
    """
    return Plan(
        layout=read_layout(data),
        product=str(data["product"]),
        engine=EngineName(data["engine"]),
        context_length=int(data["contextLength"]),
        concurrency=int(data["concurrency"]),
        groups=(),
        memory=_read_memory(data["memory"]),
        rule=Rule(data["rule"]),
        tight=bool(data["tight"]),
        estimate=_read_estimate(data["estimate"]),
        alternatives=(),
        resource=str(data.get("resource") or NVIDIA),
        ipv6=bool(data.get("ipv6")),
        joined=bool(data.get("joined")),
        linked=bool(data.get("linked")),
        states=None if data.get("states") is None else int(data["states"]),
        sizing=None if data.get("target") is None else read_sizing(data["target"]),
        price=None if data.get("gpuPricePerHour") is None else float(data["gpuPricePerHour"]),
    )


def read_layout(data: Mapping[str, Any]) -> Layout:
    """Read the degrees of a layout. Raises as :func:`read_plan`."""
    return Layout(
        int(data["tensor"]),
        int(data["pipeline"]),
        bool(data["expert"]),
        data=int(data.get("data") or 1),
        context=int(data.get("context") or 1),
    )


def _read_memory(data: Mapping[str, Any]) -> MemoryUse:
    return MemoryUse(
        weights=int(data["weights"]),
        kv_cache=int(data["kvCache"]),
        activations=int(data["activations"]),
        reserve=int(data["reserve"]),
        budget=int(data["budget"]),
        left_free=int(data.get("leftFree") or 0),
    )


def _read_estimate(data: Mapping[str, Any]) -> Estimate:
    return Estimate(
        seconds_per_token=int(data["microsecondsPerToken"]) / 1e6,
        tokens_per_second_per_gpu=float(data["tokensPerSecondPerGpu"]),
    )
