"""The part of the operator configuration that says which values objects may use."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from shardwise.api.base import PORTS_PATTERN, ShortText, Wire
from shardwise.api.problems import Problem
from shardwise.domain.allowed import Allowed

_MOST_PORT: Final = 65535
_ENDS: Final = "An entry that ends with * allows every value that begins so."

Ports = Annotated[str, Field(max_length=11, pattern=PORTS_PATTERN, examples=["8000-8999"])]
NamespaceName = Annotated[str, Field(min_length=1, max_length=63)]


class AllowedValues(Wire):
    """The values that objects may use. A field that is left out keeps its default."""

    service_types: list[Literal["ClusterIP", "NodePort", "LoadBalancer"]] | None = Field(
        default=None, max_length=3, description="Types of Services (spec.service.type). Default: ClusterIP."
    )
    service_ports: list[Ports] | None = Field(
        default=None,
        max_length=64,
        description="Ports of Services (spec.service.port): numbers, or ranges such as 8000-8999. Default: every port.",
    )
    service_names: list[ShortText] | None = Field(
        default=None,
        max_length=64,
        description=f"Names of objects (metadata.name), which their Services get. {_ENDS} Default: every name but "
        "kubernetes.",
    )
    priority_classes: list[ShortText] | None = Field(
        default=None,
        max_length=64,
        description=f"PriorityClasses (spec.placement.priorityClassName). {_ENDS} Default: every class whose name does "
        "not begin with system-.",
    )
    pod_labels: list[ShortText] | None = Field(
        default=None,
        max_length=64,
        description=f"Keys of extra labels of pods (spec.podTemplate.labels). {_ENDS} Default: every key but those "
        "that Services usually select, such as app.",
    )
    images: list[Annotated[str, Field(min_length=1, max_length=1024)]] | None = Field(
        default=None,
        max_length=64,
        description="Container images and images with weights (spec.engine.image, spec.model.source.image.reference, "
        "spec.podTemplate). "
        f"{_ENDS} Default: every image.",
    )
    service_accounts: list[ShortText] | None = Field(
        default=None,
        max_length=64,
        description=f"ServiceAccounts (spec.placement.serviceAccountName). {_ENDS} Default: every ServiceAccount of "
        "the namespace.",
    )
    scheduling_gates: list[ShortText] | None = Field(
        default=None,
        max_length=64,
        description=f"Scheduling gates (spec.podTemplate.schedulingGates). A gate holds GPUs for pods that do not run. "
        f"{_ENDS} Default: no gate.",
    )
    host_network: bool | None = Field(
        default=None,
        description="Whether pods may use the network of their nodes (spec.podTemplate.hostNetwork). Default: false.",
    )
    gpus: int | None = Field(
        default=None,
        ge=0,
        le=1_000_000,
        description="The most GPUs that the objects of a namespace may hold together. Default: no limit.",
    )


class AllowConfiguration(AllowedValues):
    """The values that objects may use in all namespaces and in single namespaces."""

    namespaces: dict[NamespaceName, AllowedValues] = Field(
        default={},
        max_length=4096,
        description="Values for the objects of single namespaces. A field that is given here replaces the field for "
        "all namespaces.",
    )


def allow_problems(given: AllowConfiguration) -> Iterator[Problem]:
    """Give the problems of ports."""
    yield from _port_problems("allow", given.service_ports)
    for namespace, values in given.namespaces.items():
        yield from _port_problems(f"allow.namespaces.{namespace}", values.service_ports)


def _port_problems(at: str, given: list[str] | None) -> Iterator[Problem]:
    for position, text in enumerate(given or []):
        first, last = _ports(text)
        if not 1 <= first <= last <= _MOST_PORT:
            yield Problem(f"{at}.servicePorts.{position}", f"`{text}` is not a range from 1 to {_MOST_PORT}")


def allowed_values(given: AllowConfiguration) -> tuple[Allowed, tuple[tuple[str, Allowed], ...]]:
    """Give the values for all namespaces, and those of single namespaces, by name."""
    everywhere = _narrowed(Allowed(), given)
    own = ((namespace, _narrowed(everywhere, values)) for namespace, values in sorted(given.namespaces.items()))
    return everywhere, tuple(own)


def _narrowed(allowed: Allowed, given: AllowedValues) -> Allowed:
    stated: Mapping[str, Any] = {
        "service_types": given.service_types,
        "service_names": given.service_names,
        "priority_classes": given.priority_classes,
        "pod_labels": given.pod_labels,
        "images": given.images,
        "service_accounts": given.service_accounts,
        "scheduling_gates": given.scheduling_gates,
    }
    changes: dict[str, Any] = {name: tuple(value) for name, value in stated.items() if value is not None}
    if given.host_network is not None:
        changes["host_network"] = given.host_network
    if given.gpus is not None:
        changes["gpus"] = given.gpus
    if given.service_ports is not None:
        changes["service_ports"] = tuple(map(_ports, given.service_ports))
    return replace(allowed, **changes)


def _ports(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    return int(first), int(last or first)
