"""Quantities: what Kubernetes means by them, and how people read them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardwise.domain.units import GIB, MIB, QUANTITY_PATTERN, gib, parse_duration, parse_quantity, plural

READ = {
    "0": 0,
    "1024": 1024,
    "1k": 1000,
    "1Ki": 1024,
    "81559Mi": 81559 * MIB,
    "810Gi": 810 * GIB,
    "1.5T": 1_500_000_000_000,
    "0.5Gi": GIB // 2,
    "2P": 2 * 10**15,
    "1Ei": 2**60,
    "16G": 16 * 10**9,
    " 16G ": 16 * 10**9,
}


@pytest.mark.parametrize(("text", "count"), READ.items())
def test_a_quantity_is_read(text: str, count: int) -> None:
    assert parse_quantity(text) == count


def test_a_plain_number_is_bytes() -> None:
    assert parse_quantity(4096) == 4096


@pytest.mark.parametrize("text", ["", "Gi", "1gi", "1 Gi", "1GiB", "-1", "+1", "1e3", "0x10", "1.", ".5", "1,5G", "∞"])
def test_what_is_no_quantity_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=f"`{re.escape(text)}` is not a quantity of bytes such as 810Gi"):
        parse_quantity(text)


@given(st.integers(0, 10**6), st.sampled_from(["", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti"]))
def test_what_the_objects_pattern_accepts_is_read(count: int, suffix: str) -> None:
    assert re.fullmatch(QUANTITY_PATTERN, f"{count}{suffix}")
    assert parse_quantity(f"{count}{suffix}") >= count


@given(st.text(max_size=8))
def test_text_is_read_or_refused_and_nothing_else(text: str) -> None:
    outcome: object = None
    try:
        outcome = parse_quantity(text)
    except ValueError as error:
        outcome = str(error)
    assert (isinstance(outcome, int) and outcome >= 0) or "is not a quantity" in str(outcome)


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0.0 GiB"), (GIB, "1.0 GiB"), (75.55 * GIB, "75.5 GiB"), (-GIB // 2, "-0.5 GiB")]
)
def test_bytes_are_said_in_gib(count: float, said: str) -> None:
    assert gib(count) == said


@pytest.mark.parametrize(
    ("count", "noun", "many", "said"),
    [
        (1, "GPU", None, "1 GPU"),
        (2, "GPU", None, "2 GPUs"),
        (0, "node", None, "0 nodes"),
        (1, "index", "indices", "1 index"),
        (2, "index", "indices", "2 indices"),
    ],
)
def test_nouns_are_counted(count: int, noun: str, many: str | None, said: str) -> None:
    assert plural(count, noun, many) == said


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("1h", 3600), ("1h30m", 5400), ("1h0m1s", 3601), ("0s", 0)]
)
def test_a_time_is_read(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "1", "h", "1d", "30m1h", "1.5h", "-1s", " 1s", "1s1s"])
def test_what_is_no_time_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=f"`{re.escape(text)}` is not a time such as 90s"):
        parse_duration(text)
