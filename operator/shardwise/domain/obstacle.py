"""The obstacle that keeps a plan from being started, on a cluster that has a place for the plan."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Obstacle:
    """The obstacle that keeps a plan from being started: its stable reason, as in conditions, and a message."""

    reason: str
    message: str
