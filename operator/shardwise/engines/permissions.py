"""The values of an object that the operator configuration does not allow, each with the allowed values."""

from collections.abc import Iterator
from dataclasses import dataclass

from shardwise.domain.allowed import API_SERVICE, SELECTED_LABELS, SYSTEM_PRIORITY, Allowed, allows
from shardwise.domain.launch import Launch, PodExtras, SourceKind, Wanted
from shardwise.engines.additions import images


@dataclass(frozen=True, slots=True)
class _Value:
    """A value of an object, and the field of the configuration that lists the allowed values.

    ``reserved`` says of which values it is if the entry ``*`` does not allow it.
    """

    field: str
    value: str
    listed: str
    allowed: tuple[str, ...]
    reserved: str = ""

    @property
    def is_allowed(self) -> bool:
        return allows(self.allowed, self.value, reserved=bool(self.reserved))

    def told(self, namespace: str) -> str:
        entries = ", ".join(f"`{entry}`" for entry in self.allowed) or "nothing"
        but = f", and `*` does not stand for {self.reserved}" if self.reserved and "*" in self.allowed else ""
        where = f"`allow.{self.listed}` of the operator's configuration lists {entries}"
        return f"`{self.value}` is not allowed in namespace `{namespace}`; {where}{but}"


def forbidden(wanted: Wanted) -> Iterator[tuple[str, str]]:
    """Give ``(field path, message)`` for each value that the configuration does not allow in the object's namespace."""
    launch, namespace = wanted.launch, wanted.launch.owner.namespace
    allowed = wanted.site.allowed_in(namespace)
    for value in _values(launch, allowed):
        if not value.is_allowed:
            yield value.field, value.told(namespace)
    port = launch.service.port
    if not any(first <= port <= last for first, last in allowed.service_ports):
        ranges = tuple(f"{first}" if first == last else f"{first}-{last}" for first, last in allowed.service_ports)
        refused = _Value("spec.service.port", str(port), "servicePorts", ranges)
        yield refused.field, refused.told(namespace)


def _values(launch: Launch, allowed: Allowed) -> Iterator[_Value]:
    name, scheduling = launch.owner.name, launch.scheduling
    api = "the Service of the API server" if name == API_SERVICE else ""
    yield _Value("metadata.name", name, "serviceNames", allowed.service_names, api)
    yield _Value("spec.service.type", launch.service.type, "serviceTypes", allowed.service_types)
    if scheduling.priority_class_name:
        named = scheduling.priority_class_name
        system = f"`{SYSTEM_PRIORITY}…`" if named.startswith(SYSTEM_PRIORITY) else ""
        yield _Value("spec.placement.priorityClassName", named, "priorityClasses", allowed.priority_classes, system)
    if scheduling.service_account_name:
        named = scheduling.service_account_name
        yield _Value("spec.placement.serviceAccountName", named, "serviceAccounts", allowed.service_accounts)
    if launch.container.image is not None:
        yield _Value("spec.engine.image", launch.container.image, "images", allowed.images)
    if launch.model.source.kind is SourceKind.IMAGE:
        yield _Value("spec.model.source.image.reference", launch.model.source.location, "images", allowed.images)
    yield from _of_additions(launch.extras, allowed)
    for key, _ in launch.extras.labels:
        selected = "labels that Services usually select" if key in SELECTED_LABELS else ""
        yield _Value("spec.podTemplate.labels", key, "podLabels", allowed.pod_labels, selected)


def _of_additions(extras: PodExtras, allowed: Allowed) -> Iterator[_Value]:
    for field, image in images(extras):
        yield _Value(field, image, "images", allowed.images)
    for gate in extras.scheduling_gates:
        yield _Value("spec.podTemplate.schedulingGates", gate, "schedulingGates", allowed.scheduling_gates)
    if extras.host_network:
        may = ("true", "false") if allowed.host_network else ("false",)
        yield _Value("spec.podTemplate.hostNetwork", "true", "hostNetwork", may)
