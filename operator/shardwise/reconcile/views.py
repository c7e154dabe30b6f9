"""The view of a group: its record, the pods of its attempt, and whether it is current."""

from dataclasses import dataclass, replace
from typing import Self

from shardwise.domain.fleet import Exclusion
from shardwise.domain.reasons import FailureKind
from shardwise.queues import Phase, QueuedGroup
from shardwise.reconcile.observed import PodSeen
from shardwise.reconcile.records import Record, State

_ALL_THERE = frozenset({State.STARTING, State.READY, State.UNREADY})
"""States in which every pod of the attempt has been seen: a missing pod is lost."""


@dataclass(frozen=True, slots=True)
class Loss:
    """How a group lost a pod: the pod's index, its node if it has a node, and the event.

    ``whose`` tells whether the pod and its node are known to be the cause.
    """

    index: int
    node: str
    event: str
    whose: bool = True

    def told(self, gpus: int) -> str:
        """Describe the loss with the ranks of the pod: ``pod 1 (ranks 8–15) on h100-2: engine exited 1 (Error)``."""
        first, last = self.index * gpus, (self.index + 1) * gpus - 1
        ranks = f" (rank {first})" if gpus == 1 else f" (ranks {first}–{last})" if gpus else ""
        return f"pod {self.index}{ranks}{f' on {self.node}' if self.node else ''}{self.event}"


@dataclass(frozen=True, slots=True)
class GroupView:
    """A group. ``pods`` are the pods of its present attempt, by index; ``linger`` the nodes of earlier pods.

    ``stale`` means that its pods have other content, or other nodes, than is wanted now. ``nodes`` gives the exclusion
    of each of its nodes, ``None`` if the node may be used; a node that is gone is not in it. ``closed`` are the nodes
    that may not be used, while a pod waits to be bound to such a node. ``hangs``: its engine does not answer.
    ``queued`` is the group as a queue of the cluster shows it; ``None`` if no queue knows it.
    """

    record: Record
    pods: tuple[PodSeen, ...]
    stale: bool = False
    nodes: tuple[tuple[str, Exclusion | None], ...] = ()
    linger: frozenset[str] = frozenset()
    closed: frozenset[str] = frozenset()
    hangs: bool = False
    queued: QueuedGroup | None = None

    def hanging(self) -> Self:
        """Give the view of the same group that hangs."""
        return replace(self, hangs=True)

    @property
    def complete(self) -> bool:
        """Whether all pods of the attempt exist."""
        return bool(self.record.nodes) and len(self.pods) == len(self.record.nodes)

    @property
    def lacks_pods(self) -> bool:
        """Whether its pods are to be made. A Queued group with all its pods only waits."""
        state = self.record.state
        return state is State.PENDING or (state is State.QUEUED and not self.complete)

    @property
    def admitted(self) -> bool:
        """Whether all its pods are there, and no gate keeps any of them from being bound."""
        return self.complete and not any(pod.gated for pod in self.pods)

    @property
    def behind_gates(self) -> bool:
        """Whether its attempt has never run: gates keep all pods that are left. The gates of a group fall together."""
        return self.record.state is State.QUEUED and all(pod.gated and pod.exit is None for pod in self.pods)

    @property
    def ends_without_restart(self) -> bool:
        """Whether the attempt after its present attempt is no restart."""
        return bool(self.evicted) or self.behind_gates or self.record.no_restart

    @property
    def evicted(self) -> str:
        """Why a queue of the cluster takes the group away; empty if it does not."""
        told = next((pod.evicted for pod in self.pods if pod.evicted), "")
        if not told and self.queued is not None and self.queued.phase is Phase.EVICTED:
            return self.queued.words or "evicted"
        return told

    @property
    def ready(self) -> bool:
        """Whether the group serves. The leader is ready only when all ranks have met, and all pods must still be up."""
        return self.complete and all(pod.ready for pod in self.pods)

    @property
    def failed(self) -> Loss | None:
        """The first pod that ended, or whose engine an earlier version let start again in place; or the leader's hang.

        A pod that serves, of several pods, ends by itself, without an error, also because another rank ended or hangs.
        Which rank of several pods hangs is not known.
        """
        pod, several = self._first_ended, len(self.record.nodes) > 1
        if pod is not None:
            by_itself = pod.serves and pod.exit is not None and pod.exit.code == 0
            return Loss(pod.index, pod.node, f": {pod.failure}", whose=not (several and by_itself))
        if self.hangs and self.pods:
            return Loss(
                0, self.pods[0].node, ": no answer to a request of one token, with nothing else to do", not several
            )
        return None

    @property
    def failure_kind(self) -> FailureKind | None:
        """The kind of that failure; ``None`` if no pod ended or hangs."""
        pod = self._first_ended
        if pod is None or pod.exit is None:
            return FailureKind.HUNG if self.hangs else None
        return pod.exit.kind

    @property
    def _first_ended(self) -> PodSeen | None:
        return next((pod for pod in self.pods if pod.exit is not None), None)

    @property
    def disrupted(self) -> Loss | None:
        """The first pod that was taken away, or whose node is gone. The group is not at fault."""
        for pod in self.pods:
            if pod.deleting:
                return Loss(pod.index, pod.node, " is being deleted")
            if pod.node and pod.node not in dict(self.nodes):
                return Loss(pod.index, pod.node, ": the node is gone")
            if pod.exit is not None and pod.blameless:
                return Loss(pod.index, pod.node, f": {pod.failure}")
        return self._missing() if self.record.state in _ALL_THERE and not self.complete else None

    def _missing(self) -> Loss | None:
        here = {pod.index for pod in self.pods}
        gone = next((index for index in range(len(self.record.nodes)) if index not in here), None)
        return None if gone is None else Loss(gone, self.record.known_nodes[gone], " is gone")

    @property
    def not_ready_node(self) -> Loss | None:
        """The first pod whose node is not Ready."""
        away = {name for name, exclusion in self.nodes if exclusion is Exclusion.NOT_READY}
        return next(
            (Loss(pod.index, pod.node, ": the node is not Ready") for pod in self.pods if pod.node in away), None
        )

    @property
    def faulty_nodes(self) -> tuple[str, ...]:
        """Its nodes that report a GPU fault."""
        return tuple(name for name, exclusion in self.nodes if exclusion is Exclusion.FAULTY)

    @property
    def leaving(self) -> bool:
        """Whether the group is to be replaced, for other content or to leave a faulty node."""
        return self.stale or bool(self.faulty_nodes)

    @property
    def refused_since(self) -> float:
        """The time from which the scheduler has had no node for a pod, for no known reason; 0 if it has.

        While pods of an earlier attempt are still leaving the node, the reason is known.
        """
        waits = [pod.unschedulable for pod in self.refused]
        return max(waits, default=0.0)

    @property
    def held_up(self) -> bool:
        """Whether a pod cannot be bound yet because pods of an earlier attempt are still leaving its node."""
        return any(not pod.node and self._waits_for_earlier(pod) for pod in self.pods)

    @property
    def refused(self) -> tuple[PodSeen, ...]:
        """The pods for which the scheduler has no node."""
        return tuple(
            pod for pod in self.pods if pod.unschedulable and not pod.node and not self._waits_for_earlier(pod)
        )

    @property
    def shut_out(self) -> tuple[PodSeen, ...]:
        """The pods for which the scheduler has no node, and whose node may not be used any more. Waiting is useless."""
        nodes = self.record.nodes
        return tuple(
            pod
            for pod in self.pods
            if pod.unschedulable and not pod.node and pod.index < len(nodes) and nodes[pod.index] in self.closed
        )

    def _waits_for_earlier(self, pod: PodSeen) -> bool:
        return pod.index < len(self.record.nodes) and self.record.nodes[pod.index] in self.linger

    @property
    def progress(self) -> str:
        """Say how many pods are ready, and why the first pod that is not ready waits."""
        ready = sum(pod.ready for pod in self.pods)
        waiting = next((f"pod {pod.index}: {pod.waiting}" for pod in self.pods if not pod.ready), "pods being created")
        return f"{ready} of {len(self.record.nodes)} pods ready{self._loaded}; {waiting}"

    @property
    def loaded(self) -> int | None:
        """The number of pods that have their weights; ``None`` if weights are not fetched before the ranks start."""
        fetching = [pod for pod in self.pods if pod.loaded is not None]
        return sum(pod.loaded is True for pod in fetching) if fetching else None

    @property
    def _loaded(self) -> str:
        pods = len(self.record.nodes)
        return "" if self.loaded is None or self.loaded >= pods else f", weights on {self.loaded} of {pods}"
