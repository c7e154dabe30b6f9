"""Whatever happens in whatever order, with actions and statuses lost on the way, the object ends where it should."""

import json
from collections import Counter
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.reconcile.support import World, gpus_of, node_wanted, wants
from tests.support.fleets import a_fleet, h100s
from tests.support.models import LLAMA_8B, LLAMA_405B, a_demand

from shardwise.domain.demand import Pins
from shardwise.reconcile import Apply

DEMANDS = {
    "two replicas of one GPU": a_demand(LLAMA_8B, budget=4, replicas=2),
    "TP2×PP2 in one node": a_demand(LLAMA_8B, budget=8, pins=Pins(2, 2, None)),
    "TP8×PP2 over two nodes": a_demand(LLAMA_405B, budget=16, pins=Pins(8, 2, None)),
}
ARGS: tuple[tuple[str, ...], ...] = ((), ("--seed=7",), ("--enforce-eager",))
NODES = h100s(4)


class Life(RuleBasedStateMachine):
    """One object, its pods, four nodes; an operator that may die at any point and forget what it did not write."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(wants())

    @initialize(name=st.sampled_from(sorted(DEMANDS)))
    def begin(self, name: str) -> None:
        self.world = World(wants(DEMANDS[name], max_restarts=2), a_fleet(NODES))

    @rule()
    def decide(self) -> None:
        self.world.step()

    @rule(done=st.integers(0, 6))
    def decide_and_die(self, done: int) -> None:
        """Write the status, and do so many of the actions."""
        self.world.step(keep=lambda position: position < done)

    @rule(done=st.integers(0, 6))
    def decide_with_the_status_lost(self, done: int) -> None:
        """Do so many of the actions, and forget the status that was written before them."""
        before = self.world.status
        self.world.step(keep=lambda position: position < done)
        self.world.status = before

    @rule(seconds=st.sampled_from([1, 10, 60, 600]))
    def wait(self, seconds: int) -> None:
        self.world.now += seconds

    @rule()
    def start_all(self) -> None:
        self.world.start([name for name, pod in self.world.pods.items() if pod["status"]["phase"] == "Pending"])

    @precondition(lambda self: self.world.pods)
    @rule(data=st.data(), harm=st.sampled_from(["bind", "crash", "evict", "deleting", "lose"]))
    def harm(self, data: st.DataObject, harm: str) -> None:
        getattr(self.world, harm)(data.draw(st.sampled_from(sorted(self.world.pods))))

    @rule()
    def let_go(self) -> None:
        self.world.gone()

    @rule(node=st.sampled_from([one.name for one in NODES]))
    def lose_node(self, node: str) -> None:
        self.world.lose_node(node)

    @rule()
    def nodes_come_back(self) -> None:
        self.world.fleet = a_fleet(NODES)

    @rule(name=st.sampled_from(sorted(DEMANDS)))
    def demand(self, name: str) -> None:
        self.world.edit(demand=DEMANDS[name])

    @rule(replicas=st.integers(0, 2))
    def scale(self, replicas: int) -> None:
        self.world.demand(replicas=replicas, gpu_budget=32)

    @rule(args=st.sampled_from(ARGS))
    def change_args(self, args: tuple[str, ...]) -> None:
        self.world.launch(args=args)

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
        assert len(json.dumps(self.world.status)) < 32_768

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

    def teardown(self) -> None:
        """Let everything calm down: nodes back, failed pods replaced, all engines starting. It must then serve."""
        world = self.world
        world.fleet = a_fleet(NODES)
        world.launch(args=("--last-edit",))
        for _ in range(30):
            world.gone()
            world.step()
            world.start()
            world.now += 600
        world.settle()
        replicas = world.wanted.demand.replicas
        assert world.standing() in ("Ready/AllReplicasReady", "Ready/ScaledToZero")
        assert world.status["readyReplicas"] == replicas
        assert sum(map(gpus_of, world.pods.values())) == replicas * world.status["plan"]["worldSize"]
        planned = [pod["node"] for group in world.status["plan"]["groups"] for pod in group["pods"]]
        assert sorted(map(node_wanted, world.pods.values())) == sorted(planned)
        assert set(world.services) == {"llama", *(_group(pod) for pod in world.pods.values())}


def _group(pod: dict[str, Any]) -> str:
    return str(pod["metadata"]["labels"]["shardwise.dev/group"])


Life.TestCase.settings = settings(max_examples=150, stateful_step_count=25)
TestLife = Life.TestCase
