"""What a term records: each look, decision, call and look-up once, with labels of closed sets."""

from typing import Any

import pytest
from tests.controller.support import a_model, a_node, a_pod
from tests.support.exposition import Series, series_of

from shardwise.cluster import Call
from shardwise.domain.reasons import FailureKind, Reason
from shardwise.domain.refusal import RefusalReason
from shardwise.hub import HubError, HubFacts, HubQuestion
from shardwise.metrics import Meters, Recorder, asked, called, watch_queue
from shardwise.metrics.census import ModelFigures, figures
from shardwise.observe import Json as Seen
from shardwise.observe import Key, Store
from shardwise.operate import Queue
from shardwise.reconcile.actions import Decision, Emit
from shardwise.reconcile.conditions import DatedCondition
from shardwise.reconcile.object_status import Status

Json = dict[str, Any]
NOW = 1_800_000_000.0
KEY: Key = ("default", "llama")


class Measured:
    """A recorder, its clock, and what Prometheus would read."""

    def __init__(self) -> None:
        self.now = NOW
        self.steady = 0.0
        self.meters = Meters()
        self.recorder = Recorder(self.meters, Store(), lambda: self.now, 10, lambda: self.steady)

    async def series(self) -> Series:
        """Read all series that are not 0."""
        text, _ = await self.meters.exposition("")
        found = series_of(text.decode()).items()
        return {key: value for key, value in found if key[0].startswith("shardwise") and value}


def status(ready: str = "True", reason: str = "AllReplicasReady", generation: int = 1) -> Status:
    kinds = {"True": ("Ready",), "False": ("Ready", "Reconciling")}[ready]
    conditions = [DatedCondition(kind, "True" if kind != "Ready" else ready, reason, "", NOW, 1) for kind in kinds]
    return Status(generation=generation, conditions=tuple(conditions))


def an_object(generation: int = 1, seen: int | None = None, created: str = "2027-01-15T08:00:00Z") -> Json:
    model = a_model()
    metadata = model["metadata"] | {"generation": generation, "creationTimestamp": created}
    return {**model, "metadata": metadata, "status": {} if seen is None else {"observedGeneration": seen}}


async def test_a_look_is_counted_with_its_outcome_and_duration() -> None:
    measured = Measured()

    async def work(key: Key) -> float | None:
        measured.steady += 2.0
        if key[1] == "broken":
            raise OSError("down")
        return 7.0

    watched = measured.recorder.of(work)
    assert await watched(KEY) == 7.0
    with pytest.raises(OSError, match="down"):
        await watched(("default", "broken"))
    series = await measured.series()
    assert series["shardwise_reconciles_total", "done"] == 1
    assert series["shardwise_reconciles_total", "error"] == 1
    assert (series["shardwise_reconcile_seconds_count",], series["shardwise_reconcile_seconds_sum",]) == (2, 4.0)


DECISIONS: dict[str, tuple[Decision, str]] = {
    "replicas that got places": (Decision(status(), (Emit(Reason.PLANNED, "TP8"),)), "planned"),
    "no room": (Decision(status("False", "CapacityShort")), "refused"),
    "groups that start": (Decision(status("False", "GroupsStarting")), "kept"),
    "nothing new": (Decision(status()), "kept"),
}


@pytest.mark.parametrize(("decision", "outcome"), DECISIONS.values(), ids=DECISIONS)
async def test_a_decision_is_timed_by_its_outcome(decision: Decision, outcome: str) -> None:
    measured = Measured()

    def decide() -> Decision:
        measured.steady += 3.0
        return decision

    assert await measured.recorder.in_thread(decide) is decision
    series = await measured.series()
    assert {key: value for key, value in series.items() if key[0].startswith("shardwise_decision_seconds_s")} == {
        ("shardwise_decision_seconds_sum", outcome): 3.0
    }


async def test_refusals_events_and_ends_are_counted_by_their_codes() -> None:
    measured = Measured()
    events = (Emit(Reason.GROUP_FAILED, "x", warning=True), Emit(RefusalReason.CAPACITY_SHORT, "y", warning=True))
    decision = Decision(status("False", "CapacityShort"), events, ends=(FailureKind.GPU_MEMORY,), leaving=2)
    measured.recorder.decided(KEY, an_object(), decision)
    series = await measured.series()
    counted = {key: value for key, value in series.items() if key[0].endswith("_total")}
    assert counted == {
        ("shardwise_plan_refusals_total", "CapacityShort"): 1,
        ("shardwise_events_total", "GroupFailed"): 1,
        ("shardwise_events_total", "CapacityShort"): 1,
        ("shardwise_attempt_ends_total", "GpuMemory"): 1,
    }


READY: dict[str, tuple[list[tuple[Json, Status]], dict[str, float]]] = {
    "made and ready after two looks": (
        [(an_object(), status("False", "GroupsStarting")), (an_object(seen=1), status())],
        {"create": 60.0},
    ),
    "edited and ready": (
        [(an_object(2, seen=1), status("False", "Updating", 2)), (an_object(2, seen=2), status(generation=2))],
        {"edit": 30.0},
    ),
    "edited before it was ready": (
        [(an_object(), status("False", "GroupsStarting")), (an_object(2, seen=1), status(generation=2))],
        {"edit": 0.0},
    ),
    "a pod lost, and ready again": (
        [(an_object(seen=1), status("False", "GroupsStarting")), (an_object(seen=1), status())],
        {},
    ),
    "ready twice": ([(an_object(), status()), (an_object(seen=1), status())], {"create": 30.0}),
}


@pytest.mark.parametrize(("looks", "expected"), READY.values(), ids=READY)
async def test_the_time_until_ready_is_measured_once_for_each_generation(
    looks: list[tuple[Json, Status]], expected: dict[str, float]
) -> None:
    """The clock goes on by 30 s before each look."""
    measured = Measured()
    for obj, written in looks:
        measured.now += 30.0
        measured.recorder.decided(KEY, obj, Decision(written))
    series = await measured.series()
    counts = {key[1]: value for key, value in series.items() if key[0] == "shardwise_ready_seconds_count"}
    sums = {after: series.get(("shardwise_ready_seconds_sum", after), 0.0) for after in counts}
    assert counts == dict.fromkeys(expected, 1.0)
    assert sums == expected


async def test_an_object_that_is_gone_is_forgotten_and_its_successor_measured_anew() -> None:
    measured = Measured()
    measured.recorder.decided(KEY, an_object(), Decision(status("False", "GroupsStarting"), leaving=1))
    measured.recorder.forget(KEY)
    assert (measured.recorder._begun, measured.recorder._leaving) == ({}, {})


async def test_calls_and_look_ups_are_counted_by_what_came_of_them() -> None:
    measured = Measured()
    called(measured.meters, Call("PATCH", "shardedmodels", 409, 0.2))
    question, facts = HubQuestion("org/model"), HubFacts({}, None)
    assert asked(measured.meters, lambda _: facts, question) is facts

    def fail(_: HubQuestion) -> HubFacts:
        raise HubError("gone", retryable=False)

    with pytest.raises(HubError):
        asked(measured.meters, fail, question)
    series = await measured.series()
    assert series["shardwise_api_requests_total", "PATCH", "shardedmodels", "409"] == 1
    assert series["shardwise_api_request_seconds_sum", "PATCH"] == pytest.approx(0.2)
    assert (series["shardwise_hub_lookups_total", "found"], series["shardwise_hub_lookups_total", "error"]) == (1, 1)


async def test_the_wait_of_the_queue_is_measured() -> None:
    measured = Measured()

    async def work(_: Key) -> float | None:
        return None

    queue: Queue[Key] = Queue(work)
    watch_queue(measured.meters, queue)
    queue.waited(0.25)
    assert (await measured.series())["shardwise_queue_wait_seconds_sum",] == 0.25


async def test_an_object_is_read_again_only_after_it_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first scrape of 5,000 objects reads all of them, the next only those that changed."""
    measured = Measured()
    store = measured.recorder.store
    store.sharded_models.put(a_model("a", 1))
    store.sharded_models.put(a_model("b", 2))
    read: list[str] = []

    def count(obj: Seen) -> ModelFigures:
        read.append(obj["metadata"]["name"])
        return figures(obj)

    monkeypatch.setattr("shardwise.metrics.recorder.figures", count)
    measured.recorder.reading()()
    store.sharded_models.put(a_model("b", 3))
    measured.recorder.reading()()
    assert read == ["a", "b", "b"]


async def test_an_unchanged_fleet_is_neither_copied_nor_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scrape of an idle cluster costs little, however large the cluster is."""
    measured = Measured()
    store, meters = measured.recorder.store, measured.meters
    meters.read = measured.recorder.reading
    store.nodes.put(a_node("a", 1))
    copied: list[int] = []
    occupancy = store.ledger.occupancy

    def copy() -> Any:
        copied.append(store.ledger.moves)
        return occupancy()

    monkeypatch.setattr(store.ledger, "occupancy", copy)
    texts = [(await meters.exposition(""))[0] for _ in range(2)]
    assert len(copied) == 1
    assert texts[0].count(b'shardwise_gpus{product="NVIDIA-H100-80GB-HBM3",state="free"} 8.0') == 1
    store.pods.put(a_pod("stranger", 2, node="a", gpus=3))
    text = (await meters.exposition(""))[0]
    assert len(copied) == 2
    assert b'shardwise_gpus{product="NVIDIA-H100-80GB-HBM3",state="others"} 3.0' in text


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0"])
async def test_each_family_stands_once_and_the_end_at_the_end(accept: str) -> None:
    measured = Measured()
    measured.meters.read = measured.recorder.reading
    measured.recorder.store.nodes.put(a_node("a", 1))
    measured.recorder.store.sharded_models.put(a_model("a", 2))
    for _ in range(2):
        text = (await measured.meters.exposition(accept))[0].decode()
        types = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
        assert len(set(types)) == len(types)
        assert text.count("# EOF") == (1 if accept else 0)
        assert not accept or text.endswith("# EOF\n")
