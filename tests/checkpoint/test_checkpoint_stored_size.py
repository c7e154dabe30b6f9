"""The bytes that the index of a checkpoint states are held against the sizes that its config adds up to."""

from typing import Any

import pytest
from tests.checkpoint.support import BASE, LATENT
from tests.support.models import config

from shardwise.checkpoint import from_config, index_bytes
from shardwise.explain.models import checkpoint_bytes

COUNTED = checkpoint_bytes(from_config(BASE, name="org/model", origin="test"))


def said(stored: int | None, **changes: Any) -> list[str]:
    model = from_config(BASE | changes, name="org/model", origin="test", checkpoint_bytes=stored)
    return [note for note in model.notes if "the checkpoint has" in note]


@pytest.mark.parametrize("share", [0.985, 1, 1.015])
def test_a_count_within_two_percent_needs_no_note(share: float) -> None:
    assert said(int(COUNTED * share)) == []


def test_an_unknown_size_needs_no_note() -> None:
    assert said(None) == []


def test_a_larger_difference_is_said_with_both_numbers() -> None:
    stored = 100 * COUNTED
    (note,) = said(stored)
    assert note == (
        "the checkpoint has 23.5 GiB, but the sizes in its config add up to 0.2 GiB (-99.0%): "
        "all weights are scaled to the checkpoint, and a part may be misjudged"
    )
    assert "(+4.2%)" in said(int(COUNTED * 0.96))[0]


def test_drafts_are_in_the_checkpoint_and_in_the_count() -> None:
    """DeepSeek R1's index states 688,586,727,753 bytes, of which 14 billion parameters draft tokens."""
    made = from_config(config("deepseek-ai/DeepSeek-R1"), name="r1", origin="t", checkpoint_bytes=688_586_727_753)
    assert made.notes == ()
    drafted = LATENT | {"num_nextn_predict_layers": 1}
    whole = checkpoint_bytes(from_config(BASE | drafted, name="m", origin="t"))
    assert from_config(BASE | drafted, name="m", origin="t", checkpoint_bytes=whole).notes == ()


def test_weights_stored_in_32_bits_are_loaded_in_16() -> None:
    """The index counts stored bytes: the plan must not double the weights."""
    assert said(2 * COUNTED, torch_dtype="float32") == []
    made = from_config(
        BASE | {"torch_dtype": "float32"}, name="m", origin="t", checkpoint_bytes=2 * COUNTED
    )  # fmt: skip
    assert made.checkpoint_bytes == COUNTED


INDEXES: dict[str, tuple[object, int | None]] = {
    "a size": ({"metadata": {"total_size": 5}}, 5),
    "a size as a fraction": ({"metadata": {"total_size": 5.0}}, 5),
    "no size": ({"metadata": {}}, None),
    "no metadata": ({"weight_map": {}}, None),
    "a word": ({"metadata": {"total_size": "5"}}, None),
    "a switch": ({"metadata": {"total_size": True}}, None),
    "nothing": ({"metadata": {"total_size": 0}}, None),
    "less than nothing": ({"metadata": {"total_size": -5}}, None),
    "without end": ({"metadata": {"total_size": float("inf")}}, None),
    "a list": ([], None),
}


@pytest.mark.parametrize(("index", "size"), INDEXES.values(), ids=INDEXES)
def test_the_size_is_read_off_an_index(index: object, size: int | None) -> None:
    assert index_bytes(index) == size
