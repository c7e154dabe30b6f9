"""The roles of an object: prefill and decode, each served by groups of its own, between which KV caches travel."""

from dataclasses import dataclass
from enum import StrEnum

from shardwise.domain.layout import Layout


class RoleName(StrEnum):
    """The part of a request that the groups of a role work on."""

    PREFILL = "prefill"
    """The prompt: its KV cache then goes to a group of the other role."""

    DECODE = "decode"
    """The answer, token by token, from the KV cache that came."""

    @property
    def other(self) -> "RoleName":
        """The role that a request also needs."""
        return RoleName.DECODE if self is RoleName.PREFILL else RoleName.PREFILL


class Connector(StrEnum):
    """The libraries by which engines move KV caches between groups."""

    NIXL = "nixl"
    MOONCAKE = "mooncake"


@dataclass(frozen=True, slots=True)
class Role:
    """The role of a set of groups, and the connector to the groups of the other role.

    ``within`` is a level of the fleet or a label key: all groups of both roles must have the same place there.
    """

    name: RoleName
    connector: Connector = Connector.NIXL
    within: str | None = None


@dataclass(frozen=True, slots=True)
class Half:
    """The role of a demand, as the law of layouts and the budget see it.

    ``other`` is the layout of the other role; ``None`` while it is not chosen. ``counted``: the number of groups
    follows from the estimates, because the object does not state it. ``shared`` is the budget of the object, of which
    the demand has a share; ``None`` while it has all of it. ``elsewhere`` is the part of the time to the first token,
    in seconds, that passes in the other role.
    """

    role: Role
    other: Layout | None = None
    counted: bool = False
    shared: "SharedBudget | None" = None
    elsewhere: float = 0.0


@dataclass(frozen=True, slots=True)
class SharedBudget:
    """The GPUs that an object may hold, and those that the other role takes of them, which may be more."""

    total: int
    taken: int

    @property
    def left(self) -> int:
        """The GPUs that the other role leaves."""
        return max(0, self.total - self.taken)
