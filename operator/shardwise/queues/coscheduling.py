"""Coscheduling of scheduler-plugins: a PodGroup of ``scheduling.x-k8s.io``, and pods that name it by a label.

Read in v0.34.7 (``pkg/coscheduling/core``): a pod without its PodGroup is refused, and gated pods hold up the others.
"""

from typing import Final

from shardwise.queues.gang_pods import marked, scheduled_by
from shardwise.queues.protocol import GangEntry, Json, Manifest, Phase, QueuedGroup, group_shown

NAME: Final = "scheduler-plugins"
SERVED_BY: Final = ("scheduling.x-k8s.io/v1alpha1",)
GROUP_KIND: Final = "PodGroup"
HAS_QUEUES: Final = False

_SCHEDULER: Final = "scheduler-plugins-scheduler"
"""The name that its Helm chart gives the scheduler, v0.34.7."""

_GROUP: Final = "scheduling.x-k8s.io/pod-group"
_FOR_ANOTHER: Final = ("optimistic rejection in PostFilter", "rejection in Unreserve", "failed recently")
"""Its words to the pods that have a node, when another pod of their group has none."""

_PLACED: Final = frozenset({"Scheduled", "Running"})


def ganged(pod: Manifest, entry: GangEntry) -> Manifest:
    """Give a pod with the name of its group, for the scheduler with the plugin."""
    return scheduled_by(marked(pod, {_GROUP: entry.group}), entry.scheduler or _SCHEDULER)


def group_spec(entry: GangEntry, api_version: str) -> Manifest:
    """Ask for all pods of the group."""
    del api_version
    return {"minMember": entry.pods}


def read_group(obj: Json) -> QueuedGroup:
    """Read a PodGroup. Its controller counts pods, and gives no reasons."""
    phase = Phase.ADMITTED if (obj.get("status") or {}).get("phase") in _PLACED else Phase.WAITING
    return group_shown(obj, phase, "")


def waits_for_others(scheduled: Json) -> bool:
    """Tell whether the plugin rejects the pod because another pod of its group has no node."""
    said = str(scheduled.get("message") or "")
    return any(words in said for words in _FOR_ANOTHER)


def ignored(group: QueuedGroup | None, *, kept: bool, bound: bool) -> str:
    """Say nothing: without the scheduler that is asked for, the pods are not bound at all."""
    del group, kept, bound
    return ""
