"""How lists and maps of the built-in kinds merge: the part of their OpenAPI schema that apply needs.

The real server reads this from its generated OpenAPI document. This module describes only how to merge, as a CRD schema
does, so that the same algorithm serves built-in and custom kinds. A list that is not mentioned is atomic. A map that is
not mentioned merges key by key.
"""

from typing import Final

from shardwise_sandbox.objects import JsonObject

Schema = JsonObject
"""A structural OpenAPI v3 schema."""


def _struct(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties}


def _keyed(*keys: str, item: Schema | None = None) -> Schema:
    return {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": list(keys),
        "items": item or {"type": "object"},
    }


_SET: Final[Schema] = {"type": "array", "x-kubernetes-list-type": "set"}
_ATOMIC_MAP: Final[Schema] = {"type": "object", "x-kubernetes-map-type": "atomic"}
_PORT_ITEM: Final = _struct(protocol={"type": "string", "default": "TCP"})
_CONDITIONS: Final = _keyed("type")

METADATA: Final = _struct(finalizers=_SET, ownerReferences=_keyed("uid"))

_CONTAINER: Final = _struct(
    ports=_keyed("containerPort", "protocol", item=_PORT_ITEM),
    env=_keyed("name"),
    volumeMounts=_keyed("mountPath"),
    volumeDevices=_keyed("devicePath"),
    resources=_struct(claims=_keyed("name")),
)

_POD_SPEC: Final = _struct(
    containers=_keyed("name", item=_CONTAINER),
    initContainers=_keyed("name", item=_CONTAINER),
    ephemeralContainers=_keyed("name", item=_CONTAINER),
    volumes=_keyed("name"),
    imagePullSecrets=_keyed("name"),
    hostAliases=_keyed("ip"),
    topologySpreadConstraints=_keyed("topologyKey", "whenUnsatisfiable"),
    schedulingGates=_keyed("name"),
    resourceClaims=_keyed("name"),
    nodeSelector=_ATOMIC_MAP,
)

POD: Final = _struct(
    metadata=METADATA,
    spec=_POD_SPEC,
    status=_struct(conditions=_CONDITIONS, podIPs=_keyed("ip"), resourceClaimStatuses=_keyed("name")),
)
SERVICE: Final = _struct(
    metadata=METADATA,
    spec=_struct(ports=_keyed("port", "protocol", item=_PORT_ITEM), selector=_ATOMIC_MAP),
    status=_struct(conditions=_CONDITIONS),
)
NODE: Final = _struct(
    metadata=METADATA,
    spec=_struct(podCIDRs=_SET),
    status=_struct(conditions=_CONDITIONS, addresses=_keyed("type")),
)
DISRUPTION_BUDGET: Final = _struct(
    metadata=METADATA, spec=_struct(selector=_ATOMIC_MAP), status=_struct(conditions=_CONDITIONS)
)
SERVICE_ACCOUNT: Final = _struct(metadata=METADATA, secrets=_keyed("name"))
ANY: Final = _struct(metadata=METADATA, status=_struct(conditions=_CONDITIONS))
"""The schema of kinds whose only keyed list is the conditions."""
