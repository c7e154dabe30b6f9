"""Changes of nodes under running groups, in words and as data."""

from collections.abc import Sequence
from typing import Any

from shardwise.domain.fleet import Exclusion
from shardwise.domain.node_changes import NodeChange, NodeFact
from shardwise.explain.exclusions import exclusion
from shardwise.explain.layouts import LISTED, others


def node_changes_message(changes: Sequence[NodeChange]) -> str:
    """Say how nodes were and how they are."""
    return "; ".join(map(_change, changes[:LISTED])) + others(max(0, len(changes) - LISTED))


def node_change_answer(change: NodeChange) -> dict[str, Any]:
    """Give a change as JSON data."""
    return {"node": change.node, "fact": change.fact.value, "was": change.was or None, "is": change.now or None}


def _change(change: NodeChange) -> str:
    node, was, now = f"`{change.node}`", change.was, change.now
    match change.fact:
        case NodeFact.GPUS:
            return f"{node} had {was} GPUs and has {now}"
        case NodeFact.PRODUCT:
            return f"{node} had the GPU product {was} and {f'has {now}' if now else 'has no product label'}"
        case NodeFact.DOMAIN:
            alone = now == change.node
            return f"{node} was in the NVLink domain of `{was}` and is {'in none' if alone else f'in `{now}`'}"
        case NodeFact.USE:
            return f"{node} {exclusion(Exclusion(now))}"
