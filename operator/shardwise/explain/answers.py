"""Answers as data, as ``-o json`` prints them: everything that the long texts say, with the numbers behind it.

A user interface needs nothing else: it finds ranges of layouts, and every cause with its kind and numbers.
"""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from shardwise.domain.layout import Layout
from shardwise.domain.plan import Alternative, GroupPlacement, Plan, PodPlacement
from shardwise.domain.plan_data import estimate_data, layout_data, memory_data, plan_data
from shardwise.domain.refusal import Refusal, RejectedLayout
from shardwise.domain.sizing_data import target_data
from shardwise.domain.summary import DemandSummary
from shardwise.explain.alternatives import grounds, rest, telling
from shardwise.explain.causes import cause, numbers
from shardwise.explain.derivation import Clause, derive
from shardwise.explain.exclusions import worded
from shardwise.explain.hints import hint_document
from shardwise.explain.layouts import Range, ranges
from shardwise.explain.notes import note
from shardwise.explain.refusals import clause_text, idle_text, refusal_message
from shardwise.explain.rules import rule

Document = dict[str, Any]


def plan_answer(plan: Plan) -> Document:
    """Give a plan as JSON data: the plan in the status, and each alternative with its cause, memory and speed."""
    shown, simpler = telling(plan), grounds(plan)
    return (
        {**layout_data(plan.layout), "replicas": plan.replicas}
        | plan_data(plan)
        | {
            "because": rule(plan.rule),
            "groups": [_group(group) for group in plan.groups],
            "alternativesTotal": len(plan.alternatives),
            "notes": [note(noted) for noted in plan.notes],
            "grounds": None if simpler is None else _alternative(simpler),
            "alternatives": [_alternative(other) for other in shown],
            "others": [{"fate": fate, "count": count} for fate, count in rest(plan, shown)],
        }
    )


def refusal_answer(refusal: Refusal) -> Document:
    """Give a refusal as JSON data: the derivation with its numbers, the nearest miss, the nodes, and the hints."""
    asked = refusal.asked
    return {
        "reason": refusal.reason.value,
        "message": refusal_message(refusal),
        "waits": refusal.waits,
        "asked": None if asked is None else _asked(asked),
        "derivation": [_clause(clause) for clause in derive(refusal)],
        "nearest": None if refusal.nearest is None else _rejected(refusal.nearest),
        "nodes": _nodes(refusal),
        "hints": [hint_document(hint) for hint in refusal.hints],
    }


def _asked(asked: DemandSummary) -> Document:
    return {
        "replicas": asked.replicas,
        "gpuBudget": asked.gpu_budget,
        "contextLength": asked.context_length,
        "concurrency": asked.concurrency,
    } | _unusual(asked)


def _unusual(asked: DemandSummary) -> Document:
    shared = {} if asked.shared_budget is None else {"sharedGpuBudget": asked.shared_budget}
    return shared | ({} if asked.target is None else {"target": target_data(asked.target)})


def _group(group: GroupPlacement) -> Document:
    return {"replica": group.replica, "pods": [_pod(pod) for pod in group.pods]}


def _pod(pod: PodPlacement) -> Document:
    return {"index": pod.index, "node": pod.node, "domain": pod.domain, "gpus": pod.gpus, "ranks": list(pod.ranks)}


def _alternative(other: Alternative) -> Document:
    return {
        **layout_data(other.layout),
        "product": other.product,
        "verdict": other.outcome.value,
        "reason": cause(other.cause),
        "worldSize": other.layout.world_size,
        "cause": numbers(other.cause),
        "memory": None if other.memory is None else memory_data(other.memory),
        "estimate": None if other.estimate is None else estimate_data(other.estimate),
    }


def _clause(clause: Clause) -> Document:
    return {
        "kind": clause.kind,
        "product": clause.product,
        "text": clause_text(clause),
        "count": len(clause.layouts),
        "layouts": _ranges(clause.layouts),
        "nearest": _rejected(clause.closest),
    }


def _ranges(layouts: Iterable[Layout]) -> list[Document]:
    return [_range(joined) for joined in ranges(layouts)]


def _range(joined: Range) -> Document:
    degrees = layout_data(joined.layout(joined.first))
    del degrees["pipeline"]
    return degrees | {"pipelineFrom": joined.first, "pipelineTo": joined.last}


def _rejected(rejected: RejectedLayout) -> Document:
    return {
        **layout_data(rejected.layout),
        "product": rejected.product,
        "reason": cause(rejected.cause),
        "cause": numbers(rejected.cause),
    }


def _nodes(refusal: Refusal) -> Document:
    return {
        "total": refusal.nodes,
        "usable": [asdict(pool) for pool in refusal.pools],
        "freeGpus": refusal.free_gpus,
        "excluded": [{"reason": reason, "count": count} for reason, count in worded(refusal.excluded)],
        "idle": [{"text": idle_text(idle), **asdict(idle)} for idle in refusal.idle],
    }
