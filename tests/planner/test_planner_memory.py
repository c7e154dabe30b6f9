"""The parts of the memory model, one by one."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.models import (
    LLAMA_8B,
    LLAMA_70B,
    QWEN_235B_FP8,
    R1,
    Dense,
    Latent,
    Mixed,
    a_demand,
    a_model,
    attention,
    facts,
)
from tests.support.strategies import layouts_of

from shardwise.domain.engine import EngineName
from shardwise.domain.layout import Layout
from shardwise.domain.model import GroupedCache, Precision, StateCache
from shardwise.domain.plan import MemoryUse
from shardwise.domain.units import GIB, MIB
from shardwise.planner.budgets import (
    COMMUNICATOR_OF_ALL,
    COMMUNICATOR_OF_PIPELINE,
    COMMUNICATOR_OF_TENSOR,
    RESERVE_ONE_GPU,
)
from shardwise.planner.caches import kv_bytes
from shardwise.planner.memory import is_tight, memory_use
from shardwise.planner.stages import layers_per_stage
from shardwise.planner.weights import EndBytes, bytes_on_rank, end_bytes, loaded_bytes, padded_vocabulary

BYTES = Precision(1.0)
VLLM = EngineName.VLLM


def layer_elements(layout: Layout, **changes: object) -> float:
    model = a_model(1, hidden=1024, **changes)  # type: ignore[arg-type]
    weights = (replace(weight, precision=BYTES) for weight in model.kinds[0].weights)
    return bytes_on_rank(weights, layout)


NORMS = 2 * 1024
DENSE = 3 * 1024 * 4096
LAYERS = {
    "grouped, whole": (
        Layout(1, 1),
        attention(16, 4, 64),
        Dense(4096),
        2 * 1024 * 1024 + 2 * 1024 * 256 + DENSE + NORMS,
    ),
    "grouped, halved": (
        Layout(2, 1),
        attention(16, 4, 64),
        Dense(4096),
        1024 * 1024 + 1024 * 256 + DENSE / 2 + NORMS,
    ),
    "keys and values copied beyond the KV heads": (
        Layout(8, 1),
        attention(16, 4, 64),
        Dense(4096),
        2 * 1024 * 1024 / 8 + 2 * 1024 * 64 + DENSE / 8 + NORMS,
    ),
    "biases": (
        Layout(1, 1),
        attention(16, 4, 64, bias=True),
        Dense(4096),
        2 * 1024 * 1024 + 2 * 1024 * 256 + 1024 + 512 + DENSE + NORMS,
    ),
    "norms of queries and keys": (
        Layout(2, 1),
        attention(16, 4, 64, qk_norm=True),
        Dense(4096),
        1024 * 1024 + 1024 * 256 + 128 + DENSE / 2 + NORMS,
    ),
    "not gated": (
        Layout(1, 1),
        attention(16, 4, 64),
        Dense(4096, gated=False),
        2 * 1024 * 1024 + 2 * 1024 * 256 + 2 * 1024 * 4096 + NORMS,
    ),
    "experts split": (
        Layout(4, 1),
        attention(16, 4, 64),
        Mixed(10, 2, 512),
        2 * 1024 * 1024 / 4 + 2 * 1024 * 64 + 10 * 3 * 1024 * 512 / 4 + 10 * 1024 + NORMS,
    ),
    "experts whole: the fullest rank has one more": (
        Layout(4, 1, expert=True),
        attention(16, 4, 64),
        Mixed(10, 2, 512),
        2 * 1024 * 1024 / 4 + 2 * 1024 * 64 + 3 * 3 * 1024 * 512 + 10 * 1024 + NORMS,
    ),
    "shared experts are split either way": (
        Layout(4, 1, expert=True),
        attention(16, 4, 64),
        Mixed(8, 2, 512, shared=1024),
        2 * 1024 * 1024 / 4 + 2 * 1024 * 64 + 2 * 3 * 1024 * 512 + 3 * 1024 * 1024 / 4 + 8 * 1024 + NORMS,
    ),
}


@pytest.mark.parametrize(("layout", "attends", "ffn", "elements"), LAYERS.values(), ids=LAYERS)
def test_a_layer_on_one_rank_is_counted(layout: Layout, attends: object, ffn: object, elements: float) -> None:
    assert layer_elements(layout, attends=attends, ffn=ffn) == elements


def test_mxfp4_experts_are_split_by_whole_blocks_and_the_fullest_rank_counts() -> None:
    """2880 columns are 90 blocks of 32: 23 for the fullest of four ranks, 12 for that of eight."""
    model = facts("openai/gpt-oss-120b")
    experts = [weight for weight in model.kinds[0].weights if weight.experts is not None and weight.precision.padded]
    for tensor, blocks in ((1, 90), (2, 45), (4, 23), (8, 12)):
        whole = sum(weight.size for weight in experts)
        assert bytes_on_rank(experts, Layout(tensor, 1)) == pytest.approx(whole * blocks / 90)


@pytest.mark.parametrize("tensor", [1, 2, 8])
def test_low_rank_projections_of_latent_attention_are_whole_on_every_rank(tensor: int) -> None:
    latent = Latent(heads=16, q_rank=256, kv_rank=128, nope_dim=64, rope_dim=32, value_dim=64)
    whole = 1024 * 256 + 1024 * (128 + 32) + 256 + 128 + NORMS
    up = 128 * 16 * (64 + 64)
    split = 256 * 16 * 96 + up + 16 * 64 * 1024 + DENSE
    absorbed = up / tensor
    assert layer_elements(Layout(tensor, 1), attends=latent, ffn=Dense(4096)) == whole + split / tensor + absorbed


@pytest.mark.parametrize(("size", "padded"), [(1, 64), (64, 64), (65, 128), (32000, 32000), (128256, 128256)])
def test_the_vocabulary_is_padded_to_64(size: int, padded: int) -> None:
    assert padded_vocabulary(size) == padded


def test_the_ends_hold_the_embedding_and_the_output_head() -> None:
    one, norm = 128256 * 4096 * 2, 4096 * 2
    assert end_bytes(a_model(2), 1, VLLM) == EndBytes(one, 0, one + norm, 2 * one + norm)
    assert end_bytes(a_model(2, tied=True), 1, VLLM) == EndBytes(one, 0, one + norm, one + norm)


def test_classes_that_build_an_end_on_every_stage_hold_it_there() -> None:
    """VLLM's Qwen3-MoE builds both (vllm-project/vllm#36861), Gemma 2 the embedding; SGLang and Llama build neither."""
    one, norm = 128256 * 4096 * 2, 4096 * 2
    both = replace(a_model(2), architecture="Qwen3MoeForCausalLM")
    assert end_bytes(both, 1, VLLM) == EndBytes(2 * one + norm, 2 * one + norm, 2 * one + norm, 2 * one + norm)
    assert end_bytes(both, 1, EngineName.SGLANG) == EndBytes(one, 0, one + norm, 2 * one + norm)
    tied = replace(a_model(2, tied=True), architecture="Gemma2ForCausalLM")
    assert end_bytes(tied, 1, VLLM) == EndBytes(one, one, one + norm, one + norm)


def test_a_vision_tower_lies_whole_on_the_first_stage() -> None:
    plain = a_model(2)
    seeing = replace(plain, tower=(replace(plain.head[0], outputs=1000),))
    with_it, without = (end_bytes(model, 2, VLLM) for model in (seeing, plain))
    assert with_it.first - without.first == with_it.both - without.both == 2000
    assert (with_it.middle, with_it.last) == (without.middle, without.last)


def test_tied_embeddings_are_held_at_both_ends_of_a_pipeline() -> None:
    tied = a_model(2, tied=True)
    layer, one, norm = bytes_on_rank(tied.kinds[0].weights, Layout(1, 1)), 128256 * 4096 * 2, 4096 * 2
    assert memory_use(a_demand(tied), Layout(1, 2), 0).weights == int(layer + one + norm)


def test_the_published_size_wins_over_the_count() -> None:
    model = a_model(4)
    larger = replace(model, checkpoint_bytes=int(loaded_bytes(model) * 1.5))
    counted, published = (memory_use(a_demand(one), Layout(2, 2), 0).weights for one in (model, larger))
    assert published == pytest.approx(counted * 1.5, rel=1e-6)


def test_the_budget_is_the_engines_share_of_what_the_label_reports() -> None:
    assert memory_use(a_demand(LLAMA_8B), Layout(1, 1), 81559 * MIB).budget == int(81559 * MIB * 0.92)


@pytest.mark.parametrize(
    ("layout", "reserve"),
    [
        (Layout(1, 1), RESERVE_ONE_GPU),
        (Layout(2, 1), RESERVE_ONE_GPU + COMMUNICATOR_OF_ALL + COMMUNICATOR_OF_TENSOR),
        (Layout(1, 2), RESERVE_ONE_GPU + COMMUNICATOR_OF_ALL + COMMUNICATOR_OF_PIPELINE),
        (
            Layout(2, 2),
            RESERVE_ONE_GPU + COMMUNICATOR_OF_ALL + COMMUNICATOR_OF_TENSOR + COMMUNICATOR_OF_PIPELINE,
        ),
    ],
)
def test_each_group_a_rank_belongs_to_reserves_a_communicator(layout: Layout, reserve: int) -> None:
    assert memory_use(a_demand(LLAMA_8B), layout, 0).reserve == reserve


def test_the_object_may_override_the_reserve() -> None:
    assert memory_use(a_demand(LLAMA_8B, reserve=7), Layout(8, 1), 0).reserve == 7


@pytest.mark.parametrize(("slack", "tight"), [(0, True), (4, True), (5, False), (50, False)])
def test_tight_is_under_five_percent_of_the_budget(slack: int, tight: bool) -> None:
    assert is_tight(MemoryUse(100 - slack, 0, 0, 0, 100)) is tight


def test_what_is_needed_is_the_sum_and_slack_the_rest() -> None:
    use = MemoryUse(weights=10, kv_cache=20, activations=30, reserve=5, budget=100)
    assert (use.needed, use.slack) == (65, 35)


@pytest.mark.parametrize(
    ("window", "context", "tokens"),
    [(None, 100_000, 100_000), (128, 100_000, 128 + 8192), (128, 4096, 4096), (200_000, 100_000, 100_000)],
)
def test_a_sliding_layer_keeps_its_window_and_one_chunk(window: int | None, context: int, tokens: int) -> None:
    demand = a_demand(a_model(), context=context)
    assert kv_bytes(demand, GroupedCache(8, 128, 128, window), 1) == 2 * 8 * 128 * 2 * tokens


def test_a_layer_may_keep_keys_and_a_state() -> None:
    """As Falcon-H1's and Zamba's do: the state has one size, whatever the context, with TensorRT-LLM."""
    plain = a_model(4)
    both = replace(plain, kinds=(replace(plain.kinds[0], state=StateCache(1000)),))
    for context in (1024, 4096):
        with_state, without = (
            memory_use(a_demand(model, context=context, engine=EngineName.TENSORRT_LLM), Layout(2, 1), 0)
            for model in (both, plain)
        )
        assert with_state.kv_cache - without.kv_cache == 4 * 1000 // 2


def test_the_kv_cache_grows_with_concurrency_and_element_size() -> None:
    one = kv_bytes(a_demand(LLAMA_8B), GroupedCache(8, 128, 128), 1)
    assert kv_bytes(a_demand(LLAMA_8B, concurrency=3), GroupedCache(8, 128, 128), 1) == 3 * one
    assert kv_bytes(a_demand(LLAMA_8B, kv_bytes=1), GroupedCache(8, 128, 128), 1) == one / 2


@pytest.mark.parametrize("name", [LLAMA_70B, R1, QWEN_235B_FP8])
@pytest.mark.parametrize("pipeline", [1, 2, 4])
def test_more_tensor_parallelism_never_makes_a_rank_heavier(name: str, pipeline: int) -> None:
    uses = [memory_use(a_demand(name), Layout(tensor, pipeline), 0).needed for tensor in (2, 4, 8, 16)]
    assert uses == sorted(uses, reverse=True)


@pytest.mark.parametrize("tensor", [1, 2, 4, 8])
def test_the_ranks_of_a_dense_model_hold_at_least_the_whole_of_it(tensor: int) -> None:
    model = facts(LLAMA_70B)
    assert memory_use(a_demand(model), Layout(tensor, 1), 0).weights * tensor >= int(loaded_bytes(model)) - tensor


@given(tensor=st.sampled_from([1, 2, 4, 8]), pipeline=st.integers(1, 32))
def test_the_stages_together_hold_every_layer_and_the_fullest_at_least_its_share(tensor: int, pipeline: int) -> None:
    demand = a_demand(LLAMA_8B)
    use = memory_use(demand, Layout(tensor, pipeline), 80 * GIB)
    layer = bytes_on_rank(demand.model.kinds[0].weights, Layout(tensor, 1))
    assert use.weights >= max(layers_per_stage(EngineName.VLLM, 32, pipeline)) * layer - 1
    assert use.weights <= loaded_bytes(demand.model)


@given(
    context=st.integers(1, 200_000),
    more=st.integers(0, 100_000),
    layout=layouts_of(st.sampled_from([1, 2, 4, 8]), st.integers(1, 8)),
)
def test_a_longer_context_never_needs_less(context: int, more: int, layout: Layout) -> None:
    short, long = (memory_use(a_demand(LLAMA_8B, context=tokens), layout, 0) for tokens in (context, context + more))
    assert long.needed >= short.needed
