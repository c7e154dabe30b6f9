"""Every kind of cause there is."""

from typing import Final

from shardwise.domain import data_causes, refusal, role_causes, target_causes
from shardwise.domain.refusal import Cause

CAUSES: Final[list[type[Cause]]] = [
    kind
    for module in (refusal, data_causes, role_causes, target_causes)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, Cause) and kind is not Cause and kind.__module__ == module.__name__
]
