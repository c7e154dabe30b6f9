"""``spec.endpoint`` and ``spec.scaling``: how clients reach the replicas, and who sets their number."""

from typing import Annotated, Literal

from pydantic import Field

from shardwise.api.base import HOST_PATTERN, DnsName, Wire

Hostname = Annotated[str, Field(min_length=1, max_length=253, pattern=HOST_PATTERN)]
"""A hostname of a route, whose first part may be ``*``."""


class EndpointPickerSpec(Wire):
    """The endpoint picker of an InferencePool."""

    service: DnsName = Field(description="Name of the picker's Service in the object's namespace.")
    port: int = Field(default=9002, ge=1, le=65535, description="Port of the picker's Service.")
    failure_mode: Literal["FailClose", "FailOpen"] = Field(
        default="FailClose",
        description="What the gateway does with requests while the picker does not answer: FailClose drops them, "
        "FailOpen sends them to any replica that serves.",
    )


class GatewaySpec(Wire):
    """A Gateway of the Gateway API."""

    name: DnsName = Field(description="Name of the Gateway.")
    namespace: DnsName | None = Field(
        default=None, description="Namespace of the Gateway. Default: the namespace of the object."
    )
    hostnames: list[Hostname] = Field(
        default=[],
        max_length=16,
        description="Hostnames whose requests go to the object. Default: all requests of the Gateway's listeners.",
    )


class EndpointSpec(Wire):
    """How clients reach the replicas."""

    kind: Literal["service", "inferencePool"] = Field(
        default="service",
        description="service: the Service alone. inferencePool: also an InferencePool of the Gateway API inference "
        "extension, in which an endpoint picker chooses a replica for each request. The operator's configuration must "
        "set attachments.inferencePools.",
    )
    picker: EndpointPickerSpec | None = Field(
        default=None, description="The endpoint picker of the InferencePool. Only, and always, with kind inferencePool."
    )
    target_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="Port of the pods to which the InferencePool leads, if a container of spec.podTemplate.sidecars "
        "takes the requests, such as the proxy of a router. Only with kind inferencePool. Default: the port of the "
        "engine.",
    )
    gateway: GatewaySpec | None = Field(
        default=None,
        description="Gateway from which an HTTPRoute leads to the InferencePool or the Service. It must be listed in "
        "attachments.gateways of the operator's configuration. Default: no HTTPRoute.",
    )


class ScalingSpec(Wire):
    """The bounds and the goal of a scaler that sets spec.replicas."""

    min: int = Field(
        default=1,
        ge=0,
        le=1000,
        description="Fewest replicas. 0 needs KEDA, and attachments.scaler.keda.wakeQuery in the operator's "
        "configuration.",
    )
    max: int = Field(
        ge=1, le=1000, description="Most replicas. The scaler never asks for more than gpuBudget.total has GPUs for."
    )
    signal: Literal["queue", "kvCache", "timePerToken"] = Field(
        description="Measurement on which replicas are added and removed. queue: requests that wait, for each replica. "
        "kvCache: the used part of the KV cache of a replica. timePerToken: the time between two tokens of a request, "
        "95th percentile."
    )
    target: int = Field(
        ge=1,
        le=100_000,
        description="Value to aim at: requests for queue, percent for kvCache, milliseconds for timePerToken.",
    )
