"""Volcano: a PodGroup of ``scheduling.volcano.sh``, and pods that name it by an annotation and ask for its scheduler.

The facts were observed with the scheduler of v1.14.1. Its controller makes no PodGroup for pods that name one
(``pkg/controllers/podgroup``, v1.14.1).
"""

from typing import Final

from shardwise.queues.gang_pods import marked, queue_and_priority, scheduled_by
from shardwise.queues.protocol import GangEntry, Json, Manifest, Phase, QueuedGroup, conditions_by_type, group_shown

NAME: Final = "Volcano"
SERVED_BY: Final = ("scheduling.volcano.sh/v1beta1",)
GROUP_KIND: Final = "PodGroup"
HAS_QUEUES: Final = True

_SCHEDULER: Final = "volcano"
_GROUP: Final = "scheduling.k8s.io/group-name"


def ganged(pod: Manifest, entry: GangEntry) -> Manifest:
    """Give a pod with the name of its group, for Volcano's scheduler."""
    return scheduled_by(marked(pod, annotations={_GROUP: entry.group}), entry.scheduler or _SCHEDULER)


def group_spec(entry: GangEntry, api_version: str) -> Manifest:
    """Ask for all pods of the group, with all that they request. Without a queue, Volcano takes ``default``."""
    del api_version
    return {"minMember": entry.pods, "minResources": dict(entry.requests)} | queue_and_priority(entry)


def read_group(obj: Json) -> QueuedGroup:
    """Read a PodGroup. Its conditions may say Unschedulable and Scheduled side by side: the pods tell the truth."""
    told = conditions_by_type(obj).get("Unschedulable") or {}
    phase = Phase.ADMITTED if (obj.get("status") or {}).get("phase") == "Running" else Phase.WAITING
    words = str(told.get("message") or "") if told.get("status") == "True" else ""
    return group_shown(obj, phase, words)


def waits_for_others(scheduled: Json) -> bool:
    """Tell whether Volcano has a node for the pod, and none for another pod of its group: the reason says so."""
    return scheduled.get("reason") == "Schedulable"


def ignored(group: QueuedGroup | None, *, kept: bool, bound: bool) -> str:
    """Say nothing: without Volcano's scheduler, its pods are not bound at all."""
    del group, kept, bound
    return ""
