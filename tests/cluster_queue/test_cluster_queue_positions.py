"""The positions of waiting replicas, by the real API of Kueue behind the real API server, with the chart's rights."""

import contextlib
import json
from collections.abc import Callable, Iterator

import pytest
from tests.cluster.installed import Running
from tests.cluster.plane import ControlPlane
from tests.cluster_queue.kueue import PENDING, a_local_queue, visibility
from tests.cluster_queue.support import Json, asked, in_queue, message, waits, writes


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


@contextlib.contextmanager
def absent(plane: ControlPlane) -> Iterator[None]:
    """Serve no API of positions: Kueue was told not to, or its APIService is not installed."""
    services = [part for part in visibility(plane) if part["kind"] == "APIService"]
    plane.kubectl("delete", "apiservices", *(part["metadata"]["name"] for part in services))
    try:
        yield
    finally:
        plane.kubectl("apply", "-f", "-", given=a_list(services))


def _tells(rule: Json) -> bool:
    return PENDING in (rule.get("apiGroups") or ())


@contextlib.contextmanager
def forbidden(plane: ControlPlane) -> Iterator[None]:
    """Take the right from the operator's account."""
    (role,) = [
        role
        for role in json.loads(plane.kubectl("get", "clusterroles", "-o", "json"))["items"]
        if "shardwise" in role["metadata"]["name"] and any(map(_tells, role["rules"]))
    ]
    for part in ("managedFields", "resourceVersion", "uid", "creationTimestamp"):
        role["metadata"].pop(part, None)
    fewer = [rule for rule in role["rules"] if not _tells(rule)]
    plane.kubectl("replace", "-f", "-", given=role | {"rules": fewer})
    try:
        yield
    finally:
        plane.kubectl("replace", "-f", "-", given=role)


@contextlib.contextmanager
def away(plane: ControlPlane) -> Iterator[None]:
    """Keep the APIService, with nobody behind it."""
    here = visibility(plane)
    gone = json.loads(json.dumps(here))
    for part in gone:
        if part["kind"] == "APIService":
            part["spec"]["service"]["port"] = plane.port("nobody")
    plane.kubectl("apply", "-f", "-", given=a_list(gone))
    try:
        yield
    finally:
        plane.kubectl("apply", "-f", "-", given=a_list(here))


def a_list(items: list[Json]) -> Json:
    return {"apiVersion": "v1", "kind": "List", "items": items}


WITHOUT: dict[str, tuple[Callable[[ControlPlane], contextlib.AbstractContextManager[None]], int]] = {
    "absent": (absent, 404),
    "forbidden": (forbidden, 403),
    "away": (away, 503),
}


@pytest.mark.parametrize(("without", "code"), WITHOUT.values(), ids=WITHOUT)
def test_without_the_api_the_words_say_only_that_it_waits(
    operator: Running,
    queue_plane: ControlPlane,
    without: Callable[[ControlPlane], contextlib.AbstractContextManager[None]],
    code: int,
) -> None:
    """Also to an operator that starts without it. Once it is back, the position is said again."""
    operator.apply(in_queue("first"))
    operator.ready("first")
    operator.apply(in_queue("second"))
    operator.until(lambda: position(operator, "second") == ", at position 1", "the position said")
    with without(queue_plane):
        operator.count_anew()
        operator.until(lambda: code in asked(operator), "a question that was refused")
        operator.until(lambda: position(operator, "second") == "", "no position said")
        assert waits(operator, "second")
        operator.stop()
        operator.start()
        operator.apply(in_queue("third"))
        operator.until(lambda: waits(operator, "third", ""), "an operator that starts without it works")
        assert (position(operator, "second"), position(operator, "third")) == ("", "")
    operator.until(lambda: position(operator, "third") == ", at position 2", "the position said again")
    operator.count_anew()
