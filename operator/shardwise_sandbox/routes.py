"""From a URL to the resource, the object and the subresource that it names."""

from dataclasses import dataclass

from shardwise_sandbox.errors import no_such_path
from shardwise_sandbox.resources import Registry, ResourceType


@dataclass(frozen=True, slots=True)
class Route:
    """A resource URL: a collection (without a name), an object, or a subresource of an object."""

    resource: ResourceType
    namespace: str = ""
    name: str = ""
    subresource: str = ""


def split_group(path: str) -> tuple[str, str, list[str]] | None:
    """Split a path under ``/api`` or ``/apis`` into group, version and the rest; ``None`` for other paths."""
    parts = [part for part in path.split("/") if part]
    if parts[:1] == ["api"] and len(parts) > 2:  # noqa: PLR2004 - /api/v1/<rest>
        return "", parts[1], parts[2:]
    if parts[:1] == ["apis"] and len(parts) > 3:  # noqa: PLR2004 - /apis/<group>/<version>/<rest>
        return parts[1], parts[2], parts[3:]
    return None


def route(registry: Registry, path: str) -> Route | None:
    """Return the route of a resource URL; ``None`` for other URLs. Raises ``ApiError`` 404 for an unknown kind."""
    found = split_group(path)
    if found is None:
        return None
    group, version, rest = found
    namespace = ""
    # /namespaces/<name> and its status are the namespace itself; longer paths are inside it.
    inside = rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in {"status", "finalize"}  # noqa: PLR2004 - as above
    if inside:
        namespace, rest = rest[1], rest[2:]
    resource = registry.at(group, version, rest[0])
    if bool(namespace) > resource.namespaced:
        raise no_such_path()
    name, subresource = ([*rest[1:], "", ""])[:2]
    return Route(resource, namespace, name, subresource)
