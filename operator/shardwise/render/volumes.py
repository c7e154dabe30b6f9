"""Volumes of a pod: shared memory, cache, and the weights' source."""

from shardwise.domain.launch import Launch, SourceKind
from shardwise.engines.vllm import CACHE_FOLDER, MODEL_FOLDER
from shardwise.render.manifest import Manifest


def volumes(launch: Launch) -> list[Manifest]:
    """Give a pod's volumes."""
    size: Manifest = {"sizeLimit": launch.shared_memory} if launch.shared_memory is not None else {}
    common: list[Manifest] = [
        {"name": "shared-memory", "emptyDir": {"medium": "Memory", **size}},
        {"name": "cache", "emptyDir": {}},
    ]
    return common + _source(launch)


def mounts(launch: Launch) -> list[Manifest]:
    """Give the container's mounts of those volumes. The weights are never written."""
    common: list[Manifest] = [
        {"name": "shared-memory", "mountPath": "/dev/shm"},  # noqa: S108 - where NCCL and the engine look for it
        {"name": "cache", "mountPath": CACHE_FOLDER},
    ]
    if launch.source.kind is SourceKind.HUGGING_FACE:
        return common
    return [*common, {"name": "model", "mountPath": MODEL_FOLDER, "readOnly": True}]


def _source(launch: Launch) -> list[Manifest]:
    location = launch.source.location
    match launch.source.kind:
        case SourceKind.HUGGING_FACE:
            return []
        case SourceKind.PERSISTENT_VOLUME_CLAIM:
            return [{"name": "model", "persistentVolumeClaim": {"claimName": location, "readOnly": True}}]
        case SourceKind.HOST_PATH:
            return [{"name": "model", "hostPath": {"path": location, "type": "Directory"}}]
        case SourceKind.IMAGE:
            return [{"name": "model", "image": {"reference": location, "pullPolicy": "IfNotPresent"}}]
