"""Toy kubelets: they start bound pods, make them Ready, restart failed containers and finish deletions.

A pod is Running as soon as it may start. A pod without a readiness probe is Ready at once. A pod with a readiness probe
is Ready when all pods of its group (label ``shardwise.dev/group``) are Running, because the leader of an engine answers
only when every rank has started. If the annotation or label ``shardwise.dev/group-size`` gives the size of the group,
the group needs that many pods.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from shardwise_sandbox import pod_states
from shardwise_sandbox.admission import WriteOptions
from shardwise_sandbox.api import Api
from shardwise_sandbox.deletion import DeleteOptions
from shardwise_sandbox.objects import JsonObject, condition, dig, is_deleting, labels_of, meta, name_of
from shardwise_sandbox.patching import MERGE
from shardwise_sandbox.pod_index import NODES, PODS, PodIndex
from shardwise_sandbox.pod_states import Step
from shardwise_sandbox.store import Ref, ref_of
from shardwise_sandbox.watch import DELETED, ObjectChange
from shardwise_sandbox.writes import Target

GROUP_SIZE: Final = "shardwise.dev/group-size"
_NOT_READY_TAINT: Final = "node.kubernetes.io/not-ready"
_AS_KUBELET: Final = WriteOptions(manager="kubelet")

Predicate = Callable[[JsonObject], bool]
"""A question about a pod."""


@dataclass(frozen=True, slots=True)
class Delays:
    """The seconds that each step of the life of a pod takes; 0 by default, for tests."""

    prepare: float = 0.0
    start: float = 0.0
    ready: float = 0.0
    restart: float = 0.0

    def of(self, step: Step) -> float:
        """Return the seconds before a step."""
        return {
            Step.PREPARE: self.prepare,
            Step.START: self.start,
            Step.READY: self.ready,
            Step.RESTART: self.restart,
        }.get(step, 0.0)


class Kubelet:
    """All kubelets of the cluster. ``step`` moves every pod that is due by a step, in order of namespace and name.

    A test may replace ``may_start`` and ``is_ready``, and calls ``recheck`` when their results change.
    """

    def __init__(self, api: Api, index: PodIndex, delays: Delays | None = None) -> None:
        self._api = api
        self._index = index
        self._delays = delays or Delays()
        self._due: set[Ref] = set()
        self._timers: dict[Ref, tuple[Step, asyncio.TimerHandle]] = {}
        self._addresses = 0
        self.may_start: Predicate = lambda _: True
        self.is_ready: Predicate = self.group_is_running
        self.woken: Callable[[], None] = lambda: None
        api.store.listeners.append(self.notice)

    @property
    def pending(self) -> bool:
        """Whether a pod is due."""
        return bool(self._due)

    @property
    def timed(self) -> int:
        """The number of steps that wait for their delay."""
        return len(self._timers)

    def recheck(self) -> None:
        """Make all pods due again."""
        self._due.update(ref_of(pod) for pod in self._api.store.all(PODS))
        self.woken()

    def group_is_running(self, pod: JsonObject) -> bool:
        """Return whether all pods in the group of the pod are Running. This is the default of ``is_ready``."""
        group = self._index.group_of(pod)
        size = (meta(pod).get("annotations") or {}).get(GROUP_SIZE) or labels_of(pod).get(GROUP_SIZE)
        return len(group) >= int(size or 1) and all(map(pod_states.is_running, group))

    def notice(self, change: ObjectChange) -> None:
        """Note the pods that a change concerns: the pod and its group, or the pods on a node."""
        if change.key == PODS:
            if change.kind == DELETED:
                self._forget_timer(ref_of(change.obj))
            self._due.add(ref_of(change.obj))
            if change.old is None or change.kind == DELETED or _state(change.old) != _state(change.obj):
                self._due.update(ref_of(member) for member in self._index.group_of(change.obj))
        elif change.key == NODES:
            self._notice_node(change)

    def _notice_node(self, change: ObjectChange) -> None:
        refs = self._index.on_node(name_of(change.obj))
        if change.kind == DELETED:
            for ref in refs:
                self._delete_now(ref)
        elif change.old is None or _is_ready_node(change.old) != _is_ready_node(change.obj):
            self._due.update(refs)

    def step(self) -> bool:
        """Move the pods that are due. Return whether there was any."""
        due, self._due = sorted(self._due), set()
        for ref in due:
            pod = self._api.store.at((PODS, ref))
            if pod is not None and dig(pod, "spec", "nodeName"):
                self._move(ref, pod)
        return bool(due)

    def _move(self, ref: Ref, pod: JsonObject) -> None:
        node = self._api.store.at((NODES, ("", pod["spec"]["nodeName"])))
        if node is None or not _is_ready_node(node):
            return
        if is_deleting(pod):
            self._delete_now(ref)
            return
        step = pod_states.next_step(pod, may_start=self.may_start, is_ready=self.is_ready)
        if step is not None and self._time_has_come(ref, step):
            self._write(pod, self._status_after(step, pod, node))

    def _time_has_come(self, ref: Ref, step: Step) -> bool:
        seconds = self._delays.of(step)
        waiting = self._timers.get(ref)
        if waiting is not None and waiting[0] is step:
            return False
        self._forget_timer(ref)
        if seconds <= 0:
            return True
        loop = asyncio.get_running_loop()
        self._timers[ref] = (step, loop.call_later(seconds, self._ring, ref, step))
        self.woken()
        return False

    def _forget_timer(self, ref: Ref) -> None:
        waiting = self._timers.pop(ref, None)
        if waiting is not None:
            waiting[1].cancel()

    def _ring(self, ref: Ref, step: Step) -> None:
        del self._timers[ref]
        pod = self._api.store.at((PODS, ref))
        if pod is None or pod_states.next_step(pod, may_start=self.may_start, is_ready=self.is_ready) is not step:
            return
        node = self._api.store.at((NODES, ("", pod["spec"]["nodeName"])))
        if node is not None and _is_ready_node(node):
            self._write(pod, self._status_after(step, pod, node))

    def stop(self) -> None:
        """Cancel the steps that wait for their delay."""
        for ref in list(self._timers):
            self._forget_timer(ref)

    def _status_after(self, step: Step, pod: JsonObject, node: JsonObject) -> JsonObject:
        now = self._api.store.now()
        if step is Step.PREPARE:
            return pod_states.prepared(pod, _node_address(node), now)
        if step in {Step.START, Step.RESTART}:
            return pod_states.started(pod, dig(pod, "status", "podIP") or self._new_address(), now)
        return pod_states.with_readiness(pod, ready=step is Step.READY, now=now)

    def _new_address(self) -> str:
        self._addresses += 1
        return f"10.244.{self._addresses // 254}.{self._addresses % 254 + 1}"

    def _write(self, pod: JsonObject, status: JsonObject) -> None:
        target = Target(self._api.store.registry.named("pods"), ref_of(pod), "status")
        self._api.writer.patch(target, MERGE, {"status": status}, _AS_KUBELET)

    def _delete_now(self, ref: Ref) -> None:
        pods = self._api.store.registry.named("pods")
        if self._api.store.find(pods, ref) is not None:
            self._api.deleter.delete(pods, ref, DeleteOptions(grace=0))

    def fail(
        self, namespace: str, name: str, *, exit_code: int = 1, message: str = "", container: str = ""
    ) -> JsonObject:
        """End a container (by default the first) with an exit code. Return the pod.

        With ``restartPolicy: Always``, or ``OnFailure`` and a code other than 0, the container waits in
        CrashLoopBackOff until the next step restarts it. Otherwise the pod is finished.
        """
        pod = self._pod(namespace, name)
        end = pod_states.ContainerEnd(exit_code, message, container, self._api.store.now())
        self._write(pod, pod_states.ended(pod, end))
        return self._pod(namespace, name)

    def evict(self, namespace: str, name: str, message: str = "The node was low on resource: memory.") -> JsonObject:
        """Evict a pod, as a kubelet does: the pod is Failed, and stays until a client deletes it."""
        pod = self._pod(namespace, name)
        self._write(pod, pod_states.evicted(pod, message, self._api.store.now()))
        return self._pod(namespace, name)

    def _pod(self, namespace: str, name: str) -> JsonObject:
        return self._api.store.get(self._api.store.registry.named("pods"), (namespace, name))

    def set_node_ready(self, name: str, ready: bool) -> None:  # noqa: FBT001 - reads as a sentence: set_node_ready("a", False)
        """Let a node lose or regain contact: change its condition and taints, and the readiness of its pods."""
        nodes = self._api.store.registry.named("nodes")
        node = self._api.store.get(nodes, ("", name))
        kept = [taint for taint in dig(node, "spec", "taints") or () if taint["key"] != _NOT_READY_TAINT]
        lost = [{"key": _NOT_READY_TAINT, "effect": effect} for effect in ("NoSchedule", "NoExecute")]
        options = WriteOptions(manager="kube-controller-manager")
        taints = kept if ready else [*kept, *lost]
        self._api.writer.patch(Target(nodes, ("", name)), MERGE, {"spec": {"taints": taints or None}}, options)
        others = [item for item in dig(node, "status", "conditions") or () if item["type"] != "Ready"]
        status = {"conditions": [*others, ready_condition(ready=ready, now=self._api.store.now())]}
        self._api.writer.patch(Target(nodes, ("", name), "status"), MERGE, {"status": status}, options)
        if not ready:
            self._mark_unready(name)

    def _mark_unready(self, node: str) -> None:
        for ref in self._index.on_node(node):
            pod = self._pod(*ref)
            if condition(pod, "Ready").get("status") == "True":
                self._write(pod, pod_states.with_readiness(pod, ready=False, now=self._api.store.now()))


def ready_condition(*, ready: bool, now: str) -> JsonObject:
    """Return the Ready condition of a node."""
    words: Mapping[bool, tuple[str, str, str]] = {
        True: ("True", "KubeletReady", "kubelet is posting ready status"),
        False: ("Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status."),
    }
    status, reason, message = words[ready]
    return {"type": "Ready", "status": status, "reason": reason, "message": message, "lastTransitionTime": now}


def _is_ready_node(node: JsonObject) -> bool:
    return bool(condition(node, "Ready").get("status") == "True")


def _node_address(node: JsonObject) -> str:
    addresses = dig(node, "status", "addresses") or ()
    return next((item["address"] for item in addresses if item["type"] == "InternalIP"), "10.0.0.1")


def _state(pod: JsonObject) -> object:
    return pod_states.is_running(pod), labels_of(pod)
