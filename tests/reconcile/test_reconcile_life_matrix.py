"""Every state of a group against everything that may be seen of it; what of its record is kept, and what forgotten."""

from dataclasses import replace

import pytest
from tests.reconcile.support import START, seen

from shardwise.domain.fleet import Exclusion
from shardwise.domain.launch import RestartPolicy
from shardwise.reconcile.exits import Exit
from shardwise.reconcile.life import LIFE, Terms, Trigger, advance, decided, until_next
from shardwise.reconcile.observed import PodSeen
from shardwise.reconcile.records import Record, State
from shardwise.reconcile.views import GroupView

Nodes = tuple[tuple[str, Exclusion | None], ...]

NODES = ("node-0", "node-1")
WELL: Nodes = (("node-0", None), ("node-1", None))
AWAY: Nodes = (("node-0", None), ("node-1", Exclusion.NOT_READY))
GONE: Nodes = (("node-0", None),)
FAULTY: Nodes = (("node-0", Exclusion.FAULTY), ("node-1", Exclusion.CORDONED))
LATER = START + 100.0
POLICY = RestartPolicy(max_restarts=2, window=600.0)
UP, NOT_UP = seen(0), seen(0, ready=False)
BROKEN = seen(1, exit=Exit(1, "Error"), ready=False)
OLD_FAILURE = seen(1, exit=Exit(1, "Error"), deleting=True)
NO_PLACE = seen(1, ready=False, node="", unschedulable=START, waiting="not scheduled: full")

SIGHTS: dict[str, tuple[tuple[PodSeen, ...], Nodes]] = {
    "no pod": ((), WELL),
    "one pod of two": ((NOT_UP,), WELL),
    "both starting": ((NOT_UP, seen(1, ready=False)), WELL),
    "both ready": ((UP, seen(1)), WELL),
    "one failed": ((UP, BROKEN), WELL),
    "one failed, the other gone": ((BROKEN,), WELL),
    "one being deleted": ((UP, seen(1, deleting=True)), WELL),
    "one failed and being deleted": ((UP, OLD_FAILURE), WELL),
    "not ready on a node that is away": ((NOT_UP, seen(1, ready=False)), AWAY),
    "ready on a node that is away": ((UP, seen(1)), AWAY),
    "a node is gone": ((UP, seen(1)), GONE),
    "ready on faulty and cordoned nodes": ((UP, seen(1)), FAULTY),
    "no place for one": ((NOT_UP, NO_PLACE), WELL),
}

# The first letter is the state, the number the attempt; `f` counts a failure more. In the order of SIGHTS.
MATRIX: dict[State, str] = {
    State.PENDING: "P0 P0 S0 R0 B0f B0f P1 P1 S0 R0 P1 R0 S0",
    State.QUEUED: "Q0 Q0 S0 R0 B0f B0f P1 P1 S0 R0 P1 R0 S0",
    State.STARTING: "P1 P1 S0 R0 B0f P1 P1 P1 S0 R0 P1 R0 W1",
    State.READY: "P1 P1 U0 R0 P1f P1 P1 P1 U0 R0 P1 R0 U0",
    State.UNREADY: "P1 P1 U0 R0 P1f P1 P1 P1 P1 P1 P1 R0 U0",
    State.BACKOFF: "B0 B0 B0 B0 B0 B0 B0 B0 B0 B0 B0 B0 B0",
    State.REFUSED: "X0 X0 X0 X0 X0 X0 X0 X0 X0 X0 X0 X0 X0",
    State.HELD: "H0 H0 H0 H0 H0 H0 H0 H0 H0 H0 H0 H0 H0",
    State.WAITING: "W0 W0 W0 W0 W0 W0 W0 W0 W0 W0 W0 W0 W0",
}
LETTERS = {"X" if state is State.REFUSED else state.value[0]: state for state in State}
CELLS = [
    (state, sight, after) for state, row in MATRIX.items() for sight, after in zip(SIGHTS, row.split(), strict=True)
]


def group(state: State, sight: str) -> GroupView:
    """Give a group that has served if its state says so, and waits for long if it waits."""
    pods, nodes = SIGHTS[sight]
    served = START if state in (State.READY, State.UNREADY) else 0.0
    failures = 3 if state is State.HELD else 0
    record = Record(0, 0, state, START, failures, served, START + 500.0, NODES, 8, "content", "said before")
    return GroupView(record, pods, nodes=nodes)


@pytest.mark.parametrize(("state", "sight", "after"), CELLS, ids=[f"{state}: {sight}" for state, sight, _ in CELLS])
def test_what_becomes_of_each_state_for_each_sight(state: State, sight: str, after: str) -> None:
    view = group(state, sight)
    record = advance(view, Terms(POLICY, LATER))
    assert (record.state, record.attempt) == (LETTERS[after[0]], int(after[1]))
    assert record.failures - view.record.failures == after.count("f")


@pytest.mark.parametrize(("state", "sight", "after"), CELLS, ids=[f"{state}: {sight}" for state, sight, _ in CELLS])
def test_what_stays_as_it_is_is_the_very_same_record(state: State, sight: str, after: str) -> None:
    """Its words, its content and its times too; and what changes has the time of its change."""
    view = group(state, sight)
    record = advance(view, Terms(POLICY, LATER))
    if LETTERS[after[0]] is state and after[1] == "0":
        assert record == view.record
    else:
        assert record.since == LATER
    if after[1] == "1":
        assert (record.content, record.served, record.retry_at) == ("", 0.0, 0.0)
    if LETTERS[after[0]] is not State.WAITING:
        assert (record.nodes, record.gpus) == (NODES, 8)


ENDED = [sight for sight, (pods, _) in SIGHTS.items() if any(pod.exit is not None for pod in pods)]


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("sight", ENDED)
def test_no_attempt_serves_after_a_pod_of_it_has_ended(state: State, sight: str) -> None:
    """In no state: nothing is started again in place, so such an attempt never comes back by itself."""
    after = advance(group(state, sight), Terms(POLICY, LATER))
    assert after.attempt > 0 or after.state not in (State.READY, State.UNREADY, State.STARTING)


MESSAGES = {
    (State.PENDING, "both starting"): "",
    (State.STARTING, "both ready"): "",
    (State.READY, "both starting"): "",
    (State.STARTING, "one failed"): "pod 1 (ranks 8–15) on node-1: engine exited 1 (Error)",
    (State.READY, "one failed"): "pod 1 (ranks 8–15) on node-1: engine exited 1 (Error)",
    (State.READY, "one pod of two"): "pod 1 (ranks 8–15) on node-1 is gone",
    (State.READY, "one being deleted"): "pod 1 (ranks 8–15) on node-1 is being deleted",
    (State.READY, "a node is gone"): "pod 1 (ranks 8–15) on node-1: the node is gone",
    (State.UNREADY, "not ready on a node that is away"): "pod 1 (ranks 8–15) on node-1: the node is not Ready",
    (State.STARTING, "no place for one"): "pod 1 found no place on node-1: not scheduled: full",
}


@pytest.mark.parametrize(("state", "sight"), MESSAGES, ids=[f"{state}: {sight}" for state, sight in MESSAGES])
def test_a_record_says_why_it_changed_and_forgets_what_is_over(state: State, sight: str) -> None:
    assert advance(group(state, sight), Terms(POLICY, LATER)).message == MESSAGES[state, sight]


WAITS = {
    "a wait": (State.BACKOFF, "no pod", 7.0, START + 493.0),
    "a wait that is over": (State.BACKOFF, "no pod", 0.0, START + 501.0),
    "no place": (State.STARTING, "no place for one", 45.0, START + 15.0),
    "no place for long": (State.STARTING, "no place for one", 0.0, LATER),
    "a node away": (State.UNREADY, "not ready on a node that is away", 20.0, START + 40.0),
    "a node away, and all serve": (State.READY, "ready on a node that is away", None, START + 40.0),
    "a node away while starting": (State.STARTING, "not ready on a node that is away", None, START + 40.0),
    "a probe that fails": (State.UNREADY, "both starting", None, LATER),
    "a group that is held": (State.HELD, "one failed", None, LATER),
    "a group without a place": (State.WAITING, "no pod", None, LATER),
    "pods being made": (State.PENDING, "no place for one", None, LATER),
    "a group that is refused": (State.REFUSED, "no pod", None, LATER),
}


@pytest.mark.parametrize(("state", "sight", "seconds", "now"), WAITS.values(), ids=WAITS)
def test_the_seconds_until_time_alone_changes_something(
    state: State, sight: str, seconds: float | None, now: float
) -> None:
    """Never below nothing; and never a time for what only an event can change."""
    assert until_next(group(state, sight), Terms(POLICY, now)) == seconds


DECIDABLE = {
    State.WAITING: {Trigger.PLACED},
    State.PENDING: {Trigger.RENEWED, Trigger.DISPLACED},
    State.QUEUED: {Trigger.RENEWED, Trigger.DISPLACED},
    State.STARTING: {Trigger.RENEWED},
    State.READY: {Trigger.RENEWED},
    State.UNREADY: {Trigger.RENEWED},
    State.BACKOFF: {Trigger.RENEWED},
    State.REFUSED: {Trigger.RETRIED},
    State.HELD: {Trigger.RENEWED},
}
DECISIONS = (Trigger.PLACED, Trigger.RENEWED, Trigger.DISPLACED, Trigger.RETRIED)


@pytest.mark.parametrize("state", State)
def test_only_what_the_table_allows_can_be_decided(state: State) -> None:
    """Above all: a group that runs is never displaced, and none gets a place that has one."""
    for trigger in DECISIONS:
        if trigger in DECIDABLE[state]:
            assert decided(group(state, "both ready"), trigger, Terms(POLICY, LATER)).since == LATER
        else:
            with pytest.raises(KeyError):
                decided(group(state, "both ready"), trigger, Terms(POLICY, LATER))


def test_a_place_that_is_given_up_leaves_nothing_of_it_behind() -> None:
    """Its content names the place: the next one would be taken for old content."""
    moved = decided(group(State.PENDING, "no pod"), Trigger.DISPLACED, Terms(POLICY, LATER))
    assert moved == Record(
        0, 0, State.WAITING, LATER, retry_at=START + 500.0, nodes=(), gpus=0, content="", message="said before"
    )


POLICIES = {
    "as many as were made": (3, "P1"),
    "more than were made": (10, "P1"),
    "one less": (2, "H0"),
    "none": (0, "H0"),
}


@pytest.mark.parametrize(("allowed", "after"), POLICIES.values(), ids=POLICIES)
def test_a_held_group_goes_on_when_the_policy_allows_what_it_did(allowed: int, after: str) -> None:
    """And keeps the count: one failure more and it is held again."""
    record = advance(group(State.HELD, "one failed"), Terms(replace(POLICY, max_restarts=allowed), LATER))
    assert (record.state, record.attempt, record.failures) == (LETTERS[after[0]], int(after[1]), 3)


WINDOWS = {
    "never served": (0.0, 600.0, 3, State.HELD),
    "a second short of the window": (LATER - 599.0, 600.0, 3, State.HELD),
    "just the window": (LATER - 600.0, 600.0, 1, State.PENDING),
    "long after it": (LATER - 9e6, 600.0, 1, State.PENDING),
    "no window: serving once is enough": (LATER, 0.0, 1, State.PENDING),
}


@pytest.mark.parametrize(("served", "window", "failures", "state"), WINDOWS.values(), ids=WINDOWS)
def test_failures_are_forgotten_after_serving_for_the_window(
    served: float, window: float, failures: int, state: State
) -> None:
    """The window counts from when this attempt first served, not from when the failures were."""
    view = group(State.UNREADY, "one failed")
    view = replace(view, record=replace(view.record, served=served, failures=2))
    record = advance(view, Terms(replace(POLICY, window=window), LATER))
    assert (record.failures, record.state) == (failures, state)


def test_an_attempt_that_serves_again_keeps_when_it_first_did() -> None:
    """Else a probe that fails now and then would never let failures be forgotten."""
    again = advance(group(State.UNREADY, "both ready"), Terms(POLICY, LATER))
    assert (again.state, again.since, again.served) == (State.READY, LATER, START)


@pytest.mark.parametrize(("after", "wait"), [(0.0, 10.0), (4.0, 6.0), (9.5, 0.5), (10.0, 0.0), (500.0, 0.0)])
def test_whoever_deletes_pods_as_they_come_meets_a_wait(after: float, wait: float) -> None:
    """An attempt that never served begins again ten seconds after it began, at the soonest."""
    record = advance(group(State.STARTING, "one being deleted"), Terms(POLICY, START + after))
    if wait:
        assert (record.state, record.attempt, record.retry_at) == (State.BACKOFF, 0, START + after + wait)
    else:
        assert (record.state, record.attempt) == (State.PENDING, 1)
    assert record.failures == 0


def test_no_row_of_the_table_is_without_a_cell_or_a_decision() -> None:
    """What stands in LIFE and in DECIDABLE is the same, trigger by trigger."""
    assert {state: set(rows) & set(DECISIONS) for state, rows in LIFE.items()} == DECIDABLE


@pytest.mark.parametrize("state", [State.QUEUED, State.STARTING, State.READY, State.UNREADY])
@pytest.mark.parametrize("seconds", [0.0, 10.0])
def test_a_group_that_its_queue_takes_away_gives_its_place_back_and_counts_no_failure(
    state: State, seconds: float
) -> None:
    """The next attempt begins at once if the group served, else ten seconds after it began, at the soonest."""
    view = group(state, "both ready")
    view = replace(view, pods=(replace(view.pods[0], evicted="Preempted", deleting=True), view.pods[1]))
    record = advance(view, Terms(POLICY, START + seconds, queued=True))
    waits = not view.record.served and not seconds
    assert (record.state, record.attempt) == ((State.BACKOFF, 0) if waits else (State.WAITING, 1))
    assert (record.nodes, record.gpus, record.failures) == ((), 0, view.record.failures)
    assert record.message == "evicted from the queue: Preempted"


def test_where_a_queue_admits_groups_every_attempt_is_queued_first() -> None:
    """Whatever ended the attempt before."""
    queued = Terms(POLICY, LATER, queued=True)
    for state, sight in ((State.READY, "one failed"), (State.READY, "one pod of two"), (State.UNREADY, "one failed")):
        assert advance(group(state, sight), queued).state is State.QUEUED
    assert decided(group(State.WAITING, "no pod"), Trigger.PLACED, queued).state is State.QUEUED


def test_a_queued_group_starts_only_when_no_gate_is_left() -> None:
    view = group(State.QUEUED, "both starting")
    gated = replace(view, pods=(view.pods[0], replace(view.pods[1], gated=True)))
    assert advance(gated, Terms(POLICY, LATER, queued=True)) == view.record
    assert advance(view, Terms(POLICY, LATER, queued=True)).state is State.STARTING
