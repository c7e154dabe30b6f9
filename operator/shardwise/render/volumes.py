"""Volumes of a pod: shared memory, cache, the weights' source, files and keys."""

from collections.abc import Iterator
from typing import Final

from shardwise.domain.launch import CacheKind, Source, SourceKind, Wanted, WeightCache
from shardwise.engines import GroupLaunch
from shardwise.engines.weights import CACHE_FOLDER, cache_of, is_fetched
from shardwise.render.companions import files_name, keys_name
from shardwise.render.manifest import Manifest

_OWNER_READS: Final = 0o400
"""The mode that ssh demands of a private key: only its owner may read it."""

CACHE_MOUNT: Final[Manifest] = {"name": "cache", "mountPath": CACHE_FOLDER}


def volumes(wanted: Wanted, started: GroupLaunch) -> list[Manifest]:
    """Give a pod's volumes."""
    shared = wanted.launch.extras.shared_memory or wanted.site.shared_memory
    found: list[Manifest] = [
        {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": shared}},
        {"name": "cache", **_cache(cache_of(wanted))},
    ]
    found += _source(wanted.launch.model.source)
    if started.files:
        found.append({"name": "files", "configMap": {"name": files_name(wanted.launch, started)}})
    if started.keys_at:
        secret = {"secretName": keys_name(wanted.launch), "defaultMode": _OWNER_READS}
        found.append({"name": "keys", "secret": secret})
    return [*found, *map(dict, wanted.launch.extras.volumes)]


def mounts(wanted: Wanted, started: GroupLaunch) -> list[Manifest]:
    """Give the engine's mounts of the volumes. The weights are mounted read-only."""
    found: list[Manifest] = [
        {"name": "shared-memory", "mountPath": "/dev/shm"},  # noqa: S108 - where NCCL and the engine look for it
        CACHE_MOUNT,
    ]
    if not is_fetched(wanted.launch.model.source):
        inside = {"subPath": started.model_inside} if started.model_inside else {}
        found.append({"name": "model", "mountPath": started.model_at, "readOnly": True, **inside})
    found += _file_mounts(started)
    if started.keys_at:
        found.append({"name": "keys", "mountPath": started.keys_at, "readOnly": True})
    return [*found, *map(dict, wanted.launch.extras.volume_mounts)]


def _file_mounts(started: GroupLaunch) -> Iterator[Manifest]:
    """Mount each file on its own: its folder may hold other files of the image."""
    for file in started.files:
        yield {"name": "files", "mountPath": file.path, "subPath": file.name, "readOnly": True}


def _cache(cache: WeightCache) -> Manifest:
    match cache.kind:
        case CacheKind.EMPTY_DIR:
            return {"emptyDir": {} if cache.size is None else {"sizeLimit": cache.size}}
        case CacheKind.PERSISTENT_VOLUME_CLAIM:
            return {"persistentVolumeClaim": {"claimName": cache.location}}
        case CacheKind.HOST_PATH:
            return {"hostPath": {"path": cache.location, "type": "DirectoryOrCreate"}}


def _source(source: Source) -> list[Manifest]:
    match source.kind:
        case SourceKind.HUGGING_FACE:
            return []
        case SourceKind.PERSISTENT_VOLUME_CLAIM:
            return [{"name": "model", "persistentVolumeClaim": {"claimName": source.location, "readOnly": True}}]
        case SourceKind.HOST_PATH:
            return [{"name": "model", "hostPath": {"path": source.location, "type": "Directory"}}]
        case SourceKind.IMAGE:
            return [{"name": "model", "image": {"reference": source.location, "pullPolicy": "IfNotPresent"}}]
