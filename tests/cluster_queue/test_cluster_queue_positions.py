"""The positions of waiting replicas, by the real API of Kueue behind the real API server, with the chart's rights."""

import json

from tests.cluster.installed import Running
from tests.cluster_queue.kueue import PENDING, a_local_queue
from tests.cluster_queue.support import asked, in_queue, message, writes


def position(operator: Running, name: str) -> str:
    """Give what a status says between the name of the queue and the words of Kueue."""
    return message(operator, name).partition(" of Kueue")[2].partition(":")[0]


def told_by_kueue(operator: Running, queue: str = "team") -> dict[str, tuple[int, int]]:
    """Give the positions of each group in the LocalQueue and in the ClusterQueue, from 0, as Kueue tells them."""
    path = f"/apis/{PENDING}/v1beta2/namespaces/default/localqueues/{queue}/pendingworkloads"
    items = json.loads(operator.plane.kubectl("get", "--raw", path))["items"]
    return {item["metadata"]["name"]: (item["positionInLocalQueue"], item["positionInClusterQueue"]) for item in items}


def test_the_position_is_that_of_kueue_and_follows_those_who_come_before(operator: Running) -> None:
    """One with a higher priority in the same queue, then one in another queue that shares the quota.

    While the positions stay, the operator asks on and writes nothing.
    """
    operator.apply(in_queue("first", priorityClassName="high"))
    operator.ready("first")
    operator.apply(in_queue("second", priorityClassName="low"))
    operator.until(lambda: position(operator, "second") == ", at position 1", "the second is the first that waits")
    assert told_by_kueue(operator) == {"second-0-0": (0, 0)}
    operator.apply(in_queue("third"))
    operator.until(lambda: position(operator, "second") == ", at position 2", "the third is before the second")
    operator.until(lambda: position(operator, "third") == ", at position 1", "the third says its own position")
    assert told_by_kueue(operator) == {"third-0-0": (0, 0), "second-0-0": (1, 1)}
    operator.apply(a_local_queue("neighbours"), in_queue("fourth", queue="neighbours", priorityClassName="high"))
    among_all = ", at position 2 (3 among all queues that share its quota)"
    operator.until(lambda: position(operator, "second") == among_all, "the fourth is before all others")
    operator.until(lambda: position(operator, "fourth") == ", at position 1", "the fourth says its own position")
    operator.until(lambda: "(2 among all queues" in position(operator, "third"), "the third says both")
    operator.count_anew()
    operator.until(lambda: len(asked(operator)) >= 4, "two questions about each queue")
    assert (set(asked(operator)), writes(operator)) == ({200}, [])
