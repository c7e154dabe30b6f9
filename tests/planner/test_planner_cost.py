"""The estimate term by term: each expected time is worked out by hand from the elements of a small model.

The GPU is made up: 1 TB/s and 1 PFLOP/s are what is left of its peaks at the achieved share of 0.7, so that bytes and
operations read as times.
"""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.models import Dense, Mixed, a_demand, a_model, attention

from shardwise.domain.hardware import GpuKind
from shardwise.domain.layout import Layout
from shardwise.domain.model import GroupedCache, ModelFacts, Quantization, StateCache
from shardwise.domain.plan import MemoryUse
from shardwise.planner.cost import estimate, step_seconds
from shardwise.planner.links import Links

BANDWIDTH = 1e12
OPERATIONS = 1e15
KIND = GpuKind("made-up", hbm=BANDWIDTH / 0.7, flops=OPERATIONS / 0.7, nvlink=4e11, pcie=5e10)
LINKS = Links(KIND, tensor_on_nvlink=True, stages_in_domain=True)
MODEST = replace(LINKS, kind=replace(KIND, flops=1e11 / 0.7))
"""As before with a ten-thousandth of the compute: every layer is bound by it."""

NORMS = 2 * 1024
ATTENTION = 2 * 1024 * 1024 + 2 * 1024 * 256
FED = 3 * 1024 * 4096
ELEMENTS = NORMS + ATTENTION + FED
"""Of one layer: hidden 1024, 16 heads and 4 KV heads of 64, a gated feed-forward of 4096."""

CACHE = 4096 * 4 * 128 * 2
"""Bytes of half of 8192 tokens: keys and values of 4 heads of 64 in two bytes."""

HEAD = (64000 * 1024 + 1024) * 2
SAMPLED = 40e-6
CHOSEN = 50e-6
"""In a layer with experts: for their choice."""
SENT = 12e-6 + 2048 / (0.72 * 4e11)
REDUCED = 6e-6 + 2 * 0.6e-6 + 2048 / (0.62 * 4e11)
"""Of one token over NVLink: a send of 1024 activations of two bytes, and an all-reduce of two GPUs."""


def small(layers: int = 4, **changes: object) -> ModelFacts:
    made = {"attends": attention(16, 4, 64), "ffn": Dense(4096), "hidden": 1024, "vocabulary": 64000} | changes
    return a_model(layers, **made)  # type: ignore[arg-type]


def with_layer(model: ModelFacts, **changes: object) -> ModelFacts:
    return replace(model, kinds=(replace(model.kinds[0], **changes),))  # type: ignore[arg-type]


PLAIN = small()
HALVED = (ATTENTION + FED) / 2 + NORMS
WINDOWED = 128 * 4 * 128 * 2
LAYER = 2 * ELEMENTS + CACHE
EXPERTS = 3 * 1024 * 512
ROUTED = ATTENTION + NORMS + 16 * 1024
"""What every token passes in a layer of 16 experts of 512 columns: all but the experts."""

MIXTURE = small(1, ffn=Mixed(16, 4, 512))
DERIVED = with_layer(
    PLAIN, weights=(*PLAIN.kinds[0].weights, replace(PLAIN.kinds[0].weights[-1], name="made", derived=True))
)

STEPS: dict[str, tuple[ModelFacts, Layout, Links, int, float]] = {
    "four layers and the head": (PLAIN, Layout(1, 1), LINKS, 1, (4 * LAYER + HEAD) / BANDWIDTH + SAMPLED),
    "eight sequences read the weights once and each its cache": (
        PLAIN,
        Layout(1, 1),
        LINKS,
        8,
        (4 * (2 * ELEMENTS + 8 * CACHE) + HEAD) / BANDWIDTH + 8 * SAMPLED,
    ),
    "a tied head is read all the same": (
        small(tied=True),
        Layout(1, 1),
        LINKS,
        1,
        (4 * LAYER + HEAD) / BANDWIDTH + SAMPLED,
    ),
    "two stages: one border, one head": (
        PLAIN,
        Layout(1, 2),
        LINKS,
        1,
        (4 * LAYER + HEAD) / BANDWIDTH + SAMPLED + SENT,
    ),
    "four stages: three borders": (
        PLAIN,
        Layout(1, 4),
        LINKS,
        1,
        (4 * LAYER + HEAD) / BANDWIDTH + SAMPLED + 3 * SENT,
    ),
    "two ranks halve what is split and reduce twice a layer": (
        PLAIN,
        Layout(2, 1),
        LINKS,
        1,
        (4 * (2 * HALVED + CACHE / 2) + 64000 * 1024 + 2048) / BANDWIDTH + SAMPLED + 4 * 2 * REDUCED,
    ),
    "a layer that reduces once": (
        with_layer(PLAIN, reduces=1),
        Layout(2, 1),
        LINKS,
        1,
        (4 * (2 * HALVED + CACHE / 2) + 64000 * 1024 + 2048) / BANDWIDTH + SAMPLED + 4 * REDUCED,
    ),
    "bound by compute: two operations for each element": (
        PLAIN,
        Layout(1, 1),
        MODEST,
        1,
        4 * 2 * ELEMENTS / 1e11 + HEAD / BANDWIDTH + SAMPLED,
    ),
    "bound by compute: each sequence takes as long": (
        PLAIN,
        Layout(1, 1),
        MODEST,
        8,
        8 * 4 * 2 * ELEMENTS / 1e11 + HEAD / BANDWIDTH + 8 * SAMPLED,
    ),
    "a window is read and no more": (
        with_layer(PLAIN, cache=GroupedCache(4, 64, 64, 128)),
        Layout(1, 1),
        LINKS,
        1,
        (4 * (2 * ELEMENTS + WINDOWED) + HEAD) / BANDWIDTH + SAMPLED,
    ),
    "a window beyond the context": (
        with_layer(PLAIN, cache=GroupedCache(4, 64, 64, 100_000)),
        Layout(1, 1),
        LINKS,
        1,
        (4 * (2 * ELEMENTS + 2 * CACHE) + HEAD) / BANDWIDTH + SAMPLED,
    ),
    "a state is read whole, beside a cache": (
        with_layer(PLAIN, state=StateCache(6_000_000)),
        Layout(1, 1),
        LINKS,
        2,
        (4 * (2 * ELEMENTS + 2 * CACHE + 2 * 6_000_000) + HEAD) / BANDWIDTH + 2 * SAMPLED,
    ),
    "a state is shared over the tensor group": (
        with_layer(PLAIN, cache=StateCache(6_000_000)),
        Layout(2, 1),
        LINKS,
        1,
        (4 * (2 * HALVED + 3_000_000) + 64000 * 1024 + 2048) / BANDWIDTH + SAMPLED + 4 * 2 * REDUCED,
    ),
    "a layer that keeps nothing": (
        with_layer(PLAIN, cache=None),
        Layout(1, 1),
        LINKS,
        1,
        (4 * 2 * ELEMENTS + HEAD) / BANDWIDTH + SAMPLED,
    ),
    "what the engine derives is not read besides": (
        DERIVED,
        Layout(1, 1),
        LINKS,
        1,
        (4 * LAYER + HEAD) / BANDWIDTH + SAMPLED,
    ),
    "a quarter of the experts for one token": (
        MIXTURE,
        Layout(1, 1),
        LINKS,
        1,
        (2 * (ROUTED + 16 * EXPERTS / 4) + CACHE + HEAD) / BANDWIDTH + SAMPLED + CHOSEN,
    ),
    "7 of 16 parts of the experts for two tokens": (
        MIXTURE,
        Layout(1, 1),
        LINKS,
        2,
        (2 * (ROUTED + 16 * EXPERTS * 7 / 16) + 2 * CACHE + HEAD) / BANDWIDTH + 2 * SAMPLED + CHOSEN,
    ),
    "activations are quantized to fp8 in each layer": (
        replace(PLAIN, quantization=Quantization.FP8),
        Layout(1, 1),
        replace(LINKS, kind=replace(KIND, compute_capability=(8, 9))),
        1,
        (4 * LAYER + HEAD) / BANDWIDTH + SAMPLED + 4 * 42e-6,
    ),
    "a GPU without fp8 quantizes no activations": (
        replace(PLAIN, quantization=Quantization.FP8),
        Layout(1, 1),
        replace(LINKS, kind=replace(KIND, compute_capability=(8, 0))),
        1,
        (4 * LAYER + HEAD) / BANDWIDTH + SAMPLED,
    ),
    "each token passes its active experts": (
        MIXTURE,
        Layout(1, 1),
        MODEST,
        2,
        2 * 2 * (ROUTED + 4 * EXPERTS) / 1e11 + HEAD / BANDWIDTH + 2 * SAMPLED + CHOSEN,
    ),
}


@pytest.mark.parametrize(("model", "layout", "links", "batch", "seconds"), STEPS.values(), ids=STEPS)
def test_a_step_takes_the_time_of_its_terms(
    model: ModelFacts, layout: Layout, links: Links, batch: int, seconds: float
) -> None:
    assert step_seconds(a_demand(model), layout, links, batch=batch) == pytest.approx(seconds, rel=1e-9)


ROOM_FOR_8 = MemoryUse(0, 100, 0, 0, 400)
PROMPT = 4 * 2 * ELEMENTS / OPERATIONS
"""A token of a prompt passes each element of four layers once, at two operations."""


def served(layers: int, sequences: int) -> float:
    """Give the time in which so many layers read their weights once and the caches of so many sequences."""
    return layers * (2 * ELEMENTS + sequences * CACHE) / BANDWIDTH


def sampled(sequences: int) -> float:
    return HEAD / BANDWIDTH + sequences * SAMPLED


def sent(sequences: int) -> float:
    return 12e-6 + sequences * 2048 / (0.72 * 4e11)


TOKENS: dict[str, tuple[Layout, MemoryUse, int, float]] = {
    "room for four times what is asked is eight of half the length": (
        Layout(1, 1),
        ROOM_FOR_8,
        1,
        (served(4, 8) + sampled(8)) / 8 + PROMPT,
    ),
    "what is asked is what all its sequences keep": (
        Layout(1, 1),
        ROOM_FOR_8,
        4,
        (served(4, 32) + sampled(32)) / 32 + PROMPT,
    ),
    "no more than 256 sequences": (
        Layout(1, 1),
        replace(ROOM_FOR_8, budget=10**9),
        1,
        (served(4, 256) + sampled(256)) / 256 + PROMPT,
    ),
    "a model that keeps nothing": (
        Layout(1, 1),
        replace(ROOM_FOR_8, kv_cache=0),
        1,
        (served(4, 256) + sampled(256)) / 256 + PROMPT,
    ),
    "two stages: the slower ends in the head, and each waits for a border": (
        Layout(1, 2),
        ROOM_FOR_8,
        1,
        (served(2, 4) + sampled(4) + sent(4)) / 4 + PROMPT / 2,
    ),
    "fewer sequences than stages": (
        Layout(1, 4),
        replace(ROOM_FOR_8, budget=100),
        1,
        (served(1, 1) + sampled(1) + sent(1)) / 1 + PROMPT / 4,
    ),
}


@pytest.mark.parametrize(("layout", "use", "concurrency", "seconds"), TOKENS.values(), ids=TOKENS)
def test_a_token_at_the_serving_batch_takes_the_time_of_its_terms(
    layout: Layout, use: MemoryUse, concurrency: int, seconds: float
) -> None:
    guess = estimate(a_demand(PLAIN, concurrency=concurrency), layout, LINKS, use)
    assert 1 / guess.tokens_per_second_per_gpu == pytest.approx(seconds * layout.world_size, rel=1e-9)
    assert guess.seconds_per_token == step_seconds(a_demand(PLAIN), layout, LINKS, batch=1)


@pytest.mark.parametrize("reduces", [1, 2])
def test_the_chunk_of_a_prompt_is_reduced_in_every_layer(reduces: int) -> None:
    """8192 tokens of 2048 bytes are more than engines' own kernels take: NCCL starts in 30 µs."""
    model = with_layer(PLAIN, reduces=reduces, cache=None)
    guess = estimate(a_demand(model), Layout(2, 1), LINKS, MemoryUse(0, 0, 0, 0, 0))
    message = 256 * 2048
    decode = 4 * (2 * HALVED / BANDWIDTH + reduces * (7.2e-6 + message / (0.62 * 4e11)))
    decode += (64000 * 1024 + 2048) / BANDWIDTH + 256 * SAMPLED
    chunk = 30e-6 + 8192 * 2048 / (0.62 * 4e11)
    prompt = 4 * (2 * HALVED / OPERATIONS + reduces * chunk / 8192)
    assert 1 / guess.tokens_per_second_per_gpu == pytest.approx(2 * (decode / 256 + prompt), rel=1e-9)


def test_the_fullest_stage_sets_the_pace_of_a_prompt() -> None:
    """Five layers on two stages of vLLM are three and two, and the head does not see a prompt's tokens."""
    guess = estimate(a_demand(small(5)), Layout(1, 2), LINKS, ROOM_FOR_8)
    stage = max(served(3, 4), served(2, 4) + sampled(4)) + sent(4)
    expected = stage / 4 + 3 * 2 * ELEMENTS / OPERATIONS
    assert 1 / guess.tokens_per_second_per_gpu == pytest.approx(2 * expected, rel=1e-9)


@given(st.integers(1, 8), st.integers(1, 512), st.sampled_from([1024, 8192, 65536]))
def test_a_longer_context_and_a_larger_batch_never_take_less_time(pipeline: int, batch: int, context: int) -> None:
    model, layout = small(8), Layout(2, pipeline)
    base = step_seconds(a_demand(model, context=context), layout, LINKS, batch=batch)
    assert step_seconds(a_demand(model, context=2 * context), layout, LINKS, batch=batch) > base
    assert step_seconds(a_demand(model, context=context), layout, LINKS, batch=batch + 1) > base
