"""Fingerprints of the fields that an object's plan and pods depend on, taken from the text of the user.

A fingerprint of converted values or of manifests would change with the version of the operator and restart healthy
pods. These fingerprints change only when the user changes a field. A field with its default value does not count, so
that neither a new field nor another default changes a fingerprint.
"""

from collections.abc import Mapping
from typing import Any, Final

from shardwise.api.parse import ShardedModel
from shardwise.domain.digest import json_digest

_DIGITS: Final = 12

_ASKS: Final[Mapping[str, frozenset[str] | None]] = {
    "model": None,
    "gpuBudget": None,
    "objective": None,
    "parallelism": None,
    "transfer": None,
    "engine": frozenset({"name"}),
    "placement": frozenset({"nodeSelector", "nodeAffinity", "tolerations", "within"}),
}
"""Fields that a plan depends on: with ``None`` every field inside, or else the named fields inside."""

_NO_DEMAND: Final = frozenset({"servedName", "trustRemoteCode"})
"""Fields of the model that change the command line and never the plan."""

_NO_CONTENT: Final = frozenset(
    {
        "replicas",
        "objective",
        "target",
        "parallelism",
        "roles",
        "restartPolicy",
        "updateStrategy",
        "health",
        "service",
        "endpoint",
        "scaling",
    },
)
"""Fields that no pod depends on, except through its plan."""


def asks_of(obj: ShardedModel) -> str:
    """Give the fingerprint of an object's demand, without its replicas and its target: 12 hexadecimal digits.

    A plan that meets another target stays (decision 67).
    """
    written = _written(obj)
    asked = {name: _part(written[name], only) for name, only in _ASKS.items() if name in written}
    asked["model"] = {name: value for name, value in asked["model"].items() if name not in _NO_DEMAND}
    # AMD GPUs need an image of the user; the planner only needs to know that there is an image.
    asked["ownImage"] = obj.spec.engine.image is not None
    asked["role"] = _role_of(obj)
    return _name({name: value for name, value in asked.items() if value})


def content_of(obj: ShardedModel) -> str:
    """Give the fingerprint of the fields that an object's pods may depend on: 12 hexadecimal digits."""
    kept = {name: value for name, value in _written(obj).items() if name not in _NO_CONTENT}
    kept["gpuBudget"] = {name: value for name, value in kept["gpuBudget"].items() if name != "total"}
    role = _role_of(obj)
    return _name(kept | {"role": role} if role else kept)


def _role_of(obj: ShardedModel) -> str:
    """Name the roles of an object: one of an object that stands for a role of another; empty without roles."""
    return " ".join(sorted(role.name for role in obj.spec.roles))


def _written(obj: ShardedModel) -> Mapping[str, Any]:
    # Written by the object: pydantic has its serializer from parsing, and would build another for the spec alone.
    whole = obj.model_dump(mode="json", by_alias=True, exclude_defaults=True, include={"spec"})
    spec: Mapping[str, Any] = whole["spec"]
    if spec.get("placement", {}).get("gang") != "none":
        return spec
    # CRDs of earlier versions wrote this into every object, as the default of the field.
    placement = {name: value for name, value in spec["placement"].items() if name != "gang"}
    others = {name: value for name, value in spec.items() if name != "placement"}
    return others | ({"placement": placement} if placement else {})


def _part(value: Any, only: frozenset[str] | None) -> Any:  # noqa: ANN401 - a part of a JSON document
    return value if only is None else {name: field for name, field in value.items() if name in only}


def _name(content: Mapping[str, Any]) -> str:
    return json_digest(content, _DIGITS)
