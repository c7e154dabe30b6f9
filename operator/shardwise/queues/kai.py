"""KAI: a PodGroup of ``scheduling.run.ai``, and pods that name it by an annotation and ask for its scheduler.

KAI's pod grouper would make one group, without a gang, of all pods with our object as their top owner. From v0.15.0 on
it leaves pods alone that say so (``pkg/podgrouper/pod_controller.go``). Read, not run: v0.17.0.
"""

from typing import Final

from shardwise.queues.gang_pods import marked, queue_and_priority, scheduled_by
from shardwise.queues.protocol import GangEntry, Json, Manifest, Phase, QueuedGroup, group_shown

NAME: Final = "KAI"
SERVED_BY: Final = ("scheduling.run.ai/v2alpha2",)
GROUP_KIND: Final = "PodGroup"
HAS_QUEUES: Final = True

_SCHEDULER: Final = "kai-scheduler"
_GROUP: Final = "pod-group-name"
_QUEUE: Final = "kai.scheduler/queue"
_LEFT_ALONE: Final = "kai.scheduler/skip-podgrouper"


def ganged(pod: Manifest, entry: GangEntry) -> Manifest:
    """Give a pod with the name of its group, for KAI's scheduler, and left alone by its pod grouper."""
    annotations = {_GROUP: entry.group, _LEFT_ALONE: "true"}
    queue = {} if entry.queue is None else {_QUEUE: entry.queue}
    return scheduled_by(marked(pod, queue, annotations), entry.scheduler or _SCHEDULER)


def group_spec(entry: GangEntry, api_version: str) -> Manifest:
    """Ask for all pods of the group. KAI schedules no group without a queue."""
    del api_version
    return {"minMember": entry.pods} | queue_and_priority(entry)


def read_group(obj: Json) -> QueuedGroup:
    """Read a PodGroup. Its scheduler says for each pool of nodes why it has no place."""
    status = obj.get("status") or {}
    told = [found for found in status.get("schedulingConditions") or () if found.get("status") != "False"]
    words = str(told[-1].get("message") or "") if told else ""
    return group_shown(obj, Phase.ADMITTED if int(status.get("running") or 0) > 0 else Phase.WAITING, words)


def waits_for_others(scheduled: Json) -> bool:
    """Tell that no pod says so: KAI words the refusal of a group alike for all its pods."""
    del scheduled
    return False


def ignored(group: QueuedGroup | None, *, kept: bool, bound: bool) -> str:
    """Say nothing: without KAI's scheduler, its pods are not bound at all."""
    del group, kept, bound
    return ""
