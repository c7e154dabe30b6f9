"""The pods that the Service for clients reaches: the leaders of whole groups that serve, or all their pods that serve.

An engine may answer its probe although other ranks of its group are gone: then its leader is Ready, and each request to
it hangs. So the Service selects a label, which the operator sets when a group serves. It takes the label away before it
does anything else about the group. docs/decisions/0047 has the reasons.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from shardwise.reconcile.actions import Reach
from shardwise.reconcile.asks import Attempt
from shardwise.reconcile.observed import PodSeen
from shardwise.reconcile.records import Record, State

SERVES: Final = (State.READY, State.UNREADY)
"""States of a group whose leader may be reached. Kubernetes itself leaves a leader out that is not Ready."""


def by_attempt(pods: Iterable[PodSeen]) -> Mapping[Attempt, Sequence[PodSeen]]:
    """Give the pods of each attempt."""
    found: dict[Attempt, list[PodSeen]] = defaultdict(list)
    for pod in pods:
        found[pod.replica, pod.attempt].append(pod)
    return found


def is_together(pods: Sequence[PodSeen]) -> bool:
    """Tell whether an attempt has all its pods, no pod has ended, and the pods that do not serve stay.

    The leader may be on its way out, and so may others that serve: they finish requests while all ranks are there.
    """
    complete = len(pods) == pods[0].size and all(pod.exit is None for pod in pods)
    return complete and not any(pod.deleting for pod in pods if not pod.serves)


def is_whole(pods: Sequence[PodSeen]) -> bool:
    """Tell whether an attempt is together and its followers are ready. A follower on a lost node is not.

    If several pods serve and one leaves, the others lose its data ranks: no new request may reach them.
    """
    servers = [pod for pod in pods if pod.serves]
    leaves = len(servers) > 1 and any(pod.deleting for pod in servers)
    return is_together(pods) and not leaves and all(pod.ready for pod in pods if pod.index)


def broken(pods: Iterable[PodSeen]) -> Iterator[Reach]:
    """Withdraw the leaders of groups that are no longer whole. This needs the pods alone, and no decision."""
    for attempt in by_attempt(pods).values():
        if not is_whole(attempt):
            yield from _withdrawn(attempt)


def withdrawals(pods: Iterable[PodSeen], records: Sequence[Record]) -> Iterator[Reach]:
    """Withdraw the leaders of groups that do not serve after a decision.

    A group that is drained serves until its leader is gone. A replica that was replaced in place loses its followers
    at once, and serves only if it has none.
    """
    current = {(record.replica, record.attempt): record for record in records}
    replicas = {record.replica for record in records}
    for (replica, number), attempt in by_attempt(pods).items():
        record = current.get((replica, number))
        replaced = record is None and replica in replicas and len(attempt) > 1
        over = replaced or (record is not None and record.state not in SERVES)
        if over or not is_whole(attempt):
            yield from _withdrawn(attempt)


def admissions(pods: Iterable[PodSeen], records: Iterable[Record]) -> Iterator[Reach]:
    """Let the leaders of the groups that are Ready be reached."""
    ready = {(record.replica, record.attempt) for record in records if record.state is State.READY}
    for number, attempt in by_attempt(pods).items():
        if number in ready and is_whole(attempt):
            yield from (Reach(pod.name, pod.uid, reached=True) for pod in attempt if pod.serves and not pod.reached)


def _withdrawn(attempt: Iterable[PodSeen]) -> Iterator[Reach]:
    return (Reach(pod.name, pod.uid, reached=False) for pod in attempt if pod.reached)
