"""Groups that hang: idle leaders are asked for a token from time to time, where the object allows it.

A rank that hangs ends no process, and an engine that nobody asks notices nothing. So a group that serves is asked every
``spec.health.idleRequestInterval`` since it began to serve or was last asked. The edge asks only an engine without
other work, and notes a hang only if the engine still answers other questions and still has no other work. A hang is a
failure of the group. docs/decisions/0051 has the reasons.
"""

from collections.abc import Iterator

from shardwise.domain.launch import Wanted
from shardwise.engines import ENGINES
from shardwise.reconcile.asks import TokenAsk
from shardwise.reconcile.observed import Observed
from shardwise.reconcile.records import State
from shardwise.reconcile.views import GroupView

Groups = tuple[GroupView, ...]


def token_asks(wanted: Wanted, groups: Groups, observed: Observed, now: float) -> Iterator[TokenAsk]:
    """Give the requests of one token that are due."""
    engine = ENGINES[wanted.demand.engine]
    request = engine.token_request(wanted)
    for view, left in _asked(wanted, groups, observed, now):
        if left <= 0 and request is not None:
            record = view.record
            yield TokenAsk(record.replica, record.attempt, view.pods[0].address, engine.HTTP_PORT, request)


def until_next_token_ask(wanted: Wanted, groups: Groups, observed: Observed, now: float) -> float | None:
    """Give the seconds until the next request of one token; ``None`` if none will be made."""
    interval = wanted.health.idle_request_interval
    waits = (left if left > 0 else interval for _, left in _asked(wanted, groups, observed, now))
    return min((wait for wait in waits if wait is not None), default=None)


def with_hangs(groups: Groups, observed: Observed) -> Groups:
    """Mark the groups that hang. Their pods would look well for ever."""
    return tuple(view.hanging() if _hangs(view, observed) else view for view in groups)


def _hangs(view: GroupView, observed: Observed) -> bool:
    heard = observed.heard.get((view.record.replica, view.record.attempt))
    return heard is not None and heard.hangs and view.record.state in (State.READY, State.UNREADY)


def _asked(wanted: Wanted, groups: Groups, observed: Observed, now: float) -> Iterator[tuple[GroupView, float]]:
    """Give the groups that are asked for tokens, each with the seconds until then."""
    interval = wanted.health.idle_request_interval
    if interval is None or ENGINES[wanted.demand.engine].token_request(wanted) is None:
        return
    for view in groups:
        record = view.record
        if record.state is State.READY and not view.stale and view.pods and view.pods[0].address:
            heard = observed.heard.get((record.replica, record.attempt))
            yield view, max(record.since, heard.at if heard is not None else 0.0) + interval - now
