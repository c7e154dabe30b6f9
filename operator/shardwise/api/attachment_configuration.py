"""The part of the operator configuration that names the add-ons which reach and scale models."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from shardwise.api.base import GATEWAY_PATTERN, URL_PATTERN, Wire
from shardwise.api.problems import Problem
from shardwise.domain.attachments import AttachmentSite, Scaler, ScalerKind


class KedaConfiguration(Wire):
    """KEDA, and the Prometheus that it asks."""

    prometheus: Annotated[str, Field(max_length=1024, pattern=URL_PATTERN)] = Field(
        description="Address at which KEDA asks Prometheus, such as http://prometheus.monitoring.svc:9090."
    )
    wake_query: Annotated[str, Field(min_length=1, max_length=4096)] | None = Field(
        default=None,
        description="PromQL query whose value is above 0 while requests wait for a model that has no replicas. "
        "{namespace} and {name} stand for those of the object. Default: no object is scaled to zero.",
    )


class AutoscalerConfiguration(Wire):
    """HorizontalPodAutoscalers with an adapter that serves custom metrics."""


class ScalerConfiguration(Wire):
    """The scaler of the cluster: exactly one of the fields."""

    keda: KedaConfiguration | None = Field(default=None, description="KEDA: objects get a ScaledObject.")
    horizontal_pod_autoscaler: AutoscalerConfiguration | None = Field(
        default=None,
        description="Kubernetes' own autoscaler: objects get a HorizontalPodAutoscaler. An adapter must serve the "
        "metrics of the leaders as custom metrics.",
    )


class AttachmentConfiguration(Wire):
    """The add-ons of the cluster that reach and scale models."""

    inference_pools: bool = Field(
        default=False,
        description="Whether objects may ask for an InferencePool of the Gateway API inference extension.",
    )
    gateways: list[Annotated[str, Field(max_length=317, pattern=GATEWAY_PATTERN)]] = Field(
        default=[],
        max_length=256,
        description="Gateways that objects may name, as namespace/name. An entry that ends with * allows every Gateway "
        "that begins with the text before the *. Default: objects may name none, and no HTTPRoute is made.",
    )
    scaler: ScalerConfiguration | None = Field(
        default=None, description="The scaler for objects with spec.scaling. Default: such objects are refused."
    )


def attachment_problems(given: AttachmentConfiguration) -> Iterator[Problem]:
    """Give the problems that span fields."""
    if given.scaler is not None and len(given.scaler.model_fields_set) != 1:
        named = " and ".join(f"`{name}`" for name in sorted(given.scaler.model_dump(by_alias=True, exclude_unset=True)))
        yield Problem("attachments.scaler", f"exactly one scaler is needed, {named or 'none'} given")


def attachment_site(given: AttachmentConfiguration) -> AttachmentSite:
    """Convert a configuration in which :func:`attachment_problems` finds no problem."""
    return AttachmentSite(given.inference_pools, tuple(given.gateways), _scaler(given.scaler))


def _scaler(given: ScalerConfiguration | None) -> Scaler | None:
    if given is None:
        return None
    if given.keda is None:
        return Scaler(ScalerKind.AUTOSCALER)
    return Scaler(ScalerKind.KEDA, given.keda.prometheus, given.keda.wake_query or "")
