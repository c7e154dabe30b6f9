"""What the modules of gang schedulers do alike to the manifest of a pod."""

from collections.abc import Mapping

from shardwise.queues.protocol import Manifest


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
