"""Every kind of cause there is."""

from typing import Final

from shardwise.domain import refusal
from shardwise.domain.refusal import Cause

CAUSES: Final[list[type[Cause]]] = [
    kind for kind in vars(refusal).values() if isinstance(kind, type) and issubclass(kind, Cause) and kind is not Cause
]
