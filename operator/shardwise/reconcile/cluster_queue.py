"""The queue of the cluster that admits an object's groups: what keeps them from it, what they ask of it, and its words.

The queue decides who runs, and the operator decides where: docs/decisions/0061 has the reasons.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from shardwise.domain.demand import Operator, QueueOffer, Requirement
from shardwise.domain.fleet import Fleet
from shardwise.domain.launch import Wanted
from shardwise.domain.obstacle import Obstacle
from shardwise.domain.reasons import Reason
from shardwise.queues import SYSTEMS, Offer, Phase, QueuedGroup
from shardwise.reconcile.actions import Delete
from shardwise.reconcile.asks import Attempt
from shardwise.reconcile.far_back import TOLD_EXACTLY, rounded
from shardwise.reconcile.observed import Observed, PodSeen, QueueSeen
from shardwise.reconcile.records import Record, State
from shardwise.reconcile.usable_fleet import UsableFleet
from shardwise.reconcile.views import GroupView
from shardwise.render.bundle import Group
from shardwise.render.names import group_name


def on_offer(wanted: Wanted, offer: Offer) -> Wanted:
    """Give an object that may use only the nodes that its queue offers. Its fingerprints stay those of its user."""
    if wanted.queue is None or not offer.flavors:
        return wanted
    own = wanted.demand.node_affinity or ((),)
    flavors = [
        tuple(Requirement(key, Operator.IN, (value,)) for key, value in labels) for labels in sorted(offer.flavors)
    ]
    terms = tuple((*term, *flavor) for term in own for flavor in flavors)
    offered = QueueOffer(wanted.queue.name, offer.flavors)
    return replace(wanted, demand=replace(wanted.demand, node_affinity=terms, offered=offered))


def missing_queue(wanted: Wanted, queue: QueueSeen) -> Obstacle | None:
    """Give the obstacle that no group begins without its queue; ``None`` if the queue is there, or not known.

    Until the queue is there, nobody knows which nodes it will offer.
    """
    if wanted.queue is None:
        return None
    name, system = wanted.queue.name, SYSTEMS[wanted.queue.system]
    if queue.api_version == "":
        message = (
            f"`{name}` is a queue of {system.NAME}, and the cluster serves no `{system.SERVED_BY[0]}`; "
            f"install {system.NAME}, or take the queue away"
        )
    elif queue.offer.missing is not None:
        kind, lacking = queue.offer.missing
        message = (
            f"the {kind} `{lacking}` of {system.NAME} does not exist, so no replica enters the queue `{name}`; "
            f"create the {kind}, or name another queue in `spec.placement.queue`"
        )
    else:
        return None
    return Obstacle(Reason.QUEUE_MISSING.value, message)


def group_too_large(wanted: Wanted, records: Sequence[Record]) -> Obstacle | None:
    """Give the obstacle that a group has more pods than its queue admits; ``None`` if no group has."""
    if wanted.queue is None:
        return None
    system = SYSTEMS[wanted.queue.system]
    pods = max((len(record.nodes) for record in records if record.state is State.QUEUED), default=0)
    if pods > system.MOST_PODS and not wanted.left_open:
        message = (
            f"a replica has {pods} pods, and {system.NAME} admits groups of at most {system.MOST_PODS} pods with nodes "
            "of their own; allow layouts of fewer nodes by `spec.gpuBudget`, or take the queue away"
        )
        return Obstacle(Reason.GROUP_TOO_LARGE.value, message)
    return None


def steered(wanted: Wanted, made: Group, record: Record, usable: UsableFleet, offer: Offer) -> Group:
    """Let the queue take the flavour of the planned node for each pod. The labels are no part of the pods' revision.

    So an edit of the flavours restarts no pod.
    """
    if wanted.queue is None or not offer.keys:
        return made
    system = SYSTEMS[wanted.queue.system]
    labels = [_labels_of(usable, node) for node in record.nodes]
    pods = (system.steered(pod, known, offer.keys) for pod, known in zip(made.pods, labels, strict=True))
    return replace(made, pods=tuple(pods))


def _labels_of(usable: UsableFleet, name: str) -> Mapping[str, str]:
    node = usable.fleet.node(name)
    return {} if node is None else dict(node.labels)


def left_queue(owner: str, leaving: Mapping[Attempt, Sequence[PodSeen]], queue: QueueSeen) -> Iterator[Delete]:
    """Delete the queue's objects for attempts that are over, where pods would wait for others for ever.

    Pods that are deleted behind their gates stay, and so does the quota of pods that have ended. While pods of an
    attempt still run, nothing is deleted: the queue would end them.
    """
    for number, pods in sorted(leaving.items()):
        name = group_name(owner, *number)
        known = queue.groups.get(name)
        over = all(pod.deleting and (pod.gated or pod.exit is not None) for pod in pods)
        if known is not None and over and not known.deleting:
            yield Delete(queue.group_kind, name, known.uid, api_version=queue.api_version or "")


def with_lent_gpus(observed: Observed) -> Fleet:
    """Give the fleet as if nobody held lent GPUs: a plan of another may be older than the decision of the queue."""
    return observed.queue.lent or observed.fleet


def queue_waits(wanted: Wanted, view: GroupView) -> str:
    """Say in which queue a group waits, and why, in the words of the queue."""
    if wanted.queue is None:
        return "waits behind a scheduling gate"
    system = SYSTEMS[wanted.queue.system].NAME
    where = f"waits in the queue `{wanted.queue.name}` of {system}"
    if view.lacks_pods:
        return f"{where}: pods being created"
    if not any(pod.gated for pod in view.pods):
        return f"{where}: admitted"
    words = view.queued.words if view.queued is not None else ""
    before = f"; the attempt before: {view.record.message}" if view.record.message else ""
    return f"{where}{_position(view.queued)}: {words or f'{system} has said nothing about it yet'}{before}"


def _position(queued: QueuedGroup | None) -> str:
    """Say the position of a group that waits, if its queue tells it: far back, a round number, which seldom changes."""
    if queued is None or queued.position is None or queued.phase is not Phase.WAITING:
        return ""
    own, among_all = queued.position.in_queue, queued.position.in_quota
    if among_all > TOLD_EXACTLY:
        return f", with {rounded(among_all - 1)} or more groups before it"
    others = f" ({among_all} among all queues that share its quota)" if among_all != own else ""
    return f", at position {own}{others}"
