"""Writing a plan as the data of ``status.plan``, and reading the data back. Sizes are bytes on each GPU."""

from collections.abc import Mapping
from typing import Any

from shardwise.domain.engine import EngineName
from shardwise.domain.fleet import NVIDIA
from shardwise.domain.layout import Layout
from shardwise.domain.plan import Alternative, Estimate, GroupPlacement, MemoryUse, Plan, PodPlacement, Rule
from shardwise.explain.alternatives import telling
from shardwise.explain.causes import cause
from shardwise.explain.rules import rule

Document = dict[str, Any]


def plan_document(plan: Plan) -> Document:
    """Give a plan as JSON data. :func:`plan_from_document` reads all of it back but the alternatives."""
    return {
        **layout_document(plan.layout),
        "replicas": plan.replicas,
        "gpusPerReplica": plan.layout.world_size,
        "worldSize": plan.layout.world_size,
        "product": plan.product,
        "rule": plan.rule.value,
        "because": rule(plan.rule),
        "engine": plan.engine.value,
        "contextLength": plan.context_length,
        "concurrency": plan.concurrency,
        "tight": plan.tight,
        "groups": [_group(group) for group in plan.groups],
        "memory": memory_document(plan.memory),
        "estimate": estimate_document(plan.estimate),
        "alternatives": [alternative_document(other) for other in telling(plan)],
        "alternativesTotal": len(plan.alternatives),
        "notes": list(plan.notes),
    } | ({} if plan.resource == NVIDIA else {"resource": plan.resource})


def plan_from_document(document: Mapping[str, Any]) -> Plan:
    """Read a plan back, without its alternatives: they only explain the choice, and the document has them.

    Raises ``KeyError``, ``TypeError`` or ``ValueError`` for a document this version did not write.
    """
    memory, estimate = document["memory"], document["estimate"]
    return Plan(
        layout=Layout(int(document["tensor"]), int(document["pipeline"]), bool(document["expert"])),
        product=str(document["product"]),
        engine=EngineName(document["engine"]),
        context_length=int(document["contextLength"]),
        concurrency=int(document["concurrency"]),
        groups=tuple(_read_group(group) for group in document["groups"]),
        memory=MemoryUse(
            weights=int(memory["weights"]),
            kv_cache=int(memory["kvCache"]),
            activations=int(memory["activations"]),
            reserve=int(memory["reserve"]),
            budget=int(memory["budget"]),
        ),
        rule=Rule(document["rule"]),
        tight=bool(document["tight"]),
        estimate=Estimate(
            seconds_per_token=int(estimate["microsecondsPerToken"]) / 1e6,
            tokens_per_second_per_gpu=float(estimate["tokensPerSecondPerGpu"]),
        ),
        alternatives=(),
        notes=tuple(document.get("notes", ())),
        resource=str(document.get("resource", NVIDIA)),
    )


def _group(group: GroupPlacement) -> Document:
    return {"replica": group.replica, "pods": [_pod(pod) for pod in group.pods]}


def _pod(pod: PodPlacement) -> Document:
    return {"index": pod.index, "node": pod.node, "domain": pod.domain, "gpus": pod.gpus, "ranks": list(pod.ranks)}


def _read_group(group: Mapping[str, Any]) -> GroupPlacement:
    return GroupPlacement(int(group["replica"]), tuple(_read_pod(pod) for pod in group["pods"]))


def _read_pod(pod: Mapping[str, Any]) -> PodPlacement:
    ranks = tuple(int(rank) for rank in pod["ranks"])
    return PodPlacement(int(pod["index"]), str(pod["node"]), str(pod["domain"]), int(pod["gpus"]), ranks)


def layout_document(layout: Layout) -> Document:
    """Give the degrees of a layout."""
    return {"tensor": layout.tensor, "pipeline": layout.pipeline, "expert": layout.expert}


def memory_document(use: MemoryUse) -> Document:
    """Give the bytes on the fullest GPU."""
    return {
        "weights": use.weights,
        "kvCache": use.kv_cache,
        "activations": use.activations,
        "reserve": use.reserve,
        "needed": use.needed,
        "budget": use.budget,
        "slack": use.slack,
    }


def estimate_document(estimate: Estimate) -> Document:
    """Give an estimate in whole numbers, because a status must not change with the last digit of a float."""
    return {
        "microsecondsPerToken": round(estimate.seconds_per_token * 1e6),
        "tokensPerSecondPerGpu": round(estimate.tokens_per_second_per_gpu),
    }


def alternative_document(other: Alternative) -> Document:
    """Give a layout that lost, with the reason in words."""
    return {
        **layout_document(other.layout),
        "product": other.product,
        "verdict": other.outcome.value,
        "reason": cause(other.cause),
    }
