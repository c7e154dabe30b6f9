"""Who holds what, event by event: always the same as counting everything anew, and no more work than the event asks."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.support.examples import FACTOR

from shardwise.domain.fleet import Exclusion
from shardwise.domain.needs import Amounts
from shardwise.domain.occupancy import Holding
from shardwise.domain.platforms import Level
from shardwise.domain.site import FleetSite
from shardwise.inventory import Ledger
from shardwise_sandbox import h100_node

Json = dict[str, Any]
LABELS = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3", "nvidia.com/gpu.memory": "81559"}


def a_node(name: str, gpus: int = 8, product: str | None = None, **spec: Any) -> Json:
    labels = LABELS if product is None else LABELS | {"nvidia.com/gpu.product": product}
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": spec,
        "status": {"allocatable": {"nvidia.com/gpu": str(gpus)}},
    }


def a_ledger(*names: str) -> Ledger[str]:
    ledger: Ledger[str] = Ledger()
    for name in names:
        ledger.put(a_node(name))
    return ledger


def free(ledger: Ledger[str], without: str | None = None) -> dict[str, int]:
    return {node.name: node.free for node in ledger.fleet(without).nodes}


def test_pods_and_plans_hold_the_more_of_the_two() -> None:
    """The pods of a plan are bound one after the other."""
    ledger = a_ledger("a", "b")
    ledger.plan("x", {"a": 8, "b": 4})
    assert free(ledger) == {"a": 0, "b": 4}
    ledger.bind("x", "a", 8)
    assert free(ledger) == {"a": 0, "b": 4}
    ledger.plan("x", {})
    assert free(ledger) == {"a": 0, "b": 8}
    ledger.bind("x", "a", -8)
    assert free(ledger) == {"a": 8, "b": 8}


def test_a_holder_sees_the_fleet_as_if_it_held_nothing() -> None:
    ledger = a_ledger("a")
    ledger.bind("x", "a", 3)
    ledger.bind("y", "a", 2)
    ledger.plan("x", {"a": 4})
    assert free(ledger) == {"a": 2}
    assert free(ledger, "x") == {"a": 6}
    assert free(ledger, "y") == {"a": 4}
    assert free(ledger, "nobody") == {"a": 2}


def test_a_released_holder_holds_nothing() -> None:
    ledger = a_ledger("a")
    ledger.bind("x", "a", 3)
    ledger.plan("x", {"a": 4})
    ledger.release("x")
    assert free(ledger) == {"a": 8}
    assert ledger.planners("a") == set()


def test_what_is_held_waits_for_its_node() -> None:
    """Pods may be seen before their node, and a node may come back."""
    ledger = a_ledger()
    ledger.bind("x", "a", 3)
    ledger.put(a_node("a"))
    assert free(ledger) == {"a": 5}
    ledger.drop("a")
    assert free(ledger) == {}
    ledger.put(a_node("a"))
    assert free(ledger) == {"a": 5}


def test_nodes_come_in_name_order_whenever_they_came() -> None:
    assert list(free(a_ledger("c", "a", "b"))) == ["a", "b", "c"]


def test_dropping_an_unknown_node_does_nothing() -> None:
    ledger = a_ledger("a")
    ledger.drop("b")
    assert free(ledger) == {"a": 8}


def test_only_plans_make_planners() -> None:
    """Those who must be told when a node changes."""
    ledger = a_ledger("a")
    ledger.bind("x", "a", 1)
    ledger.plan("y", {"a": 1})
    assert ledger.planners("a") == {"y"}
    assert ledger.planners("b") == set()


def test_nodes_that_nobody_touched_stay_the_same_values() -> None:
    """An event must not copy the fleet."""
    ledger = a_ledger("a", "b", "c")
    before = ledger.fleet().nodes
    ledger.bind("x", "b", 1)
    after = ledger.fleet().nodes
    assert [one is other for one, other in zip(before, after, strict=True)] == [True, False, True]


def test_a_node_is_given_as_if_nobody_held_it() -> None:
    ledger = a_ledger("a")
    ledger.bind("x", "a", 5)
    node = ledger.node("a")
    assert node is not None
    assert node.free == 8
    assert ledger.node("b") is None


def test_a_product_that_comes_and_goes_leaves_the_node_out() -> None:
    ledger = a_ledger()
    for product in ("A100", "Display", "A100"):
        ledger.put(a_node("a", product=product))
    node = ledger.node("a")
    assert node is not None
    assert (node.exclusion, node.free) == (Exclusion.UNSETTLED, 0)
    ledger.drop("a")
    ledger.put(a_node("a", product="A100"))
    assert free(ledger) == {"a": 8}


def test_the_site_says_how_nodes_are_read() -> None:
    ledger: Ledger[str] = Ledger(FleetSite(levels=(Level("rack", ("nvidia.com/gpu.memory",)),)))
    ledger.put(a_node("a"))
    assert ledger.fleet().levels == ("rack",)
    assert ledger.fleet().nodes[0].places == ("81559",)


def test_holders_are_named_strangers_last() -> None:
    ledger = a_ledger("a", "b")
    for holder, gpus in (("", 1), ("y", 2), ("x", 3)):
        ledger.bind(holder, "a", gpus)
    first, second = ledger.occupied(str)
    assert first.holdings == (Holding("x", 3), Holding("y", 2), Holding("", 1))
    assert (first.free, second.free) == (2, 8)


def cores(gpus: int) -> Amounts:
    """Give the other resources of a pod with so many GPUs."""
    return (("cpu", 4000 * gpus),)


NODES = st.sampled_from(["a", "b", "c"])
HOLDERS = st.sampled_from(["x", "y", ""])


class Counting(RuleBasedStateMachine):
    """Any order of events: the ledger against counting all pods and plans anew."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger: Ledger[str] = Ledger()
        self.unread: Ledger[str] = Ledger()
        """Takes in the same events, and nobody asks it anything until the end."""
        self.nodes: dict[str, int] = {}
        self.pods: list[tuple[str, str, int]] = []
        self.plans: dict[str, dict[str, int]] = {}

    @rule(name=NODES, gpus=st.integers(1, 8))
    def node_comes_or_changes(self, name: str, gpus: int) -> None:
        self._both(lambda ledger: ledger.put(a_node(name, gpus)))
        self.nodes[name] = gpus

    @rule(name=NODES)
    def node_goes(self, name: str) -> None:
        self._both(lambda ledger: ledger.drop(name))
        self.nodes.pop(name, None)

    @rule(holder=HOLDERS, node=NODES, gpus=st.integers(1, 4))
    def pod_is_bound(self, holder: str, node: str, gpus: int) -> None:
        self._both(lambda ledger: ledger.bind(holder, node, gpus, cores(gpus)))
        self.pods.append((holder, node, gpus))

    @rule(which=st.integers(0, 20))
    def pod_goes(self, which: int) -> None:
        if self.pods:
            holder, node, gpus = self.pods.pop(which % len(self.pods))
            self._both(lambda ledger: ledger.bind(holder, node, -gpus, cores(-gpus)))

    @rule(holder=HOLDERS, plan=st.dictionaries(NODES, st.integers(1, 4)))
    def plan_is_made(self, holder: str, plan: dict[str, int]) -> None:
        self._both(lambda ledger: ledger.plan(holder, plan, {node: cores(gpus) for node, gpus in plan.items()}))
        self.plans[holder] = plan

    @rule(holder=HOLDERS)
    def holder_is_released(self, holder: str) -> None:
        self._both(lambda ledger: ledger.release(holder))
        self.plans.pop(holder, None)
        self.pods = [pod for pod in self.pods if pod[0] != holder]

    @invariant()
    def it_is_as_if_counted_anew(self) -> None:
        for without in (None, "x", "y", ""):
            assert free(self.ledger, without) == self._free(without)

    def teardown(self) -> None:
        """Compare what is free: it is the same however often anybody asked, and for a ledger made of what is there."""
        anew: Ledger[str] = Ledger()
        for name, gpus in self.nodes.items():
            anew.put(a_node(name, gpus))
        for holder, plan in self.plans.items():
            anew.plan(holder, plan, {node: cores(gpus) for node, gpus in plan.items()})
        for holder, node, gpus in self.pods:
            anew.bind(holder, node, gpus, cores(gpus))
        for without in (None, "x", "y", ""):
            assert self.unread.fleet(without) == self.ledger.fleet(without) == anew.fleet(without)

    def _both(self, take: Callable[[Ledger[str]], object]) -> None:
        take(self.ledger)
        take(self.unread)

    @invariant()
    def planners_are_those_who_plan(self) -> None:
        for node in ("a", "b", "c"):
            assert self.ledger.planners(node) == {one for one, plan in self.plans.items() if node in plan}

    def _free(self, without: str | None) -> dict[str, int]:
        held: Counter[str] = Counter()
        for holder in {"x", "y", ""} - {without}:
            bound: Counter[str] = Counter()
            for owner, node, gpus in self.pods:
                if owner == holder:
                    bound[node] += gpus
            held.update(bound | Counter(self.plans.get(holder, {})))
        return {name: max(0, gpus - held[name]) for name, gpus in sorted(self.nodes.items())}


TestCounting = Counting.TestCase
TestCounting.settings = settings(max_examples=60 * FACTOR, stateful_step_count=25)


def test_what_is_free_after_many_events_is_compared_with_what_was_free_when_it_was_last_asked() -> None:
    """A pod that went and a pod that came are no gain together."""
    ledger = a_ledger("a", "b")
    ledger.bind("x", "a", 4)
    mark = ledger.mark
    assert ledger.mark == mark
    ledger.bind("x", "a", -4)
    ledger.bind("y", "a", 4)
    assert (ledger.mark, ledger.gained(mark, lambda _: True)) == (mark, False)
    ledger.bind("y", "a", -1)
    assert ledger.gained(mark, lambda _: True)
    assert ledger.mark > mark


def test_the_fleet_is_the_same_value_for_all_that_hold_nothing_until_something_changes() -> None:
    """So that results about it can be kept."""
    ledger: Ledger[str] = Ledger()
    ledger.put(a_node("a"))
    ledger.plan("holder", {"a": 1})
    first = ledger.fleet("x")
    assert ledger.fleet() is ledger.fleet("y") is first
    assert ledger.fleet("holder").nodes[0].free == first.nodes[0].free + 1
    ledger.plan("holder", {"a": 2})
    assert ledger.fleet("x").nodes[0].free == first.nodes[0].free - 1
    ledger.put(a_node("b"))
    assert [node.name for node in ledger.fleet("x").nodes] == ["a", "b"]


def test_the_occupancy_is_a_copy_that_later_changes_leave_alone() -> None:
    """It is read in a thread."""
    ledger: Ledger[str] = Ledger()
    ledger.put(h100_node("a", 8))
    ledger.put(h100_node("b", 8))
    ledger.bind("llama", "a", 4)
    seen = ledger.occupancy()
    ledger.bind("qwen", "a", 2)
    ledger.release("llama")
    assert [(node.name, node.free, dict(held)) for node, held in seen] == [("a", 8, {"llama": 4}), ("b", 8, {})]
