"""Places that the scheduler picks: the nodes that the pods of a group may go to, and what came of the choice.

The plan fixes the layout, the product and the NVLink domain of each pod. Its nodes only show that there is room.
docs/decisions/0066 has the reasons.
"""

from collections.abc import Iterable
from typing import Final

from shardwise.domain.demand import Operator, Requirement
from shardwise.domain.fleet import Fleet, Node
from shardwise.domain.launch import Wanted
from shardwise.domain.plan import Plan, PodPlacement
from shardwise.domain.units import plural
from shardwise.inventory import PRODUCT_LABELS
from shardwise.reconcile.records import Record
from shardwise.reconcile.usable_fleet import UsableFleet
from shardwise.render.pods import OpenTo

Term = tuple[Requirement, ...]
_HOSTNAME: Final = "kubernetes.io/hostname"


def open_to(wanted: Wanted, plan: Plan, usable: UsableFleet) -> OpenTo:
    """Say where the pods of a plan may go; nowhere but to the planned nodes if Shardwise picks the nodes."""
    if not wanted.left_open:
        return {}
    pods = [pod for group in plan.groups for pod in group.pods]
    avoided = _avoided(usable, {pod.node for pod in pods})
    fixed = {pod.node: _fixed(wanted, plan, pod, usable) for pod in pods}
    own = wanted.demand.node_affinity or ((),)
    return {
        node: tuple((*term, *found, *avoided) for term in own) for node, found in fixed.items() if found is not None
    }


def _fixed(wanted: Wanted, plan: Plan, pod: PodPlacement, usable: UsableFleet) -> Term | None:
    """Give what the plan fixes for a pod; ``None`` if only the planned node will do, or if the node is gone."""
    node = usable.fleet.node(pod.node)
    if node is None:
        return None
    parts = (_product(node), _domain(wanted, plan, pod, node), _place(wanted, node))
    if any(part is None for part in parts):
        return None
    return tuple(label for part in parts for label in part or ())


def _product(node: Node) -> Term | None:
    """Require the product by the node's own label. GPUs that only ResourceSlices describe have no such label."""
    labels = dict(node.labels)
    return next((_is(key, node.product) for key in PRODUCT_LABELS if labels.get(key) == node.product), None)


def _domain(wanted: Wanted, plan: Plan, pod: PodPlacement, node: Node) -> Term | None:
    """Require the NVLink domain of several nodes. On a node, only the GPUs of a single pod are sure to be together."""
    labels = dict(node.labels)
    key = next((key for key in wanted.site.domain_keys if labels.get(key) == node.domain), None)
    if key is not None:
        return _is(key, node.domain)
    return None if plan.nvlink_gpus > pod.gpus else ()


def _place(wanted: Wanted, node: Node) -> Term | None:
    """Require the bounding place: its own label, and those of the levels above, which tell racks of one name apart."""
    within, labels = wanted.demand.within, dict(node.labels)
    if within is None:
        return ()
    if within == "domain":
        return () if node.domain != node.name else None
    names = [level.name for level in wanted.site.levels]
    if within not in names:
        return _is(within, labels[within]) if within in labels else None
    above = wanted.site.levels[names.index(within) :]
    found = [next((key for key in level.keys if key in labels), None) for level in above]
    if found[0] is None:
        return None
    return tuple(wanted_label for key in found if key is not None for wanted_label in _is(key, labels[key]))


def _is(key: str, value: str) -> Term:
    return (Requirement(key, Operator.IN, (value,)),)


def _avoided(usable: UsableFleet, planned: Iterable[str]) -> Term:
    """Exclude the nodes that the object avoids, unless the plan had no other."""
    nodes = (usable.fleet.node(name) for name in sorted((usable.barred | usable.blamed) - set(planned)))
    hosts = tuple(dict(node.labels).get(_HOSTNAME, node.name) for node in nodes if node is not None)
    return (Requirement(_HOSTNAME, Operator.NOT_IN, hosts),) if hosts else ()


def landing(record: Record, fleet: Fleet) -> str:
    """Say what the scheduler's choice has made of the plan; empty if it chose as planned, or Shardwise did."""
    if not record.planned or record.open or sorted(record.planned) == sorted(record.nodes):
        return ""
    parts = ["NVLink domain", *fleet.levels]
    counts = zip(parts, _spread(record.planned, fleet), _spread(record.nodes, fleet), strict=True)
    wider = [f"{plural(now, part)} instead of {before}" for part, before, now in counts if now > before]
    chose = f"the scheduler chose other nodes than the plan ({', '.join(record.planned[:_LISTED])})"
    if not wider:
        return f"{chose}, as near to each other: the estimate holds"
    return f"{chose}, in {', '.join(wider)}: the speed may be below the estimate"


_LISTED: Final = 5


def _spread(names: Iterable[str], fleet: Fleet) -> list[int]:
    """Count the parts of the cluster that nodes lie in, nearest first. A node without a place is a place of its own."""
    nodes = [node for node in map(fleet.node, names) if node is not None]
    places = [{node.domain for node in nodes}]
    places += [{fleet.place(node, level) or node.name for node in nodes} for level in fleet.levels]
    return list(map(len, places))
