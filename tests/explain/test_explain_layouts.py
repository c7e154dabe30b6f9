"""Many layouts in few words, and columns that stand under one another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.strategies import layouts_of

from shardwise.domain.layout import Layout
from shardwise.explain.layouts import Range, listed, ranges
from shardwise.explain.tables import aligned

LISTED: dict[str, tuple[list[Layout], str]] = {
    "none": ([], ""),
    "one": ([Layout(8, 2)], "TP8×PP2"),
    "neighbours": ([Layout(1, depth) for depth in range(1, 14)], "TP1×PP1 to PP13"),
    "neighbours in any order, told twice": (
        [Layout(1, 3), Layout(1, 1), Layout(1, 2), Layout(1, 2)],
        "TP1×PP1 to PP3",
    ),
    "a gap": ([Layout(2, 1), Layout(2, 2), Layout(2, 4)], "TP2×PP1 to PP2, TP2×PP4"),
    "two degrees": ([Layout(2, 1), Layout(4, 2)], "TP2×PP1, TP4×PP2"),
    "whole experts apart": (
        [Layout(2, 1), Layout(2, 2, expert=True), Layout(2, 3, expert=True)],
        "TP2×PP1, TP2×PP2 to PP3 EP",
    ),
    "data ranks after others, with a context degree": (
        [Layout(1, 1, True, 8), Layout(1, 2, True, 8), Layout(4, 1, True, 2, 4), Layout(8, 1)],
        "TP8×PP1, DP2×TP4×PP1 EP CP4, DP8×TP1×PP1 to PP2 EP",
    ),
    "five ranges": ([Layout(tensor, 1) for tensor in (1, 2, 4, 8, 16)], "TP1×PP1, TP2×PP1, TP4×PP1, TP8×PP1, TP16×PP1"),
    "six ranges": (
        [Layout(tensor, 1) for tensor in (1, 2, 4, 8, 16, 32)],
        "TP1×PP1, TP2×PP1, TP4×PP1, TP8×PP1, TP16×PP1 and 1 other",
    ),
    "the others are layouts, not ranges": (
        [Layout(tensor, depth) for tensor in (1, 2, 4, 8, 16, 32) for depth in (1, 2, 3)],
        "TP1×PP1 to PP3, TP2×PP1 to PP3, TP4×PP1 to PP3, TP8×PP1 to PP3, TP16×PP1 to PP3 and 3 others",
    ),
}


@pytest.mark.parametrize(("given_", "words"), LISTED.values(), ids=LISTED)
def test_layouts_are_said_in_ranges(given_: list[Layout], words: str) -> None:
    assert listed(given_) == words


@given(st.sets(layouts_of(st.integers(1, 8), st.integers(1, 8), st.booleans(), st.integers(1, 2))))
def test_ranges_hold_every_layout_once_and_no_other(layouts: set[Layout]) -> None:
    """However they lie."""
    held = [one.layout(depth) for one in ranges(layouts) for depth in range(one.first, one.last + 1)]
    assert len(held) == len(set(held)) == sum(one.count for one in ranges(layouts))
    assert set(held) == layouts


@given(st.sets(layouts_of(st.integers(1, 4), st.integers(1, 9), st.booleans()), min_size=1))
def test_ranges_are_as_few_as_there_can_be(layouts: set[Layout]) -> None:
    """Each ends where its next neighbour is missing."""
    for one in ranges(layouts):
        assert Layout(one.tensor, one.last + 1, one.expert) not in layouts
        assert Layout(one.tensor, one.first - 1, one.expert) not in layouts


def test_a_range_counts_both_its_ends() -> None:
    assert Range(8, False, 2, 5).count == 4


def test_columns_stand_under_one_another() -> None:
    assert aligned([("a", "1", "x"), ("bbb", "22", "y")], right=[1]) == ["a     1  x", "bbb  22  y"]


def test_an_empty_column_is_left_out_and_no_line_ends_in_blanks() -> None:
    assert aligned([("a", "", "long"), ("b", "", "")]) == ["a  long", "b"]


def test_no_rows_make_no_lines() -> None:
    assert aligned([]) == []
