"""Into how many parts each way of splitting a weight makes it fall, one by one."""

import pytest

from shardwise.domain.layout import Layout
from shardwise.domain.model import Experts, Precision, Split, Weight
from shardwise.planner.weights import bytes_on_rank, parts

BF16 = Precision(2.0)
MXFP4 = Precision(0.53125, (1, 32), padded=True)


def a_weight(split: Split, units: int, precision: Precision = BF16, experts: Experts | None = None) -> Weight:
    return Weight("w", units, 16, split, units, "units", precision, experts)


TEN_EXPERTS = Experts(10, 2)
PARTS: dict[str, tuple[Weight, Layout, float]] = {
    "whole": (a_weight(Split.WHOLE, 64), Layout(8, 1), 1),
    "by outputs": (a_weight(Split.OUTPUTS, 64), Layout(8, 1), 8),
    "by inputs": (a_weight(Split.INPUTS, 64), Layout(8, 1), 8),
    "by units, fewer ranks": (a_weight(Split.COPIED, 8), Layout(4, 1), 4),
    "by units, more ranks: the rest are copies": (a_weight(Split.COPIED, 8), Layout(16, 1), 8),
    "a vocabulary that is padded: 130 entries are 192": (a_weight(Split.VOCABULARY, 130), Layout(2, 1), 2 * 130 / 192),
    "experts split like any weight": (a_weight(Split.OUTPUTS, 64, BF16, TEN_EXPERTS), Layout(4, 1), 4),
    "experts dealt out: three of ten to the fullest": (
        a_weight(Split.OUTPUTS, 64, BF16, TEN_EXPERTS),
        Layout(4, 1, expert=True),
        10 / 3,
    ),
    "padded experts: two of three blocks to the fullest": (
        a_weight(Split.OUTPUTS, 96, MXFP4, TEN_EXPERTS),
        Layout(2, 1),
        3 / 2,
    ),
    "padding is of experts alone": (a_weight(Split.OUTPUTS, 96, MXFP4), Layout(2, 1), 2),
}


@pytest.mark.parametrize(("weight", "layout", "expected"), PARTS.values(), ids=PARTS)
def test_a_weight_falls_into_parts(weight: Weight, layout: Layout, expected: float) -> None:
    assert parts(weight, layout) == pytest.approx(expected)
    assert bytes_on_rank([weight], layout) == pytest.approx(weight.size / expected)


@pytest.mark.parametrize(("weight", "layout", "expected"), PARTS.values(), ids=PARTS)
def test_the_ranks_of_a_group_hold_at_least_the_whole_together(weight: Weight, layout: Layout, expected: float) -> None:
    assert bytes_on_rank([weight], layout) * layout.tensor >= weight.size * (1 - 1e-9)
