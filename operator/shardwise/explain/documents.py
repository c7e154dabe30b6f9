"""Plans and refusals as data: what ``-o json`` prints and what ``status.plan`` holds. Bytes are bytes, a GPU each."""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from shardwise.domain.demand import Demand
from shardwise.domain.engine import EngineName
from shardwise.domain.fleet import NVIDIA
from shardwise.domain.layout import Layout
from shardwise.domain.plan import Alternative, Estimate, GroupPlacement, MemoryUse, Plan, PodPlacement, Rule
from shardwise.domain.refusal import Attempt, Refusal
from shardwise.explain.causes import cause
from shardwise.explain.plans import telling
from shardwise.explain.refusals import hint, refusal_message
from shardwise.explain.rules import rule

Document = dict[str, Any]

LISTED_ALTERNATIVES: Final = 8
"""Alternatives in a document: enough to explain, few enough for a status."""

_DIGITS: Final = 12


def plan_document(plan: Plan) -> Document:
    """Give a plan as JSON data. :func:`plan_from_document` reads back all that decides."""
    return {
        "tensor": plan.layout.tensor,
        "pipeline": plan.layout.pipeline,
        "expert": plan.layout.expert,
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
        "memory": _memory(plan.memory),
        "estimate": _estimate(plan.estimate),
        "alternatives": [_alternative(one) for one in telling(plan.alternatives, LISTED_ALTERNATIVES)],
        "alternativesTotal": len(plan.alternatives),
        "notes": list(plan.notes),
    } | ({} if plan.resource == NVIDIA else {"resource": plan.resource})


def plan_from_document(document: Mapping[str, Any]) -> Plan:
    """Read a plan back. Its alternatives are gone: they explained the choice and are in the document.

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


def refusal_document(refusal: Refusal) -> Document:
    """Give a refusal as JSON data."""
    return {
        "reason": refusal.reason.value,
        "message": refusal_message(refusal),
        "nearest": None if refusal.nearest is None else _attempt(refusal.nearest),
        "hints": [hint(one) for one in refusal.hints],
    }


def demand_fingerprint(demand: Demand) -> str:
    """Name a demand by its content, so that a plan is kept until the demand changes: 12 hexadecimal digits."""
    return hashlib.sha256(repr(demand).encode()).hexdigest()[:_DIGITS]


def _group(group: GroupPlacement) -> Document:
    return {"replica": group.replica, "pods": [_pod(pod) for pod in group.pods]}


def _pod(pod: PodPlacement) -> Document:
    return {"index": pod.index, "node": pod.node, "domain": pod.domain, "gpus": pod.gpus, "ranks": list(pod.ranks)}


def _read_group(group: Mapping[str, Any]) -> GroupPlacement:
    return GroupPlacement(int(group["replica"]), tuple(_read_pod(pod) for pod in group["pods"]))


def _read_pod(pod: Mapping[str, Any]) -> PodPlacement:
    ranks = tuple(int(rank) for rank in pod["ranks"])
    return PodPlacement(int(pod["index"]), str(pod["node"]), str(pod["domain"]), int(pod["gpus"]), ranks)


def _memory(use: MemoryUse) -> Document:
    return {
        "weights": use.weights,
        "kvCache": use.kv_cache,
        "activations": use.activations,
        "reserve": use.reserve,
        "needed": use.needed,
        "budget": use.budget,
        "slack": use.slack,
    }


def _estimate(estimate: Estimate) -> Document:
    """Whole numbers: a status must not change by the last digit of a float."""
    return {
        "microsecondsPerToken": round(estimate.seconds_per_token * 1e6),
        "tokensPerSecondPerGpu": round(estimate.tokens_per_second_per_gpu),
    }


def _alternative(one: Alternative) -> Document:
    return {
        "tensor": one.layout.tensor,
        "pipeline": one.layout.pipeline,
        "expert": one.layout.expert,
        "product": one.product,
        "verdict": one.verdict.value,
        "reason": cause(one.cause),
    }


def _attempt(attempt: Attempt) -> Document:
    return {
        "tensor": attempt.layout.tensor,
        "pipeline": attempt.layout.pipeline,
        "expert": attempt.layout.expert,
        "product": attempt.product,
        "reason": cause(attempt.cause),
    }
