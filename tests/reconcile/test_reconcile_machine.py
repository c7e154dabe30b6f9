"""Whatever happens in whatever order, with actions, answers and statuses lost on the way, the object ends as it should.

User edits, faults of nodes and pods, faults of the API and of the operator, and waits, mixed: after every step what
must hold is checked, and at the end all calms down and has to serve.
"""

import json
from collections import Counter
from dataclasses import replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.reconcile.support import START, World, gpus_of, node_wanted, wants
from tests.support.fleets import a_fleet, h100s
from tests.support.models import LLAMA_8B, LLAMA_405B, a_demand

from shardwise.domain.demand import Pins
from shardwise.domain.fleet import Exclusion, Node
from shardwise.domain.gpu_limit import GpuLimit
from shardwise.domain.launch import UpdateStrategy
from shardwise.reconcile.actions import Apply
from shardwise.reconcile.records import State
from shardwise.reconcile.status_data import read_records
from shardwise.reconcile.turns import Waiter
from shardwise.reconcile.whole import by_attempt, is_whole

DEMANDS = {
    "two replicas of one GPU": a_demand(LLAMA_8B, budget=4, replicas=2),
    "TP2×PP2 in one node": a_demand(LLAMA_8B, budget=8, pins=Pins(2, 2, None)),
    "TP8×PP2 over two nodes": a_demand(LLAMA_405B, budget=16, pins=Pins(8, 2, None)),
}
ARGS: tuple[tuple[str, ...], ...] = ((), ("--seed=7",), ("--enforce-eager",))
STRATEGIES = (UpdateStrategy(), UpdateStrategy(max_surge=0), UpdateStrategy(recreate=True), UpdateStrategy(max_surge=3))
NODES = h100s(4)
NAMES = [node.name for node in NODES]
STATUS_BYTES = 16_384


class Life(RuleBasedStateMachine):
    """One object, its pods, four nodes; an operator that may die at any point and forget what it did not write."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(wants())
        self.serving_before: set[str] = set()

    @initialize(name=st.sampled_from(sorted(DEMANDS)), keep=st.booleans())
    def begin(self, name: str, keep: bool) -> None:
        self.world = World(wants(DEMANDS[name], max_restarts=2, keep_failed=keep), a_fleet(NODES))

    @rule()
    def decide(self) -> None:
        self.world.step()

    @rule(done=st.integers(0, 6))
    def decide_and_die(self, done: int) -> None:
        """Write the status, and do so many of the actions."""
        self.world.step(keep=lambda position: position < done)

    @rule(lost=st.sets(st.integers(0, 8), max_size=4))
    def decide_with_calls_that_fail(self, lost: set[int]) -> None:
        """Write the status; some calls come to nothing, those after them are made all the same."""
        self.world.step(keep=lambda position: position not in lost)

    @rule(done=st.integers(0, 6))
    def decide_with_the_status_lost(self, done: int) -> None:
        """Do so many of the actions, and forget the status that was written before them."""
        before = self.world.status
        self.world.step(keep=lambda position: position < done)
        self.world.status = before

    @rule()
    def lose_the_whole_status(self) -> None:
        self.world.status = {}

    @rule(seconds=st.sampled_from([1, 10, 60, 600, 4000]))
    def wait(self, seconds: int) -> None:
        self.world.now += seconds

    @rule()
    def start_all(self) -> None:
        self.world.start([name for name, pod in self.world.pods.items() if pod["status"]["phase"] == "Pending"])

    @precondition(lambda self: self.world.pods)
    @rule(
        data=st.data(), harm=st.sampled_from(["bind", "crash", "evict", "deleting", "lose", "unready", "unscheduled"])
    )
    def harm(self, data: st.DataObject, harm: str) -> None:
        getattr(self.world, harm)(data.draw(st.sampled_from(sorted(self.world.pods))))

    @rule()
    def let_go(self) -> None:
        self.world.gone()

    @rule(node=st.sampled_from(NAMES))
    def lose_node(self, node: str) -> None:
        self.world.lose_node(node)

    @rule(node=st.sampled_from(NAMES), why=st.sampled_from([Exclusion.NOT_READY, Exclusion.CORDONED, Exclusion.FAULTY]))
    def exclude_node(self, node: str, why: Exclusion) -> None:
        self._change(node, exclusion=why, free=0)

    @rule(node=st.sampled_from(NAMES), free=st.integers(0, 8))
    def strangers_come_and_go(self, node: str, free: int) -> None:
        self._change(node, free=free)

    def _change(self, name: str, **changes: Any) -> None:
        def changed(node: Node) -> Node:
            return node._replace(**changes) if node.name == name and node.exclusion is None else node

        fleet = self.world.fleet
        self.world.fleet = replace(fleet, nodes=tuple(map(changed, fleet.nodes)))

    @rule()
    def nodes_come_back(self) -> None:
        self.world.fleet = a_fleet(NODES)

    @rule(waited=st.sampled_from([0.0, 700.0, None]))
    def somebody_waits_before_us(self, waited: float | None) -> None:
        """For a moment, for so long that GPUs are kept for it, or no longer."""
        if waited is None:
            self.world.ahead = ()
        else:
            first = Waiter("default/first", 5, START, self.world.now - waited, DEMANDS["TP8×PP2 over two nodes"])
            self.world.ahead = (first,)

    @rule(name=st.sampled_from(sorted(DEMANDS)))
    def demand(self, name: str) -> None:
        self.world.edit(demand=DEMANDS[name])

    @rule(replicas=st.integers(0, 3))
    def scale(self, replicas: int) -> None:
        self.world.demand(replicas=replicas, gpu_budget=32)

    @rule(budget=st.sampled_from([1, 4, 16, 32]))
    def change_the_budget(self, budget: int) -> None:
        self.world.demand(gpu_budget=budget)

    @rule(args=st.sampled_from(ARGS))
    def change_args(self, args: tuple[str, ...]) -> None:
        self.world.launch(args=args)

    @rule(update=st.sampled_from(STRATEGIES))
    def change_the_strategy(self, update: UpdateStrategy) -> None:
        self.world.edit(update=update)

    @rule(most=st.sampled_from([0, 2, 10]), smaller=st.booleans())
    def change_the_policy(self, most: int, smaller: bool) -> None:
        policy = self.world.wanted.restart
        self.world.edit(restart=replace(policy, max_restarts=most, smaller_layout=smaller))

    @rule(most=st.sampled_from([0, 1, 3, None]))
    def admit_so_many_pods(self, most: int | None) -> None:
        """As a quota does, which is set, raised or taken away."""
        world = self.world
        world.denies = lambda pod: (
            "" if most is None or len(world.pods) < most else f"quota of {most} pods: {pod['kind']}"
        )

    @rule(left=st.sampled_from([0, 1, 4, 16, None]))
    def change_the_quota(self, left: int | None) -> None:
        """As the operator reads it: what runs beyond it stays."""
        self.world.quotas = () if left is None else (GpuLimit("a quota", "", left, 0),)

    @rule()
    def pause_or_resume(self) -> None:
        self.world.wanted = replace(self.world.wanted, paused=not self.world.wanted.paused)

    @precondition(lambda self: self.world.services)
    @rule(data=st.data())
    def lose_service(self, data: st.DataObject) -> None:
        del self.world.services[data.draw(st.sampled_from(sorted(self.world.services)))]

    @invariant()
    def one_standing_condition_is_true(self) -> None:
        if self.world.status:
            assert self.world.standing().count("/") == 1

    @invariant()
    def a_status_is_json_of_bounded_size(self) -> None:
        assert len(json.dumps(self.world.status, separators=(",", ":"))) < STATUS_BYTES

    @invariant()
    def what_is_held_is_within_the_budget_of_the_last_decision(self) -> None:
        """All groups together, the old and the new of an update included."""
        last = self.world.last
        if last is None or any(condition["reason"] == "Paused" for condition in last.written["conditions"]):
            return
        held = sum(record.held_gpus for record in read_records(last.written).values())
        if last.written.get("observedGeneration") == self.world.wanted.generation:
            assert held <= self.world.wanted.demand.gpu_budget

    @invariant()
    def groups_of_one_object_never_share_a_gpu(self) -> None:
        held: Counter[str] = Counter()
        for record in read_records(self.world.status).values():
            for node in record.nodes:
                held[node] += record.gpus
        assert all(gpus <= 8 for gpus in held.values()), held

    @invariant()
    def a_group_that_is_told_ready_has_its_place(self) -> None:
        for record in read_records(self.world.status).values():
            assert bool(record.nodes) or record.state in (State.WAITING, State.HELD, State.REFUSED)
            assert not (record.nodes and record.state is State.REFUSED)

    @invariant()
    def what_a_decision_makes_fits_its_nodes(self) -> None:
        """Pods of one decision never ask a node for more GPUs than it has."""
        if self.world.last is None:
            return
        asked: Counter[str] = Counter()
        for action in self.world.last.actions:
            if isinstance(action, Apply) and action.manifest["kind"] == "Pod":
                asked[node_wanted(action.manifest)] += gpus_of(action.manifest)
        assert all(gpus <= 8 for gpus in asked.values())

    @rule()
    def look_at_the_groups(self) -> None:
        """After any look, clients reach the leaders of whole groups and no others."""
        self.world.step()
        whole = [pods for pods in by_attempt(self.world.observe().pods).values() if is_whole(pods)]
        assert set(self.world.labelled()) <= {pod.name for pods in whole for pod in pods if pod.index == 0}

    @invariant()
    def a_pause_stops_all_action(self) -> None:
        if self.world.wanted.paused:
            assert self.world.decide().actions == ()

    def teardown(self) -> None:
        """Let everything calm down: nodes back, one more edit, all engines starting. It must then serve."""
        world = self.world
        world.fleet, world.ahead = a_fleet(NODES), ()
        world.wanted = replace(world.wanted, paused=False)
        world.denies, world.quotas = lambda _: "", ()
        world.demand(gpu_budget=32, replicas=min(2, world.wanted.demand.replicas))
        world.launch(args=("--last-edit",))
        self._calm_down()
        replicas = world.wanted.demand.replicas
        assert world.standing() in ("Ready/AllReplicasReady", "Ready/ScaledToZero")
        assert world.status["readyReplicas"] == replicas
        assert sum(map(gpus_of, world.pods.values())) == replicas * world.status["plan"]["worldSize"]
        planned = [node for group in world.status["groups"] for node in group["nodes"]]
        assert sorted(map(node_wanted, world.pods.values())) == sorted(planned)
        assert set(world.services) == {"llama", *(_group(pod) for pod in world.pods.values())}
        assert world.reached() == sorted(f"{_group(pod)}-0" for pod in world.pods.values() if _leads(pod))
        assert set(world.budgets) == ({"llama"} if replicas > 1 else set())

    def _calm_down(self) -> None:
        """Let pods go and start. It is looked at only when something has changed, or when the last decision asked to.

        So whatever waits for time alone must have said for how long.
        """
        world = self.world
        decision = world.settle(20)
        for _ in range(80):
            pods = json.dumps(world.pods)
            world.gone()
            self.start_all()
            if json.dumps(world.pods) == pods:
                if decision.retry_after is None:
                    return
                world.now += decision.retry_after
            decision = world.settle(20)
        raise AssertionError(f"looked at again and again: {world.status['message']}")


def _leads(pod: dict[str, Any]) -> bool:
    return bool(pod["metadata"]["labels"]["shardwise.dev/index"] == "0")


def _group(pod: dict[str, Any]) -> str:
    return str(pod["metadata"]["labels"]["shardwise.dev/group"])


Life.TestCase.settings = settings(
    max_examples=500, stateful_step_count=40, report_multiple_bugs=False, print_blob=False
)
TestLife = Life.TestCase
