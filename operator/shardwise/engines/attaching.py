"""The endpoints and scalings that cannot be had: of this cluster's configuration, or of this release of an engine."""

from collections.abc import Iterator
from typing import Final

from shardwise.domain.allowed import allows
from shardwise.domain.attachments import EndpointKind, ScalerKind, Scaling
from shardwise.domain.launch import Wanted
from shardwise.domain.release import release_of
from shardwise.domain.version import dotted
from shardwise.engines.protocol import Engine
from shardwise.engines.signals import signal_of, signals

_SILENT = ("--disable-log-stats", "--disable_log_stats")
"""Arguments with which vLLM offers no metrics but those of its process (vllm 0.33.0, v1/engine/async_llm.py)."""

_NO_SCALER: Final = "it offers no other either, so leave `spec.scaling` out and state `spec.replicas`"


def unattachable(wanted: Wanted, engine: Engine) -> Iterator[tuple[str, str]]:
    """Give ``(field path, message)`` for each part of an endpoint or a scaling that cannot be honoured."""
    yield from _endpoint(wanted)
    yield from _target_port(wanted, engine)
    if wanted.launch.scaling is not None:
        yield from _scaler(wanted, wanted.launch.scaling)
        yield from _signal(wanted, wanted.launch.scaling, engine)


def _endpoint(wanted: Wanted) -> Iterator[tuple[str, str]]:
    endpoint, site = wanted.launch.endpoint, wanted.site.attachments
    if endpoint.kind is EndpointKind.INFERENCE_POOL and not site.inference_pools:
        unset = "`attachments.inferencePools` of the operator's configuration is not set"
        yield "spec.endpoint.kind", f"`{endpoint.kind.value}` cannot be used: {unset}"
    gateway = endpoint.gateway
    if gateway is not None:
        named = f"{gateway.namespace or wanted.launch.owner.namespace}/{gateway.name}"
        if not allows(site.gateways, named):
            listed = ", ".join(f"`{entry}`" for entry in site.gateways) or "no Gateway"
            where = f"`attachments.gateways` of the operator's configuration lists {listed}"
            yield "spec.endpoint.gateway", f"`{named}` is not allowed; {where}"


def _target_port(wanted: Wanted, engine: Engine) -> Iterator[tuple[str, str]]:
    """Refuse a port of the pods on which no container of the object can listen."""
    port = wanted.launch.endpoint.target_port
    if port not in (None, engine.HTTP_PORT) and not wanted.launch.extras.sidecars:
        serves = f"the engine serves at {engine.HTTP_PORT}, and `spec.podTemplate.sidecars` is empty"
        yield (
            "spec.endpoint.targetPort",
            f"nothing listens on `{port}`: {serves}; add the proxy, or leave the field out",
        )


def _scaler(wanted: Wanted, scaling: Scaling) -> Iterator[tuple[str, str]]:
    scaler = wanted.site.attachments.scaler
    if scaler is None:
        unset = "`attachments.scaler` of the operator's configuration is not set"
        yield "spec.scaling", f"nothing would scale the object: {unset}"
    elif not scaling.least and scaler.kind is not ScalerKind.KEDA:
        yield "spec.scaling.min", "`0` needs KEDA: a HorizontalPodAutoscaler keeps 1 replica at least"
    elif not scaling.least and not scaler.wake_query:
        unset = "`attachments.scaler.keda.wakeQuery` of the operator's configuration is not set"
        yield "spec.scaling.min", f"`0` cannot be used: {unset}, and without it nothing would start a replica again"


def _signal(wanted: Wanted, scaling: Scaling, engine: Engine) -> Iterator[tuple[str, str]]:
    name, release = wanted.demand.engine, release_of(wanted, engine.READ)
    if signal_of(name, release, scaling.signal.value) is None:
        offered = sorted({row.on for row in signals().values() if signal_of(name, release, row.on)} - {"running"})
        others = f"; it offers {', '.join(f'`{on}`' for on in offered)}" if offered else f"; {_NO_SCALER}"
        where = f"{name.value} {dotted(release)} offers no such metric to Prometheus"
        yield "spec.scaling.signal", f"`{scaling.signal.value}` cannot be measured: {where}{others}"
    silent = next((word for word in wanted.launch.container.args if word in _SILENT), None)
    if silent is not None:
        yield "spec.scaling", f"`{silent}` of `spec.engine.args` turns off the metrics on which the scaler acts"
