"""Rules of built-in kinds that an operator can break: names, labels, required and immutable fields."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from shardwise_sandbox.errors import StatusCause
from shardwise_sandbox.objects import JsonObject, dig, meta, name_of
from shardwise_sandbox.schema import structural_errors
from shardwise_sandbox.validation import unfit_defaults

_SUBDOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_DNS_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_LABEL_VALUE: Final = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")
_NAME_LIMIT: Final = 253
_LABEL_LIMIT: Final = 63

Rule = Callable[[JsonObject, JsonObject | None], Iterator[StatusCause]]
"""Yields the faults of an object, compared with the object it replaces (``None`` on create)."""


def _bad(field: str, value: object, why: str) -> StatusCause:
    return StatusCause("FieldValueInvalid", f'Invalid value: "{value}": {why}', field)


def _required(field: str) -> StatusCause:
    return StatusCause("FieldValueRequired", "Required value", field)


def metadata(obj: JsonObject) -> Iterator[StatusCause]:
    """Yield the faults of the metadata that every kind has."""
    name = name_of(obj)
    if not _SUBDOMAIN.fullmatch(name) or len(name) > _NAME_LIMIT:
        yield _bad(
            "metadata.name",
            name,
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'",
        )
    yield from _strings(obj)
    for index, owner in enumerate(meta(obj).get("ownerReferences") or ()):
        for key in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(key):
                yield _required(f"metadata.ownerReferences[{index}].{key}")


_LABEL_RULE: Final = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character, at most 63 in all"
)


def _strings(obj: JsonObject) -> Iterator[StatusCause]:
    for place in ("labels", "annotations"):
        values: JsonObject = meta(obj).get(place) or {}
        for key, value in values.items():
            if not isinstance(value, str):
                yield _bad(f"metadata.{place}[{key}]", value, "must be of type string")
            elif place == "labels" and (len(value) > _LABEL_LIMIT or not _LABEL_VALUE.fullmatch(value)):
                yield _bad(f"metadata.labels[{key}]", value, _LABEL_RULE)


def _is_label(text: object) -> bool:
    return isinstance(text, str) and len(text) <= _LABEL_LIMIT and bool(_DNS_LABEL.fullmatch(text))


def pod(obj: JsonObject, old: JsonObject | None) -> Iterator[StatusCause]:
    """Yield the faults of a pod: in its containers, its host names, and its immutable fields."""
    spec = obj.get("spec") or {}
    if not spec.get("containers"):
        yield _required("spec.containers")
    yield from _containers(spec)
    for key in ("hostname", "subdomain"):
        if spec.get(key) and not _is_label(spec[key]):
            yield _bad(f"spec.{key}", spec[key], "a lowercase RFC 1123 label must be no more than 63 characters")
    yield from _volume_mounts(spec)
    if old is not None:
        yield from _new_gates(spec, old.get("spec") or {})
    if old is not None and _frozen(obj) != _frozen(old):
        why = f"Forbidden: pod updates may not change fields other than {_CHANGEABLE_SAID}"
        yield StatusCause("FieldValueForbidden", why, "spec")


def _new_gates(spec: JsonObject, before: JsonObject) -> Iterator[StatusCause]:
    known, now = ([gate.get("name") for gate in state.get("schedulingGates") or ()] for state in (before, spec))
    for name in now:
        if name not in known:
            why = f"Forbidden: only deletion is allowed, but found new scheduling gate '{name}'"
            yield StatusCause("FieldValueForbidden", why, "spec.schedulingGates")


def _containers(spec: JsonObject) -> Iterator[StatusCause]:
    for index, container in enumerate(spec.get("containers") or ()):
        for key in ("name", "image"):
            if not container.get(key):
                yield _required(f"spec.containers[{index}].{key}")
        for place, variable in enumerate(container.get("env") or ()):
            if not isinstance(variable.get("value", ""), str):
                yield _bad(f"spec.containers[{index}].env[{place}].value", variable["value"], "must be of type string")


def _volume_mounts(spec: JsonObject) -> Iterator[StatusCause]:
    volumes = {volume.get("name") for volume in spec.get("volumes") or ()}
    for index, container in enumerate(spec.get("containers") or ()):
        for place, mount in enumerate(container.get("volumeMounts") or ()):
            if mount.get("name") not in volumes:
                field = f"spec.containers[{index}].volumeMounts[{place}].name"
                yield StatusCause("FieldValueNotFound", f'Not found: "{mount.get("name")}"', field)


_CHANGEABLE_SAID: Final = (
    "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
    "`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` "
    "(allow it to be set to 1 if it was previously negative)"
)
_CHANGEABLE: Final = ("tolerations", "activeDeadlineSeconds", "schedulingGates", "terminationGracePeriodSeconds")


def _frozen(obj: JsonObject) -> JsonObject:
    spec = {key: value for key, value in (obj.get("spec") or {}).items() if key not in _CHANGEABLE}
    for key in ("containers", "initContainers"):
        if key in spec:
            spec[key] = [{**container, "image": ""} for container in spec[key]]
    return spec


def service(obj: JsonObject, old: JsonObject | None) -> Iterator[StatusCause]:
    """Yield the faults of a Service: in its name, its ports and its immutable address."""
    if not _is_label(name_of(obj)):
        yield _bad("metadata.name", name_of(obj), "a DNS-1035 label must be no more than 63 characters")
    spec = obj.get("spec") or {}
    if not spec.get("ports") and spec.get("clusterIP") != "None" and spec.get("type") != "ExternalName":
        yield _required("spec.ports")
    names = [port.get("name") for port in spec.get("ports") or ()]
    for index, name in enumerate(names):
        if not name and len(names) > 1:
            yield _required(f"spec.ports[{index}].name")
        elif name in names[:index]:
            yield StatusCause("FieldValueDuplicate", f'Duplicate value: "{name}"', f"spec.ports[{index}].name")
    if old is not None and dig(old, "spec", "clusterIP") != spec.get("clusterIP"):
        yield _bad("spec.clusterIPs[0]", spec.get("clusterIP"), "may not change once set")


def disruption_budget(obj: JsonObject, _: JsonObject | None) -> Iterator[StatusCause]:
    """Yield the fault of a disruption budget that states both numbers."""
    spec = obj.get("spec") or {}
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        yield _bad("spec", "PodDisruptionBudgetSpec", "minAvailable and maxUnavailable cannot be both set")


def custom_resource_definition(obj: JsonObject, _: JsonObject | None) -> Iterator[StatusCause]:
    """Yield the faults of a CustomResourceDefinition, also of its structural schemas."""
    spec = obj.get("spec") or {}
    names = spec.get("names") or {}
    expected = f"{names.get('plural')}.{spec.get('group')}"
    if name_of(obj) != expected:
        yield _bad("metadata.name", name_of(obj), f'must be spec.names.plural+"."+spec.group ({expected})')
    if sum(bool(version.get("storage")) for version in spec.get("versions") or ()) != 1:
        yield _bad("spec.versions", "versions", "must have exactly one version marked as storage version")
    for index, version in enumerate(spec.get("versions") or ()):
        schema = dig(version, "schema", "openAPIV3Schema")
        if schema is None:
            yield _required(f"spec.versions[{index}].schema.openAPIV3Schema")
        else:
            path = f"spec.versions[{index}].schema.openAPIV3Schema"
            yield from structural_errors(schema, path)
            yield from unfit_defaults(schema, path)


RULES: Final[Mapping[str, Rule]] = {
    "Pod": pod,
    "Service": service,
    "PodDisruptionBudget": disruption_budget,
    "CustomResourceDefinition": custom_resource_definition,
}
"""The rule of each built-in kind."""
