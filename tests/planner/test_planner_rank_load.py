"""The times of a data rank under load, term by term: each expected time is worked out by hand from a small model.

The GPU is made up: 1 TB/s and 1 PFLOP/s are what is left of its peaks at the achieved share of 0.7.
"""

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.models import KIMI_K2, LLAMA_8B, QWEN_235B_FP8, R1, Dense, Mixed, a_demand, a_model, attention, facts

from shardwise.domain.engine import LEAST_CHUNK
from shardwise.domain.hardware import GpuKind, gpu_kind
from shardwise.domain.layout import Layout
from shardwise.domain.model import ModelFacts, Quantization, StateCache
from shardwise.planner.cost import achieved_flops, step_seconds
from shardwise.planner.links import Links, all_reduce_seconds, exchange_seconds, send_seconds
from shardwise.planner.rank_load import EXPERTS_SHARE, REQUEST_START, RankLoad, attention_flops

OPERATIONS = 1e15
KIND = GpuKind("made-up", hbm=1e12 / 0.7, flops=OPERATIONS / 0.7, nvlink=4e11, pcie=5e10)
LINKS = Links(KIND, tensor_on_nvlink=True, stages_in_domain=True, domain=8)
HIDDEN = 1024
NORMS = 2 * HIDDEN
QUERIES = HIDDEN * HIDDEN
"""Of 16 heads of 64; the output of attention has as many."""
KEYS = HIDDEN * 256
"""Of 4 heads of 64; values have as many."""
FED = 3 * HIDDEN * 4096
DENSE = NORMS + 2 * QUERIES + 2 * KEYS + FED
ROUTER = 16 * HIDDEN
EXPERT = 3 * HIDDEN * 512
ROUTED = NORMS + 2 * QUERIES + 2 * KEYS + ROUTER
ACTIVE = 4
"""Of 16 experts, for each token."""
BYTES = 2

PLAIN = a_model(4, attends=attention(16, 4, 64), ffn=Dense(4096), hidden=HIDDEN, vocabulary=64000)
MIXTURE = a_model(2, attends=attention(16, 4, 64), ffn=Mixed(16, ACTIVE, 512), hidden=HIDDEN, vocabulary=64000)


def attended(tokens: int) -> float:
    """Count the operations of attention of a prompt in a layer: each token over half of the tokens, on average."""
    return 4 * tokens * (tokens / 2) * HIDDEN


def load(model: ModelFacts, layout: Layout, sent: int = 1000, got: int = 100, links: Links = LINKS) -> RankLoad:
    return RankLoad(a_demand(model, context=2 * sent + got), layout, links, sent, got)


@dataclass(frozen=True)
class Prompt:
    """A prompt on a layout, and its seconds on the slowest stage."""

    model: ModelFacts
    layout: Layout
    tokens: int
    seconds: float


def reduced(tokens: int, gpus: int, layers: int) -> float:
    """Give the seconds of both all-reduces of some layers for so many tokens at once."""
    return layers * 2 * all_reduce_seconds(tokens * HIDDEN * BYTES, gpus, LINKS)


SHARED = ROUTED - NORMS - ROUTER
"""The elements of a routed layer that a tensor group shares."""

PROMPTS: dict[str, Prompt] = {
    "one GPU": Prompt(PLAIN, Layout(1, 1), 1000, 4 * (2 * DENSE * 1000 + attended(1000)) / OPERATIONS),
    "a prompt of one token": Prompt(PLAIN, Layout(1, 1), 1, 4 * (2 * DENSE + attended(1)) / OPERATIONS),
    "a long prompt is quadratic in its attention": Prompt(
        PLAIN, Layout(1, 1), 20_000, 4 * (2 * DENSE * 20_000 + attended(20_000)) / OPERATIONS
    ),
    "two GPUs halve what they share, and reduce": Prompt(
        PLAIN,
        Layout(2, 1),
        1000,
        4 * (2 * ((DENSE - NORMS) / 2 + NORMS) * 1000 + attended(1000) / 2) / OPERATIONS + reduced(1000, 2, 4),
    ),
    "eight GPUs keep a KV head each, twice": Prompt(
        PLAIN,
        Layout(8, 1),
        1000,
        4 * (2 * ((2 * QUERIES + FED) / 8 + 2 * KEYS / 4 + NORMS) * 1000 + attended(1000) / 8) / OPERATIONS
        + reduced(1000, 8, 4),
    ),
    "two stages: the half of the layers": Prompt(
        PLAIN, Layout(1, 2), 1000, 2 * (2 * DENSE * 1000 + attended(1000)) / OPERATIONS
    ),
    "four stages: a quarter": Prompt(PLAIN, Layout(1, 4), 1000, (2 * DENSE * 1000 + attended(1000)) / OPERATIONS),
    "three stages: the longest has two layers": Prompt(
        PLAIN, Layout(1, 3), 1000, 2 * (2 * DENSE * 1000 + attended(1000)) / OPERATIONS
    ),
    "a mixture meets its active experts, at half the speed": Prompt(
        MIXTURE,
        Layout(1, 1),
        1000,
        2 * (2 * (ROUTED + ACTIVE * EXPERT) * 1000 / EXPERTS_SHARE + attended(1000)) / OPERATIONS,
    ),
    "a mixture on two GPUs": Prompt(
        MIXTURE,
        Layout(2, 1),
        1000,
        2
        * (2 * (SHARED / 2 + NORMS + ROUTER + ACTIVE * EXPERT / 2) * 1000 / EXPERTS_SHARE + attended(1000) / 2)
        / OPERATIONS
        + reduced(1000, 2, 2),
    ),
}


@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
def test_a_prompt_takes_the_sum_of_its_parts(prompt: Prompt) -> None:
    assert load(prompt.model, prompt.layout, sent=prompt.tokens).prompt == pytest.approx(prompt.seconds, rel=1e-9)


def test_chunks_of_a_long_prompt_are_reduced_one_by_one() -> None:
    """Each of 20,000 tokens in chunks of 8,192: the exchange is that of a chunk, as often as chunks fit."""
    linear = 4 * (2 * ((DENSE - NORMS) / 2 + NORMS) * 20_000 + attended(20_000) / 2) / OPERATIONS
    exchanged = reduced(8192, 2, 4) * 20_000 / 8192
    assert load(PLAIN, Layout(2, 1), sent=20_000).prompt == pytest.approx(linear + exchanged, rel=1e-9)


def test_data_ranks_read_prompts_of_their_own_and_share_the_experts_of_all() -> None:
    layout = Layout(1, 1, expert=True, data=2)
    chunk = min(1000, max(LEAST_CHUNK, 8192 // 2))
    experts = 2 * ACTIVE * EXPERT / 2
    linear = 2 * (ROUTED + experts) * 1000 / EXPERTS_SHARE
    exchanged = exchange_seconds(chunk, HIDDEN, ACTIVE, layout, LINKS) * 1000 / chunk
    inside = all_reduce_seconds(chunk * HIDDEN * BYTES, 1, LINKS)
    expected = 2 * ((linear + attended(1000)) / OPERATIONS + exchanged + inside)
    assert load(MIXTURE, layout).prompt == pytest.approx(expected, rel=1e-9)


SHARES: dict[str, tuple[str, Quantization, float]] = {
    "16 bits on Hopper": ("H100-80GB-HBM3", Quantization.NONE, 0.7),
    "fp8 on Hopper": ("H100-80GB-HBM3", Quantization.FP8, 1.1),
    "fp8 on Ada": ("L40S", Quantization.FP8, 1.1),
    "fp8 on Ampere, which has no units for it": ("A100-SXM4-80GB", Quantization.FP8, 0.7),
    "fp8 on Blackwell": ("B200", Quantization.FP8, 1.1),
    "int4, whose activations have 16 bits": ("H100-80GB-HBM3", Quantization.INT4, 0.7),
    "mxfp4 on Hopper": ("H100-80GB-HBM3", Quantization.MXFP4, 0.7),
    "nvfp4 on Blackwell": ("B200", Quantization.NVFP4, 1.6),
    "nvfp4 on Hopper, which has no units for it": ("H100-80GB-HBM3", Quantization.NVFP4, 0.7),
    "fp8 on a product that nobody knows": ("Acme-Turbo-9000", Quantization.FP8, 0.7),
}


@pytest.mark.parametrize(("product", "quantization", "share"), SHARES.values(), ids=SHARES)
def test_the_precision_of_the_weights_sets_the_compute(product: str, quantization: Quantization, share: float) -> None:
    kind = gpu_kind(product)
    model = replace(PLAIN, quantization=quantization)
    assert achieved_flops(model, kind) == pytest.approx(share * kind.flops)


def test_latent_attention_counts_the_heads_that_it_gives_back() -> None:
    """DeepSeek's 128 heads of 128."""
    layer = facts(R1).kinds[0]
    assert attention_flops(layer, 1000) == 4 * 1000 * 500 * 128 * 128


def test_layers_with_a_state_alone_attend_to_nothing() -> None:
    layer = PLAIN.kinds[0]
    assert attention_flops(replace(layer, cache=StateCache(1024)), 1000) == 0
    assert attention_flops(replace(layer, cache=None), 1000) == 0


@pytest.mark.parametrize("requests", [1, 7, 64])
@pytest.mark.parametrize("layout", [Layout(1, 1), Layout(2, 1), Layout(4, 1)], ids=str)
def test_without_stages_a_step_is_a_decode_step(layout: Layout, requests: int) -> None:
    demand = a_demand(PLAIN, context=2100)
    assert load(PLAIN, layout).step(requests) == step_seconds(demand, layout, LINKS, batch=requests)


STEPS: dict[str, tuple[int, int, float]] = {
    "a lone request goes through both stages": (2, 1, 1),
    "two requests are in a stage each": (2, 2, 1),
    "three requests: one and a half in a part, on average": (2, 3, 1.5),
    "eight requests: four in a part": (2, 8, 4),
    "eight requests in four stages": (4, 8, 2),
}


@pytest.mark.parametrize(("stages", "requests", "batch"), STEPS.values(), ids=STEPS)
def test_stages_divide_the_requests_into_parts(stages: int, requests: int, batch: float) -> None:
    """A step is no faster than the parts that follow one another through the slowest stage, which samples."""
    layout = Layout(1, stages)
    found = load(PLAIN, layout).step(requests)
    through = step_seconds(a_demand(PLAIN, context=2100), layout, LINKS, batch=batch)
    if requests == 1:
        assert found == through
    else:
        sent = send_seconds(batch * HIDDEN * BYTES, LINKS)
        assert found > through
        assert found < stages * (through + sent)


def test_a_prompt_goes_through_all_stages_in_chunks() -> None:
    """One chunk takes as long as all stages together; many chunks little longer than the slowest stage."""
    sent = send_seconds(8000 * HIDDEN * BYTES, LINKS)
    whole, half = load(PLAIN, Layout(1, 1), sent=8000), load(PLAIN, Layout(1, 2), sent=8000)
    alone = half.first_token(1) - REQUEST_START - half.prompt**2 / (200 * half.step(1))
    assert alone == pytest.approx(whole.prompt + sent, rel=1e-9)
    long = load(PLAIN, Layout(1, 2), sent=81_920, got=100)
    through = long.first_token(1) - REQUEST_START - long.prompt**2 / (200 * long.step(1))
    assert through == pytest.approx(long.prompt * 11 / 10 + send_seconds(8192 * HIDDEN * BYTES, LINKS), rel=1e-9)


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        (LLAMA_8B, Layout(1, 1)),
        (LLAMA_8B, Layout(4, 2)),
        (QWEN_235B_FP8, Layout(8, 1)),
        (QWEN_235B_FP8, Layout(1, 1, expert=True, data=8)),
        (KIMI_K2, Layout(8, 2)),
    ],
    ids=str,
)
@given(st.integers(1, 255), st.sampled_from([1, 128, 4000]), st.sampled_from([1, 50, 2000]))
def test_more_requests_wait_longer_and_are_served_faster_together(
    name: str, layout: Layout, requests: int, sent: int, got: int
) -> None:
    """On both does the search by halving rely.

    Only where a message gets too large for the engine's own all-reduce does a step take a leap, over which the rate and
    the wait of prompts fall by up to a tenth.
    """
    kind = gpu_kind("H200")
    links = Links(kind, tensor_on_nvlink=True, stages_in_domain=True, domain=8)
    found = load(facts(name), layout, sent, got, links)
    assert found.per_token(requests + 1) >= found.per_token(requests)
    assert found.first_token(requests + 1) >= found.first_token(requests) * 0.9
    assert found.rate(requests + 1) >= found.rate(requests) * 0.9


@given(st.integers(1, 300), st.sampled_from([16, 1000, 30_000]), st.sampled_from([1, 100, 4000]))
def test_by_littles_law_the_requests_at_once_are_the_rate_times_their_stay(requests: int, sent: int, got: int) -> None:
    found = load(PLAIN, Layout(1, 1), sent, got)
    assert found.rate(requests) * got * found.per_token(requests) == pytest.approx(requests)


@given(st.integers(1, 300), st.sampled_from([16, 1000, 30_000]), st.sampled_from([1, 100, 4000]))
def test_no_load_reads_prompts_for_longer_than_all_of_the_time(requests: int, sent: int, got: int) -> None:
    found = load(PLAIN, Layout(1, 1), sent, got)
    assert found.rate(requests) * found.prompt < 1
