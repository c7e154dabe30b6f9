"""Every stable reason is emitted just where its page says it appears, and no other reason is."""

import copy
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from tests.reconcile.support import World, two_nodes_wide, wants
from tests.support.add_ons import a_scaling, a_site
from tests.support.fleets import a_fleet, gb200_rack, h100s
from tests.support.models import LLAMA_8B, LLAMA_405B, a_demand

from shardwise.domain.demand import Demand, Objective, Pins
from shardwise.domain.fleet import Exclusion
from shardwise.domain.gpu_limit import GpuLimit
from shardwise.domain.launch import ClusterQueue, GangScheduler, GangSystem, LaunchSite, QueueSystem
from shardwise.domain.reasons import FailureKind, Reason
from shardwise.domain.refusal import RefusalReason
from shardwise.domain.target import Target
from shardwise.explain.reasons import EVENT, FAILURES, REASONS, WARNING
from shardwise.queues import Phase, QueuedGroup
from shardwise.reconcile.actions import Decision, Emit
from shardwise.reconcile.decide import Invalid, decide_invalid
from shardwise.reconcile.observed import GangSeen, QueueSeen

STATES = ("Ready", "Reconciling", "Stalled")


@dataclass
class Listener(World):
    """A cluster that notes every status, the reasons of every status and Event, and where each appears.

    Ready, Reconciling and Stalled share a reason: only the one that is True counts.
    """

    heard: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    statuses: list[dict[str, Any]] = field(default_factory=list)

    def step(self, *, keep: Callable[[int], bool] = lambda _: True) -> Decision:
        decision = super().step(keep=keep)
        self.hear(decision)
        return decision

    def hear(self, decision: Decision) -> None:
        self.statuses.append(copy.deepcopy(decision.written))
        for condition in decision.written["conditions"]:
            if condition["type"] not in STATES or condition["status"] == "True":
                self.heard[condition["reason"]].add(f"{condition['type']}={condition['status']}")
        for action in decision.actions:
            if isinstance(action, Emit):
                self.heard[action.reason].add(WARNING if action.warning else EVENT)


def replicas(count: int, *, budget: int, fleet: int = 3) -> Listener:
    return Listener(wants(a_demand(LLAMA_8B, budget=budget, replicas=count), max_restarts=1), a_fleet(h100s(fleet)))


def serves_and_is_scaled() -> Listener:
    world = replicas(2, budget=2)
    world.run()
    world.unready("llama-0-0-0")
    world.settle()
    world.demand(replicas=0)
    world.settle()
    return world


def fails_until_it_is_held() -> Listener:
    world = replicas(1, budget=1)
    world.settle()
    world.crash("llama-0-0-0")
    world.settle()
    world.now += 10
    world.settle()
    world.crash("llama-0-1-0")
    world.settle()
    return world


def update_that_fails() -> Listener:
    world = replicas(1, budget=2)
    world.run()
    world.launch(args=("--sed=7",))
    world.settle()
    world.crash("llama-1-0-0")
    world.settle()
    return world


def loses_its_place() -> Listener:
    world = replicas(1, budget=1, fleet=1)
    world.run()
    world.lose_node("h100-00")
    world.settle()
    return world


def on_a_faulty_node() -> Listener:
    world = replicas(1, budget=1, fleet=1)
    world.run()
    world.exclude("h100-00", Exclusion.FAULTY)
    world.settle()
    return world


def fails_on_one_node_again() -> Listener:
    world = replicas(1, budget=1)
    world.run()
    for attempt in range(2):
        world.start()
        world.settle()
        world.crash(f"llama-0-{attempt}-0")
        world.settle()
    return world


def paused() -> Listener:
    world = replicas(1, budget=1)
    world.run()
    world.edit(paused=True)
    world.settle()
    return world


def contradicts_the_engine() -> Listener:
    world = replicas(1, budget=1)
    world.launch(args=("--tensor-parallel-size=2",))
    world.step()
    return world


def model_unknown() -> Listener:
    world = replicas(1, budget=1)
    invalid = Invalid(1, "the Hub does not answer", Reason.MODEL_FACTS_UNAVAILABLE, 30.0)
    world.hear(decide_invalid(invalid, world.observe(), world.now))
    return world


def write_refused() -> Listener:
    world = Listener(two_nodes_wide())
    world.refused = "cannot apply Pod: exceeded quota"
    world.settle()
    return world


def pods_refused() -> Listener:
    world = Listener(two_nodes_wide(), denies=lambda _: "cannot apply Pod: exceeded quota")
    world.step()
    world.now += 60
    world.settle()
    return world


def quota_short() -> Listener:
    world = Listener(wants(a_demand(LLAMA_8B, budget=1)), quotas=(GpuLimit("a quota", "", 0, 0),))
    world.settle()
    return world


def refused(demand: dict[str, object], fleet: int = 3, model: object = LLAMA_8B) -> Callable[[], Listener]:
    def scenario() -> Listener:
        world = Listener(wants(a_demand(model, **demand)), a_fleet(h100s(fleet)))  # type: ignore[arg-type]
        world.settle()
        return world

    return scenario


def waits_for_gpus() -> Listener:
    world = Listener(wants(a_demand(LLAMA_405B, budget=16)), a_fleet(h100s(2, free=[0, 0])))
    world.settle()
    return world


def contested() -> Listener:
    world = replicas(1, budget=1)
    world.run()
    for _ in range(3):
        world.services["llama"] = world.services["llama"] | {"spec": {"selector": {}}}
        world.step()
    return world


def node_changed() -> Listener:
    world = replicas(1, budget=1)
    world.run()
    world.fleet = a_fleet([node._replace(product="NVIDIA-H200") for node in world.fleet.nodes])
    world.settle()
    return world


def no_node_matches() -> Listener:
    world = Listener(wants(a_demand(LLAMA_8B, products=("NVIDIA-B200",))))
    world.settle()
    return world


def without_a_driver() -> Listener:
    demand = a_demand(LLAMA_405B, budget=8)
    world = Listener(wants(demand, model=LLAMA_405B), a_fleet(gb200_rack(4)), compute_domains=False)
    world.step()
    return world


def cache_differs() -> Listener:
    """Two replicas serve: the cache of one is larger than planned, that of the other smaller."""
    world = replicas(2, budget=2)
    world.run()
    world.answer((0, 0), 10**9)
    world.answer((1, 0), 1)
    world.settle()
    return world


def in_a_queue(demand: Demand | None = None, **queue: Any) -> Listener:
    """Give an object in a queue of Kueue, which the cluster serves unless ``queue`` says otherwise."""
    site = LaunchSite(queue_systems=(QueueSystem.KUEUE,))
    wanted = wants(demand, queue=ClusterQueue(QueueSystem.KUEUE, "team"), site=site)
    seen = QueueSeen("Workload", **{"api_version": "kueue.x-k8s.io/v1beta2", **queue})
    return Listener(wanted, a_fleet(h100s(20)), queue=seen)


def evicted_from_its_queue() -> Listener:
    world = in_a_queue()
    world.settle()
    world.admit()
    world.settle()
    world.start()
    world.settle()
    world.take_away()
    world.step()
    return world


def queue_missing() -> Listener:
    world = in_a_queue(api_version="")
    world.step()
    return world


def scaled(most: int = 4, **changes: Any) -> Listener:
    """Give an object of a GPU a replica that is scaled between 2 and ``most`` replicas, with a budget of 8."""
    wanted = wants(site=a_site(), **changes)
    return Listener(replace(wanted, launch=replace(wanted.launch, scaling=a_scaling(2, most))))


def add_on_missing() -> Listener:
    world = scaled()
    world.missing = frozenset({"ScaledObject"})
    world.run()
    return world


def scaling_limited() -> Listener:
    world = scaled(demand=a_demand(LLAMA_8B, budget=1))
    world.run()
    return world


def too_large_for_its_queue() -> Listener:
    """Ask for a stage on each of 19 nodes."""
    world = in_a_queue(a_demand(LLAMA_405B, budget=152, pins=Pins(8, 19, None)))
    world.step()
    return world


def gang(served: str) -> Listener:
    """Give an object that asks for gangs of Kubernetes, whose scheduler says nothing of them."""
    site = LaunchSite(gangs=(GangScheduler(GangSystem.NATIVE),))
    wanted = two_nodes_wide(gang=GangSystem.NATIVE, site=site)
    return Listener(wanted, gang=GangSeen({GangSystem.NATIVE: served}))


def gang_missing() -> Listener:
    world = gang(served="")
    world.step()
    return world


def gang_ignored() -> Listener:
    world = gang(served="scheduling.k8s.io/v1alpha2")
    world.gang = replace(world.gang, groups={"llama-0-0": QueuedGroup(Phase.WAITING)})
    world.run()
    return world


SCENARIOS: dict[str, Callable[[], Listener]] = {
    "its queue admits it and takes it away": evicted_from_its_queue,
    "no queue": queue_missing,
    "no scaler": add_on_missing,
    "a scaler beyond the budget": scaling_limited,
    "no gangs": gang_missing,
    "gangs that the scheduler ignores": gang_ignored,
    "too large for its queue": too_large_for_its_queue,
    "caches are not as planned": cache_differs,
    "serves and is scaled to 0": serves_and_is_scaled,
    "fails until it is held": fails_until_it_is_held,
    "an update fails": update_that_fails,
    "loses its place": loses_its_place,
    "on a faulty node": on_a_faulty_node,
    "fails on one node again": fails_on_one_node_again,
    "paused": paused,
    "contradicts the engine": contradicts_the_engine,
    "model unknown": model_unknown,
    "a write is refused": write_refused,
    "pods are refused for long": pods_refused,
    "the quota is used up": quota_short,
    "waits for GPUs": waits_for_gpus,
    "fields are contested": contested,
    "a node changed": node_changed,
    "no node matches": no_node_matches,
    "illegal": refused({"pins": Pins(6, None, None)}),
    "memory": refused({"budget": 8, "pins": Pins(1, 1, None)}, model=LLAMA_405B),
    "budget of one replica": refused({"budget": 1}, model=LLAMA_405B),
    "a price that nobody stated": refused({"objective": Objective.CHEAPEST}),
    "a time that no layout meets": refused({"budget": 24, "target": Target(2000, 200, per_token=1e-4)}),
    "budget": refused({"budget": 1, "replicas": 2}),
    "even the empty fleet is too small": refused({"budget": 16, "pins": Pins(8, 2, None)}, fleet=1, model=LLAMA_405B),
    "no driver of ComputeDomains": without_a_driver,
}


def test_every_reason_appears_just_where_its_page_says() -> None:
    heard: dict[str, set[str]] = defaultdict(set)
    for scenario in SCENARIOS.values():
        for reason, places in scenario().heard.items():
            heard[reason] |= places
    assert dict(heard) == {reason.value: set(meaning.where) for reason, meaning in REASONS.items()}


def test_every_reason_and_every_kind_of_failure_is_explained() -> None:
    assert set(REASONS) == {*Reason, *RefusalReason}
    assert set(FAILURES) == set(FailureKind)


def test_no_two_reasons_share_a_code() -> None:
    codes = [reason.value for reason in (*Reason, *RefusalReason)]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("reason", REASONS)
def test_a_meaning_is_whole_sentences_that_a_table_can_hold(reason: Reason | RefusalReason) -> None:
    for text in (REASONS[reason].says, REASONS[reason].remedy):
        assert text.endswith(".")
        assert "|" not in text
