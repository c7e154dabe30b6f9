"""Clusters with add-ons for endpoints and scaling, and what objects ask of them."""

from typing import Final

from shardwise.domain.attachments import (
    AttachmentSite,
    Endpoint,
    EndpointKind,
    EndpointPicker,
    Gateway,
    Scaler,
    ScalerKind,
    Scaling,
    Signal,
)
from shardwise.domain.launch import LaunchSite

KEDA: Final = Scaler(
    ScalerKind.KEDA, "http://prometheus.monitoring.svc:9090", 'sum(waiting{pool="{namespace}/{name}"})'
)
"""A scaler that can bring models to zero replicas and back."""

AUTOSCALER: Final = Scaler(ScalerKind.AUTOSCALER)

PICKER: Final = EndpointPicker("llama-epp", 9002, "FailOpen")
POOL: Final = Endpoint(EndpointKind.INFERENCE_POOL, PICKER, Gateway("models", "gateways", ("llama.example.com",)))
"""A pool with a picker, behind a Gateway of another namespace."""


def a_site(
    scaler: Scaler | None = KEDA, *, pools: bool = True, gateways: tuple[str, ...] = ("gateways/*",)
) -> LaunchSite:
    """Give a cluster with all add-ons, or with those named."""
    return LaunchSite(attachments=AttachmentSite(pools, gateways, scaler))


def a_scaling(least: int = 1, most: int = 4, signal: Signal = Signal.QUEUE, target: int = 5) -> Scaling:
    """Give a scaling on the requests that wait."""
    return Scaling(least, most, signal, target)
