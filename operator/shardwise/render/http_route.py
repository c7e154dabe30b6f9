"""The HTTPRoute of the Gateway API: from a Gateway to the InferencePool, or to the Service for clients.

Every default of the API server is written out (gateway-api 1.6.3, config/crd/standard): rules are compared as a whole.
"""

from typing import Final

from shardwise.domain.attachments import EndpointKind, Gateway
from shardwise.domain.launch import Wanted
from shardwise.domain.plan import Plan
from shardwise.render import inference_pool
from shardwise.render.manifest import Manifest
from shardwise.render.names import serving_name

NAME: Final = "the Gateway API"
API_VERSION: Final = "gateway.networking.k8s.io/v1"
KIND: Final = "HTTPRoute"
FIELD: Final = "spec.endpoint.gateway"


def is_wanted(wanted: Wanted) -> bool:
    """Tell whether the object names a Gateway."""
    return wanted.launch.endpoint.gateway is not None


def spec(wanted: Wanted, plan: Plan) -> Manifest:
    """Route every path of the hostnames to the object's pool or Service. There must be a Gateway."""
    del plan
    gateway = wanted.launch.endpoint.gateway
    assert gateway is not None  # noqa: S101 - the route is wanted only with a Gateway
    rule = {"matches": [{"path": {"type": "PathPrefix", "value": "/"}}], "backendRefs": [_backend(wanted)]}
    hostnames = {"hostnames": list(gateway.hostnames)} if gateway.hostnames else {}
    return {"parentRefs": [_parent(gateway, wanted.launch.owner.namespace)], **hostnames, "rules": [rule]}


def _parent(gateway: Gateway, namespace: str) -> Manifest:
    return {
        "group": API_VERSION.partition("/")[0],
        "kind": "Gateway",
        "namespace": gateway.namespace or namespace,
        "name": gateway.name,
    }


def _backend(wanted: Wanted) -> Manifest:
    named = {"name": serving_name(wanted.launch.owner.name), "weight": 1}
    if wanted.launch.endpoint.kind is EndpointKind.INFERENCE_POOL:
        return {"group": inference_pool.API_VERSION.partition("/")[0], "kind": inference_pool.KIND, **named}
    return {"group": "", "kind": "Service", "port": wanted.launch.service.port, **named}
