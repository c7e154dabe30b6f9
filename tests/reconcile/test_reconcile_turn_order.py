"""The order of turns: kept up to date by events, it answers as if all waiters were gone through, and it does not."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from pytest_mock import MockerFixture
from tests.reconcile.support import START
from tests.support.fleets import H100, H200, L40S, a_fleet, a_node, h100s, h200s, l40s
from tests.support.models import LLAMA_8B, a_demand
from tests.support.turns import naive_ahead, naive_turn

from shardwise.domain.demand import Demand, Operator, Requirement
from shardwise.domain.fleet import Exclusion, Fleet, Node, Taint
from shardwise.reconcile import kept_nodes
from shardwise.reconcile.turn_order import TurnOrder
from shardwise.reconcile.turns import PATIENCE, Places, Turn, Waiter

FLEET = a_fleet(h100s(2), h200s(1), l40s(1))
ALL = {"h100-00", "h100-01", "h200-00", "l40s-00"}
DEMANDS = [a_demand(LLAMA_8B, products=products) for products in ((), (H100,), (H200,), (L40S,), (H100, L40S))]
NAMES = [f"ns/{letter}" for letter in "abcdefgh"]
SINCE = [START, START + PATIENCE / 2, START + PATIENCE]

a_waiter = st.builds(
    Waiter,
    st.sampled_from(NAMES),
    st.integers(-1, 1),
    st.sampled_from([START, START + 1, START + 2]),
    st.sampled_from(SINCE),
    st.sampled_from([*DEMANDS, None]),
)
waiters = st.lists(a_waiter, min_size=1, max_size=8, unique_by=lambda waiter: waiter.key)
later = st.sampled_from([0.0, PATIENCE / 2, PATIENCE, 3 * PATIENCE])


def ordered(queue: list[Waiter]) -> TurnOrder:
    order = TurnOrder()
    for waiter in queue:
        order.put(waiter)
    return order


def turn(me: Waiter, queue: list[Waiter], now: float = START) -> Turn:
    return ordered(queue).turn(me, FLEET, now)


class Histories(RuleBasedStateMachine):
    """Waiters come, change and go, nodes change, time passes, and somebody asks in between or does not."""

    def __init__(self) -> None:
        super().__init__()
        self.order = TurnOrder()
        self.waiters: dict[str, Waiter] = {}
        self.nodes: dict[str, Node] = {node.name: node for node in FLEET.nodes}
        self.now = START

    def fleet(self) -> Fleet:
        return Fleet(tuple(self.nodes[name] for name in sorted(self.nodes)))

    @rule(waiter=a_waiter)
    def comes_or_changes(self, waiter: Waiter) -> None:
        self.waiters[waiter.key] = waiter
        self.order.put(waiter)

    @rule(key=st.sampled_from(NAMES))
    def goes(self, key: str) -> None:
        self.waiters.pop(key, None)
        self.order.drop(key)

    @rule(seconds=st.sampled_from([1.0, PATIENCE / 2, PATIENCE, -PATIENCE / 2]))
    def time_passes(self, seconds: float) -> None:
        """Set the clock forward, or back."""
        self.now += seconds

    @rule(name=st.sampled_from(sorted(ALL)), exclusion=st.sampled_from([None, Exclusion.CORDONED]))
    def a_node_changes(self, name: str, exclusion: Exclusion | None) -> None:
        self.nodes[name] = next(node for node in FLEET.nodes if node.name == name)._replace(exclusion=exclusion)
        self.order.node_changed(name, self.fleet)

    @rule(name=st.sampled_from(sorted(ALL)))
    def a_node_goes(self, name: str) -> None:
        self.nodes.pop(name, None)
        self.order.node_changed(name, self.fleet)

    @rule(name=st.sampled_from(sorted(ALL)), free=st.integers(0, 4))
    def gpus_come_and_go(self, name: str, free: int) -> None:
        """Nobody is told: what is kept does not depend on it."""
        if name in self.nodes:
            self.nodes[name] = self.nodes[name]._replace(free=free)

    @rule(stranger=a_waiter)
    def somebody_asks(self, stranger: Waiter) -> None:
        """One that waits, or one that does not wait yet."""
        me = self.waiters.get(stranger.key, stranger)
        assert self.order.turn(me, self.fleet(), self.now) == self.naive(me)

    @rule()
    def everybody_asks(self) -> None:
        for me in self.waiters.values():
            assert self.order.turn(me, self.fleet(), self.now) == self.naive(me)

    def naive(self, me: Waiter) -> Turn:
        return naive_turn(me, self.waiters.values(), self.fleet(), self.now)

    @invariant()
    def each_stands_there_once(self) -> None:
        assert [key for _, _, key in self.order.places.part(0)] == [
            waiter.key for waiter in sorted(self.waiters.values(), key=lambda waiter: waiter.order)
        ]


TestHistories = pytest.mark.filterwarnings("default")(Histories.TestCase)
TestHistories.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@given(waiters)
def test_the_queue_is_one_order_in_which_everybody_has_one_place(queue: list[Waiter]) -> None:
    """Whoever asks: positions from 1 to the last, and all see the same length and the same first object."""
    turns = {waiter.key: turn(waiter, queue) for waiter in queue}
    assert sorted(found.position for found in turns.values()) == list(range(1, len(queue) + 1))
    assert {found.length for found in turns.values()} == {len(queue)}
    first = next(key for key, found in turns.items() if found.position == 1)
    assert {found.first for key, found in turns.items() if key != first} <= {first}
    assert turns[first].first == ""


@given(waiters)
def test_a_higher_priority_is_always_before_a_lower_and_among_equals_the_older(queue: list[Waiter]) -> None:
    """When a wait began gives nobody a better place: an object that stops waiting and begins again keeps its own."""
    for me in queue:
        for ahead in naive_ahead(me, queue):
            assert (-ahead.priority, ahead.created) <= (-me.priority, me.created)
            assert turn(ahead, queue).position < turn(me, queue).position


def can_use(demand: Demand | None) -> set[str]:
    """Name the nodes a demand of one GPU can use, by product alone."""
    if demand is None or not demand.products:
        return ALL
    names = {H100: {"h100-00", "h100-01"}, H200: {"h200-00"}, L40S: {"l40s-00"}}
    return set().union(*(names[product] for product in demand.products))


@given(waiters, later)
def test_just_what_those_ahead_can_use_is_kept_once_they_have_waited_long(queue: list[Waiter], seconds: float) -> None:
    """Nobody who has waited so long is overtaken on a node it could use; before that anybody may pass."""
    now = START + seconds
    for me in queue:
        patient = [other for other in naive_ahead(me, queue) if now - other.since >= PATIENCE]
        assert turn(me, queue, now).kept == set().union(*(can_use(other.demand) for other in patient))


@given(waiters)
def test_nothing_is_ever_kept_from_the_first(queue: list[Waiter]) -> None:
    """So somebody can always go on: a queue of patient waiters does not stop itself."""
    first = min(queue, key=lambda waiter: waiter.order)
    assert turn(first, queue, START + 10 * PATIENCE).kept == frozenset()


def affinity(value: str) -> Demand:
    return a_demand(LLAMA_8B, node_affinity=((Requirement("team", Operator.IN, (value,)),),))


WISHES: dict[str, tuple[Demand, set[str]]] = {
    "any": (a_demand(LLAMA_8B), {"a", "b", "c"}),
    "a label": (a_demand(LLAMA_8B, node_selector=(("team", "blue"),)), {"b"}),
    "a product": (a_demand(LLAMA_8B, products=(H200,)), {"c"}),
    "an affinity": (affinity("blue"), {"b"}),
    "a product nobody has": (a_demand(LLAMA_8B, products=(L40S,)), set()),
}
SOME = a_fleet(
    a_node("a"),
    a_node("b", labels={"team": "blue"}),
    a_node("c", product=H200),
    a_node("d", taints=(Taint("dedicated", "NoSchedule", "x"),)),
    a_node("e", exclusion=Exclusion.CORDONED),
)
ME = Waiter("ns/me", 0, START + 9, START)


@pytest.mark.parametrize(("demand", "names"), WISHES.values(), ids=WISHES)
def test_what_is_kept_follows_the_wish_of_the_one_ahead(demand: Demand, names: set[str]) -> None:
    """Not of a node it does not tolerate or that is not to be used: those stay everybody's."""
    order = ordered([Waiter("ns/first", 0, START, START, demand)])
    assert order.turn(ME, SOME, START + PATIENCE).kept & {"a", "b", "c", "d"} == names


def test_objects_that_differ_in_their_affinity_only_keep_each_its_own_nodes() -> None:
    queue = [Waiter(f"ns/{value}", 0, START, START, affinity(value)) for value in ("red", "blue")]
    assert ordered(queue).turn(ME, SOME, START + PATIENCE).kept == {"b"}


def a_queue(count: int, demand: Callable[[int], Demand]) -> list[Waiter]:
    return [Waiter(f"ns/{number:05}", 0, START + number, START, demand(number)) for number in range(count)]


def test_a_sweep_along_the_whole_queue_goes_through_it_once(mocker: MockerFixture) -> None:
    """Fault: each of 841 objects went through all 841 again, twice a decision."""
    queue = a_queue(500, lambda number: DEMANDS[number % len(DEMANDS)])
    order = ordered(queue)
    looked = mocker.spy(kept_nodes, "wish_of")
    tests = mocker.spy(kept_nodes, "usable")
    for waiter in queue:
        order.turn(waiter, FLEET, START + PATIENCE)
    assert looked.call_count <= 2 * len(queue)
    assert tests.call_count == len(DEMANDS), "the nodes of a wish are found once"
    order.drop(queue[0].key)
    looked.reset_mock()
    for waiter in queue[1:]:
        order.turn(waiter, FLEET, START + PATIENCE)
    assert looked.call_count <= 2 * len(queue), "and once more after one has left it"


def test_a_change_behind_costs_those_before_nothing(mocker: MockerFixture) -> None:
    """Objects that begin to wait stand at the end most often."""
    queue = a_queue(100, lambda _: DEMANDS[0])
    order = ordered(queue)
    order.turn(queue[50], FLEET, START + PATIENCE)
    looked = mocker.spy(kept_nodes, "wish_of")
    for number in range(60, 100):
        order.drop(queue[number].key)
        order.turn(queue[50], FLEET, START + PATIENCE)
    assert looked.call_count == 0


def test_the_nodes_of_no_more_wishes_than_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects that are edited for years fill no memory, and the answers stay the same."""
    monkeypatch.setattr(kept_nodes, "MOST_WISHES", 3)
    wishes = [a_demand(LLAMA_8B, node_selector=(("team", f"t{number}"),)) for number in range(7)]
    queue = a_queue(8, lambda number: [*wishes, DEMANDS[1]][number])
    order = ordered(queue)
    assert order.turn(ME, FLEET, START + PATIENCE) == naive_turn(ME, queue, FLEET, START + PATIENCE)
    assert len(order._kept._usable) <= 3


def test_places_know_who_follows_and_how_many_come_before() -> None:
    places = Places()
    for order in ((0, 2.0, "b"), (-5, 9.0, "urgent"), (0, 1.0, "a")):
        places.put(order)
    assert [key for _, _, key in places.part(0)] == ["urgent", "a", "b"]
    assert (places.before((0, 2.0, "b")), len(places), "b" in places, "c" in places) == (2, 3, True, False)
    assert places.following((0, 1.5, "")) == (0, 2.0, "b")
    assert places.following((0, 2.0, "b\0")) is None
    assert (places.drop("a"), places.drop("a"), places.order_of("a")) == (1, None, None)
