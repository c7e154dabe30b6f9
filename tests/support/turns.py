"""The queue as anybody would write it down: all waiters are gone through for each question. The oracle of the order."""

from collections.abc import Iterable

from shardwise.domain.fleet import Fleet
from shardwise.planner.pools import eligible
from shardwise.reconcile.turns import PATIENCE, Turn, Waiter


def naive_ahead(me: Waiter, others: Iterable[Waiter]) -> list[Waiter]:
    """Give the objects before an object, in order."""
    standing = [waiter for waiter in others if waiter.key != me.key]
    return sorted((waiter for waiter in standing if waiter.order < me.order), key=lambda waiter: waiter.order)


def naive_kept(ahead: Iterable[Waiter], fleet: Fleet, now: float) -> frozenset[str]:
    """Name the nodes that any object ahead could use, once it has waited long."""
    kept: set[str] = set()
    for waiter in ahead:
        if now - waiter.since >= PATIENCE and waiter.demand is None:
            kept |= {node.name for node in fleet.nodes}
        elif now - waiter.since >= PATIENCE and waiter.demand is not None:
            kept |= {node.name for pool in eligible(waiter.demand, fleet).pools for node in pool.nodes}
    return frozenset(kept)


def naive_turn(me: Waiter, others: Iterable[Waiter], fleet: Fleet, now: float) -> Turn:
    """Give the queue as an object sees it."""
    others = list(others)
    ahead = naive_ahead(me, others)
    length = len({waiter.key for waiter in others} | {me.key})
    return Turn(len(ahead) + 1, length, ahead[0].key if ahead else "", naive_kept(ahead, fleet, now))
