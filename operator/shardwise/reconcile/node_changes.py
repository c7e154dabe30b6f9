"""Finds the nodes that are no longer as the plan took them, under groups whose pods run there.

Such a group keeps serving, because its engines hold their GPUs. But its next attempt may find no place on the node, or
its ranks may not reach each other by NVLink.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from shardwise.domain.fleet import Exclusion, Fleet, Node
from shardwise.domain.node_changes import NodeChange, NodeFact
from shardwise.domain.plan import Plan
from shardwise.reconcile.records import State
from shardwise.reconcile.views import GroupView

_RUNS: Final = (State.STARTING, State.READY, State.UNREADY)

_TOLD_ELSEWHERE: Final = (Exclusion.NOT_READY, Exclusion.CORDONED, Exclusion.FAULTY)
"""A node that is not Ready ends its groups, a fault has its own condition, and a cordon says nothing of its pods."""


def node_changes(plan: Plan | None, groups: Iterable[GroupView], fleet: Fleet) -> tuple[NodeChange, ...]:
    """Give the changes of the nodes of running groups, in the order of the nodes' names.

    ``fleet`` is the fleet as if the object held nothing. A group of old content was made for another plan, and goes.
    """
    if plan is None:
        return ()
    running = [view for view in groups if view.record.state in _RUNS and not view.stale]
    own: Counter[str] = Counter()
    for view in running:
        own.update({pod.node: 0 for pod in view.pods})
        for pod in view.pods:
            own[pod.node] += pod.gpus
    found = [change for name, gpus in own.items() for change in _of_node(plan, fleet.node(name), gpus)]
    found += [change for view in running for change in _of_domains(plan, view, fleet)]
    return tuple(sorted(dict.fromkeys(found), key=lambda change: (change.node, change.fact)))


def _of_node(plan: Plan, node: Node | None, own: int) -> Iterator[NodeChange]:
    """Compare a node with the plan. ``own`` counts the GPUs of the object's pods that are bound there."""
    if node is None:
        return
    if node.product != plan.product:
        yield NodeChange(node.name, NodeFact.PRODUCT, plan.product, node.product)
    elif node.exclusion is not None and node.gpus and node.exclusion not in _TOLD_ELSEWHERE:
        yield NodeChange(node.name, NodeFact.USE, "", node.exclusion.value)
    # A node that is excluded has no free GPUs, whoever holds them.
    others = node.gpus - node.free if node.exclusion is None else 0
    if node.gpus < own + others:
        yield NodeChange(node.name, NodeFact.GPUS, str(own + others), str(node.gpus))


def _of_domains(plan: Plan, view: GroupView, fleet: Fleet) -> Iterator[NodeChange]:
    """Compare the NVLink domains of the nodes that share a tensor group; a pin may join nodes without NVLink."""
    if not fleet.kind(plan.product).rack or plan.joined or view.record.open:
        return
    nodes, width = view.record.nodes, max(1, plan.layout.tensor // max(1, view.record.gpus))
    for first in range(0, len(nodes), width):
        shared = [node for node in map(fleet.node, nodes[first : first + width]) if node is not None]
        home = Counter(node.domain for node in shared).most_common(1)
        yield from (
            NodeChange(node.name, NodeFact.DOMAIN, _inhabitant(shared, domain), node.domain)
            for domain, _ in home
            for node in shared
            if node.domain != domain
        )


def _inhabitant(nodes: list[Node], domain: str) -> str:
    return next(node.name for node in nodes if node.domain == domain)
