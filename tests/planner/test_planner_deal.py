"""Dealing units to bins: as few as will do, with little left over; evenly where asked; several groups together."""

from collections.abc import Mapping
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.examples import examples

from shardwise.planner.deal import Bin, deal, natural
from shardwise.planner.together import fewest_parts

DEALS: dict[str, tuple[int, list[tuple[str, int] | tuple[str, int, int]], Mapping[str, int] | None]] = {
    "one that is just right": (3, [("a", 5), ("b", 3), ("c", 4)], {"b": 3}),
    "ties by what is spare": (2, [("a", 2, 3), ("b", 2, 1), ("c", 2, 2)], {"b": 2}),
    "the largest with the least spare first": (3, [("a", 2, 1), ("b", 2, 0), ("c", 1, 0)], {"b": 2, "c": 1}),
    "ties by name": (2, [("b", 2), ("a", 2)], {"a": 2}),
    "the largest, and what is just right beside it": (7, [("a", 2), ("b", 5), ("c", 3)], {"a": 2, "b": 5}),
    "two that are just right rather than the largest": (10, [("a", 7), ("b", 5), ("c", 5), ("d", 2)], {"b": 5, "c": 5}),
    "two small ones that hold all": (6, [("a", 5), ("b", 5), ("c", 3), ("d", 3)], {"c": 3, "d": 3}),
    "all of it": (6, [("a", 1), ("b", 2), ("c", 3)], {"a": 1, "b": 2, "c": 3}),
    "too many": (7, [("a", 1), ("b", 2), ("c", 3)], None),
    "empty bins": (1, [("a", 0)], None),
    "no bins": (1, [], None),
}


@pytest.mark.parametrize(("units", "bins", "expected"), DEALS.values(), ids=DEALS)
def test_units_are_dealt_to_as_few_bins_as_will_do(
    units: int, bins: list[tuple[str, int, int]], expected: Mapping[str, int] | None
) -> None:
    assert deal(units, [Bin(*row) for row in bins]) == expected


EVEN: dict[str, tuple[int, list[tuple[str, int]], Mapping[str, int] | None]] = {
    "two racks of 18": (24, [("a", 18), ("b", 18)], {"a": 12, "b": 12}),
    "an odd one goes to the first": (25, [("a", 18), ("b", 18)], {"a": 13, "b": 12}),
    "an odd one goes to the largest": (25, [("a", 16), ("b", 18)], {"a": 12, "b": 13}),
    "a small one gives all it has": (24, [("a", 18), ("b", 8)], {"a": 16, "b": 8}),
    "no third is opened": (24, [("a", 18), ("b", 18), ("c", 18)], {"a": 12, "b": 12}),
    "three are needed": (40, [("a", 18), ("b", 18), ("c", 18)], {"a": 14, "b": 13, "c": 13}),
    "a small one is left alone where two large ones hold equal parts": (
        24,
        [("a", 18), ("b", 18), ("c", 6)],
        {"a": 12, "b": 12},
    ),
    "the smallest that hold a part and one more": (24, [("a", 18), ("b", 14), ("c", 13)], {"b": 12, "c": 12}),
    "rather a spare than a bin that is just full": (24, [("a", 18), ("b", 12), ("c", 14)], {"a": 12, "c": 12}),
    "no spare where there is none": (24, [("a", 12), ("b", 12)], {"a": 12, "b": 12}),
    "one is enough": (18, [("a", 18), ("b", 18)], {"a": 18}),
}


@pytest.mark.parametrize(("units", "bins", "expected"), EVEN.values(), ids=EVEN)
def test_units_are_dealt_evenly_where_asked(
    units: int, bins: list[tuple[str, int]], expected: Mapping[str, int] | None
) -> None:
    assert deal(units, [Bin(*row) for row in bins], evenly=True) == expected


rooms_of_bins = st.lists(st.integers(0, 9), max_size=8)


@given(st.integers(1, 30), rooms_of_bins, st.booleans())
@examples(400)
def test_dealing_is_exact_and_in_as_few_bins_as_possible(units: int, rooms: list[int], evenly: bool) -> None:
    dealt = deal(units, [Bin(index, room) for index, room in enumerate(rooms)], evenly=evenly)
    if dealt is None:
        assert sum(rooms) < units
        return
    assert sum(dealt.values()) == units
    assert all(0 < count <= rooms[index] for index, count in dealt.items())
    assert sum(sorted(rooms, reverse=True)[: len(dealt) - 1]) < units


@given(st.integers(1, 30), rooms_of_bins)
def test_an_even_deal_has_no_more_in_one_than_another_could_still_take(units: int, rooms: list[int]) -> None:
    dealt = deal(units, [Bin(index, room) for index, room in enumerate(rooms)], evenly=True) or {}
    for count in dealt.values():
        assert all(other >= count - 1 or other == rooms[index] for index, other in dealt.items())


@pytest.mark.parametrize(
    ("names", "ordered"),
    [
        (["gpu-10", "gpu-2"], ["gpu-2", "gpu-10"]),
        (["a10b1", "a2b9", "a2b10"], ["a2b9", "a2b10", "a10b1"]),
        (["b", "a"], ["a", "b"]),
        (["node", "node-1", ""], ["", "node", "node-1"]),
        (["1", "a"], ["1", "a"]),
    ],
)
def test_names_are_ordered_as_people_count(names: list[str], ordered: list[str]) -> None:
    assert sorted(names, key=natural) == ordered


@given(st.text(max_size=8), st.text(max_size=8))
def test_any_two_names_can_be_ordered(one: str, other: str) -> None:
    assert (natural(one) < natural(other)) + (natural(one) == natural(other)) + (natural(one) > natural(other)) == 1


def fewest_by_exhaustion(slots: tuple[int, ...], stages: int, groups: int) -> int:
    """Try every way to deal one group after the other."""

    @cache
    def best(free: tuple[int, ...], left: int) -> int | None:
        if left == 0:
            return 0
        found = []
        for counts in ways(free, stages):
            rest = best(tuple(sorted(have - count for have, count in zip(free, counts, strict=True))), left - 1)
            if rest is not None:
                found.append(sum(count > 0 for count in counts) + rest)
        return min(found, default=None)

    exact = best(tuple(sorted(slots)), groups)
    assert exact is not None
    return exact


def ways(free: tuple[int, ...], stages: int) -> list[tuple[int, ...]]:
    if not free:
        return [()] if stages == 0 else []
    return [(here, *rest) for here in range(min(free[0], stages) + 1) for rest in ways(free[1:], stages - here)]


@given(st.lists(st.integers(1, 7), min_size=1, max_size=5), st.integers(2, 9), st.integers(1, 3))
@examples(300)
def test_groups_dealt_together_lie_in_the_fewest_domains(drawn: list[int], stages: int, groups: int) -> None:
    slots = [min(one, stages - 1) for one in drawn]
    groups = min(groups, sum(slots) // stages)
    parts = fewest_parts(slots, stages, groups)
    assert len(parts) == groups
    assert all(sum(part.values()) == stages for part in parts)
    for position, have in enumerate(slots):
        assert sum(part.get(position, 0) for part in parts) <= have
    if groups:
        assert sum(map(len, parts)) == fewest_by_exhaustion(tuple(slots), stages, groups)
        assert [len(part) for part in parts] == sorted(len(part) for part in parts)


TOGETHER: dict[str, tuple[list[int], int, int, list[dict[int, int]]]] = {
    "one after the other would leave crumbs": ([3, 3, 1, 1], 4, 2, [{0: 3, 2: 1}, {1: 3, 3: 1}]),
    "two halves rather than a large one and a piece of another": (
        [7, 5, 5, 2, 1],
        10,
        2,
        [{1: 5, 2: 5}, {0: 7, 3: 2, 4: 1}],
    ),
    "three domains for two groups, in turn": ([2, 2, 2], 3, 2, [{0: 2, 1: 1}, {1: 1, 2: 2}]),
    "no group": ([1, 1], 2, 0, []),
}


@pytest.mark.parametrize(("slots", "stages", "groups", "parts"), TOGETHER.values(), ids=TOGETHER)
def test_groups_are_dealt_out_together(slots: list[int], stages: int, groups: int, parts: list[dict[int, int]]) -> None:
    """The group in the fewest domains comes first."""
    assert [dict(part) for part in fewest_parts(slots, stages, groups)] == parts


def test_dealing_the_same_gives_the_same_whatever_the_order_of_the_bins() -> None:
    bins = [Bin("c", 4), Bin("a", 4), Bin("b", 4, 1), Bin("d", 7)]
    for evenly, dealt in ((False, {"a": 4, "c": 4}), (True, {"a": 4, "d": 4})):
        assert deal(8, bins, evenly=evenly) == dealt
        assert deal(8, list(reversed(bins)), evenly=evenly) == dealt


@given(st.integers(1, 30), rooms_of_bins)
def test_more_room_in_one_bin_never_needs_more_bins(units: int, rooms: list[int]) -> None:
    before = deal(units, [Bin(index, room) for index, room in enumerate(rooms)])
    after = deal(units, [Bin(index, room + (index == 0)) for index, room in enumerate(rooms)])
    if before is not None:
        assert after is not None
        assert len(after) <= len(before)
