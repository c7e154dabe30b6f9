"""What the modules of gang schedulers do alike to the manifests of pods and of their groups."""

from collections.abc import Mapping

from shardwise.queues.protocol import GangEntry, Manifest


def marked(
    pod: Manifest, labels: Mapping[str, str] | None = None, annotations: Mapping[str, str] | None = None
) -> Manifest:
    """Give a pod with further labels and annotations."""
    metadata = pod["metadata"]
    found = {"labels": metadata["labels"] | (labels or {})}
    if annotations:
        found["annotations"] = metadata.get("annotations", {}) | annotations
    return pod | {"metadata": metadata | found}


def scheduled_by(pod: Manifest, name: str) -> Manifest:
    """Give a pod that asks for a scheduler. A scheduler that the object itself names stays."""
    return pod | {"spec": {"schedulerName": name} | pod["spec"]}


def queue_and_priority(entry: GangEntry) -> Manifest:
    """Give the fields of a group's spec for its queue and its priority, as far as anybody names them."""
    named = {"queue": entry.queue, "priorityClassName": entry.priority_class}
    return {name: value for name, value in named.items() if value is not None}
