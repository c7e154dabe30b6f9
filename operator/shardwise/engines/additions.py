"""The additions of an object to its pods that the operator refuses.

A pod cannot have some of them beside the engine. By others an object would reach further than its namespace: the
operator makes pods with rights of its own, so a rule of the cluster that looks at the user does not see the user.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final

from shardwise.domain.fleet import GPU_PREFIXES
from shardwise.domain.launch import PodExtras, Wanted

Found = Iterator[tuple[str, str]]

TEMPLATE: Final = "spec.podTemplate"

OWN_CONTAINERS: Final = frozenset({"engine", "weights", "wait-for-leader", "wait-for-followers"})
"""Names of the containers of a pod that Shardwise makes."""

SHARED_VOLUMES: Final = frozenset({"shared-memory", "cache", "model"})
"""Volumes of Shardwise that further containers may mount."""

OWN_VOLUMES: Final = SHARED_VOLUMES | {"files", "keys"}

OWN_PATHS: Final = ("/dev/shm", "/cache", "/model")  # noqa: S108 - a path in a container
"""Mount paths of the volumes of Shardwise."""

VOLUME_KINDS: Final = (
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "hostPath",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
)
"""Kinds of volumes: those of the Pod Security Standard restricted, images, and folders of nodes with a permission."""

_CONTAINER_FIELDS: Final = frozenset(
    {
        "name",
        "image",
        "imagePullPolicy",
        "command",
        "args",
        "workingDir",
        "env",
        "envFrom",
        "ports",
        "resources",
        "volumeMounts",
        "securityContext",
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
        "lifecycle",
        "terminationMessagePath",
        "terminationMessagePolicy",
    }
)
_SECURITY_FIELDS: Final = frozenset(
    {
        "allowPrivilegeEscalation",
        "capabilities",
        "readOnlyRootFilesystem",
        "runAsGroup",
        "runAsNonRoot",
        "runAsUser",
        "seccompProfile",
    }
)


def addition_problems(wanted: Wanted) -> Found:
    """Give ``(field path, message)`` for each addition that is refused, in the order of the fields."""
    extras = wanted.launch.extras
    yield from _at_odds(extras)
    yield from _volumes(wanted)
    yield from _engine_mounts(extras)
    yield from _sources(extras)
    for field, container in _containers(extras):
        yield from _container(field, container, _mountable(extras))
    yield from _twice(f"{TEMPLATE}.volumes", map(_name, extras.volumes))
    yield from _twice(f"{TEMPLATE}.sidecars", map(_name, (*extras.sidecars, *extras.init_containers)))


def images(extras: PodExtras) -> Iterator[tuple[str, str]]:
    """Give the field and the value of each image that the additions name."""
    for field, container in _containers(extras):
        yield f"{field}.image", str(container.get("image") or "")
    for position, volume in enumerate(extras.volumes):
        if "image" in volume:
            yield f"{TEMPLATE}.volumes.{position}.image.reference", str(_part(volume, "image").get("reference") or "")


def _containers(extras: PodExtras) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Give the further containers, each with its field."""
    for field, containers in (("sidecars", extras.sidecars), ("initContainers", extras.init_containers)):
        for position, container in enumerate(containers):
            yield f"{TEMPLATE}.{field}.{position}", container


def folders(extras: PodExtras) -> Iterator[tuple[str, str]]:
    """Give the field and the value of each folder of the nodes that the additions mount."""
    for position, volume in enumerate(extras.volumes):
        if "hostPath" in volume:
            yield f"{TEMPLATE}.volumes.{position}.hostPath.path", str(_part(volume, "hostPath").get("path") or "")


def _at_odds(extras: PodExtras) -> Found:
    """Refuse fields that Kubernetes takes together, although no pod can then start, or none finds the others."""
    if extras.drops_capabilities and extras.security_context.get("runAsUser") == 0:
        yield f"{TEMPLATE}.securityContext.runAsUser", "`0` is root, which `runAsNonRoot: true` forbids"
    if extras.host_network and extras.dns_policy == "ClusterFirst":
        right = "use `ClusterFirstWithHostNet`"
        yield f"{TEMPLATE}.dnsPolicy", f"`ClusterFirst` finds no names of the cluster on the host network; {right}"


def _mountable(extras: PodExtras) -> frozenset[str]:
    return SHARED_VOLUMES | {_name(volume) for volume in extras.volumes}


def _name(part: Mapping[str, Any]) -> str:
    return str(part.get("name") or "")


def _part(whole: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Give a part that is an object; empty for anything else, which the API server then refuses in the pod."""
    part = whole.get(name)
    return part if isinstance(part, Mapping) else {}


def _parts(whole: Mapping[str, Any], name: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    listed = whole.get(name)
    for position, part in enumerate(listed if isinstance(listed, list | tuple) else ()):
        if isinstance(part, Mapping):
            yield position, part


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


def _twice(field: str, names: Iterable[str]) -> Found:
    seen: set[str] = set()
    for name in names:
        if name and name in seen:
            yield field, f"the name `{name}` is given twice"
        seen.add(name)


def _volumes(wanted: Wanted) -> Found:
    for position, volume in enumerate(wanted.launch.extras.volumes):
        field = f"{TEMPLATE}.volumes.{position}"
        kinds = [name for name in volume if name != "name"]
        if not _name(volume) or _name(volume) in OWN_VOLUMES:
            own = _listed(OWN_VOLUMES)
            yield f"{field}.name", f"`{_name(volume)}` is no name for a volume of your own; Shardwise uses {own}"
        if len(kinds) != 1 or kinds[0] not in VOLUME_KINDS:
            given = _listed(kinds) or "none"
            yield field, f"exactly one of {_listed(VOLUME_KINDS)} is needed, {given} given"
        yield from _tokens(wanted, field, volume)


def _tokens(wanted: Wanted, field: str, volume: Mapping[str, Any]) -> Found:
    """Refuse the token of a ServiceAccount that the object does not name: no permission would look at it."""
    if wanted.launch.scheduling.service_account_name is not None:
        return
    for position, source in _parts(_part(volume, "projected"), "sources"):
        if "serviceAccountToken" in source:
            where = f"{field}.projected.sources.{position}.serviceAccountToken"
            yield where, "needs `spec.placement.serviceAccountName`: without it, pods get no token"


def _engine_mounts(extras: PodExtras) -> Found:
    known = {_name(volume) for volume in extras.volumes}
    for position, mount in enumerate(extras.volume_mounts):
        field = f"{TEMPLATE}.volumeMounts.{position}"
        if _name(mount) not in known:
            yield f"{field}.name", f"`{_name(mount)}` is no volume of `{TEMPLATE}.volumes`"
        path = str(mount["mountPath"])
        if not path.startswith("/") or ".." in path.split("/"):
            yield f"{field}.mountPath", f"`{path}` is not an absolute path without `..`"
        elif path.rstrip("/") in ("", *OWN_PATHS):
            yield f"{field}.mountPath", f"`{path}` is taken; Shardwise mounts {_listed(OWN_PATHS)}"


def _sources(extras: PodExtras) -> Found:
    for position, source in enumerate(extras.env_from):
        given = [name for name in ("secretRef", "configMapRef") if name in source]
        if len(given) != 1:
            named = " and ".join(f"`{name}`" for name in given) or "none"
            yield (
                f"{TEMPLATE}.envFrom.{position}",
                f"exactly one of `secretRef` and `configMapRef` is needed, {named} given",
            )


def _container(field: str, container: Mapping[str, Any], mountable: Collection[str]) -> Found:
    name = _name(container)
    if not name or name in OWN_CONTAINERS:
        own = _listed(OWN_CONTAINERS)
        yield f"{field}.name", f"`{name}` is no name for a container of your own; Shardwise uses {own}"
    if not container.get("image"):
        yield f"{field}.image", "an image is needed"
    for unknown in sorted(container.keys() - _CONTAINER_FIELDS):
        yield f"{field}.{unknown}", f"is not allowed in a further container; allowed are {_listed(_CONTAINER_FIELDS)}"
    yield from _security(f"{field}.securityContext", _part(container, "securityContext"))
    yield from _resources(f"{field}.resources", _part(container, "resources"))
    yield from _ports(field, container)
    yield from _mounts(field, container, mountable)


def _ports(field: str, container: Mapping[str, Any]) -> Found:
    for position, port in _parts(container, "ports"):
        if port.get("hostPort"):
            yield f"{field}.ports.{position}.hostPort", "opens a port of the node, which no object may do"


def _mounts(field: str, container: Mapping[str, Any], mountable: Collection[str]) -> Found:
    for position, mount in _parts(container, "volumeMounts"):
        where = f"{field}.volumeMounts.{position}"
        if _name(mount) not in mountable:
            yield f"{where}.name", f"`{_name(mount)}` is no volume that it may mount; there are {_listed(mountable)}"
        if mount.get("mountPropagation") not in (None, "None"):
            yield f"{where}.mountPropagation", "changes mounts of the node, which no object may do"


def _security(field: str, context: Mapping[str, Any]) -> Found:
    for unknown in sorted(context.keys() - _SECURITY_FIELDS):
        yield (
            f"{field}.{unknown}",
            f"may give a container more rights than the engine has; allowed: {_listed(_SECURITY_FIELDS)}",
        )
    if context.get("allowPrivilegeEscalation"):
        yield f"{field}.allowPrivilegeEscalation", "`true` is not allowed; the engine does not have it either"
    for unknown in sorted(_part(context, "capabilities").keys() - {"drop"}):
        yield f"{field}.capabilities.{unknown}", "capabilities can only be dropped"
    profile = _part(context, "seccompProfile").get("type")
    if profile not in (None, "RuntimeDefault", "Localhost"):
        yield f"{field}.seccompProfile.type", f"`{profile}` is not allowed; use `RuntimeDefault` or `Localhost`"


def _resources(field: str, resources: Mapping[str, Any]) -> Found:
    if resources.get("claims"):
        yield f"{field}.claims", "devices are claimed by the plan alone"
    for part in ("requests", "limits"):
        for name in sorted(_part(resources, part)):
            if name.startswith(GPU_PREFIXES):
                yield f"{field}.{part}.{name}", "GPUs are set by the plan; limit them with `spec.gpuBudget.total`"
