"""Every rule that forbids a layout: the number that breaks it and the values that would do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.models import (
    KIMI_K2,
    LLAMA_8B,
    LLAMA_70B,
    LLAMA_405B,
    QWEN_235B_FP8,
    R1,
    Dense,
    Latent,
    Mixed,
    a_model,
    attention,
    config_names,
    facts,
)

from shardwise.domain.engine import EngineName
from shardwise.domain.layout import Layout
from shardwise.domain.model import ModelFacts, Precision, Quantization
from shardwise.domain.refusal import BlockSplit, Cause, NoExperts, NotDivisible, PipelineUnsupported, TooManyStages
from shardwise.planner.legality import has_experts, heads, illegal, legal_tensors
from shardwise.planner.pipeline_support import can_pipeline

FP8 = Precision(1.0, (128, 128))
GROUPS = Precision(0.5, (1, 128))
MXFP4 = Precision(0.53125, (1, 32))
NVFP4 = Precision(0.5625, (1, 16))
LATENT = Latent(heads=16, q_rank=256, kv_rank=128, nope_dim=128, rope_dim=64, value_dim=96)
POWERS = (1, 2, 4, 8, 16, 32, 64)


def cause(model: ModelFacts, tensor: int, pipeline: int = 1, *, expert: bool = False) -> Cause | None:
    return illegal(model, EngineName.VLLM, Layout(tensor, pipeline, expert))


BROKEN: dict[str, tuple[ModelFacts, Layout, Cause]] = {
    "heads": (facts(LLAMA_70B), Layout(6, 1), NotDivisible("attention heads", 64, 6, POWERS)),
    "more ranks than heads": (facts(LLAMA_8B), Layout(64, 1), NotDivisible("attention heads", 32, 64, POWERS[:6])),
    "28 heads on 8": (
        a_model(attends=attention(28, 4)),
        Layout(8, 1),
        NotDivisible("attention heads", 28, 8, (1, 2, 4)),
    ),
    "KV heads": (
        a_model(attends=attention(28, 4)),
        Layout(7, 1),
        NotDivisible("KV heads", 4, 7, (1, 2, 4)),
    ),
    "KV heads that are not copied evenly": (
        a_model(attends=attention(96, 8)),
        Layout(12, 1),
        NotDivisible("KV heads", 8, 12, (1, 2, 4, 8, 16, 32)),
    ),
    "feed-forward": (
        a_model(ffn=Dense(6 * 1000)),
        Layout(32, 1),
        NotDivisible("feed-forward columns", 6000, 32, (1, 2, 4, 8, 16)),
    ),
    "expert width": (
        a_model(ffn=Mixed(8, 2, 100)),
        Layout(8, 1),
        NotDivisible("expert columns", 100, 8, (1, 2, 4)),
    ),
    "shared-expert width": (
        a_model(ffn=Mixed(8, 2, 128, shared=12)),
        Layout(8, 1, expert=True),
        NotDivisible("shared-expert columns", 12, 8, (1, 2, 4)),
    ),
    "vocabulary": (
        a_model(attends=attention(60, 12), ffn=Dense(3000), vocabulary=32000),
        Layout(3, 1),
        NotDivisible("vocabulary entries", 32000, 3, (1, 2, 4)),
    ),
    "fp8 block of the feed-forward": (
        a_model(ffn=Dense(1536), precision=FP8),
        Layout(8, 1),
        BlockSplit("outputs of `mlp.gate_proj`", 192, 128, 8, (1, 2, 4)),
    ),
    "fp8 block of the experts": (
        facts(QWEN_235B_FP8),
        Layout(32, 1),
        BlockSplit("outputs of `mlp.experts.gate_proj`", 48, 128, 32, (1, 2, 4, 8, 16)),
    ),
    "fp8 block of the queries": (
        a_model(attends=attention(32, 32, 64), precision=FP8),
        Layout(32, 1),
        BlockSplit("outputs of `self_attn.q_proj`", 64, 128, 32, (1, 2, 4, 8, 16)),
    ),
    "fp8 block of the keys": (
        a_model(attends=attention(32, 8, 64), precision=FP8),
        Layout(8, 1),
        BlockSplit("outputs of `self_attn.k_proj`", 64, 128, 8, (1, 2, 4)),
    ),
    "fp8 block of latent attention": (
        a_model(attends=LATENT, precision=FP8),
        Layout(8, 1),
        BlockSplit("outputs of `self_attn.kv_b_proj`", 448, 128, 8, (1, 2, 4)),
    ),
    "a group of int4": (
        a_model(ffn=Dense(1536), precision=GROUPS),
        Layout(8, 1),
        BlockSplit("inputs of `mlp.down_proj`", 192, 128, 8, (1, 2, 4)),
    ),
    "a block of MXFP4": (
        a_model(ffn=Dense(128), precision=MXFP4),
        Layout(8, 1),
        BlockSplit("inputs of `mlp.down_proj`", 16, 32, 8, (1, 2, 4)),
    ),
    "a block of NVFP4": (
        a_model(ffn=Dense(64), precision=NVFP4),
        Layout(8, 1),
        BlockSplit("inputs of `mlp.down_proj`", 8, 16, 8, (1, 2, 4)),
    ),
    "whole experts of a model without any": (
        facts(LLAMA_8B),
        Layout(2, 1, expert=True),
        NoExperts(),
    ),
    "stages beyond layers": (facts(LLAMA_8B), Layout(1, 33), TooManyStages(33, 32)),
    "an architecture that does not pipeline": (
        a_model(architecture="Zamba2ForCausalLM"),
        Layout(1, 2),
        PipelineUnsupported("vllm", "Zamba2ForCausalLM"),
    ),
}


@pytest.mark.parametrize(("model", "layout", "expected"), BROKEN.values(), ids=BROKEN)
def test_a_broken_rule_names_the_number_and_the_legal_values(
    model: ModelFacts, layout: Layout, expected: Cause
) -> None:
    assert illegal(model, EngineName.VLLM, layout) == expected


@pytest.mark.parametrize(("model", "layout", "expected"), BROKEN.values(), ids=BROKEN)
def test_one_gpu_is_always_legal(model: ModelFacts, layout: Layout, expected: Cause) -> None:
    assert cause(model, 1) is None


@pytest.mark.parametrize(
    ("model", "layout", "expected"),
    [row for row in BROKEN.values() if isinstance(row[2], NotDivisible | BlockSplit)],
    ids=[name for name, row in BROKEN.items() if isinstance(row[2], NotDivisible | BlockSplit)],
)
def test_every_value_that_is_named_legal_is(
    model: ModelFacts, layout: Layout, expected: NotDivisible | BlockSplit
) -> None:
    """Not only for the rule that was broken: a value that breaks the next one would be no help."""
    for tensor in expected.legal:
        assert illegal(model, EngineName.VLLM, Layout(tensor, layout.pipeline, layout.expert)) is None


ALLOWED: dict[str, tuple[ModelFacts, Layout]] = {
    "as many ranks as heads": (facts(LLAMA_8B), Layout(32, 1)),
    "KV heads copied": (facts(LLAMA_70B), Layout(64, 1)),
    "a single KV head on any rank": (a_model(attends=attention(64, 1)), Layout(16, 1)),
    "fp8 experts kept whole": (facts(QWEN_235B_FP8), Layout(8, 1, expert=True)),
    "fp8 experts split in four": (facts(QWEN_235B_FP8), Layout(4, 1)),
    "the experts need not divide": (a_model(ffn=Mixed(10, 2, 128)), Layout(4, 1, expert=True)),
    "int4 groups do not bind the keys": (a_model(attends=attention(32, 8, 64), precision=GROUPS), Layout(8, 1)),
    "one block of fp8 to each rank": (a_model(ffn=Dense(1024), precision=FP8), Layout(8, 1)),
    "a lone rank cuts no group": (a_model(ffn=Dense(100), precision=GROUPS), Layout(1, 1)),
    "fp8 experts split in eight, by finer blocks": (facts(QWEN_235B_FP8), Layout(8, 1)),
    "as many stages as layers": (facts(LLAMA_8B), Layout(1, 32)),
    "one stage of what does not pipeline": (a_model(architecture="Zamba2ForCausalLM"), Layout(8, 1)),
    "uneven stages": (facts(LLAMA_405B), Layout(8, 5)),
    "latent attention": (facts(R1), Layout(16, 1)),
    "published: Kimi on 16": (facts(KIMI_K2), Layout(16, 1)),
    "published: R1 on 8 by 2": (facts(R1), Layout(8, 2)),
}


@pytest.mark.parametrize(("model", "layout"), ALLOWED.values(), ids=ALLOWED)
def test_what_no_rule_forbids_is_legal(model: ModelFacts, layout: Layout) -> None:
    assert illegal(model, EngineName.VLLM, layout) is None


INT4 = Quantization.INT4
SGLANG, TENSORRT_LLM, VLLM = EngineName.SGLANG, EngineName.TENSORRT_LLM, EngineName.VLLM
ODD_EXPERTS = a_model(ffn=Mixed(10, 2, 128))
ODD_VOCABULARY = a_model(attends=attention(60, 12), ffn=Dense(3000), vocabulary=32000)
NARROW_GROUPS = a_model(ffn=Dense(1024), precision=Precision(0.5, (1, 32)), quantization=INT4)
ENGINES_DIFFER: dict[str, tuple[ModelFacts, Layout, dict[EngineName, Cause | None]]] = {
    "experts dealt out unevenly": (
        ODD_EXPERTS,
        Layout(4, 1, expert=True),
        {
            VLLM: None,
            SGLANG: NotDivisible("experts", 10, 4, (1, 2)),
            TENSORRT_LLM: NotDivisible("experts", 10, 4, (1, 2)),
        },
    ),
    "a vocabulary that does not divide": (
        ODD_VOCABULARY,
        Layout(3, 1),
        {VLLM: NotDivisible("vocabulary entries", 32000, 3, (1, 2, 4)), SGLANG: None, TENSORRT_LLM: None},
    ),
    "int4 keys of fewer than 64 outputs": (
        a_model(attends=attention(32, 8, 32), ffn=Dense(8192), precision=GROUPS, quantization=INT4),
        Layout(8, 1),
        {VLLM: None, SGLANG: BlockSplit("outputs of `self_attn.k_proj`", 32, 64, 8, (1, 2, 4)), TENSORRT_LLM: None},
    ),
    "int4 partitions of fewer than 128 inputs, in groups of 32": (
        NARROW_GROUPS,
        Layout(16, 1),
        {VLLM: None, SGLANG: BlockSplit("inputs of `mlp.down_proj`", 64, 128, 16, (1, 2, 4, 8)), TENSORRT_LLM: None},
    ),
    "stages of Gemma 2": (
        a_model(architecture="Gemma2ForCausalLM"),
        Layout(1, 2),
        {VLLM: None, SGLANG: PipelineUnsupported("sglang", "Gemma2ForCausalLM"), TENSORRT_LLM: None},
    ),
    "stages of Zamba 2": (
        a_model(architecture="Zamba2ForCausalLM"),
        Layout(1, 2),
        {
            VLLM: PipelineUnsupported("vllm", "Zamba2ForCausalLM"),
            SGLANG: PipelineUnsupported("sglang", "Zamba2ForCausalLM"),
            TENSORRT_LLM: None,
        },
    ),
    "stages of Llama": (facts(LLAMA_8B), Layout(1, 2), {VLLM: None, SGLANG: None, TENSORRT_LLM: None}),
    "heads": (
        facts(LLAMA_70B),
        Layout(6, 1),
        dict.fromkeys(EngineName, NotDivisible("attention heads", 64, 6, POWERS)),
    ),
    "fp8 blocks of experts": (
        facts(QWEN_235B_FP8),
        Layout(8, 1),
        {
            VLLM: None,
            SGLANG: BlockSplit("outputs of `mlp.experts.gate_proj`", 192, 128, 8, (1, 2, 4)),
            TENSORRT_LLM: BlockSplit("outputs of `mlp.experts.gate_proj`", 192, 128, 8, (1, 2, 4)),
        },
    ),
}


@pytest.mark.parametrize(
    ("model", "layout", "engine", "expected"),
    [(model, layout, engine, causes[engine]) for model, layout, causes in ENGINES_DIFFER.values() for engine in causes],
    ids=[f"{name}: {engine}" for name, (_, _, causes) in ENGINES_DIFFER.items() for engine in causes],
)
def test_each_engine_is_held_to_its_own_rules(
    model: ModelFacts, layout: Layout, engine: EngineName, expected: Cause | None
) -> None:
    assert illegal(model, engine, layout) == expected


LEGAL_TENSORS = {
    LLAMA_8B: (1, 2, 4, 8, 16, 32),
    LLAMA_70B: POWERS,
    LLAMA_405B: (1, 2, 4, 8, 16, 32, 64, 128),
    QWEN_235B_FP8: (1, 2, 4, 8, 16),
    R1: (1, 2, 4, 8, 16),
    KIMI_K2: (1, 2, 4, 8, 16),
    "openai/gpt-oss-120b": (1, 2, 4, 8),
}


@pytest.mark.parametrize(("name", "tensors"), LEGAL_TENSORS.items())
def test_the_legal_degrees_of_a_model_are_listed(name: str, tensors: tuple[int, ...]) -> None:
    assert legal_tensors(facts(name), EngineName.VLLM) == tensors


def test_whole_experts_allow_more_degrees_than_split_ones() -> None:
    assert legal_tensors(facts(QWEN_235B_FP8), EngineName.VLLM, expert=True) == POWERS


READABLE = [name for name in config_names() if name in {*LEGAL_TENSORS, "Qwen/Qwen3-32B-FP8", "openai/gpt-oss-20b"}]


@pytest.mark.parametrize("name", READABLE)
def test_exactly_the_listed_degrees_are_legal(name: str) -> None:
    model = facts(name)
    listed = legal_tensors(model, EngineName.VLLM)
    assert [tensor for tensor in range(1, 129) if cause(model, tensor) is None] == list(listed)


@given(
    st.integers(1, 64),
    st.sampled_from([1, 2, 4, 8]),
    st.integers(1, 40).map(lambda n: n * 64),
    st.integers(1, 64),
)
def test_a_legal_degree_divides_everything_it_must(groups: int, kv_heads: int, width: int, tensor: int) -> None:
    model = a_model(attends=attention(groups * kv_heads, kv_heads), ffn=Dense(width))
    if cause(model, tensor) is None:
        assert groups * kv_heads % tensor == 0
        assert kv_heads % tensor == 0 or tensor % kv_heads == 0
        assert width % tensor == 0
        assert 128256 % tensor == 0


def test_the_fewest_heads_and_experts_are_found_over_all_layers() -> None:
    assert heads(facts(R1)) == 128
    assert has_experts(facts(R1))
    assert not has_experts(facts(LLAMA_8B))


PIPELINES = {
    "Gemma3nForCausalLM": [False, False, True],
    "Mamba2ForCausalLM": [False, False, True],
    "WhisperForConditionalGeneration": [False, False, True],
    "LlamaForCausalLM": [True, True, True],
    "DeepseekV3ForCausalLM": [True, True, True],
    "Qwen3MoeForCausalLM": [True, True, True],
    "Gemma2ForCausalLM": [True, False, True],
    "Olmo2ForCausalLM": [True, False, True],
    "StableLmForCausalLM": [True, False, True],
}


@pytest.mark.parametrize(("architecture", "splits"), PIPELINES.items(), ids=PIPELINES)
def test_each_engine_splits_the_architectures_of_its_list(architecture: str, splits: list[bool]) -> None:
    """In the order vLLM, SGLang, TensorRT-LLM."""
    assert [can_pipeline(engine, architecture) for engine in EngineName] == splits
