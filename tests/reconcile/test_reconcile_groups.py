"""The life of one group, as a table: state, what is seen, next state."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.reconcile.support import START, seen

from shardwise.domain.plan import GroupPlacement, PodPlacement
from shardwise.reconcile.groups import FIRST_WAIT, LONGEST_WAIT, GroupView, advance, wait_seconds
from shardwise.reconcile.observed import PodSeen
from shardwise.reconcile.records import Record, State

PLACED = GroupPlacement(
    0, tuple(PodPlacement(index, f"node-{index}", f"node-{index}", 8, tuple(range(8))) for index in (0, 1))
)
READY = (seen(0), seen(1))
STARTING = (seen(0, ready=False), seen(1, ready=False))
HALF = (seen(0, ready=False),)
LOST = (seen(0), seen(1, failure="engine exited 1 (Error)", ready=False))
GOING = (seen(0), seen(1, deleting=True))
STALE = (seen(0, revision="r0"), seen(1, revision="r0"))
LATER = START + 1000.0


@dataclass(frozen=True)
class Case:
    """One row."""

    name: str
    state: State
    pods: tuple[PodSeen, ...]
    after: State
    attempt: int = 0
    failures: int = 0
    failed_before: int = 0
    waited: float = 0.0
    renew: bool = False
    message: str = ""


CASES = (
    Case("new: pods are made", State.PENDING, (), State.PENDING),
    Case("some pods are there: the others are made", State.PENDING, HALF, State.PENDING),
    Case("all pods are there", State.PENDING, STARTING, State.STARTING),
    Case("all pods were ready before they were looked at", State.PENDING, READY, State.READY),
    Case("a pod failed before all were there", State.PENDING, LOST[1:], State.BACKOFF, failures=1, message="exited 1"),
    Case(
        "a pod is deleted before all were there", State.PENDING, GOING[1:], State.BACKOFF, failures=1, message="being"
    ),
    Case("still starting", State.STARTING, STARTING, State.STARTING),
    Case("only the leader is ready", State.STARTING, (seen(0), seen(1, ready=False)), State.STARTING),
    Case("ready: failures are forgotten", State.STARTING, READY, State.READY, failed_before=3),
    Case("lost while starting", State.STARTING, LOST, State.BACKOFF, failures=1, message="pod 1 on node-1: engine"),
    Case(
        "lost while starting again", State.STARTING, LOST, State.BACKOFF, failed_before=1, failures=2, message="pod 1"
    ),
    Case("a pod vanished while starting", State.STARTING, HALF, State.BACKOFF, failures=1, message="node-1 is gone"),
    Case("lost once too often", State.STARTING, LOST, State.HELD, failed_before=2, failures=3, message="pod 1"),
    Case("serving", State.READY, READY, State.READY),
    Case("a probe fails for a while: the Service leaves it out", State.READY, STARTING, State.STARTING),
    Case("a pod fails while serving", State.READY, LOST, State.PENDING, attempt=1, message="pod 1 on node-1: engine"),
    Case("a pod is deleted while serving", State.READY, GOING, State.PENDING, attempt=1, message="is being deleted"),
    Case("a pod vanished while serving", State.READY, HALF, State.PENDING, attempt=1, message="node-1 is gone"),
    Case(
        "all pods vanished while serving", State.READY, (), State.PENDING, attempt=1, message="pod 0 on node-0 is gone"
    ),
    Case("waits", State.BACKOFF, LOST, State.BACKOFF, failed_before=1, failures=1, waited=9.9),
    Case("has waited", State.BACKOFF, LOST, State.PENDING, attempt=1, failed_before=1, failures=1, waited=10.0),
    Case("waits longer", State.BACKOFF, LOST, State.BACKOFF, failed_before=2, failures=2, waited=19.9),
    Case("has waited longer", State.BACKOFF, LOST, State.PENDING, attempt=1, failed_before=2, failures=2, waited=20.0),
    Case("held stays held", State.HELD, LOST, State.HELD, failed_before=3, failures=3, waited=1e6),
    Case("held stays held without pods", State.HELD, (), State.HELD, failed_before=3, failures=3),
    Case("stale, not its turn", State.READY, STALE, State.READY),
    Case("stale and serving, its turn", State.READY, STALE, State.PENDING, attempt=1, renew=True),
    Case("stale and starting", State.STARTING, STALE, State.PENDING, attempt=1, renew=True),
    Case("stale and waiting", State.BACKOFF, STALE, State.PENDING, attempt=1, failed_before=2, renew=True),
    Case("stale and held: an edit is a new chance", State.HELD, STALE, State.PENDING, 1, failed_before=9, renew=True),
    Case("its turn, and up to date", State.READY, READY, State.READY, renew=True),
)


def view(case: Case) -> GroupView:
    return GroupView(PLACED, Record(0, 0, case.failed_before, START, case.state, ""), case.pods, "r1")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_next_state_of_a_group(case: Case) -> None:
    now = START + case.waited
    record = advance(view(case), max_restarts=2, renew=case.renew, now=now)
    assert (record.state, record.attempt, record.failures) == (case.after, case.attempt, case.failures)
    assert case.message in record.message
    assert record.replica == 0


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_time_of_a_state_is_that_of_its_beginning(case: Case) -> None:
    """A state that lasts keeps its time, or a status would change for ever."""
    before = view(case)
    record = advance(before, max_restarts=2, renew=case.renew, now=LATER)
    same = (record.state, record.attempt) == (before.record.state, before.record.attempt)
    assert record.since == (START if same else LATER)
    assert not same or record == before.record


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [(0, 0.0), (1, 10.0), (2, 20.0), (3, 40.0), (4, 80.0), (5, 160.0), (6, 300.0), (7, 300.0), (10**9, 300.0)],
)
def test_the_wait_doubles_up_to_five_minutes(failures: int, seconds: float) -> None:
    assert wait_seconds(failures) == seconds


@given(st.integers(1, 10**6))
def test_the_wait_never_shrinks_and_stays_in_bounds(failures: int) -> None:
    assert FIRST_WAIT <= wait_seconds(failures) <= wait_seconds(failures + 1) <= LONGEST_WAIT


@pytest.mark.parametrize("max_restarts", [0, 1, 5])
def test_a_group_is_held_after_as_many_restarts_as_are_allowed(max_restarts: int) -> None:
    """With 0, the first failure holds it."""
    record, now = Record(0, since=START), START
    attempts = 0
    while record.state is not State.HELD:
        assert attempts <= max_restarts
        pods = tuple(replace(pod, attempt=record.attempt) for pod in LOST)
        record = advance(
            GroupView(PLACED, replace(record, state=State.STARTING), pods, "r1"),
            max_restarts=max_restarts,
            renew=False,
            now=now,
        )
        attempts += 1
        if record.state is State.BACKOFF:
            now += wait_seconds(record.failures)
            record = advance(GroupView(PLACED, record, (), "r1"), max_restarts=max_restarts, renew=False, now=now)
    assert attempts == max_restarts + 1


pods_seen = st.lists(
    st.builds(
        seen,
        st.integers(0, 1),
        ready=st.booleans(),
        deleting=st.booleans(),
        failure=st.sampled_from(["", "", "boom"]),
        revision=st.sampled_from(["r1", "r1", "r0"]),
        node=st.sampled_from(["", "node-0", "node-1", "elsewhere"]),
    ),
    max_size=2,
    unique_by=lambda pod: pod.index,
).map(tuple)
records = st.builds(
    Record,
    st.just(0),
    st.integers(0, 5),
    st.integers(0, 4),
    st.just(START),
    st.sampled_from(list(State)),
)


@given(records, pods_seen, st.booleans(), st.floats(0, 1000))
def test_whatever_is_seen_an_attempt_only_grows_by_one(
    record: Record, pods: Iterable[PodSeen], renew: bool, waited: float
) -> None:
    """And a new attempt always begins Pending: written down before its pods are made."""
    after = advance(
        GroupView(PLACED, record, tuple(pods), "r1"), max_restarts=2, renew=renew, now=record.since + waited
    )
    assert after.attempt in (record.attempt, record.attempt + 1)
    if after.attempt > record.attempt:
        assert after.state is State.PENDING


@given(records, pods_seen)
def test_deciding_twice_at_the_same_time_is_deciding_once_for_a_state_that_stays(
    record: Record, pods: Iterable[PodSeen]
) -> None:
    """A record that did not change is the very same value: nothing is written for it."""
    group = GroupView(PLACED, record, tuple(pods), "r1")
    after = advance(group, max_restarts=2, renew=False, now=START)
    if (after.state, after.attempt, after.failures) == (record.state, record.attempt, record.failures):
        assert after == record


@pytest.mark.parametrize(
    ("pods", "lost"),
    [
        (READY, ""),
        (LOST, "pod 1 on node-1: engine exited 1 (Error)"),
        ((seen(0), seen(1, failure="Evicted: low", node="")), "pod 1: Evicted: low"),
        (GOING, "pod 1 on node-1 is being deleted"),
        ((seen(1),), "pod 0 on node-0 is gone"),
        ((seen(0, failure="a"), seen(1, failure="b")), "pod 0 on node-0: a"),
    ],
)
def test_a_loss_is_told_with_pod_and_node(pods: tuple[PodSeen, ...], lost: str) -> None:
    """A pod that failed is told before one that is merely gone: it is the cause."""
    assert GroupView(PLACED, Record(0, state=State.READY), pods, "r1").lost == lost


@pytest.mark.parametrize(
    ("pods", "moved"),
    [
        (READY, False),
        ((seen(0, node=""), seen(1, node="")), False),
        ((seen(0), seen(1, node="node-7")), True),
        ((seen(0), seen(1), seen(2)), True),
        ((), False),
    ],
)
def test_a_group_whose_pods_sit_elsewhere_has_moved(pods: tuple[PodSeen, ...], moved: bool) -> None:
    """Pods that are not bound yet have not."""
    assert GroupView(PLACED, Record(0), pods, "r1").moved is moved
