"""The fields of an object that connect it with add-ons: where each arrives."""

from collections.abc import Callable
from typing import Any, Final

from shardwise.domain.attachments import Endpoint, EndpointKind, EndpointPicker, Gateway, Scaling, Signal
from shardwise.domain.launch import Wanted

ATTACHMENTS: Final[dict[str, tuple[str, Any, Callable[[Wanted], Any], Any]]] = {
    "endpoint": (
        "spec.endpoint",
        {
            "kind": "inferencePool",
            "picker": {"service": "epp", "port": 9003, "failureMode": "FailOpen"},
            "gateway": {"name": "models", "namespace": "gateways", "hostnames": ["*.example.com"]},
            "targetPort": 8080,
        },
        lambda wanted: wanted.launch.endpoint,
        Endpoint(
            EndpointKind.INFERENCE_POOL,
            EndpointPicker("epp", 9003, "FailOpen"),
            Gateway("models", "gateways", ("*.example.com",)),
            8080,
        ),
    ),
    "scaling": (
        "spec.scaling",
        {"min": 0, "max": 1, "signal": "timePerToken", "target": 50},
        lambda wanted: wanted.launch.scaling,
        Scaling(0, 1, Signal.TIME_PER_TOKEN, 50),
    ),
}
"""By name: the path of the field, a value, where it arrives, and the value there."""
