"""How many Events an object may have recorded: a few at once, then another every few minutes.

An object in a loop would fill the event store of the whole cluster. The numbers are those of client-go's own filter
(tools/record: a burst of 25 for each object, then another every 300 s).
"""

from collections.abc import Hashable
from typing import Final

BURST: Final = 25
"""Events an object that was silent may have at once."""

REFILL_SECONDS: Final = 300.0
"""Seconds after which it may have another."""


class EventBudget:
    """The Events that each object may still have recorded. Objects with a full budget are forgotten."""

    def __init__(self) -> None:
        self._spent: dict[Hashable, tuple[float, float]] = {}

    def allows(self, about: Hashable, now: float) -> bool:
        """Take an Event off an object's budget, if the budget allows it. ``now`` in seconds."""
        spent, at = self._spent.get(about, (0.0, now))
        spent = max(0.0, spent - (now - at) / REFILL_SECONDS)
        if spent > BURST - 1:
            return False
        self._spent[about] = (spent + 1, now)
        return True

    def forget(self, about: Hashable) -> None:
        """Forget an object that is gone."""
        self._spent.pop(about, None)
