"""What each part of the memory model adds, in bytes worked out by hand, and in which direction it may grow."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.fleets import H200, cuda_bytes
from tests.support.models import (
    DATA,
    KIMI_K2,
    LLAMA_8B,
    LLAMA_70B,
    LLAMA_405B,
    QWEN_235B_FP8,
    R1,
    Dense,
    Mixed,
    a_demand,
    a_model,
    attention,
    config_names,
    facts,
)

from shardwise.domain.engine import EngineName
from shardwise.domain.layout import Layout
from shardwise.domain.model import GroupedCache, LatentCache, ModelFacts, SequenceCache, StateCache, Widths
from shardwise.domain.units import GIB, MIB
from shardwise.planner.budgets import (
    COMMUNICATOR_OF_ALL,
    COMMUNICATOR_OF_PIPELINE,
    COMMUNICATOR_OF_TENSOR,
    CUDA_CONTEXT,
    RESERVE_ONE_GPU,
)
from shardwise.planner.budgets import memory_use as budgeted
from shardwise.planner.caches import kv_bytes, kv_bytes_per_token
from shardwise.planner.memory import memory_use
from shardwise.planner.weights import checkpoint_scale, loaded_bytes

ONE = Layout(1, 1)
GPU = 80 * GIB
VLLM, SGLANG, TENSORRT_LLM = EngineName.VLLM, EngineName.SGLANG, EngineName.TENSORRT_LLM


def with_layer(model: ModelFacts, **changes: Any) -> ModelFacts:
    return replace(model, kinds=(replace(model.kinds[0], **changes),))


CACHES: dict[str, tuple[SequenceCache | None, int, int, int]] = {
    "keys and values of unlike width": (GroupedCache(8, 192, 128), 1, 2, 8 * (192 + 128) * 2),
    "six KV heads on four ranks: two on the fullest": (GroupedCache(6, 128, 128), 4, 2, 2 * 256 * 2),
    "as many ranks as KV heads": (GroupedCache(6, 128, 128), 6, 2, 256 * 2),
    "latent": (LatentCache(576), 8, 2, 576 * 2),
    "latent in one byte": (LatentCache(576), 8, 1, 576),
    "an index of sparse attention in a precision of its own": (LatentCache(576, 132), 8, 2, 576 * 2 + 132),
    "the same beside a cache in one byte": (LatentCache(576, 132), 8, 1, 576 + 132),
    "nothing": (None, 1, 2, 0),
}


@pytest.mark.parametrize(("cache", "tensor", "element", "a_token"), CACHES.values(), ids=CACHES)
def test_a_token_adds_to_a_layers_cache(cache: SequenceCache | None, tensor: int, element: int, a_token: int) -> None:
    demand = a_demand(LLAMA_8B, kv_bytes=element, context=1000, concurrency=3)
    assert kv_bytes(demand, cache, tensor) == 3000 * a_token


@pytest.mark.parametrize(("tensor", "concurrency", "size"), [(1, 1, 6000), (4, 1, 1500), (4, 5, 7500)])
def test_a_state_is_kept_for_each_sequence_and_shared_over_the_group(tensor: int, concurrency: int, size: int) -> None:
    for context in (1, 100_000):
        demand = a_demand(LLAMA_8B, context=context, concurrency=concurrency)
        assert kv_bytes(demand, StateCache(6000), tensor) == size


PER_TOKEN = {
    LLAMA_8B: 32 * 2 * 8 * 128 * 2,
    LLAMA_70B: 80 * 2 * 8 * 128 * 2,
    LLAMA_405B: 126 * 2 * 8 * 128 * 2,
    QWEN_235B_FP8: 94 * 2 * 4 * 128 * 2,
    R1: 61 * 576 * 2,
    KIMI_K2: 61 * 576 * 2,
    "openai/gpt-oss-20b": 24 * 2 * 8 * 64 * 2,
    "nvidia/Nemotron-H-56B-Base-8K": 10 * 2 * 8 * 128 * 2,
}


@pytest.mark.parametrize(("name", "size"), PER_TOKEN.items())
def test_a_token_over_all_layers_of_a_known_model(name: str, size: int) -> None:
    """Layers × KV heads × head size of the published configs; Nemotron-H attends in 10 of its 118 layers."""
    assert kv_bytes_per_token(facts(name)) == size
    assert kv_bytes_per_token(facts(name), 1) == size / 2


CHUNK = 8192 * 2
WIDE = with_layer(a_model(2, hidden=1024, vocabulary=1000), widths=Widths(split=4000, whole=600, expert=800))
ACTIVATIONS: dict[str, tuple[ModelFacts, Layout, int, int]] = {
    "a chunk on one rank": (WIDE, ONE, 1, CHUNK * (3 * 1024 + 4000 + 600 + 800)),
    "a chunk on four ranks": (WIDE, Layout(4, 1), 1, CHUNK * (3 * 1024 + 1000 + 600 + 200)),
    "experts dealt out whole stay as wide": (
        WIDE,
        Layout(4, 1, expert=True),
        1,
        CHUNK * (3 * 1024 + 1000 + 600 + 800),
    ),
    "sampling 256 sequences": (
        replace(WIDE, vocabulary=1_000_001),
        ONE,
        1,
        3 * 4 * 256 * 1_000_064,
    ),
    "sampling as many as are asked at once": (
        replace(WIDE, vocabulary=1_000_001),
        ONE,
        400,
        3 * 4 * 400 * 1_000_064,
    ),
    "sampling on every rank": (
        replace(WIDE, vocabulary=1_000_001),
        Layout(4, 2),
        1,
        3 * 4 * 256 * 1_000_064,
    ),
}


@pytest.mark.parametrize(("model", "layout", "concurrency", "size"), ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_activations_are_those_of_a_chunk_or_of_sampling(
    model: ModelFacts, layout: Layout, concurrency: int, size: int
) -> None:
    demand = a_demand(model, concurrency=concurrency, context=1)
    assert memory_use(demand, layout, GPU).activations == size


def test_the_widest_kind_of_layer_sizes_activations() -> None:
    narrow = replace(WIDE.kinds[0], widths=Widths(split=8))
    for kinds in ((narrow, WIDE.kinds[0]), (WIDE.kinds[0], narrow)):
        model = replace(WIDE, kinds=kinds, order=(0, 1))
        assert memory_use(a_demand(model), ONE, GPU).activations == CHUNK * (3 * 1024 + 4000 + 600 + 800)


def test_weights_and_cache_are_those_of_one_stage() -> None:
    """The first stage holds more weights, the second more of both together: it is the fullest."""
    base = a_model(1, hidden=1024, vocabulary=64, attends=attention(16, 4, 64), ffn=Dense(4096))
    heavy = replace(base.kinds[0], cache=None)
    light = replace(base.kinds[0], weights=base.kinds[0].weights[:1], cache=GroupedCache(8, 128, 128))
    model = replace(base, kinds=(heavy, light), order=(0, 1))
    use = memory_use(a_demand(model, context=100_000), Layout(1, 2), GPU)
    assert use.kv_cache == 2 * 8 * 128 * 2 * 100_000
    assert use.weights == (1024 + 1024 + 64 * 1024) * 2


def test_a_tied_embedding_is_held_once_where_the_ends_are_one_stage() -> None:
    tied = a_model(2, tied=True)
    layers = sum(weight.size for weight in tied.kinds[0].weights) * 2
    assert memory_use(a_demand(tied), ONE, GPU).weights == layers + (128256 * 4096 + 4096) * 2


@pytest.mark.parametrize(("expert", "of_ten"), [(False, 2.5), (True, 3)])
def test_the_fullest_rank_of_dealt_experts_decides(expert: bool, of_ten: float) -> None:
    """Ten experts on four ranks: a quarter of each, or three whole."""
    model = a_model(1, ffn=Mixed(10, 2, 512))
    experts = sum(weight.size for weight in model.kinds[0].weights if weight.experts is not None)
    rest = memory_use(a_demand(a_model(1, ffn=Mixed(10, 2, 4))), Layout(4, 1, expert), GPU).weights
    few = of_ten * 3 * 4096 * 4 * 2
    assert experts == 10 * 3 * 4096 * 512 * 2
    assert memory_use(a_demand(model), Layout(4, 1, expert), GPU).weights - rest == experts / 10 * of_ten - few


def test_the_published_size_counts_drafts_and_nothing_that_is_derived() -> None:
    """A checkpoint as large as what is loaded and the drafts together is counted right, and scaled by nothing."""
    model = a_model(2)
    made = replace(model.kinds[0].weights[-1], name="made", derived=True)
    derived = with_layer(model, weights=(*model.kinds[0].weights, made))
    assert loaded_bytes(derived) == loaded_bytes(model)
    drafted = replace(derived, drafts=model.kinds[0].weights)
    size = loaded_bytes(model) + sum(weight.size for weight in drafted.drafts)
    assert checkpoint_scale(drafted) == 1.0
    assert checkpoint_scale(replace(drafted, checkpoint_bytes=int(size))) == 1.0
    assert checkpoint_scale(replace(drafted, checkpoint_bytes=int(size * 2))) == 2.0


RESERVES = {
    "a lone rank": (RESERVE_ONE_GPU, int(0.6 * GIB)),
    "of all ranks": (COMMUNICATOR_OF_ALL, 558 * MIB),
    "of a tensor group": (COMMUNICATOR_OF_TENSOR, 486 * MIB),
    "of a pipeline": (COMMUNICATOR_OF_PIPELINE, 578 * MIB),
    "of CUDA itself": (CUDA_CONTEXT, 619 * MIB),
}


@pytest.mark.parametrize(("size", "measured"), RESERVES.values(), ids=RESERVES)
def test_what_the_runtime_takes_is_what_was_measured(size: int, measured: int) -> None:
    """Changing one of them changes every plan: measure it anew (benchmarks/communicators.py) before this table."""
    assert size == measured


def of_parts(engine: EngineName, layout: Layout = ONE, **changes: Any) -> tuple[int, int]:
    """Give budget and reserve for 15 GiB of weights, 2 of cache and, unless said, 1 of activations."""
    parts = {"weights": 15 * GIB, "kv_cache": 2 * GIB, "activations": GIB}
    parts |= {name: changes.pop(name) for name in tuple(changes) if name in parts}
    model = changes.pop("model", LLAMA_8B)
    use = budgeted(a_demand(model, engine=engine, **changes), layout, GPU, **parts)
    assert (use.weights, use.kv_cache, use.activations) == tuple(parts.values())
    return use.budget, use.reserve


LONE = int(0.6 * GIB) + 619 * MIB
PARTLY_LATENT = replace(
    facts(R1), kinds=(replace(facts(R1).kinds[0], cache=GroupedCache(8, 128, 128)), *facts(R1).kinds[1:])
)
ENGINES: dict[str, tuple[EngineName, Layout, dict[str, Any], int]] = {
    "SGLang takes a reserve at its word, and CUDA's own": (SGLANG, ONE, {"reserve": 5 * GIB}, 5 * GIB + 619 * MIB),
    "SGLang with activations beyond what it keeps": (SGLANG, ONE, {"activations": 14 * GIB}, LONE),
    "SGLang on four ranks captures for 512": (
        SGLANG,
        Layout(4, 1),
        {},
        (512 + 12288 + 4 * 128 + 2 * 512 + 64) * MIB - GIB,
    ),
    "SGLang on two ranks captures for 256": (
        SGLANG,
        Layout(2, 1),
        {},
        (512 + 12288 + 2 * 128 + 2 * 256 + 64) * MIB - GIB,
    ),
    "SGLang where some layers are latent": (
        SGLANG,
        ONE,
        {"model": PARTLY_LATENT},
        (512 + 12288 + 128 + 512 + 1536) * MIB - GIB,
    ),
    "TensorRT-LLM leaves a tenth": (
        TENSORRT_LLM,
        ONE,
        {},
        LONE + int((GPU - 16 * GIB - LONE) * (1 - 0.9)),
    ),
    "TensorRT-LLM leaves nothing where weights do not fit": (TENSORRT_LLM, ONE, {"weights": 90 * GIB}, LONE),
    "TensorRT-LLM with a reserve": (
        TENSORRT_LLM,
        ONE,
        {"reserve": GIB},
        GIB + 619 * MIB + int((GPU - 17 * GIB - 619 * MIB) * (1 - 0.9)),
    ),
}


@pytest.mark.parametrize(("engine", "layout", "changes", "reserve"), ENGINES.values(), ids=ENGINES)
def test_an_engine_keeps_back_a_reserve(
    engine: EngineName, layout: Layout, changes: dict[str, Any], reserve: int
) -> None:
    assert of_parts(engine, layout, **changes) == (GPU, reserve)


READ = st.sampled_from([name for name in config_names() if "Llama-4" not in name])
DEGREES = st.sampled_from([1, 2, 4, 8])


@given(READ, st.sampled_from(EngineName), DEGREES, st.integers(1, 4), st.integers(1, 10**6), st.integers(1, 300))
def test_more_tokens_and_more_sequences_never_need_less(
    name: str, engine: EngineName, tensor: int, pipeline: int, context: int, concurrency: int
) -> None:
    demand = a_demand(facts(name), engine=engine, context=context, concurrency=concurrency)
    layout = Layout(tensor, pipeline)
    base = memory_use(demand, layout, GPU)
    for more in (replace(demand, context_length=2 * context), replace(demand, concurrency=concurrency + 1)):
        use = memory_use(more, layout, GPU)
        assert use.needed >= base.needed
        assert use.kv_cache >= base.kv_cache
        assert use.budget == base.budget


@given(READ, st.sampled_from(EngineName), DEGREES, st.integers(1, 4), st.booleans())
def test_a_wider_tensor_group_never_puts_more_on_a_rank(
    name: str, engine: EngineName, tensor: int, pipeline: int, expert: bool
) -> None:
    demand = a_demand(facts(name), engine=engine)
    narrow, wide = (memory_use(demand, Layout(degree, pipeline, expert), GPU) for degree in (tensor, 2 * tensor))
    assert wide.weights <= narrow.weights
    assert wide.kv_cache <= narrow.kv_cache
    assert wide.activations <= narrow.activations


TRUTH: list[dict[str, Any]] = json.loads((DATA / "vllm033-h200-memory.json").read_text())["cases"]
SERVED = {case["case"]: case for case in TRUTH if case["model"] in config_names()}


@pytest.mark.parametrize("case", SERVED.values(), ids=SERVED)
def test_weights_are_within_two_percent_of_what_vllm_0_33_loaded(case: dict[str, Any]) -> None:
    """gpt-oss is re-laid for its MXFP4 kernels, which pad it by 1.6 %."""
    use = memory_use(a_demand(case["model"], budget=1), ONE, cuda_bytes(H200))
    assert use.weights / GIB == pytest.approx(case["load_gib"], rel=0.02)
    assert use.weights / GIB <= case["load_gib"]


def test_the_room_vllm_0_33_found_for_the_cache_of_gpt_oss_is_promised_within_one_percent() -> None:
    case = SERVED["gpt-oss-20b"]
    use = memory_use(a_demand(case["model"], budget=1), ONE, cuda_bytes(H200))
    assert (use.slack + use.kv_cache) / GIB == pytest.approx(case["kv_gib"], rel=0.01)
    assert kv_bytes_per_token(facts(case["model"])) == pytest.approx(case["kv_gib"] * GIB / case["kv_tokens"], rel=0.01)


def test_what_vllm_0_33_was_measured_with_is_what_is_planned_for() -> None:
    assert set(SERVED) == {"llama8b-serve", "gpt-oss-20b"}
    for case in TRUTH:
        assert "--max-num-batched-tokens 8192 --max-num-seqs 256 --gpu-memory-utilization 0.92" in case["flags"]
