"""The life of one group, as a table: state, what is seen, next state."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.reconcile.support import START, seen

from shardwise.domain.fleet import Exclusion
from shardwise.domain.launch import RestartPolicy
from shardwise.reconcile.exits import Exit
from shardwise.reconcile.life import (
    FIRST_WAIT,
    LIFE,
    LONGEST_WAIT,
    NODE_GRACE,
    REFUSED_AFTER,
    SEEN,
    UNSCHEDULABLE_AFTER,
    Terms,
    Trigger,
    advance,
    decided,
    until_next,
    wait_seconds,
)
from shardwise.reconcile.observed import PodSeen
from shardwise.reconcile.records import Record, State
from shardwise.reconcile.views import GroupView, Loss

NODES = ("node-0", "node-1")
WELL: tuple[tuple[str, Exclusion | None], ...] = (("node-0", None), ("node-1", None))
READY = (seen(0), seen(1))
STARTING = (seen(0, ready=False), seen(1, ready=False))
HALF = (seen(0, ready=False),)
SHUT_DOWN = Exit(whole=True, pod_reason="Terminated", pod_message="node shutdown", phase="Failed")
LOST = (seen(0), seen(1, exit=Exit(1, "Error"), ready=False))
GOING = (seen(0), seen(1, deleting=True))
SHUT = (seen(0), seen(1, exit=SHUT_DOWN, blameless=True, ready=False))
UNPLACED = (seen(0, ready=False), seen(1, ready=False, node="", unschedulable=START, waiting="not scheduled: full"))
LATER = START + 1000.0
POLICY = RestartPolicy(max_restarts=2, window=600.0)


@dataclass(frozen=True)
class Case:
    """One row. ``served`` is how long ago, when it is looked at, the attempt was first ready; -1: never."""

    name: str
    state: State
    pods: tuple[PodSeen, ...]
    after: State
    attempt: int = 0
    failures: int = 0
    failed_before: int = 0
    waited: float = 0.0
    served: float = -1.0
    retry: float = 0.0
    wait: float = 0.0
    message: str = ""
    nodes: tuple[tuple[str, Exclusion | None], ...] = WELL
    refused: str = ""
    tried: int = 0
    excused: bool = False


AWAY = (("node-0", None), ("node-1", Exclusion.NOT_READY))
GONE = (("node-0", None),)
P, S, R, U, B, H = State.PENDING, State.STARTING, State.READY, State.UNREADY, State.BACKOFF, State.HELD
X = State.REFUSED
QUOTA = "cannot apply Pod default/llama-0-0-1: exceeded quota"

CASES = (
    Case("new: pods are made", P, (), P),
    Case("some pods are there: the others are made", P, HALF, P),
    Case("all pods are there", P, STARTING, S),
    Case("all pods were ready before they were looked at", P, READY, R),
    Case("a pod failed before all were there", P, LOST[1:], B, failures=1, wait=10, message="exited 1"),
    Case("a pod is deleted before all were there", P, GOING[1:], B, wait=10, message="is being deleted"),
    Case("deleted after a while", P, GOING[1:], P, attempt=1, waited=10, message="is being deleted"),
    Case("still starting", S, STARTING, S),
    Case("only the leader is ready", S, (seen(0), seen(1, ready=False)), S),
    Case("ready; failures count for a while", S, READY, R, failed_before=3, failures=3),
    Case("lost while starting", S, LOST, B, failures=1, wait=10, message="pod 1 (ranks 8–15) on node-1: engine"),
    Case("lost while starting again", S, LOST, B, failed_before=1, failures=2, wait=20, message="pod 1"),
    Case("a pod vanished while starting: nobody's fault", S, HALF, B, wait=10, message="node-1 is gone"),
    Case("lost once too often", S, LOST, H, failed_before=2, failures=3, message="pod 1"),
    Case("no place for a pod, not for long", S, UNPLACED, S, waited=UNSCHEDULABLE_AFTER - 1),
    Case("no place for a pod", S, UNPLACED, State.WAITING, 1, waited=UNSCHEDULABLE_AFTER, message="node-1: not sched"),
    Case("serving", R, READY, R, served=5),
    Case("a probe fails for a while: the Service leaves it out", R, STARTING, U, served=5),
    Case("and succeeds again", U, READY, R, served=50),
    Case("still not ready", U, STARTING, U, served=50),
    Case("the first failure of one that served: at once", R, LOST, P, 1, failures=1, served=5, message="pod 1"),
    Case("the first failure after its probe failed", U, LOST, P, 1, failures=1, served=5, message="pod 1"),
    Case("the second within the window", R, LOST, B, failed_before=1, failures=2, served=599, wait=10),
    Case("the third within the window", R, LOST, H, failed_before=2, failures=3, served=599),
    Case("after the window it counts from the start", R, LOST, P, 1, failed_before=2, failures=1, served=600),
    Case("a pod is deleted while serving", R, GOING, P, attempt=1, served=5, message="is being deleted"),
    Case("a pod is deleted when its probe failed", U, GOING, P, attempt=1, served=5, message="is being deleted"),
    Case("a pod vanished while serving", R, HALF, P, attempt=1, served=5, message="node-1 is gone"),
    Case(
        "all pods vanished while serving", R, (), P, attempt=1, served=5, message="pod 0 (ranks 0–7) on node-0 is gone"
    ),
    Case("a node is shut down under a pod that serves", R, SHUT, P, attempt=1, served=5, message="node shutdown"),
    Case("a node is shut down under a pod that starts", S, SHUT, B, wait=10, message="node shutdown"),
    Case("a disruption leaves the count of failures", R, GOING, P, 1, failed_before=2, failures=2, served=5),
    Case("a node is gone", R, READY, P, attempt=1, served=5, nodes=GONE, message="node-1: the node is gone"),
    Case("a node is gone while starting", S, STARTING, B, wait=10, nodes=GONE, message="the node is gone"),
    Case("a node is not Ready, and pods still are", R, READY, R, served=5, nodes=AWAY),
    Case("a node is not Ready, within the grace", U, STARTING, U, served=5, nodes=AWAY, waited=NODE_GRACE - 1),
    Case("a node has not been Ready for too long", U, STARTING, P, 1, served=5, nodes=AWAY, waited=NODE_GRACE),
    Case("waits", B, LOST, B, failed_before=1, failures=1, retry=10, waited=9.9),
    Case("has waited", B, LOST, P, attempt=1, failed_before=1, failures=1, retry=10, waited=10),
    Case("waits, whatever becomes of its pods", B, (), B, failed_before=1, failures=1, retry=10),
    Case("held stays held", H, LOST, H, failed_before=3, failures=3, waited=1e6),
    Case("held stays held without pods", H, (), H, failed_before=3, failures=3),
    Case("pods are refused, not for long", P, HALF, P, waited=REFUSED_AFTER - 1, refused=QUOTA),
    Case("pods are refused", P, (), X, waited=REFUSED_AFTER, refused=QUOTA, wait=10, message=QUOTA),
    Case("a part was admitted", P, HALF, X, 1, waited=REFUSED_AFTER, refused=QUOTA, wait=10, message=QUOTA),
    Case("refused again: at once", P, (), X, refused=QUOTA, tried=3, wait=80, message=QUOTA),
    Case("a part was admitted, and failed", P, LOST[1:], X, 1, refused=QUOTA, wait=10, message=QUOTA),
    Case("a part was admitted, and is deleted", P, GOING[1:], X, 1, refused=QUOTA, wait=10, message=QUOTA),
    Case("another group is refused, and this is whole", P, STARTING, S, waited=REFUSED_AFTER, refused=QUOTA),
    Case("refused no more", P, (), P, waited=REFUSED_AFTER, tried=3),
    Case("what was refused is admitted", P, STARTING, S, tried=3),
    Case("waits for the next try", X, (), X, waited=1e6, tried=3),
    Case("refused, and the spec is edited", X, (), X, tried=1, excused=True, retry=9, waited=20),
    Case("the spec is edited after a minute of refusals", P, (), X, 0, 0, 0, 60, refused=QUOTA, excused=True, wait=10),
    Case("held, and the policy allows more now", H, LOST, P, attempt=1, failed_before=2, failures=2),
)


def view(case: Case) -> GroupView:
    served = START + case.waited - case.served if case.served >= 0 else 0.0
    nodes, gpus = ((), 0) if case.state is X else (NODES, 8)
    record = Record(0, 0, case.state, START, case.failed_before, served, START + case.retry, nodes, gpus, "c")
    return GroupView(replace(record, refused=case.tried), case.pods, nodes=case.nodes)


def terms(case: Case) -> Terms:
    return Terms(POLICY, START + case.waited, case.refused, case.tried, case.excused)


def after(case: Case) -> Record:
    return advance(view(case), terms(case))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_next_state_of_a_group(case: Case) -> None:
    record = after(case)
    assert (record.state, record.attempt, record.failures) == (case.after, case.attempt, case.failures)
    assert case.message in record.message
    assert record.replica == 0
    if case.wait:
        assert record.retry_at == START + case.waited + case.wait
    if record.state is X and case.state is P:
        assert (record.nodes, record.gpus, record.content) == ((), 0, "")
        assert record.refused == (1 if case.excused else case.tried + 1)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_time_of_a_state_is_that_of_its_beginning(case: Case) -> None:
    """A state that lasts keeps its time, or a status would change for ever."""
    before, record = view(case), after(case)
    same = (record.state, record.attempt) == (before.record.state, before.record.attempt)
    assert record.since == (START if same else START + case.waited)
    assert not same or record == before.record


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_group_is_looked_at_again_when_time_alone_changes_something(case: Case) -> None:
    """At that time something is seen that was not before; else it is not looked at for that."""
    before = view(case)
    seconds = until_next(before, terms(case))
    if seconds is None:
        much_later = advance(before, replace(terms(case), now=LATER * 2)).state
        assert much_later == after(case).state or after(case).state is B or before.record.served
    else:
        assert advance(before, replace(terms(case), now=START + case.waited + seconds)) != before.record


def test_every_state_has_its_rows_and_every_cause_its_place() -> None:
    """What can be seen, or decided, leads somewhere from some state."""
    assert set(LIFE) == set(State)
    assert {trigger for rows in LIFE.values() for trigger in rows} == set(Trigger)
    assert set(Trigger) - set(SEEN) == {Trigger.RENEWED, Trigger.DISPLACED, Trigger.PLACED, Trigger.RETRIED}


ENDINGS = (Trigger.EVICTED, Trigger.DISRUPTED, Trigger.FAILED, Trigger.NODE_AWAY)


def test_losses_come_before_progress_in_every_state() -> None:
    """A group that lost a pod is never taken for one that is ready."""
    for rows in LIFE.values():
        order = [trigger for trigger in rows if trigger in SEEN]
        losses = [trigger for trigger in order if trigger in ENDINGS]
        assert order[: len(losses)] == losses


@pytest.mark.parametrize("state", [state for state, rows in LIFE.items() if Trigger.RENEWED in rows])
def test_other_content_begins_a_new_attempt_with_a_clean_record(state: State) -> None:
    """An edit is a new chance, also for a group that is held."""
    record = Record(0, 4, state, START, 9, START, LATER, NODES, 8, "c", "boom")
    renewed = decided(GroupView(record, READY, nodes=WELL), Trigger.RENEWED, Terms(POLICY, LATER))
    assert renewed == Record(0, 5, P, LATER, 0, nodes=NODES, gpus=8, message="other content is wanted")


def test_a_group_that_leaves_a_faulty_node_says_so() -> None:
    nodes = (("node-0", Exclusion.FAULTY), ("node-1", None))
    served = GroupView(Record(0, 0, R, START, nodes=NODES, gpus=8), READY, nodes=nodes)
    renewed = decided(served, Trigger.RENEWED, Terms(POLICY, LATER))
    assert renewed.message == "node-0 reports a GPU fault"


@pytest.mark.parametrize(("pods", "attempt"), [((), 0), (HALF, 1)], ids=["none made", "some made"])
def test_a_group_whose_place_cannot_be_used_waits_for_another(pods: tuple[PodSeen, ...], attempt: int) -> None:
    """Pods that were made for the place stay with the attempt that is over."""
    record = Record(0, 0, P, START, nodes=NODES, gpus=8)
    displaced = decided(GroupView(record, pods, nodes=WELL), Trigger.DISPLACED, Terms(POLICY, LATER))
    assert (displaced.state, displaced.attempt, displaced.nodes, displaced.gpus) == (State.WAITING, attempt, (), 0)
    placed = decided(GroupView(displaced, ()), Trigger.PLACED, Terms(POLICY, LATER))
    assert placed.state is P


@pytest.mark.parametrize(("waited", "retry_at"), [(0, 10), (4, 10), (10, 10), (50, 50), (300, 160)])
def test_an_edit_is_tried_soon_but_never_right_after_a_refused_try(waited: float, retry_at: float) -> None:
    """And never later than it would be without the edit; its waits begin anew."""
    record = Record(0, 0, X, START, refused=5, retry_at=START + 160, message=QUOTA)
    excused = advance(GroupView(record, ()), Terms(POLICY, START + waited, excused=True))
    assert excused == replace(record, refused=1, retry_at=START + retry_at)


@pytest.mark.parametrize(("refused", "since"), [(QUOTA, START), ("", LATER)])
def test_a_group_that_is_replaced_before_it_was_admitted_keeps_its_minute(refused: str, since: float) -> None:
    """Or edits would let it hold its place for ever."""
    record = Record(0, 0, P, START, nodes=NODES, gpus=8, content="c")
    renewed = decided(GroupView(record, (), nodes=WELL), Trigger.RENEWED, Terms(POLICY, LATER, refused))
    assert (renewed.state, renewed.attempt, renewed.since) == (P, 1, since)


def test_a_refused_group_that_is_tried_again_keeps_the_count_and_the_words_until_it_is_whole() -> None:
    record = Record(0, 1, X, START, refused=4, retry_at=LATER, message=QUOTA)
    waiting = decided(GroupView(record, ()), Trigger.RETRIED, Terms(POLICY, LATER))
    placed = decided(GroupView(waiting, ()), Trigger.PLACED, Terms(POLICY, LATER))
    assert [(one.state, one.refused, one.message) for one in (waiting, placed)] == [
        (State.WAITING, 4, QUOTA),
        (P, 4, QUOTA),
    ]
    whole = advance(GroupView(replace(placed, nodes=NODES, gpus=8), STARTING, nodes=WELL), Terms(POLICY, LATER))
    assert (whole.state, whole.refused, whole.message) == (S, 0, "")


@pytest.mark.parametrize("keep", [True, False])
def test_a_held_group_keeps_its_place_only_with_its_pods(keep: bool) -> None:
    policy = RestartPolicy(max_restarts=0, keep_failed=keep)
    record = Record(0, 0, S, START, nodes=NODES, gpus=8)
    held = advance(GroupView(record, LOST, nodes=WELL), Terms(policy, LATER))
    assert (held.state, held.nodes) == (H, NODES if keep else ())


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
    record, now, attempts = Record(0, since=START, nodes=NODES, gpus=8), START, 0
    policy = RestartPolicy(max_restarts=max_restarts)
    while record.state is not H:
        assert attempts <= max_restarts
        started = replace(record, state=S)
        record = advance(GroupView(started, LOST, nodes=WELL), Terms(policy, now))
        attempts += 1
        if record.state is B:
            now = record.retry_at
            record = advance(GroupView(record, (), nodes=WELL), Terms(policy, now))
    assert attempts == max_restarts + 1


pods_seen = st.lists(
    st.builds(
        seen,
        st.integers(0, 1),
        ready=st.booleans(),
        deleting=st.booleans(),
        exit=st.sampled_from([None, None, Exit(1)]),
        node=st.sampled_from(["", "node-0", "node-1", "elsewhere"]),
        unschedulable=st.sampled_from([0.0, 0.0, START]),
    ),
    max_size=2,
    unique_by=lambda pod: pod.index,
).map(lambda pods: tuple(sorted(pods, key=lambda pod: pod.index)))
records = st.builds(
    Record,
    st.just(0),
    st.integers(0, 5),
    st.sampled_from(list(State)),
    st.just(START),
    st.integers(0, 4),
    st.sampled_from([0.0, START]),
    st.sampled_from([0.0, START + 10]),
    st.just(NODES),
    st.just(8),
)


@given(records, pods_seen, st.floats(0, 1000), st.sampled_from(["", QUOTA]))
def test_whatever_is_seen_an_attempt_only_grows_by_one(
    record: Record, pods: tuple[PodSeen, ...], waited: float, refused: str
) -> None:
    """And a new attempt begins Pending, Waiting or Refused: written down before its pods are made."""
    found = advance(GroupView(record, pods, nodes=WELL), Terms(POLICY, START + waited, refused))
    assert found.attempt in (record.attempt, record.attempt + 1)
    if found.attempt > record.attempt:
        assert found.state in (P, State.WAITING, X)
        assert (found.served, found.content) == (0.0, "")


@given(records, pods_seen)
def test_deciding_twice_at_the_same_time_is_deciding_once_for_a_state_that_stays(
    record: Record, pods: tuple[PodSeen, ...]
) -> None:
    """A record that did not change is the very same value: nothing is written for it."""
    found = advance(GroupView(record, pods, nodes=WELL), Terms(POLICY, START))
    if (found.state, found.attempt, found.failures) == (record.state, record.attempt, record.failures):
        assert found == record


LOSSES: dict[str, tuple[Iterable[PodSeen], Callable[[GroupView], Any], Loss | None]] = {
    "none": (READY, lambda view: view.failed or view.disrupted, None),
    "an exit": (LOST, lambda view: view.failed, Loss(1, "node-1", ": engine exited 1 (Error)")),
    "the first of two": (
        (seen(0, exit=Exit(1, "Error", "a")), seen(1, exit=Exit(1, "Error", "b"))),
        lambda view: view.failed,
        Loss(0, "node-0", ": engine exited 1 (Error): a"),
    ),
    "not bound": (
        (seen(0), seen(1, exit=SHUT_DOWN, node="")),
        lambda view: view.failed,
        Loss(1, "", ": Terminated: node shutdown"),
    ),
    "deleted": (GOING, lambda view: view.disrupted, Loss(1, "node-1", " is being deleted")),
    "gone": ((seen(1),), lambda view: view.disrupted, Loss(0, "node-0", " is gone")),
    "elsewhere": ((seen(0, node="x"), seen(1)), lambda view: view.disrupted, Loss(0, "x", ": the node is gone")),
}


@pytest.mark.parametrize(("pods", "ask", "loss"), LOSSES.values(), ids=LOSSES)
def test_a_loss_is_told_with_pod_and_node(
    pods: tuple[PodSeen, ...], ask: Callable[[GroupView], Any], loss: Loss | None
) -> None:
    assert ask(GroupView(Record(0, state=R, nodes=NODES, gpus=8), tuple(pods), nodes=WELL)) == loss


@pytest.mark.parametrize(
    ("loss", "gpus", "told"),
    [
        (Loss(1, "n", ": boom"), 8, "pod 1 (ranks 8–15) on n: boom"),
        (Loss(3, "n", " is gone"), 1, "pod 3 (rank 3) on n is gone"),
        (Loss(0, "", ": boom"), 2, "pod 0 (ranks 0–1): boom"),
        (Loss(0, "n", ": boom"), 0, "pod 0 on n: boom"),
    ],
)
def test_a_loss_names_the_ranks(loss: Loss, gpus: int, told: str) -> None:
    """What an engine's own log calls them."""
    assert loss.told(gpus) == told


def test_a_pod_that_waits_for_the_pods_before_it_is_no_reason_to_leave() -> None:
    """The scheduler has no place for it because they still are there: everybody knows why, and they go."""
    record = Record(0, 1, S, START, nodes=NODES, gpus=8)
    waiting = GroupView(record, UNPLACED, nodes=WELL, linger=frozenset({"node-1"}))
    assert waiting.refused_since == 0.0
    assert advance(waiting, Terms(POLICY, LATER)).state is S
    assert advance(replace(waiting, linger=frozenset()), Terms(POLICY, LATER)).state is State.WAITING


def test_the_scheduler_gets_its_time_from_when_the_pods_before_have_left() -> None:
    """It says since when it had no place, not since when there may be one."""
    waiting = GroupView(Record(0, 1, P, START, nodes=NODES, gpus=8), UNPLACED, nodes=WELL, linger=frozenset({"node-1"}))
    assert advance(waiting, Terms(POLICY, LATER)).state is P
    free = replace(waiting, linger=frozenset())
    begun = advance(free, Terms(POLICY, LATER))
    assert (begun.state, begun.since) == (S, LATER)
    starting = replace(free, record=begun)
    assert until_next(starting, Terms(POLICY, LATER)) == UNSCHEDULABLE_AFTER
    assert advance(starting, Terms(POLICY, LATER + UNSCHEDULABLE_AFTER - 1)).state is S
    assert advance(starting, Terms(POLICY, LATER + UNSCHEDULABLE_AFTER)).state is State.WAITING
