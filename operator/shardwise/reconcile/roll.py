"""How groups are replaced that were made from other content than is wanted, or sit on a faulty node.

What does not serve is replaced at once: it costs nobody anything. What serves is replaced one after the other (or as
many at a time as the strategy says): by a new group beside it, where free GPUs and the budget allow, and the old one
goes once the new one serves; else by giving its own GPUs to its successor, once all others serve, those whose probe
fails first. Where the new content fails before it has served, nothing more is replaced: the old groups stay until the
object is edited. A group that finds no other place is never given up for one.
"""

from shardwise.domain.refusal import Refusal
from shardwise.reconcile.free_capacity import Place
from shardwise.reconcile.group_set import GroupSetBuilder
from shardwise.reconcile.records import State
from shardwise.reconcile.views import GroupView

_SERVES = (State.READY, State.UNREADY)
"""A group whose probe fails for a while is not given up for content that has not served yet."""


def halted(groups: tuple[GroupView, ...]) -> bool:
    """Tell whether a replacement has stopped: what is wanted now has failed, and not served since."""
    fresh = [view.record for view in groups if not view.leaving]
    failed = any(record.failures and not record.served for record in fresh)
    return failed and any(view.leaving for view in groups)


def roll(builder: GroupSetBuilder) -> None:
    """Replace what may be replaced now."""
    groups = tuple(view for _, view in sorted(builder.groups.items()))
    stale = [view for view in groups if view.leaving]
    if not stale or halted(groups):
        return
    if builder.wanted.update.recreate:
        _recreate(builder, stale)
        return
    for view in stale:
        if view.record.state not in _SERVES:
            _replace(builder, [view], least=1)
    serving = [view for view in stale if view.record.state in _SERVES]
    if not _beside(builder, serving):
        _in_place(builder, serving)


def _recreate(builder: GroupSetBuilder, stale: list[GroupView]) -> None:
    """Replace all; those that have a successor beside them, from before the strategy was this one, only go."""
    spare = max(0, len(builder.groups) - builder.wanted.demand.replicas)
    for view in stale[:spare]:
        builder.capacity.give_back(view.record)
        del builder.groups[view.record.replica]
    if stale[spare:]:
        _replace(builder, stale[spare:], least=len(stale) - spare)


def _trials(builder: GroupSetBuilder) -> int:
    """Count the groups of the content wanted that do not serve yet."""
    return sum(not view.leaving and view.record.state is not State.READY for view in builder.groups.values())


def _beside(builder: GroupSetBuilder, serving: list[GroupView]) -> bool:
    """Start new groups beside those that serve. Tell whether any is under way: then the old ones may stay so long."""
    replicas, surge = builder.wanted.demand.replicas, builder.wanted.update.max_surge
    while len(builder.groups) < replicas + surge and _trials(builder) < len(serving):
        place = builder.place_for_one()
        if isinstance(place, Refusal):
            break
        builder.put(next(builder.newcomers(1)), place)
    return len(builder.groups) > replicas


def _in_place(builder: GroupSetBuilder, serving: list[GroupView]) -> None:
    """Give the GPUs of groups to their successors, for as long as not too many are down.

    Those whose probe fails come first: that takes no more down, and the edit may be what mends them.
    """
    most = builder.wanted.update.max_unavailable
    for view in serving:
        if view.record.state is State.UNREADY and _trials(builder) < most:
            _replace(builder, [view], least=1)
    down = sum(view.record.state is not State.READY for view in builder.groups.values())
    waiting = [view for view in serving if view.record.state is State.READY]
    while waiting and down < most:
        given_up = _replace(builder, waiting, least=1)
        if not given_up:
            return
        down += given_up
        waiting = waiting[given_up:]


def _replace(builder: GroupSetBuilder, victims: list[GroupView], least: int) -> int:
    """Replace the first of the victims, and as many more as have to give their GPUs for it; ``least`` at least.

    Gives how many were given up: none where all together would not do.
    """
    place: Place | Refusal | None = None
    for count in range(least, len(victims) + 1):
        leaving = victims[:count]
        for view in leaving:
            builder.capacity.give_back(view.record)
        place = builder.place_anew(leaving[0])
        if not isinstance(place, Refusal):
            _succeed(builder, leaving)
            return count
        for view in leaving:
            builder.capacity.take(view.record.nodes, view.record.gpus)
    if isinstance(place, Refusal) and victims[0].stale:
        builder.refusal = builder.refusal or place
    return 0


def _succeed(builder: GroupSetBuilder, leaving: list[GroupView]) -> None:
    """Begin the next attempts of groups that have given their GPUs back; those that find no place go."""
    for view in leaving:
        place = builder.place_anew(view)
        if isinstance(place, Refusal):
            builder.refusal = place
            del builder.groups[view.record.replica]
        else:
            builder.renew(view, place)
