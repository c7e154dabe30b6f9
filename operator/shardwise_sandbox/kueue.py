"""Kueue for groups of pods, as far as its guests notice: gates, finalizers, Workloads, quota and preemption.

It does what Kueue v0.19.2 did on a real API server. A ClusterQueue has a quota of GPUs in a single flavour, groups are
admitted by priority and age, and a group of a higher priority evicts groups of lower priority.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from shardwise_sandbox.api import Api
from shardwise_sandbox.objects import (
    JsonObject,
    condition,
    dig,
    is_deleting,
    labels_of,
    meta,
    name_of,
    namespace_of,
    uid_of,
    with_meta,
)
from shardwise_sandbox.pod_index import PODS
from shardwise_sandbox.quantities import requests
from shardwise_sandbox.store import Ref, ref_of
from shardwise_sandbox.watch import ObjectChange

_GROUP: Final = "kueue.x-k8s.io"
_QUEUE: Final = f"{_GROUP}/queue-name"
_NAME: Final = f"{_GROUP}/pod-group-name"
_COUNT: Final = f"{_GROUP}/pod-group-total-count"
_MANAGED: Final = f"{_GROUP}/managed"
_IN_USE: Final = f"{_GROUP}/resource-in-use"
_GATES: Final = ({"name": f"{_GROUP}/admission"}, {"name": f"{_GROUP}/topology"})
_GPUS: Final = "nvidia.com/gpu"
_WORKLOADS: Final = (_GROUP, "workloads")
_ENDED: Final = frozenset({"Succeeded", "Failed"})


def kueue_definitions() -> list[JsonObject]:
    """Return the CustomResourceDefinitions of the kinds that guests read, without their fields."""
    kinds = (
        ("Workload", "workloads", "Namespaced"),
        ("LocalQueue", "localqueues", "Namespaced"),
        ("ClusterQueue", "clusterqueues", "Cluster"),
        ("ResourceFlavor", "resourceflavors", "Cluster"),
    )
    return [_definition(kind, plural, scope) for kind, plural, scope in kinds]


def _definition(kind: str, plural: str, scope: str) -> JsonObject:
    any_fields = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"type": "object", "properties": {"spec": any_fields, "status": any_fields}}
    version = {"name": "v1beta2", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{_GROUP}"},
        "spec": {
            "group": _GROUP,
            "names": {"kind": kind, "listKind": f"{kind}List", "plural": plural},
            "scope": scope,
            "versions": [version],
        },
    }


def queue_objects(gpus: int, labels: JsonObject | None = None, name: str = "team") -> list[JsonObject]:
    """Return a flavour, a ClusterQueue with a quota of GPUs, and a LocalQueue of the same name in ``default``."""
    version = f"{_GROUP}/v1beta2"
    quota = {"name": name, "resources": [{"name": _GPUS, "nominalQuota": str(gpus)}]}
    groups = [{"coveredResources": [_GPUS, "cpu", "memory"], "flavors": [quota]}]
    return [
        {"apiVersion": version, "kind": "ResourceFlavor", "metadata": {"name": name}, "spec": {"nodeLabels": labels}},
        {
            "apiVersion": version,
            "kind": "ClusterQueue",
            "metadata": {"name": name},
            "spec": {"resourceGroups": groups, "preemption": {"withinClusterQueue": "LowerPriority"}},
        },
        {
            "apiVersion": version,
            "kind": "LocalQueue",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"clusterQueue": name},
        },
    ]


class Kueue:
    """The controller and the webhook of Kueue. ``step`` looks at every group once."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._due = False
        self._ages: dict[str, int] = {}
        api.admission.webhooks.append(self._admit_pod)
        api.store.listeners.append(self._notice)

    @property
    def pending(self) -> bool:
        """Whether anything has changed since the last step."""
        return self._due

    def _notice(self, change: ObjectChange) -> None:
        self._due = self._due or change.key == PODS or change.key[0] == _GROUP

    @staticmethod
    def _admit_pod(obj: JsonObject) -> None:
        """Hold a new pod of a queue behind gates, and keep it by a finalizer."""
        if obj["kind"] == "Pod" and _QUEUE in labels_of(obj):
            obj["spec"]["schedulingGates"] = [*(obj["spec"].get("schedulingGates") or ()), *_GATES]
            metadata = obj["metadata"]
            metadata["finalizers"] = [*(metadata.get("finalizers") or ()), _MANAGED]
            metadata["labels"] = {**metadata["labels"], _MANAGED: "true"}

    def step(self) -> bool:
        """Look at every group. Return whether anything was done."""
        if not self._due:
            return False
        before, self._due = self._api.store.version, False
        for ref, pods in sorted(self._groups().items()):
            self._look_at(ref, pods)
        for workload in self._workloads():
            if is_deleting(workload) and ref_of(workload) not in self._groups():
                self._release(workload, _IN_USE)
        self._admit_what_fits()
        return self._api.store.version != before

    def _groups(self) -> dict[Ref, list[JsonObject]]:
        groups: dict[Ref, list[JsonObject]] = {}
        for pod in self._api.store.all(PODS):
            if _MANAGED in labels_of(pod):
                groups.setdefault((namespace_of(pod), labels_of(pod)[_NAME]), []).append(pod)
        return groups

    def _workloads(self) -> list[JsonObject]:
        return self._api.store.all(_WORKLOADS)

    def _look_at(self, ref: Ref, pods: list[JsonObject]) -> None:
        workload = self._api.store.at((_WORKLOADS, ref))
        if workload is None:
            self._without_workload(ref, pods)
        elif is_deleting(workload):
            self._end(pods, "WorkloadDeleted", "The workload is deleted")
            self._let_go(pods)
            self._release(workload, _IN_USE)
        elif _holds(workload, "Finished") or (_was_admitted(workload) and all(map(_is_over, pods))):
            if not _holds(workload, "Finished"):
                self._say(workload, {"Finished": ("True", "Succeeded", f"Pods succeeded: 0/{len(pods)}.")})
            self._let_go(pods)
        elif _holds(workload, "Evicted"):
            self._end(pods, "WorkloadEvicted", condition(workload, "Evicted")["message"])

    def _without_workload(self, ref: Ref, pods: list[JsonObject]) -> None:
        """Make the Workload of a complete group. Pods of a group that never was complete go when they are deleted."""
        live = [pod for pod in pods if not is_deleting(pod)]
        if not live or len(live) < int(meta(pods[0])["annotations"][_COUNT]):
            self._let_go([pod for pod in pods if is_deleting(pod)])
            return
        owners = [
            {"apiVersion": "v1", "kind": "Pod", "name": name_of(pod), "uid": uid_of(pod), "controller": False}
            for pod in live
        ]
        body = {
            "metadata": {"name": ref[1], "ownerReferences": owners, "finalizers": [_IN_USE]},
            "spec": {"queueName": labels_of(live[0])[_QUEUE], "priority": self._priority(live[0])},
        }
        made = self._api.writer.create(self._api.store.registry.named("workloads"), ref[0], body)
        self._ages[uid_of(made)] = len(self._ages)

    def _priority(self, pod: JsonObject) -> int:
        name = dig(pod, "spec", "priorityClassName")
        found = self._api.store.at((("scheduling.k8s.io", "priorityclasses"), ("", name))) if name else None
        return 0 if found is None else int(found["value"])

    def _end(self, pods: Sequence[JsonObject], reason: str, message: str) -> None:
        """Say on pods that they are ended, and delete them."""
        said = {"type": "TerminationTarget", "status": "True", "reason": reason, "message": message}
        resource = self._api.store.registry.named("pods")
        for pod in pods:
            if not is_deleting(pod):
                conditions = [*(dig(pod, "status", "conditions") or ()), said]
                self._api.store.update(resource, {**pod, "status": {**pod.get("status", {}), "conditions": conditions}})
                self._api.deleter.delete(resource, ref_of(pod))

    def _let_go(self, pods: Sequence[JsonObject]) -> None:
        for pod in pods:
            now = self._api.store.at((PODS, ref_of(pod)))
            if now is not None:
                self._release(now, _MANAGED)

    def _release(self, obj: JsonObject, finalizer: str) -> None:
        if finalizer in (meta(obj).get("finalizers") or ()):
            resource = self._api.store.registry.of(obj)
            left = [name for name in meta(obj)["finalizers"] if name != finalizer]
            released = with_meta(obj, finalizers=left or None)
            (self._api.deleter.finish if is_deleting(obj) else self._api.store.update)(resource, released)

    def _say(self, workload: JsonObject, news: dict[str, tuple[str, str, str]]) -> JsonObject:
        """Write conditions of a Workload: status, reason and message of each."""
        conditions = [item for item in dig(workload, "status", "conditions") or () if item["type"] not in news]
        conditions += [
            {"type": kind, "status": status, "reason": reason, "message": message}
            for kind, (status, reason, message) in news.items()
        ]
        changed = {**workload, "status": {**workload.get("status", {}), "conditions": conditions}}
        if changed == workload or all(
            condition(workload, kind).get("message") == message and condition(workload, kind).get("status") == status
            for kind, (status, _, message) in news.items()
        ):
            return workload
        return self._api.store.update(self._api.store.registry.of(workload), changed)

    def _admit_what_fits(self) -> None:
        waiting = [found for found in self._workloads() if _waits(found)]
        waiting.sort(key=lambda found: (-found["spec"]["priority"], self._ages[uid_of(found)]))
        for workload in waiting:
            queue = self._queue_of(workload)
            if queue is None:
                name = workload["spec"]["queueName"]
                self._say(workload, {"QuotaReserved": ("False", "Inadmissible", f"LocalQueue {name} doesn't exist")})
                continue
            flavor, quota = queue
            lacking = self._asked(workload) + sum(map(self._asked, self._reserving())) - quota
            if lacking <= 0:
                self._admit(workload, flavor)
            elif not self._preempt_for(workload, lacking):
                words = (
                    "couldn't assign flavors to pod set main: insufficient unused quota for "
                    f"{_GPUS} in flavor {flavor}, {lacking} more needed"
                )
                self._say(workload, {"QuotaReserved": ("False", "Pending", words)})

    def _queue_of(self, workload: JsonObject) -> tuple[str, int] | None:
        """Give the flavour of the queue, and its quota of GPUs."""
        ref = (namespace_of(workload), workload["spec"]["queueName"])
        local = self._api.store.at(((_GROUP, "localqueues"), ref))
        found = local and self._api.store.at(((_GROUP, "clusterqueues"), ("", local["spec"]["clusterQueue"])))
        if not found:
            return None
        flavor = found["spec"]["resourceGroups"][0]["flavors"][0]
        return flavor["name"], int(flavor["resources"][0]["nominalQuota"])

    def _pods_of(self, workload: JsonObject) -> list[JsonObject]:
        return self._groups().get(ref_of(workload), [])

    def _asked(self, workload: JsonObject) -> int:
        return int(sum(requests(pod)[_GPUS] for pod in self._pods_of(workload)))

    def _reserving(self) -> Iterator[JsonObject]:
        """Give the Workloads whose pods hold quota: those that are evicted, until all their pods are over."""
        for workload in self._workloads():
            if _was_admitted(workload) and not _holds(workload, "Finished"):
                yield workload

    def _admit(self, workload: JsonObject, flavor: str) -> None:
        says = ("True", "Admitted", "The workload is admitted")
        self._say(workload, {"QuotaReserved": ("True", "QuotaReserved", "Quota reserved"), "Admitted": says})
        found = self._api.store.at(((_GROUP, "resourceflavors"), ("", flavor))) or {}
        resource = self._api.store.registry.named("pods")
        for pod in self._pods_of(workload):
            selector = {**(pod["spec"].get("nodeSelector") or {}), **(dig(found, "spec", "nodeLabels") or {})}
            spec = {key: value for key, value in pod["spec"].items() if key != "schedulingGates"}
            self._api.store.update(resource, {**pod, "spec": {**spec, "nodeSelector": selector}})

    def _preempt_for(self, workload: JsonObject, lacking: int) -> bool:
        """Evict groups of lower priority, the lowest and newest first. Tell whether that gives enough."""
        lower = [found for found in self._reserving() if found["spec"]["priority"] < workload["spec"]["priority"]]
        lower.sort(key=lambda found: (found["spec"]["priority"], -self._ages[uid_of(found)]))
        victims: list[JsonObject] = []
        while lower and sum(map(self._asked, victims)) < lacking:
            victims.append(lower.pop(0))
        if sum(map(self._asked, victims)) < lacking:
            return False
        for victim in victims:
            if not _holds(victim, "Evicted"):
                words = "Preempted to accommodate a workload due to prioritization in the ClusterQueue"
                news = {"Evicted": ("True", "Preempted", words), "QuotaReserved": ("False", "Pending", words)}
                self._say(victim, news)
        return True


def _holds(workload: JsonObject, kind: str) -> bool:
    return bool(condition(workload, kind).get("status") == "True")


def _was_admitted(workload: JsonObject) -> bool:
    return _holds(workload, "Admitted")


def _waits(workload: JsonObject) -> bool:
    over = _holds(workload, "Finished") or is_deleting(workload)
    return not (over or _was_admitted(workload))


def _is_over(pod: JsonObject) -> bool:
    ended = dig(pod, "status", "phase") in _ENDED
    return ended or (is_deleting(pod) and not meta(pod).get("deletionGracePeriodSeconds"))
