"""The groups of an object whose pods the API server refuses: when they are tried again, and which group tells.

A quota or a webhook rarely means a single group, so one group is tried for all. While a group of an object is Refused,
no other group of the object gets a place. The wait before the next try doubles with each refused try, whichever group
was tried. The group that was refused least often is tried next: a group that is refused for a reason of its own keeps
no other group from starting. When the pods of the tried group are made, the next group is tried at once.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from shardwise.domain.units import plural
from shardwise.reconcile.records import Record, State, format_time
from shardwise.reconcile.views import GroupView

_TRIED: Final = (State.WAITING, State.PENDING, State.QUEUED)


def tries_of(records: Iterable[Record]) -> int:
    """Count the refused tries of an object in a row."""
    return max((record.refused for record in records), default=0)


def holds_back(groups: Iterable[GroupView]) -> bool:
    """Tell whether groups get a place in turn, because pods of the object are refused."""
    return any(view.record.refused for view in groups)


def tried(groups: Iterable[GroupView]) -> GroupView | None:
    """Give the group that is being tried again; ``None`` if no group is."""
    return next((view for view in groups if view.record.refused and view.record.state in _TRIED), None)


def next_to_try(groups: tuple[GroupView, ...], now: float) -> GroupView | None:
    """Give the Refused group that is to be tried now; ``None`` if another is being tried or the wait is not over."""
    left = until_next_try(groups, now)
    if left is None or left > 0:
        return None
    return min(_waiting(groups), key=lambda view: (view.record.refused, view.record.replica))


def until_next_try(groups: tuple[GroupView, ...], now: float) -> float | None:
    """Give the seconds until a Refused group is to be tried; ``None`` if no group waits for its try."""
    at = next_try_at(groups)
    return None if at is None else max(0.0, at - now)


def next_try_at(groups: tuple[GroupView, ...]) -> float | None:
    """Give the time of the next try, in seconds since the epoch; ``None`` if no group waits for its try."""
    waiting = _waiting(groups)
    return max(view.record.retry_at for view in waiting) if waiting and tried(groups) is None else None


def _waiting(groups: Iterable[GroupView]) -> list[GroupView]:
    return [view for view in groups if view.record.state is State.REFUSED]


def refusal_told(groups: tuple[GroupView, ...]) -> str:
    """Say which refusal keeps groups without a place, in the server's words, and the next try; empty if none does."""
    words = next((view.record.message for view in groups if view.record.refused and view.record.message), "")
    if not words:
        return ""
    at, trial = next_try_at(groups), tried(groups)
    if at is not None:
        gave_back = f"{plural(len(_waiting(groups)), 'replica')} without GPUs, next try at {format_time(at)}"
        return f"{words}; {gave_back}"
    return f"{words}; replica {trial.record.replica} is tried again" if trial is not None else words


def with_words_once(groups: tuple[GroupView, ...]) -> tuple[GroupView, ...]:
    """Keep the words of the last refusal in one group, so that the status stays small."""
    refused = [view.record for view in groups if view.record.refused and view.record.message]
    if len(refused) < 2:  # noqa: PLR2004 - a single group tells already
        return groups
    teller = min(refused, key=lambda record: (-record.refused, record.replica))
    return tuple(
        replace(view, record=replace(view.record, message="")) if _repeats(view.record, teller) else view
        for view in groups
    )


def _repeats(record: Record, teller: Record) -> bool:
    return bool(record.refused) and record.replica != teller.replica
