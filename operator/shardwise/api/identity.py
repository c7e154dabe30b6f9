"""What of an object its plan and its pods depend on, named by what the user wrote.

A name of the converted values, or of what is rendered from them, would change with the version of the operator, and
restart what is healthy. These change when the user changes something: fields that are left at their defaults do not
count, so that a new field, or another default, changes no name.
"""

from collections.abc import Mapping
from typing import Any, Final

from shardwise.api.spec import ShardedModelSpec
from shardwise.domain.digest import json_digest

_DIGITS: Final = 12

_ASKS: Final[Mapping[str, frozenset[str] | None]] = {
    "model": None,
    "gpuBudget": None,
    "objective": None,
    "parallelism": None,
    "engine": frozenset({"name"}),
    "placement": frozenset({"nodeSelector", "nodeAffinity", "tolerations", "within"}),
}
"""Fields a plan depends on; all below, or the named ones."""

_NO_DEMAND: Final = frozenset({"servedName", "trustRemoteCode"})
"""Fields of the model that only its command line hears of."""

_NO_CONTENT: Final = frozenset(
    {"replicas", "objective", "parallelism", "restartPolicy", "updateStrategy", "service"},
)
"""Fields no pod depends on but by its plan."""


def asks_of(spec: ShardedModelSpec) -> str:
    """Name what an object asks of the planner, whatever its replicas: 12 hexadecimal digits."""
    written = _written(spec)
    asked = {name: _part(written[name], only) for name, only in _ASKS.items() if name in written}
    asked["model"] = {name: value for name, value in asked["model"].items() if name not in _NO_DEMAND}
    # AMD GPUs take an image the user names; which one is nothing to the planner.
    asked["ownImage"] = spec.engine.image is not None
    return _name({name: value for name, value in asked.items() if value})


def content_of(spec: ShardedModelSpec) -> str:
    """Name what the pods of an object may depend on: 12 hexadecimal digits."""
    kept = {name: value for name, value in _written(spec).items() if name not in _NO_CONTENT}
    kept["gpuBudget"] = {name: value for name, value in kept["gpuBudget"].items() if name != "total"}
    return _name(kept)


def _written(spec: ShardedModelSpec) -> dict[str, Any]:
    return spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def _part(value: Any, only: frozenset[str] | None) -> Any:  # noqa: ANN401 - a part of a JSON document
    return value if only is None else {name: one for name, one in value.items() if name in only}


def _name(content: Mapping[str, Any]) -> str:
    return json_digest(content, _DIGITS)
