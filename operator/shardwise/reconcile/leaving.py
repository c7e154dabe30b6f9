"""The pods that leave: which of them go now, and how long they may take.

A replica that is removed is drained: its leader goes first, and finishes its requests while all ranks are up, in the
grace that its pod states. An attempt that is over has nothing to finish: it failed, lost a pod or never served. Its
pods end at once, because the next attempt may wait for their GPUs.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from shardwise.reconcile.actions import Delete
from shardwise.reconcile.asks import Attempt
from shardwise.reconcile.observed import PodSeen
from shardwise.reconcile.views import GroupView
from shardwise.reconcile.whole import by_attempt, is_together

SHORT_GRACE: Final = 1
"""Seconds that a pod of an attempt that is over may take. They cut its preStop command, too.

With 0 seconds a pod would be gone from the API while its processes still hold their GPUs.
"""


def leaving_pods(
    leaving: Mapping[Attempt, Sequence[PodSeen]], before: Sequence[GroupView], replicas: frozenset[int]
) -> Iterator[Delete]:
    """Delete the pods of leaving attempts that go now. ``before`` are the groups as they were seen.

    A replica in ``replicas`` stays: its next attempt is made.
    """
    seen = {(view.record.replica, view.record.attempt): view for view in before}
    for number, pods in sorted(leaving.items()):
        replaced = number[0] in replicas
        over = _is_over(pods, seen.get(number) if replaced else None)
        for pod in pods if replaced else _next_to_go(pods):
            if not pod.deleting:
                yield Delete("Pod", pod.name, pod.uid, grace=SHORT_GRACE if over else None)
            elif over and pod.grace > SHORT_GRACE:
                yield Delete("Pod", pod.name, pod.uid, grace=SHORT_GRACE)


def left_behind(pods: Iterable[PodSeen]) -> Iterator[Delete]:
    """Hasten the pods of an object that is gone, as far as their attempts are over.

    The garbage collector deletes all pods at once, each with its own grace. So of a group with followers, no leader can
    finish a request.
    """
    for attempt in by_attempt(pods).values():
        if _is_over(attempt, None):
            going = (pod for pod in attempt if pod.grace > SHORT_GRACE)
            yield from (Delete("Pod", pod.name, pod.uid, grace=SHORT_GRACE) for pod in going)


def _is_over(pods: Sequence[PodSeen], replaced: GroupView | None) -> bool:
    """Tell whether no rank of an attempt can finish a request.

    A leader whose attempt is replaced after a loss loses its followers now, if it has any. Without followers, it ends
    its requests by itself, as when its node is drained.
    """
    if not is_together(pods) or not any(pod.ready for pod in pods if pod.index == 0):
        return True
    lost = replaced is not None and (replaced.failed is not None or replaced.disrupted is not None)
    return lost and len(pods) > 1


def _next_to_go(pods: Sequence[PodSeen]) -> Sequence[PodSeen]:
    """Choose the pods of a drained group that go now: those that serve while all ranks are with them."""
    servers = [pod for pod in pods if pod.serves and pod.ready]
    return servers if servers and is_together(pods) else pods
