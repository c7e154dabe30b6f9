"""The words of objects far back in the queue: thousands of objects must not be written anew whenever one leaves it.

The first objects of the queue are told their exact position, and the numbers of free GPUs as they are. An object
further back is told a round number of objects before it, and keeps the words that it has while only numbers in them
would change. ``shardwise explain`` always tells the exact position.
"""

from dataclasses import replace
from typing import Final

from shardwise.reconcile.conditions import DatedCondition
from shardwise.reconcile.object_status import Status
from shardwise.reconcile.turns import Turn

TOLD_EXACTLY: Final = 10
"""The objects at the front of the queue whose status says the exact position."""


def place_told(turn: Turn) -> str:
    """Say the place of an object in the queue, as its status does; empty if there is no queue."""
    if turn.length <= 1:
        return ""
    if turn.position > TOLD_EXACTLY:
        return f"{rounded(turn.position - 1)} or more objects are before it in the queue"
    first = f", after `{turn.first}`" if turn.first else ""
    return f"position {turn.position} of {turn.length} in the queue{first}"


def rounded(count: int) -> int:
    """Round down to 1, 2 or 5 times a power of ten: of N objects, about 3 · log10(N) change when one leaves."""
    power = int(10 ** (len(str(count)) - 1))
    return max(step * power for step in (1, 2, 5) if step * power <= count)


def as_written(status: Status, before: Status, turn: Turn) -> Status:
    """Give a status, or the written status if only numbers in its words would change and the object is far back."""
    if turn.position <= TOLD_EXACTLY or not status.waiting_since or place_told(turn) not in before.message:
        return status
    if len(status.conditions) != len(before.conditions):
        return status
    conditions = tuple(map(_with_words, status.conditions, before.conditions))
    return before if replace(status, message=before.message, conditions=conditions) == before else status


def _with_words(condition: DatedCondition, before: DatedCondition) -> DatedCondition:
    return replace(condition, message=before.message)
