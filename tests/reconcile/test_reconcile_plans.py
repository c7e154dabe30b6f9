"""Which plan is in force: when the recorded one is kept, when it is mended, and when all is planned anew."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.reconcile.support import START, seen
from tests.support.fleets import H100, H200, a_fleet, h100s, h200s
from tests.support.models import LLAMA_8B, LLAMA_70B, a_demand
from tests.support.plans import check_capacity, planned

from shardwise.domain.demand import Demand, Objective, Pins
from shardwise.domain.fleet import Exclusion, Fleet, Node
from shardwise.domain.plan import Plan
from shardwise.domain.refusal import RefusalReason
from shardwise.explain import plan_document
from shardwise.reconcile.observed import PodSeen
from shardwise.reconcile.plans import InForce, fingerprint, in_force
from shardwise.reconcile.records import Record, State

FLEET = a_fleet(h100s(3, free=[1, 1, 1]))
TWO = a_demand(LLAMA_8B, budget=3, replicas=2)


@dataclass(frozen=True)
class Before:
    """What was decided before, and what has become of it."""

    demand: Demand = TWO
    fleet: Fleet = FLEET
    states: Mapping[int, State] = field(default_factory=dict)
    alive: bool = True

    @property
    def plan(self) -> Plan:
        """Give the plan that was recorded."""
        return planned(self.demand, self.fleet)

    def now(self, demand: Demand | None = None, fleet: Fleet | None = None) -> InForce:
        """Decide which plan is in force for what is demanded, and there, now."""
        document = plan_document(self.plan) | {"demand": fingerprint(self.demand)}
        records = {one: Record(one, 0, 0, START, state) for one, state in self.states.items()}
        pods = tuple(self._pods()) if self.alive else ()
        return in_force(demand or self.demand, {"plan": document}, records, pods, fleet or self.fleet)

    def _pods(self) -> list[PodSeen]:
        return [
            seen(pod.index, name=f"llama-{group.replica}-0-{pod.index}", replica=group.replica, node=pod.node)
            for group in self.plan.groups
            for pod in group.pods
        ]


def where(force: InForce) -> list[tuple[int, str]]:
    """Give replica and node of each group."""
    assert force.plan is not None
    return [(group.replica, group.pods[0].node) for group in force.plan.groups]


def without(fleet: Fleet, *names: str) -> Fleet:
    return Fleet(tuple(node for node in fleet.nodes if node.name not in names))


def excluded(fleet: Fleet, name: str) -> Fleet:
    def changed(node: Node) -> Node:
        return replace(node, exclusion=Exclusion.CORDONED, free=0) if node.name == name else node

    return Fleet(tuple(map(changed, fleet.nodes)))


READY = {0: State.READY, 1: State.READY}


def test_a_plan_that_answers_the_demand_is_kept_to_the_letter() -> None:
    """Its explanation too: why it was chosen then is still why."""
    before = Before(states=READY)
    force = before.now()
    assert force.document == plan_document(before.plan) | {"demand": fingerprint(TWO)}
    assert (where(force), force.refusal) == ([(0, "h100-00"), (1, "h100-01")], None)


@pytest.mark.parametrize("state", [State.STARTING, State.READY, State.HELD])
def test_a_group_that_lives_stays_on_a_node_nobody_else_may_use(state: State) -> None:
    """Cordoned, tainted or faulty by its labels: its pods run, so it stays."""
    force = Before(states={0: state, 1: state}).now(fleet=excluded(FLEET, "h100-01"))
    assert where(force) == [(0, "h100-00"), (1, "h100-01")]


@pytest.mark.parametrize("state", [State.PENDING, State.BACKOFF])
def test_a_group_that_must_start_again_leaves_a_node_it_cannot_start_on(state: State) -> None:
    force = Before(states={0: State.READY, 1: state}).now(fleet=excluded(FLEET, "h100-01"))
    assert where(force) == [(0, "h100-00"), (1, "h100-02")]


def test_a_group_whose_pods_are_gone_stays_where_it_was_while_it_can() -> None:
    """Weights may lie in the node's cache."""
    force = Before(states=READY, alive=False).now()
    assert where(force) == [(0, "h100-00"), (1, "h100-01")]


@pytest.mark.parametrize("lost", ["h100-00", "h100-01"])
def test_only_the_group_of_a_lost_node_moves(lost: str) -> None:
    before = Before(states=READY)
    pods_left = replace(before, alive=False)
    force = pods_left.now(fleet=without(FLEET, lost))
    kept = {"h100-00": (1, "h100-01"), "h100-01": (0, "h100-00")}[lost]
    assert kept in where(force)
    assert {node for _, node in where(force)} == {node.name for node in FLEET.nodes} - {lost}


def test_a_group_that_finds_no_other_node_is_left_out_and_told() -> None:
    fleet = a_fleet(h100s(2, free=[1, 1]))
    force = Before(fleet=fleet, states=READY, alive=False).now(fleet=without(fleet, "h100-01"))
    assert where(force) == [(0, "h100-00")]
    assert force.refusal is not None
    assert force.refusal.hints == ()


def test_with_no_group_left_the_whole_demand_is_planned_anew() -> None:
    """In whatever layout is best now."""
    before = Before(a_demand(LLAMA_70B), a_fleet(h100s(1)), alive=False)
    force = before.now(fleet=a_fleet(h200s(1)))
    assert force.plan is not None
    assert force.plan.product == H200


CHANGES: dict[str, dict[str, Any]] = {
    "context": {"context_length": 4096},
    "concurrency": {"concurrency": 2},
    "objective": {"objective": Objective.LATENCY},
    "pins": {"pins": Pins(1, 1, None)},
    "products": {"products": (H100,)},
    "node selector": {"node_selector": (("a", "b"),)},
    "within": {"within": "topology.kubernetes.io/zone"},
    "reserve": {"reserve": 2**30},
    "budget": {"gpu_budget": 4},
    "KV cache": {"kv_bytes": 1},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_another_demand_has_another_fingerprint(change: dict[str, Any]) -> None:
    assert fingerprint(replace(TWO, **change)) != fingerprint(TWO)


@given(st.integers(0, 9))
def test_scaling_keeps_the_fingerprint(replicas: int) -> None:
    assert fingerprint(replace(TWO, replicas=replicas)) == fingerprint(TWO)


@pytest.mark.parametrize(
    ("replicas", "nodes"),
    [(0, []), (1, ["h100-00"]), (2, ["h100-00", "h100-01"]), (3, ["h100-00", "h100-01", "h100-02"])],
)
def test_scaling_keeps_the_first_groups_where_they_are(replicas: int, nodes: list[str]) -> None:
    force = Before(states=READY).now(demand=replace(TWO, replicas=replicas))
    assert where(force) == list(enumerate(nodes))
    assert force.document is not None
    assert force.document["replicas"] == replicas


def test_groups_that_scaling_adds_have_the_layout_of_the_others() -> None:
    """Even where another would now be preferred."""
    before = Before(a_demand(LLAMA_8B, budget=8, pins=Pins(2, None, None)), a_fleet(h100s(2)))
    scaled = replace(before.demand, replicas=3)
    force = before.now(demand=scaled, fleet=a_fleet(h100s(2), h200s(1)))
    assert force.plan is not None
    assert (str(force.plan.layout), force.plan.product, force.plan.replicas) == ("TP2×PP1", H100, 3)
    check_capacity(force.plan, a_fleet(h100s(2)))


@pytest.mark.parametrize("replicas", [4, 5])
def test_groups_beyond_the_budget_are_refused_by_its_numbers(replicas: int) -> None:
    force = Before(states=READY).now(demand=replace(TWO, replicas=replicas), fleet=a_fleet(h100s(3)))
    assert where(force) == [(0, "h100-00"), (1, "h100-01")]
    assert force.refusal is not None
    assert (force.refusal.reason, force.refusal.waits) == (RefusalReason.BUDGET_SHORT, False)
    assert [(hint.field, hint.value) for hint in force.refusal.hints] == [("spec.gpuBudget.total", replicas)]


def test_no_hint_is_given_that_the_fleet_could_not_keep() -> None:
    """More budget would not help: there are no more GPUs."""
    force = Before(states=READY).now(demand=replace(TWO, replicas=4))
    assert force.refusal is not None
    assert force.refusal.hints == ()


@pytest.mark.parametrize("document", [{}, {"tensor": 1}, {"tensor": "x"}, {"groups": 3}], ids=str)
def test_a_record_that_cannot_be_read_is_no_record(document: dict[str, Any]) -> None:
    status = {"plan": document | {"demand": fingerprint(TWO)}}
    force = in_force(TWO, status, {}, (), FLEET)
    assert where(force) == [(0, "h100-00"), (1, "h100-01")]


def test_a_demand_nothing_serves_has_no_plan_but_a_refusal() -> None:
    force = in_force(replace(TWO, pins=Pins(6, None, None)), {}, {}, (), FLEET)
    assert (force.plan, force.document) == (None, None)
    assert force.refusal is not None
    assert force.refusal.reason is RefusalReason.ILLEGAL_LAYOUT
