"""Kubernetes' own gangs: a PodGroup of ``scheduling.k8s.io``, and pods that name it in ``spec.schedulingGroup``.

The facts were observed with Kubernetes 1.36.2 (v1alpha2, feature gates GenericWorkload and GangScheduling). v1beta1 is
that of 1.37, as its types say. docs/decisions/0065 has the facts that decide.
"""

from typing import Final

from shardwise.queues.gang_pods import scheduled_by
from shardwise.queues.protocol import GangEntry, Json, Manifest, Phase, QueuedGroup, conditions_by_type, group_shown

NAME: Final = "Kubernetes"
SERVED_BY: Final = ("scheduling.k8s.io/v1beta1", "scheduling.k8s.io/v1alpha2")
GROUP_KIND: Final = "PodGroup"
HAS_QUEUES: Final = False

_WHOLE_GROUP: Final = {"scheduling.k8s.io/v1alpha2": "PodGroup", "scheduling.k8s.io/v1beta1": {"all": {}}}
"""How each version says that a disruption of one pod is a disruption of all."""

_SCHEDULED: Final = ("PodGroupScheduled", "PodGroupInitiallyScheduled")
_WAITS: Final = "waiting for minCount pods from a gang to be scheduled"


def ganged(pod: Manifest, entry: GangEntry) -> Manifest:
    """Give a pod with the name of its group, which nobody may change later."""
    grouped = pod | {"spec": pod["spec"] | {"schedulingGroup": {"podGroupName": entry.group}}}
    return grouped if entry.scheduler is None else scheduled_by(grouped, entry.scheduler)


def group_spec(entry: GangEntry, api_version: str) -> Manifest:
    """Ask for all pods of the group, inside a domain if the entry names its label. Nobody may change this later."""
    spec: Manifest = {
        "schedulingPolicy": {"gang": {"minCount": entry.pods}},
        "disruptionMode": _WHOLE_GROUP[api_version],
    }
    if entry.topology is not None:
        spec["schedulingConstraints"] = {"topology": [{"key": entry.topology}]}
    return spec if entry.priority_class is None else spec | {"priorityClassName": entry.priority_class}


def read_group(obj: Json) -> QueuedGroup:
    """Read a PodGroup. A scheduler whose gate is off says nothing of it."""
    conditions = conditions_by_type(obj)
    told: Json = next((conditions[kind] for kind in _SCHEDULED if kind in conditions), {})
    phase = Phase.ADMITTED if told.get("status") == "True" else Phase.WAITING
    return group_shown(obj, phase, str(told.get("message") or told.get("reason") or ""))


def waits_for_others(scheduled: Json) -> bool:
    """Tell whether the scheduler has a node for the pod, and none for another pod of its group."""
    return _WAITS in str(scheduled.get("message") or "")


def ignored(group: QueuedGroup | None, *, kept: bool, bound: bool) -> str:
    """Say which feature gate is off: both halves of the cluster need it, and neither complains."""
    if not kept:
        return (
            "the API server has dropped `spec.schedulingGroup` of the pods: its feature gate `GenericWorkload` is off, "
            "and the pods are bound one by one"
        )
    if bound and group is not None and group.phase is Phase.WAITING and not group.words:
        return (
            "the scheduler has bound the pods and says nothing of their PodGroup: its feature gates `GenericWorkload` "
            "and `GangScheduling` are off, and it binds pods one by one"
        )
    return ""
