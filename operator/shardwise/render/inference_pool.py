"""The InferencePool of the Gateway API inference extension: the leaders that serve, and who chooses among them.

Source: gateway-api-inference-extension 1.0.2 to 1.6.0, config/crd/bases. Up to 1.5.0 every pool needs a picker.
"""

from dataclasses import replace
from typing import Final

from shardwise.domain.attachments import EndpointKind
from shardwise.domain.launch import Wanted
from shardwise.domain.plan import Plan
from shardwise.engines import ENGINES
from shardwise.render.manifest import Manifest, serving_selector

NAME: Final = "the Gateway API inference extension"
API_VERSION: Final = "inference.networking.k8s.io/v1"
KIND: Final = "InferencePool"
FIELD: Final = "spec.endpoint.kind"


def is_wanted(wanted: Wanted) -> bool:
    """Tell whether clients reach the object by a pool."""
    return wanted.launch.endpoint.kind is EndpointKind.INFERENCE_POOL


def spec(wanted: Wanted, plan: Plan) -> Manifest:
    """Select the leaders that serve, as the Service for clients does (0047), but of both roles of an object with roles.

    A group serves at the single port of its leader: the engine itself spreads requests over data ranks. A proxy beside
    the engine may take the requests at another port.
    """
    port = wanted.launch.endpoint.target_port or ENGINES[plan.engine].HTTP_PORT
    made: Manifest = {
        "selector": {"matchLabels": serving_selector(replace(wanted.launch, role=None))},
        "targetPorts": [{"number": port}],
    }
    picker = wanted.launch.endpoint.picker
    if picker is not None:
        made["endpointPickerRef"] = {
            "group": "",
            "kind": "Service",
            "name": picker.name,
            "port": {"number": picker.port},
            "failureMode": picker.failure_mode,
        }
    return made
