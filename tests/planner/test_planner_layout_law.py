"""Layouts that a release of an engine splits, or does not split, whatever the divisors of the model say."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.fleets import A100, a_fleet, a_node, gb200_rack, h100s
from tests.support.models import (
    QWEN_235B_FP8,
    Dense,
    Latent,
    Mixed,
    a_demand,
    a_model,
    attention,
    facts,
    pinned,
)
from tests.support.plans import planned, refused

from shardwise.checkpoint import from_config
from shardwise.checkpoint.fields import Fields
from shardwise.checkpoint.tower_heads import tower_heads
from shardwise.domain.demand import EngineSetup, TowerUse
from shardwise.domain.engine import EngineName
from shardwise.domain.layout import Layout
from shardwise.domain.model import CheckpointMethod, ModelFacts, Precision, Quantization, TowerHeads
from shardwise.domain.notes import MergedBlocksCut
from shardwise.domain.refusal import BlockSplit, Cause, Merit, NotDivisible, Preferred, TowerNotDivisible
from shardwise.domain.towers import tower_use
from shardwise.domain.version import Version
from shardwise.planner.legality import illegal, legal_tensors
from shardwise.planner.merged import cut_by_waiver
from shardwise.planner.weights import bytes_on_rank

VLLM, SGLANG, TENSORRT_LLM = EngineName.VLLM, EngineName.SGLANG, EngineName.TENSORRT_LLM
FP8 = Precision(1.0, (128, 128))


def in_fp8(method: str = "fp8", **shape: Any) -> ModelFacts:
    """Give a made-up model in fp8 blocks of 128 × 128, as a method of quantisation stores it."""
    made = a_model(precision=FP8, quantization=Quantization.FP8, **shape)
    return replace(made, method=CheckpointMethod(method, Quantization.FP8))


def with_tower(kind: str, heads: int, *, audio: bool = False) -> ModelFacts:
    """Give a made-up model with a tower."""
    return a_model(tower_heads=(TowerHeads(kind, heads, audio=audio),))


HALF = in_fp8(ffn=Dense(10944), attends=attention(16, 16))
"""Gate and up of 85.5 blocks."""
NARROW_KEYS = in_fp8(attends=attention(16, 8, 64), ffn=Dense(8192), hidden=1024)
"""Eight KV heads of half a block."""
MIXED_HALF = in_fp8(ffn=Mixed(8, 2, 704))
"""Experts of 5.5 blocks."""


def of(method: str, model: ModelFacts) -> ModelFacts:
    return replace(model, method=CheckpointMethod(method, Quantization.FP8))


def cut(weight: str, size: int, tensor: int, legal: tuple[int, ...] = ()) -> BlockSplit:
    return BlockSplit(f"outputs of `{weight}`", size, 128, tensor, legal)


CT = "compressed-tensors"
MERGED: dict[str, tuple[EngineName, Version | None, ModelFacts, Layout, Cause | None]] = {
    "gate and up of compressed-tensors, alone": (
        VLLM, None, of(CT, HALF), Layout(1, 1), cut("mlp.gate_proj", 10944, 1),
    ),
    "and in a group": (VLLM, None, of(CT, HALF), Layout(2, 1), cut("mlp.gate_proj", 5472, 2)),
    "gate and up of another method than fp8": (
        VLLM, None, of("modelopt", HALF), Layout(1, 1), cut("mlp.gate_proj", 10944, 1),
    ),
    "gate and up of fp8, alone": (VLLM, None, HALF, Layout(1, 1), None),
    "gate and up of fp8, alone, in the first release that does not check": (VLLM, (0, 14, 0), HALF, Layout(1, 1), None),
    "and in the release before": (VLLM, (0, 13, 0), HALF, Layout(1, 1), cut("mlp.gate_proj", 10944, 1)),
    "the inputs of down stay whole": (
        VLLM, None, HALF, Layout(2, 1), BlockSplit("inputs of `mlp.down_proj`", 5472, 128, 2, (1,)),
    ),
    "keys and values of fp8": (VLLM, None, NARROW_KEYS, Layout(8, 1), None),
    "keys and values of fp8, before": (
        VLLM, (0, 13, 0), NARROW_KEYS, Layout(8, 1), cut("self_attn.k_proj", 64, 8, (1, 2, 4)),
    ),
    "keys and values of compressed-tensors": (
        VLLM, None, of(CT, NARROW_KEYS), Layout(8, 1), cut("self_attn.k_proj", 64, 8, (1, 2, 4)),
    ),
    "keys and values on SGLang": (SGLANG, None, NARROW_KEYS, Layout(8, 1), cut("self_attn.k_proj", 64, 8, (1, 2, 4))),
    "SGLang checks every part of fp8, alone": (SGLANG, None, HALF, Layout(1, 1), cut("mlp.gate_proj", 10944, 1)),
    "and all but the last of compressed-tensors": (
        SGLANG, None, of(CT, HALF), Layout(1, 1), cut("mlp.gate_proj", 10944, 1),
    ),
    "TensorRT-LLM checks no lone rank": (TENSORRT_LLM, None, of(CT, HALF), Layout(1, 1), None),
    "the last part of a whole weight may be cut": (
        VLLM, None, in_fp8(CT, attends=attention(16, 1, 64), ffn=Dense(8192)), Layout(1, 1),
        cut("self_attn.k_proj", 64, 1),
    ),
    "as that of latent attention is": (
        VLLM, None,
        in_fp8(CT, attends=Latent(heads=16, q_rank=256, kv_rank=128, nope_dim=128, rope_dim=64, value_dim=128)),
        Layout(2, 1), None,
    ),
    "but not its first": (
        VLLM, None,
        in_fp8(CT, attends=Latent(heads=16, q_rank=192, kv_rank=128, nope_dim=128, rope_dim=64, value_dim=128)),
        Layout(2, 1), cut("self_attn.q_a_proj", 192, 2),
    ),
    "which SGLang does not merge": (
        SGLANG, None,
        in_fp8(CT, attends=Latent(heads=16, q_rank=192, kv_rank=128, nope_dim=128, rope_dim=64, value_dim=128)),
        Layout(2, 1), None,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("engine", "release", "model", "layout", "expected"), MERGED.values(), ids=MERGED)
def test_parts_of_merged_fp8_weights_are_held_to_the_check_of_the_release(
    engine: EngineName, release: Version | None, model: ModelFacts, layout: Layout, expected: Cause | None
) -> None:
    assert illegal(model, engine, layout, EngineSetup(release)) == expected


@given(st.integers(1, 200).map(lambda n: 16 * n), st.sampled_from([1, 2, 4, 8]))
def test_compressed_blocks_are_whole_in_every_part_or_refused_at_every_degree(columns: int, tensor: int) -> None:
    """Gate comes before up in a merged weight: a gate that ends inside a block is refused on any number of GPUs."""
    model = in_fp8(CT, ffn=Dense(columns))
    if columns % 128:
        assert legal_tensors(model, VLLM) == ()
    elif illegal(model, VLLM, Layout(tensor, 1)) is None:
        assert columns // tensor % 128 == 0


EXPERTS: dict[str, tuple[EngineName, Version | None, ModelFacts, Layout, Cause | None]] = {
    "a part of 192": (VLLM, None, facts(QWEN_235B_FP8), Layout(8, 1), None),
    "a part of 96": (VLLM, None, facts(QWEN_235B_FP8), Layout(16, 1), None),
    "a part of 48": (
        VLLM, None, facts(QWEN_235B_FP8), Layout(32, 1), cut("mlp.experts.gate_proj", 48, 32, (1, 2, 4, 8, 16)),
    ),
    "the first release with finer blocks": (VLLM, (0, 29, 0), facts(QWEN_235B_FP8), Layout(8, 1), None),
    "the release before": (
        VLLM, (0, 28, 0), facts(QWEN_235B_FP8), Layout(8, 1), cut("mlp.experts.gate_proj", 192, 8, (1, 2, 4)),
    ),
    "SGLang": (SGLANG, None, facts(QWEN_235B_FP8), Layout(8, 1), cut("mlp.experts.gate_proj", 192, 8, (1, 2, 4))),
    "compressed-tensors": (
        VLLM, None, in_fp8(CT, ffn=Mixed(8, 2, 1536)), Layout(8, 1), cut("mlp.experts.gate_proj", 192, 8, (1, 2, 4)),
    ),
    "a hidden size that no finer block divides": (
        VLLM, None, in_fp8(ffn=Mixed(8, 2, 1536), hidden=128 * 30 + 16), Layout(8, 1),
        cut("mlp.experts.gate_proj", 192, 8, (1, 2, 4)),
    ),
    "half a block on a lone rank": (VLLM, None, MIXED_HALF, Layout(1, 1), None),
    "and in whole experts": (VLLM, None, MIXED_HALF, Layout(2, 1, expert=True), None),
    "which older releases refuse": (
        VLLM, (0, 28, 0), MIXED_HALF, Layout(1, 1), cut("mlp.experts.gate_proj", 704, 1),
    ),
    "and SGLang": (SGLANG, None, MIXED_HALF, Layout(1, 1), cut("mlp.experts.gate_proj", 704, 1)),
    "and compressed-tensors": (
        VLLM, None, of(CT, MIXED_HALF), Layout(2, 1, expert=True), cut("mlp.experts.gate_proj", 704, 2),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("engine", "release", "model", "layout", "expected"), EXPERTS.values(), ids=EXPERTS)
def test_blocks_of_experts_are_whole_or_made_finer(
    engine: EngineName, release: Version | None, model: ModelFacts, layout: Layout, expected: Cause | None
) -> None:
    assert illegal(model, engine, layout, EngineSetup(release)) == expected


@given(st.integers(1, 64).map(lambda n: 16 * n), st.sampled_from([1, 2, 4, 8]))
def test_fp8_experts_split_where_a_part_is_a_multiple_of_32(part: int, tensor: int) -> None:
    model = in_fp8(ffn=Mixed(8, 2, part * tensor), hidden=4096)
    assert (illegal(model, VLLM, Layout(tensor, 1)) is None) is (part % 32 == 0)


def test_whole_experts_come_before_finer_blocks() -> None:
    """Practice of the published checkpoint: TP8 deals experts out whole, also where a release could split them."""
    made = planned(a_demand(QWEN_235B_FP8, pins=pinned(8)), a_fleet(h100s(1)))
    assert str(made.layout) == "TP8×PP1 EP"
    lost = {str(loser.layout): loser.cause for loser in made.alternatives}
    assert lost["TP8×PP1"] == Preferred(Merit.BLOCKS_KEPT, "NVIDIA-H100-80GB-HBM3")


def test_cut_blocks_of_a_merged_weight_are_noted_and_come_last() -> None:
    """The engine does not check them, and its loader fails on them (run on the released wheel)."""
    demand = a_demand(NARROW_KEYS, pins=pinned(8))
    noted = MergedBlocksCut("vllm", "self_attn.k_proj", 64, 128)
    assert noted in planned(demand, a_fleet(h100s(1))).notes
    free = planned(a_demand(NARROW_KEYS), a_fleet(h100s(1)))
    assert not [note for note in free.notes if isinstance(note, MergedBlocksCut)]
    assert cut_by_waiver(NARROW_KEYS, VLLM, (0, 13, 0), 8) is None
    assert cut_by_waiver(NARROW_KEYS, VLLM, None, 4) is None
    lost = {str(loser.layout): loser.cause for loser in free.alternatives}
    assert lost["TP8×PP1"] == Preferred(Merit.WHOLE_BLOCKS, "NVIDIA-H100-80GB-HBM3")


GPT_OSS: list[tuple[EngineName, int, bool]] = [
    (VLLM, 8, True),
    (VLLM, 16, False),
    (VLLM, 64, False),
    (SGLANG, 16, True),
    (SGLANG, 64, True),
]


@pytest.mark.parametrize(("engine", "tensor", "legal"), GPT_OSS)
def test_vllm_copies_no_kv_heads_of_gpt_oss(engine: EngineName, tensor: int, legal: bool) -> None:
    cause = illegal(facts("openai/gpt-oss-120b"), engine, Layout(tensor, 1))
    assert cause == (None if legal else NotDivisible("KV heads", 8, tensor, (1, 2, 4, 8)))


V4 = {
    "architectures": ["DeepseekV4ForCausalLM"],
    "model_type": "deepseek_v4",
    "expert_dtype": "fp4",
    "head_dim": 512,
    "hidden_size": 7168,
    "index_head_dim": 128,
    "index_n_heads": 64,
    "moe_intermediate_size": 3072,
    "n_routed_experts": 384,
    "n_shared_experts": 1,
    "num_attention_heads": 128,
    "num_experts_per_tok": 6,
    "num_hidden_layers": 8,
    "num_key_value_heads": 1,
    "o_groups": 16,
    "q_lora_rank": 1536,
    "qk_rope_head_dim": 64,
    "quantization_config": {"activation_scheme": "dynamic", "quant_method": "fp8", "weight_block_size": [128, 128]},
    "sliding_window": 128,
    "vocab_size": 129280,
    "max_position_embeddings": 1048576,
    "compress_ratios": [128, 128, 4, 128, 4, 128, 4, 0],
}
"""DeepSeek V4 Pro of eight layers. The shared expert has 24 blocks; the config leaves `o_lora_rank` to its class."""


def read(config: dict[str, Any], name: str = "test/read") -> ModelFacts:
    return from_config(config, name=name, origin="tests")


SHARED: list[tuple[EngineName, Version | None, Layout, bool]] = [
    (VLLM, None, Layout(8, 1, expert=True), True),
    (VLLM, None, Layout(16, 1, expert=True), True),
    (VLLM, (0, 24, 0), Layout(16, 1, expert=True), True),
    (VLLM, (0, 23, 0), Layout(16, 1, expert=True), False),
    (SGLANG, None, Layout(16, 1, expert=True), False),
]


@pytest.mark.parametrize(("engine", "release", "layout", "legal"), SHARED)
def test_the_shared_expert_of_deepseek_v4_is_padded(
    engine: EngineName, release: Version | None, layout: Layout, legal: bool
) -> None:
    cause = illegal(read(V4), engine, layout, EngineSetup(release))
    assert (cause is None) is legal
    if cause is not None:
        assert isinstance(cause, BlockSplit)
        assert "shared_experts" in cause.what


def test_a_padded_shared_expert_takes_whole_blocks_of_memory() -> None:
    """24 blocks on 16 ranks: two blocks each, as on twelve."""
    (gate,) = {weight for weight in read(V4).kinds[0].weights if weight.name == "mlp.shared_experts.gate_proj.weight"}
    assert bytes_on_rank([gate], Layout(16, 1)) == bytes_on_rank([gate], Layout(12, 1))
    assert bytes_on_rank([gate], Layout(8, 1)) == gate.size / 8


def test_deepseek_v4_is_planned_over_sixteen_gpus() -> None:
    demand = a_demand(read(V4), budget=16, pins=pinned(16, 1, expert=True))
    made = planned(demand, a_fleet(gb200_rack(4)))
    assert str(made.layout) == "TP16×PP1 EP"
    assert not [note for note in made.notes if isinstance(note, MergedBlocksCut)]


def test_a_dimension_that_the_config_leaves_out_is_that_of_its_class() -> None:
    """DeepSeek V4's low-rank outputs: 1024 for each of 16 groups; the note says that the config does not state them."""
    model = read(V4)
    (low,) = {weight for weight in model.kinds[0].weights if weight.name == "self_attn.o_a_proj.weight"}
    assert low.outputs == 16 * 1024
    assert any("`o_lora_rank: 1024`" in note for note in model.notes)


@pytest.mark.parametrize("kind", ["deepseek_v3", "deepseek_v32", "glm_moe_dsa"])
def test_three_layers_of_deepseek_are_dense_unless_the_config_says_otherwise(kind: str) -> None:
    config = {
        "model_type": kind, "hidden_size": 1024, "intermediate_size": 2048, "moe_intermediate_size": 256,
        "n_routed_experts": 8, "num_experts_per_tok": 2, "num_hidden_layers": 6, "num_attention_heads": 8,
        "num_key_value_heads": 8, "vocab_size": 1024, "max_position_embeddings": 4096,
    }  # fmt: skip
    assert read(config).order == (0, 0, 0, 1, 1, 1)
    assert read(config | {"first_k_dense_replace": 1}).order == (0, 1, 1, 1, 1, 1)
    assert read(config | {"first_k_dense_replace": 0}).order == (0,) * 6


TOWERS: dict[str, tuple[EngineName, Version | None, TowerUse, str, int, int, bool]] = {
    "12 heads on 8": (VLLM, None, TowerUse.SPLIT, "glm4v_moe", 12, 8, False),
    "12 heads on 4": (VLLM, None, TowerUse.SPLIT, "glm4v_moe", 12, 4, True),
    "16 heads on 32": (VLLM, None, TowerUse.SPLIT, "qwen2_5_vl", 16, 32, False),
    "in every release": (VLLM, (0, 11, 1), TowerUse.SPLIT, "qwen3_vl", 16, 32, False),
    "kept whole": (VLLM, None, TowerUse.WHOLE, "glm4v_moe", 12, 8, True),
    "a model that cannot keep its tower whole": (VLLM, None, TowerUse.WHOLE, "siglip", 12, 8, False),
    "left out": (VLLM, None, TowerUse.UNUSED, "siglip", 12, 8, True),
    "a tower that falls back by itself": (VLLM, None, TowerUse.SPLIT, "internvl", 12, 8, True),
    "a tower by code of transformers": (VLLM, None, TowerUse.SPLIT, "gemma4", 12, 8, True),
    "a tower that has fallen back since": (VLLM, None, TowerUse.SPLIT, "kimi_k25", 12, 8, True),
    "and before": (VLLM, (0, 25, 0), TowerUse.SPLIT, "kimi_k25", 12, 8, False),
    "SGLang": (SGLANG, None, TowerUse.SPLIT, "qwen2_5_vl", 16, 32, False),
    "SGLang, kept whole": (SGLANG, None, TowerUse.WHOLE, "qwen2_5_vl", 16, 32, True),
    "SGLang, heads of zeros": (SGLANG, None, TowerUse.SPLIT, "glm4v_moe", 12, 8, True),
    "TensorRT-LLM": (TENSORRT_LLM, None, TowerUse.SPLIT, "glm4v_moe", 12, 8, True),
}


@pytest.mark.parametrize(("engine", "release", "use", "kind", "heads", "tensor", "legal"), TOWERS.values(), ids=TOWERS)
def test_the_heads_of_a_tower_divide_where_the_engine_splits_it(
    engine: EngineName, release: Version | None, use: TowerUse, kind: str, heads: int, tensor: int, legal: bool
) -> None:
    cause = illegal(with_tower(kind, heads), engine, Layout(tensor, 1), EngineSetup(release, use))
    assert (cause is None) is legal
    assert legal or isinstance(cause, TowerNotDivisible)


def test_a_tower_that_does_not_divide_names_the_argument_that_would_do() -> None:
    cause = illegal(with_tower("glm4v_moe", 12), VLLM, Layout(8, 1))
    assert cause == TowerNotDivisible("vision heads", 12, 8, (1, 2, 4), "--mm-encoder-tp-mode data")
    assert illegal(with_tower("voxtral", 20, audio=True), VLLM, Layout(8, 1)) == TowerNotDivisible(
        "audio heads", 20, 8, (1, 2, 4)
    )


ARGUMENTS: list[tuple[EngineName, tuple[str, ...], TowerUse]] = [
    (VLLM, (), TowerUse.SPLIT),
    (VLLM, ("--mm-encoder-tp-mode", "data"), TowerUse.WHOLE),
    (VLLM, ("--seed", "1", "--mm-encoder-tp-mode=data"), TowerUse.WHOLE),
    (VLLM, ("--mm_encoder_tp_mode=data",), TowerUse.WHOLE),
    (VLLM, ("--mm-encoder-tp-mode", "weights"), TowerUse.SPLIT),
    (VLLM, ("--language-model-only",), TowerUse.UNUSED),
    (VLLM, ("--mm-enable-dp-encoder",), TowerUse.SPLIT),
    (SGLANG, ("--mm-enable-dp-encoder",), TowerUse.WHOLE),
    (SGLANG, ("--mm-encoder-tp-mode", "data"), TowerUse.SPLIT),
    (TENSORRT_LLM, ("--language-model-only",), TowerUse.SPLIT),
]


@pytest.mark.parametrize(("engine", "args", "use"), ARGUMENTS)
def test_the_use_of_towers_follows_from_the_arguments(engine: EngineName, args: tuple[str, ...], use: TowerUse) -> None:
    assert tower_use(engine, args) is use


GLM_45V = {
    "architectures": ["Glm4vMoeForConditionalGeneration"],
    "model_type": "glm4v_moe",
    "text_config": {
        "model_type": "glm4v_moe_text", "vocab_size": 151552, "hidden_size": 4096, "intermediate_size": 10944,
        "num_hidden_layers": 46, "num_attention_heads": 96, "num_key_value_heads": 8, "head_dim": 128,
        "max_position_embeddings": 65536, "moe_intermediate_size": 1408, "n_routed_experts": 128,
        "n_shared_experts": 1, "num_experts_per_tok": 8, "first_k_dense_replace": 1, "attention_bias": True,
        "torch_dtype": "bfloat16",
    },
    "vision_config": {
        "model_type": "glm4v_moe_vision", "depth": 24, "hidden_size": 1536, "num_heads": 12,
        "intermediate_size": 10944, "out_hidden_size": 4096, "patch_size": 14, "spatial_merge_size": 2,
        "temporal_patch_size": 2, "image_size": 336, "in_channels": 3,
    },
}  # fmt: skip


def test_a_vision_tower_of_twelve_heads_keeps_the_plan_from_eight_ranks() -> None:
    node = a_fleet(a_node(product=A100, memory_mib=40960))
    assert planned(a_demand(read(GLM_45V), context=32768), node).layout.tensor in {1, 2, 4}
    whole = a_demand(read(GLM_45V), context=32768, towers=TowerUse.WHOLE, pins=pinned(8, 1))
    assert planned(whole, node).layout == Layout(8, 1)
    refusal = refused(replace(whole, towers=TowerUse.SPLIT), node)
    assert isinstance(refusal.rejected[0].cause, TowerNotDivisible)


HEADS: list[tuple[dict[str, Any], tuple[TowerHeads, ...]]] = [
    (GLM_45V, (TowerHeads("glm4v_moe", 12),)),
    (
        {"model_type": "qwen2_5_vl", "vision_config": {"num_heads": 16, "depth": 2, "hidden_size": 64}},
        (TowerHeads("qwen2_5_vl", 16),),
    ),
    (
        {"model_type": "gemma3", "vision_config": {"model_type": "siglip_vision_model", "num_attention_heads": 16}},
        (TowerHeads("siglip", 16),),
    ),
    (
        {"thinker_config": {"vision_config": {"model_type": "qwen3_omni_moe_vision_encoder", "num_heads": 16}}},
        (TowerHeads("qwen3_omni_moe", 16),),
    ),
    (
        {"model_type": "voxtral", "audio_config": {"model_type": "voxtral_encoder", "num_attention_heads": 20}},
        (TowerHeads("voxtral", 20, audio=True),),
    ),
    ({"model_type": "llava", "vision_config": {"hidden_size": 64}}, ()),
    ({"model_type": "llama"}, ()),
]


@pytest.mark.parametrize(("config", "heads"), HEADS)
def test_the_heads_of_towers_are_read(config: dict[str, Any], heads: tuple[TowerHeads, ...]) -> None:
    assert tower_heads(Fields("test/towers", config)) == heads


DEEPSEEK_V2_LITE = {
    "architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2", "hidden_size": 2048,
    "intermediate_size": 10944, "moe_intermediate_size": 1408, "n_routed_experts": 64, "n_shared_experts": 2,
    "num_experts_per_tok": 6, "first_k_dense_replace": 1, "num_hidden_layers": 27, "num_attention_heads": 16,
    "num_key_value_heads": 16, "kv_lora_rank": 512, "q_lora_rank": None, "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64, "v_head_dim": 128, "vocab_size": 102400, "max_position_embeddings": 163840,
    "torch_dtype": "bfloat16",
    "quantization_config": {
        "quant_method": "compressed-tensors", "format": "float-quantized", "ignore": ["lm_head"],
        "config_groups": {
            "group_0": {
                "targets": ["Linear"],
                "weights": {"num_bits": 8, "type": "float", "strategy": "block", "block_structure": [128, 128]},
                "input_activations": {"num_bits": 8, "type": "float", "strategy": "group", "group_size": 128},
            }
        },
    },
}  # fmt: skip


def test_half_a_block_of_compressed_tensors_is_refused_on_a_lone_gpu_and_no_degree_is_offered() -> None:
    refusal = refused(a_demand(read(DEEPSEEK_V2_LITE), budget=1), a_fleet(h100s(1)))
    assert {rejected.cause for rejected in refusal.rejected} == {cut("mlp.gate_proj", 10944, 1)}
    assert [hint.field for hint in refusal.hints if hint.field.startswith("spec.parallelism")] == []
    pinned_to_two = refused(a_demand(read(DEEPSEEK_V2_LITE), budget=2, pins=pinned(2)), a_fleet(h100s(1)))
    assert [hint.field for hint in pinned_to_two.hints if hint.field.startswith("spec.parallelism")] == []
