"""PoolPlaces by the free GPUs of their domains: after any moves as if made anew, and copies keep to themselves."""

from collections.abc import Iterable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.support.examples import FACTOR

from shardwise.planner.places import Domain, FreeCounts, Path, PoolPlaces, Scope

Row = tuple[Domain, Path, FreeCounts]
"""A domain, its place, and the free GPUs of its nodes."""

ROWS: list[Row] = [
    (("", "a"), ("", "r1", "b1"), (8,)),
    (("", "b"), ("", "r1", "b1"), (4,)),
    (("", "c"), ("", "r2", "b1"), (8,)),
    (("", "d"), ("", "r1", "b2"), (8,)),
    (("", "e"), ("", "", "b2"), (8,)),
    (("", "f"), ("", "", ""), (0,)),
]


def placed(rows: Iterable[Row], height: int = 2) -> PoolPlaces:
    found = PoolPlaces(height)
    for domain, place, counts in rows:
        found.move(domain, place, None, counts)
    return found


def scope(places: PoolPlaces, level: int, *path: str) -> Scope:
    return places.levels[level][path]


def said(places: PoolPlaces) -> object:
    """Say everything about places."""
    return [
        {path: (known.held, known.inner, known.loose, known.slots(4)) for path, known in level.items()}
        for level in places.levels
    ]


PATHS: dict[str, tuple[Path, list[tuple[int, Path]]]] = {
    "a place at every level": (
        ("", "r1", "b1"),
        [(0, ("", "r1", "b1")), (1, ("", "b1")), (2, ("",))],
    ),
    "none at the nearest level": (("", "", "b1"), [(1, ("", "b1")), (2, ("",))]),
    "none in between": (("", "r1", ""), [(0, ("", "r1", "")), (2, ("",))]),
    "none at all": (("", "", ""), [(2, ("",))]),
    "inside a bounding place": (
        ("z", "r1", "b1"),
        [(0, ("z", "r1", "b1")), (1, ("z", "b1")), (2, ("z",))],
    ),
}


@pytest.mark.parametrize(("place", "paths"), PATHS.values(), ids=PATHS)
def test_a_domain_lies_in_a_place_of_each_level_that_it_names(place: Path, paths: list[tuple[int, Path]]) -> None:
    assert list(PoolPlaces(2).paths(place)) == paths


@pytest.mark.parametrize(
    "rows", [ROWS, ROWS[::-1], ROWS[3:] + ROWS[:3], []], ids=["in order", "reversed", "mixed", "none"]
)
def test_places_of_many_domains_are_as_if_the_domains_came_one_by_one(rows: list[Row]) -> None:
    assert said(PoolPlaces.of(2, rows)) == said(placed(rows))


def test_places_of_many_domains_follow_moves() -> None:
    found, expected = PoolPlaces.of(2, ROWS), placed(ROWS)
    for places in (found, expected):
        places.move(("", "a"), ("", "r1", "b1"), (8,), (3,))
    assert said(found) == said(expected)


def test_a_place_lists_its_domains_by_their_free_counts_in_name_order() -> None:
    found = scope(placed(reversed(ROWS)), 1, "", "b1")
    assert found.held == {(8,): [("", "a"), ("", "c")], (4,): [("", "b")]}
    assert found.first() == ("", "a")
    assert found.name == "/b1"


def test_places_inside_come_in_the_order_of_their_first_domains() -> None:
    """Not in the order in which they were made, nor of their names."""
    rows = [(("", "b"), ("", "r1"), (8,)), (("", "a"), ("", "r2"), (8,)), (("", "c"), ("", "r0"), (8,))]
    found = placed(rows, 1)
    assert [inner.name for inner in found.inside(scope(found, 1, ""))] == ["/r2", "/r1", "/r0"]
    found.move(("", "a"), ("", "r2"), (8,), None)
    assert [inner.name for inner in found.inside(scope(found, 1, ""))] == ["/r1", "/r0"]


def test_domains_without_a_narrower_place_are_loose() -> None:
    found = placed(ROWS)
    loose = {
        "the whole pool": scope(found, 2, "").loose,
        "a block with a node outside racks": scope(found, 1, "", "b2").loose,
        "a block of racks": scope(found, 1, "", "b1").loose,
        "a rack": scope(found, 0, "", "r1", "b1").loose,
    }
    assert loose == {
        "the whole pool": 1,
        "a block with a node outside racks": 1,
        "a block of racks": 0,
        "a rack": 2,
    }


SLOTS = {
    1: 36,
    4: 9,
    8: 4,
    3: 9,
    16: 0,
}


@pytest.mark.parametrize(("tensor", "slots"), SLOTS.items())
def test_slots_follow_every_move(tensor: int, slots: int) -> None:
    """Counted once, and then kept."""
    found = placed(ROWS)
    root = scope(found, 2, "")
    assert root.slots(tensor) == slots
    found.move(("", "a"), ("", "r1", "b1"), (8,), (3,))
    assert scope(found, 2, "").slots(tensor) == slots - 8 // tensor + 3 // tensor
    found.move(("", "a"), ("", "r1", "b1"), (3,), None)
    assert scope(found, 2, "").slots(tensor) == slots - 8 // tensor
    found.move(("", "a"), ("", "r1", "b1"), None, (8,))
    assert scope(found, 2, "").slots(tensor) == slots


def test_a_place_goes_with_its_last_domain() -> None:
    found = placed(ROWS)
    found.move(("", "c"), ("", "r2", "b1"), (8,), None)
    assert ("", "r2", "b1") not in found.levels[0]
    assert [inner.name for inner in found.inside(scope(found, 1, "", "b1"))] == ["/r1/b1"]
    for domain, place, counts in ROWS:
        if domain != ("", "c"):
            found.move(domain, place, counts, None)
    assert found.levels == [{}, {}, {}]
    assert found.roots == []


def test_each_bounding_place_is_a_root() -> None:
    rows: list[Row] = [(("z1", "a"), ("z1", "r1"), (8,)), (("z2", "b"), ("z2", "r1"), (4,))]
    found = placed(rows, 1)
    assert [root.path for root in found.roots] == [("z1",), ("z2",)]
    assert [root.slots(4) for root in found.roots] == [2, 1]


def test_answers_about_a_place_are_worked_out_once_until_it_changes() -> None:
    found = placed(ROWS)
    asked: list[str] = []

    def ask(known: Scope) -> str:
        asked.append(known.name)
        return known.name

    for _ in range(3):
        assert scope(found, 0, "", "r1", "b1").once("name", ask) == "/r1/b1"
        assert scope(found, 0, "", "r2", "b1").once("name", ask) == "/r2/b1"
    assert asked == ["/r1/b1", "/r2/b1"]
    found.move(("", "a"), ("", "r1", "b1"), (8,), (7,))
    scope(found, 0, "", "r1", "b1").once("name", ask)
    scope(found, 0, "", "r2", "b1").once("name", ask)
    assert asked == ["/r1/b1", "/r2/b1", "/r1/b1"]


def test_a_copy_shares_the_places_that_it_does_not_change() -> None:
    """A plan takes GPUs of a few racks of a large fleet."""
    found = placed(ROWS)
    copied = found.copy()
    before = said(found)
    copied.move(("", "a"), ("", "r1", "b1"), (8,), (0,))
    assert said(found) == before
    changed, shared = ("", "r1", "b1"), ("", "r2", "b1")
    assert copied.levels[0][changed] is not found.levels[0][changed]
    assert copied.levels[0][shared] is found.levels[0][shared]
    root, other = scope(copied, 2, ""), scope(found, 2, "")
    assert root.held[4,] is other.held[4,]
    assert root.held[8,] is not other.held[8,]


def test_a_copy_is_parted_from_the_original_once() -> None:
    """A group of thousands of pods takes GPUs of the same place again and again."""
    copied = placed(ROWS).copy()
    copied.move(("", "a"), ("", "r1", "b1"), (8,), (7,))
    root = scope(copied, 2, "")
    held = root.held[8,]
    copied.move(("", "c"), ("", "r2", "b1"), (8,), (7,))
    assert scope(copied, 2, "") is root
    assert root.held[8,] is held
    assert root.held[7,] == [("", "a"), ("", "c")]


COUNTS = st.tuples(st.integers(0, 4), st.integers(0, 4)).map(sorted).map(tuple)
ANYWHERE = st.tuples(
    st.sampled_from(["", "z"]),
    st.sampled_from(["r1", "r2", ""]),
    st.sampled_from(["b1", "b2", ""]),
)


class Moving(RuleBasedStateMachine):
    """Domains come, go, change, and move to other places; in copies of copies, too."""

    @initialize()
    def begin(self) -> None:
        self.rows: dict[Domain, tuple[Path, FreeCounts]] = {}
        self.places = PoolPlaces(2)
        self.originals: list[tuple[PoolPlaces, object]] = []

    @rule(name=st.sampled_from("abcdef"), place=ANYWHERE, counts=COUNTS)
    def a_domain_comes_or_moves(self, name: str, place: Path, counts: FreeCounts) -> None:
        domain = "", name
        if domain in self.rows:
            self.places.move(domain, *self.rows[domain], None)
        self.rows[domain] = place, counts
        self.places.move(domain, place, None, counts)

    @rule(name=st.sampled_from("abcdef"))
    def a_domain_goes(self, name: str) -> None:
        if ("", name) in self.rows:
            self.places.move(("", name), *self.rows.pop(("", name)), None)

    @rule(name=st.sampled_from("abcdef"), counts=COUNTS)
    def a_domain_changes(self, name: str, counts: FreeCounts) -> None:
        if ("", name) in self.rows:
            place, before = self.rows["", name]
            self.places.move(("", name), place, before, counts)
            self.rows["", name] = place, counts

    @rule()
    def somebody_copies(self) -> None:
        self.originals.append((self.places, said(self.places)))
        self.places = self.places.copy()

    @invariant()
    def places_are_as_if_made_anew(self) -> None:
        if hasattr(self, "rows"):
            fresh = placed((domain, place, counts) for domain, (place, counts) in self.rows.items())
            assert said(self.places) == said(fresh)

    @invariant()
    def originals_are_as_they_were(self) -> None:
        for places, before in getattr(self, "originals", ()):
            assert said(places) == before


TestMoving = Moving.TestCase
TestMoving.settings = settings(max_examples=50 * FACTOR, stateful_step_count=15)
