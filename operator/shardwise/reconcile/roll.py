"""How groups are replaced that have old content or sit on a faulty node.

A group that does not serve is replaced at once, because no client loses anything. Groups that serve are replaced in
turn, as many at a time as the strategy says. Where a queue of the cluster admits groups, no group starts beside
another: it would need quota for both, and the queue may never have it. If free GPUs and the budget allow, a new group
starts beside the old group, and the old group goes when the new group serves. Else the old group gives its own GPUs to
its successor when all other groups serve. Groups whose probe fails go first. If the new content fails before it has
served, nothing more is replaced, and the old groups stay until the object is edited. A group is never given up if its
successor has no place.
"""

from shardwise.domain.refusal import Refusal
from shardwise.domain.roles import RoleName
from shardwise.reconcile.free_capacity import Place
from shardwise.reconcile.group_set import GroupSetBuilder
from shardwise.reconcile.observed import OtherRole
from shardwise.reconcile.records import SERVING, State
from shardwise.reconcile.views import GroupView

"""A group whose probe fails for a while is not given up for content that has not served yet."""


def halted(groups: tuple[GroupView, ...]) -> bool:
    """Tell whether a replacement has stopped: the wanted content has failed, and has not served since."""
    fresh = [view.record for view in groups if not view.leaving]
    failed = any(record.failures and not record.served for record in fresh)
    return failed and any(view.leaving for view in groups)


def roll(builder: GroupSetBuilder, other: OtherRole | None = None) -> None:
    """Replace the groups that may be replaced now. ``other`` is the other role of an object with roles."""
    groups = tuple(view for _, view in sorted(builder.groups.items()))
    stale = [view for view in groups if view.leaving]
    if not stale or halted(groups):
        return
    if builder.wanted.update.recreate:
        _recreate(builder, stale)
        return
    for view in stale:
        if view.record.state not in SERVING:
            _replace(builder, [view], least=1)
    serving = [view for view in stale if view.record.state in SERVING]
    if _waits_for(builder, other):
        return
    # The other role is about to give GPUs back: then a new group may have room beside the old group.
    if not _beside(builder, serving) and not (other is not None and other.spare):
        _in_place(builder, serving)


def _waits_for(builder: GroupSetBuilder, other: OtherRole | None) -> bool:
    """Tell whether decode waits until new content of prefill serves. Its old content can serve alone meanwhile."""
    role = builder.wanted.launch.role
    waits = role is not None and role.name is RoleName.DECODE
    return waits and other is not None and not other.serves and (other.leaves or other.begins)


def _recreate(builder: GroupSetBuilder, stale: list[GroupView]) -> None:
    """Replace all old groups. Old groups that already have a successor, from an earlier strategy, only go."""
    spare = max(0, len(builder.groups) - builder.wanted.demand.replicas)
    for view in stale[:spare]:
        builder.capacity.give_back(view.record)
        del builder.groups[view.record.replica]
    if stale[spare:]:
        _replace(builder, stale[spare:], least=len(stale) - spare)


def _trials(builder: GroupSetBuilder) -> int:
    """Count the groups of the wanted content that do not serve yet."""
    return sum(not view.leaving and view.record.state is not State.READY for view in builder.groups.values())


def _beside(builder: GroupSetBuilder, serving: list[GroupView]) -> bool:
    """Start new groups beside serving groups. Tell whether such a group exists; then the old groups may stay."""
    replicas, surge = builder.wanted.demand.replicas, builder.wanted.update.max_surge
    if builder.wanted.queue is not None:
        surge = 0
    while len(builder.groups) < replicas + surge and _trials(builder) < len(serving):
        place = builder.place_for_one()
        if isinstance(place, Refusal):
            break
        builder.put(next(builder.newcomers(1)), place)
    return len(builder.groups) > replicas


def _in_place(builder: GroupSetBuilder, serving: list[GroupView]) -> None:
    """Give the GPUs of groups to their successors, while not too many groups are down.

    Groups whose probe fails come first: that takes no more groups down, and the edit may repair them.
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
    """Replace the first victim, and give up as many more victims as it needs GPUs for; ``least`` at least.

    Gives the number of groups given up: 0 if even all together are not enough.
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
    """Begin the next attempts of groups that have given back their GPUs. Groups that find no place go."""
    for view in leaving:
        place = builder.place_anew(view)
        if isinstance(place, Refusal):
            builder.refusal = place
            del builder.groups[view.record.replica]
        else:
            builder.renew(view, place)
