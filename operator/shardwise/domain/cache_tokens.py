"""The size of a group's KV cache in tokens: as planned, and as the engine itself reports it."""

from dataclasses import dataclass
from typing import Final

DIFFERS_BY: Final = 0.05
"""The share of the planned tokens from which the engine's figure differs from the plan."""


@dataclass(frozen=True, slots=True)
class CacheTokens:
    """Tokens that the KV cache of a group holds: as many as the plan has room for, and as the engine says."""

    planned: int
    measured: int

    @property
    def share(self) -> float:
        """The difference from the plan, as a share of it; negative if the cache holds fewer tokens."""
        return (self.measured - self.planned) / self.planned if self.planned > 0 else 0.0

    @property
    def differs(self) -> bool:
        """Whether the two differ by more than :data:`DIFFERS_BY`."""
        return abs(self.share) > DIFFERS_BY
