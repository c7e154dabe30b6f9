"""Launches by hand, whose fields tests name without the part of the launch that holds them."""

from dataclasses import replace
from typing import Any, Final

from shardwise.domain.launch import (
    ClientService,
    EngineContainer,
    Launch,
    Owner,
    PodExtras,
    Scheduling,
    ServedModel,
)

_PARTS: Final[dict[str, type[Any]]] = {
    "model": ServedModel,
    "container": EngineContainer,
    "scheduling": Scheduling,
    "service": ClientService,
    "extras": PodExtras,
}

LAUNCH_FIELDS: Final = {
    **{name: (part, name) for part, kind in _PARTS.items() for name in kind.__dataclass_fields__ if name != "name"},
    "model": ("model", "name"),
}
"""The part of a launch that holds each field, and the field's name there."""


def a_launch(name: str, model: str, /, **changes: Any) -> Launch:
    """Give the launch of the object ``default/NAME``; keywords are fields of any of its parts."""
    return changed_launch(Launch(Owner(name, "default", "uid-1"), ServedModel(model, model)), **changes)


def changed_launch(launch: Launch, *, owner: Owner | None = None, **changes: Any) -> Launch:
    """Change the owner of a launch, and fields of any of its parts."""
    for name, value in changes.items():
        part, field = LAUNCH_FIELDS[name]
        launch = replace(launch, **{part: replace(getattr(launch, part), **{field: value})})
    return replace(launch, owner=owner or launch.owner)
