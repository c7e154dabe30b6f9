"""The kinds that the API serves: built-in kinds, and custom kinds from CustomResourceDefinitions."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from shardwise_sandbox import builtin_schema
from shardwise_sandbox.builtin_schema import METADATA, Schema
from shardwise_sandbox.errors import ApiError, no_such_path
from shardwise_sandbox.objects import JsonObject

VERBS: Final = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")

StorageKey: TypeAlias = tuple[str, str]
"""The group and plural under which objects are stored, the same for all versions of a kind."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of ``kubectl get``: title, type and simple JSONPath; priority above 0 only with ``-o wide``."""

    name: str
    kind: str
    path: str
    priority: int = 0
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ResourceType:
    """A kind in a version: its names, its schema, its subresources and its printed columns."""

    group: str = ""
    version: str = "v1"
    plural: str
    singular: str
    kind: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: frozenset[str] = frozenset()
    schema: Schema | None = None
    merge_schema: Schema = field(default_factory=lambda: builtin_schema.ANY)
    columns: tuple[Column, ...] = ()
    scale: JsonObject = field(default_factory=dict)
    counts_generation: bool = False
    selectable: frozenset[str] = frozenset()
    stored_as: StorageKey | None = None

    @property
    def key(self) -> StorageKey:
        """The key under which the store keeps objects of this kind."""
        return self.stored_as or (self.group, self.plural)

    @property
    def api_version(self) -> str:
        """The ``apiVersion`` of the objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def custom(self) -> bool:
        """Whether the kind comes from a CustomResourceDefinition."""
        return self.schema is not None

    @property
    def has_status(self) -> bool:
        """Whether only the status subresource writes the status."""
        return "status" in self.subresources

    def selects(self, path: str) -> bool:
        """Return whether field selectors may use the path."""
        return path in {"metadata.name", "metadata.namespace"} or path in self.selectable


_STATUS: Final = frozenset({"status"})
_EVENT_FIELDS: Final = frozenset(
    {
        f"involvedObject.{key}"
        for key in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
    }
    | {"reason", "reportingComponent", "source", "type"}
)
_REGARDING_FIELDS: Final = frozenset(
    {f"regarding.{key}" for key in ("kind", "namespace", "name", "uid", "apiVersion")} | {"reason", "type"}
)
CRD_KEY: Final[StorageKey] = ("apiextensions.k8s.io", "customresourcedefinitions")

BUILTIN: Final = (
    ResourceType(
        plural="namespaces",
        singular="namespace",
        kind="Namespace",
        namespaced=False,
        short_names=("ns",),
        subresources=_STATUS,
        selectable=frozenset({"status.phase"}),
    ),
    ResourceType(
        plural="nodes",
        singular="node",
        kind="Node",
        namespaced=False,
        short_names=("no",),
        subresources=_STATUS,
        merge_schema=builtin_schema.NODE,
        selectable=frozenset({"spec.unschedulable"}),
    ),
    ResourceType(
        plural="pods",
        singular="pod",
        kind="Pod",
        short_names=("po",),
        categories=("all",),
        subresources=frozenset({"status", "binding", "eviction"}),
        merge_schema=builtin_schema.POD,
        counts_generation=True,
        selectable=frozenset(
            {"spec.nodeName", "status.phase", "spec.restartPolicy", "spec.schedulerName", "status.podIP"}
        ),
    ),
    ResourceType(
        plural="services",
        singular="service",
        kind="Service",
        short_names=("svc",),
        categories=("all",),
        subresources=_STATUS,
        merge_schema=builtin_schema.SERVICE,
        selectable=frozenset({"spec.clusterIP", "spec.type"}),
    ),
    ResourceType(plural="events", singular="event", kind="Event", short_names=("ev",), selectable=_EVENT_FIELDS),
    ResourceType(plural="secrets", singular="secret", kind="Secret", selectable=frozenset({"type"})),
    ResourceType(plural="configmaps", singular="configmap", kind="ConfigMap", short_names=("cm",)),
    ResourceType(
        plural="serviceaccounts",
        singular="serviceaccount",
        kind="ServiceAccount",
        short_names=("sa",),
        merge_schema=builtin_schema.SERVICE_ACCOUNT,
    ),
    ResourceType(
        plural="persistentvolumeclaims",
        singular="persistentvolumeclaim",
        kind="PersistentVolumeClaim",
        short_names=("pvc",),
        subresources=_STATUS,
    ),
    ResourceType(
        group="events.k8s.io",
        plural="events",
        singular="event",
        kind="Event",
        short_names=("ev",),
        selectable=_REGARDING_FIELDS,
        stored_as=("", "events"),
    ),
    ResourceType(
        group="resource.k8s.io",
        plural="resourceclaimtemplates",
        singular="resourceclaimtemplate",
        kind="ResourceClaimTemplate",
    ),
    ResourceType(
        group="resource.k8s.io",
        plural="resourceclaims",
        singular="resourceclaim",
        kind="ResourceClaim",
        subresources=_STATUS,
    ),
    ResourceType(
        group="resource.k8s.io",
        plural="resourceslices",
        singular="resourceslice",
        kind="ResourceSlice",
        namespaced=False,
        selectable=frozenset({"spec.driver", "spec.nodeName"}),
    ),
    ResourceType(
        group="resource.k8s.io",
        plural="deviceclasses",
        singular="deviceclass",
        kind="DeviceClass",
        namespaced=False,
    ),
    ResourceType(
        group="",
        plural="resourcequotas",
        singular="resourcequota",
        kind="ResourceQuota",
        short_names=("quota",),
        subresources=_STATUS,
    ),
    ResourceType(
        group="scheduling.k8s.io",
        plural="priorityclasses",
        singular="priorityclass",
        kind="PriorityClass",
        namespaced=False,
        short_names=("pc",),
    ),
    ResourceType(group="coordination.k8s.io", plural="leases", singular="lease", kind="Lease"),
    ResourceType(
        group="policy",
        plural="poddisruptionbudgets",
        singular="poddisruptionbudget",
        kind="PodDisruptionBudget",
        short_names=("pdb",),
        subresources=_STATUS,
        merge_schema=builtin_schema.DISRUPTION_BUDGET,
        counts_generation=True,
    ),
    ResourceType(
        group="apiextensions.k8s.io",
        plural="customresourcedefinitions",
        singular="customresourcedefinition",
        kind="CustomResourceDefinition",
        namespaced=False,
        short_names=("crd", "crds"),
        categories=("api-extensions",),
        subresources=_STATUS,
        counts_generation=True,
    ),
)


class Registry:
    """The table of served kinds."""

    def __init__(self) -> None:
        self._types: dict[tuple[str, str, str], ResourceType] = {}
        for resource in BUILTIN:
            self.add(resource)

    def __iter__(self) -> Iterator[ResourceType]:
        return iter(self._types.values())

    def add(self, resource: ResourceType) -> None:
        """Serve a kind, or replace its description."""
        self._types[resource.group, resource.version, resource.plural] = resource

    def remove(self, group: str, plural: str) -> None:
        """Stop serving a kind in all its versions."""
        for key in [key for key in self._types if (key[0], key[2]) == (group, plural)]:
            del self._types[key]

    def at(self, group: str, version: str, plural: str) -> ResourceType:
        """Return the kind at a URL. Raises ``ApiError`` 404 if there is none."""
        found = self._types.get((group, version, plural))
        if found is None:
            raise no_such_path()
        return found

    def in_version(self, group: str, version: str) -> list[ResourceType]:
        """Return the kinds of a group and version."""
        return [resource for resource in self if (resource.group, resource.version) == (group, version)]

    def groups(self) -> dict[str, list[str]]:
        """Return the named groups with their versions, in the order of their registration."""
        found: dict[str, list[str]] = {}
        for resource in self:
            versions = found.setdefault(resource.group, [])
            if resource.version not in versions:
                versions.append(resource.version)
        return {group: versions for group, versions in found.items() if group}

    def of(self, obj: JsonObject) -> ResourceType:
        """Return the type of an object by its ``apiVersion`` and ``kind``. Raises ``ApiError`` 404 if unknown."""
        for resource in self:
            if (resource.api_version, resource.kind) == (obj.get("apiVersion"), obj.get("kind")):
                return resource
        said = f'no matches for kind "{obj.get("kind")}" in version "{obj.get("apiVersion")}"'
        raise ApiError(404, "NotFound", said)

    def named(self, text: str) -> ResourceType:
        """Return the type by a name as people write it: kind, plural, singular, short name or ``plural.group``."""
        wanted = text.lower()
        for resource in self:
            names = {resource.plural, resource.singular, resource.kind.lower(), *resource.short_names}
            if wanted in names or wanted == f"{resource.plural}.{resource.group}":
                return resource
        raise ApiError(404, "NotFound", f'the server does not have a resource type "{text}"')


def from_crd(crd: JsonObject) -> list[ResourceType]:
    """Return the kinds that a CustomResourceDefinition adds, a kind for each served version."""
    spec = crd["spec"]
    return [_custom(spec, version) for version in spec["versions"] if version.get("served", True)]


def _custom(spec: JsonObject, version: JsonObject) -> ResourceType:
    names, subresources = spec["names"], version.get("subresources") or {}
    schema: Schema = (version.get("schema") or {}).get("openAPIV3Schema") or {"type": "object"}
    properties = {**(schema.get("properties") or {}), "metadata": METADATA}
    selectable = [entry["jsonPath"].removeprefix(".") for entry in version.get("selectableFields") or ()]
    return ResourceType(
        group=spec["group"],
        version=version["name"],
        plural=names["plural"],
        singular=names.get("singular") or names["kind"].lower(),
        kind=names["kind"],
        namespaced=spec.get("scope", "Namespaced") == "Namespaced",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        subresources=frozenset(subresources),
        schema=schema,
        merge_schema={**schema, "properties": properties},
        columns=tuple(map(_column, version.get("additionalPrinterColumns") or ())),
        scale=subresources.get("scale") or {},
        counts_generation=True,
        selectable=frozenset(selectable),
    )


def _column(raw: JsonObject) -> Column:
    return Column(raw["name"], raw["type"], raw["jsonPath"], raw.get("priority", 0), raw.get("description", ""))
