"""Each cause in words, to the letter: fact with number and unit first."""

import dataclasses
from typing import get_args

import pytest

from shardwise.domain.layout import Layout
from shardwise.domain.plan import Rule
from shardwise.domain.refusal import (
    BlockSplit,
    Cause,
    DomainTooSmall,
    Hint,
    MemoryShort,
    MoreGpus,
    NoExperts,
    NoRoom,
    NotDivisible,
    NotPinned,
    OverBudget,
    PipelineUnsupported,
    Preferred,
    Slower,
    Tight,
    TooManyStages,
)
from shardwise.domain.units import GIB
from shardwise.explain.causes import cause
from shardwise.explain.refusals import hint
from shardwise.explain.rules import rule

SAID: list[tuple[Cause, str]] = [
    (
        NotDivisible("attention heads", 64, 6, (1, 2, 4)),
        "64 attention heads are not divisible by 6 (possible here: 1, 2, 4)",
    ),
    (NotDivisible("experts", 256, 7), "256 experts are not divisible by 7"),
    (
        NotDivisible("heads", 64, 3, tuple(range(1, 11))),
        "64 heads are not divisible by 3 (possible here: 1, 2, 3, 4, 5, 6, 7, 8, …)",
    ),
    (
        BlockSplit("feed-forward columns", 192, 128, 8, (1, 4)),
        (
            "TP8 leaves 192 feed-forward columns a GPU, not a multiple of the quantisation block of 128"
            " (possible here: 1, 4)"
        ),
    ),
    (NoExperts(), "the model has no experts to deal out"),
    (TooManyStages(40, 32), "32 layers cannot fill 40 stages"),
    (PipelineUnsupported("vllm", "WhisperModel"), "vllm cannot split `WhisperModel` into pipeline stages"),
    (NotPinned("tensor", 4), "`spec.parallelism.tensor` pins 4"),
    (
        MemoryShort("H100", 80 * GIB, 72 * GIB, 70 * GIB, 8 * GIB, 2 * GIB),
        (
            "80.0 GiB needed of 72.0 GiB a GPU, 8.0 GiB short "
            "(weights 70.0 GiB, KV cache 8.0 GiB, activations and reserve 2.0 GiB)"
        ),
    ),
    (OverBudget(16, 8, 1), "16 GPUs needed, `spec.gpuBudget.total` allows 8"),
    (OverBudget(16, 8, 2), "16 GPUs needed for 2 replicas, `spec.gpuBudget.total` allows 8"),
    (OverBudget(1, 0, 1), "1 GPU needed, `spec.gpuBudget.total` allows 0"),
    (NoRoom("H100", 2, 1, 8, 12), "2 stages of 8 GPUs wanted, free H100 have room for 1 (12 free GPUs)"),
    (
        NoRoom("H100", 2, 1, 8, 12, "rack"),
        "2 stages of 8 GPUs wanted with one value of `rack`, free H100 have room for 1 (12 free GPUs)",
    ),
    (
        DomainTooSmall("L40S", 16, 8),
        "a tensor group of 16 exceeds the largest NVLink domain of L40S, 8 GPUs",
    ),
    (MoreGpus(8, 4), "fits, and needs 8 GPUs where 4 are enough"),
    (MoreGpus(2, 1), "fits, and needs 2 GPUs where 1 is enough"),
    (Tight(GIB // 2, 4 * GIB), "fits, but tightly: 0.5 GiB of slack a GPU, 4.0 GiB wanted"),
    (Slower("time per token", 1.254), "fits, at an estimated 1.25 times the time per token"),
    (Preferred("nodes are filled first"), "fits, and nodes are filled first"),
]


@pytest.mark.parametrize(("why", "words"), SAID, ids=lambda value: type(value).__name__)
def test_a_cause_is_said(why: Cause, words: str) -> None:
    assert cause(why) == words


def test_every_cause_there_is_has_its_words_here() -> None:
    """A new one needs its row."""
    assert {type(why) for why, _ in SAID} == set(get_args(Cause))


@pytest.mark.parametrize("kind", get_args(Cause), ids=lambda kind: kind.__name__)
def test_causes_are_plain_values(kind: type) -> None:
    """Frozen: they are kept, compared and counted."""
    assert dataclasses.is_dataclass(kind)
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]


@pytest.mark.parametrize("decided", list(Rule), ids=lambda one: one.value)
def test_every_rule_has_one_sentence(decided: Rule) -> None:
    assert 20 < len(rule(decided)) < 160


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            Hint("spec.gpuBudget.total", "16", Layout(8, 2), "H100"),
            "with `spec.gpuBudget.total: 16`, TP8×PP2 fits on H100",
        ),
        (Hint("spec.parallelism", "unset", Layout(4, 1), "H200"), "without `spec.parallelism`, TP4×PP1 fits on H200"),
    ],
)
def test_a_hint_names_field_value_and_what_then_fits(given: Hint, words: str) -> None:
    assert hint(given) == words
