"""The facts read off real configs, held against what their publishers state."""

from typing import Any

import pytest
from tests.checkpoint.support import Json, has, sparse, weight, windows
from tests.support.models import config, config_names, facts, parameters

from shardwise.checkpoint import from_config
from shardwise.domain.model import GroupedCache, LatentCache, Quantization, StateCache
from shardwise.explain.models import active_parameters, checkpoint_bytes

BILLION = 10**9

PUBLISHED = {
    "EleutherAI/gpt-j-6b": 6.05,
    "MiniMaxAI/MiniMax-M2": 228.69,
    "Qwen/Qwen3-0.6B": 0.596,
    "Qwen/Qwen3-8B": 8.19,
    "Qwen/Qwen3-32B": 32.76,
    "Qwen/Qwen3-32B-FP8": 32.76,
    "Qwen/Qwen3-30B-A3B": 30.53,
    "Qwen/Qwen3-30B-A3B-FP8": 30.53,
    "Qwen/Qwen3-235B-A22B": 235.09,
    "Qwen/Qwen3-235B-A22B-FP8": 235.09,
    "Qwen/Qwen3-Coder-480B-A35B-Instruct": 480.2,
    "Qwen/Qwen3-Next-80B-A3B-Instruct": 79.67,
    "XiaomiMiMo/MiMo-7B-Base": 7.62,
    "deepseek-ai/DeepSeek-R1": 671.0,
    "deepseek-ai/DeepSeek-V3": 671.0,
    "google/gemma-4-26B-A4B": 25.8,
    "google/gemma-7b-it": 8.54,
    "meta-llama/Llama-2-70b-chat-hf": 68.98,
    "meta-llama/Llama-4-Maverick-17B-128E-Instruct": 401.6,
    "meta-llama/Llama-4-Scout-17B-16E-Instruct": 108.6,
    "meta-llama/Meta-Llama-3.1-8B": 8.03,
    "meta-llama/Meta-Llama-3.1-70B": 70.55,
    "meta-llama/Meta-Llama-3.1-405B": 405.85,
    "microsoft/Phi-3.5-MoE-instruct": 41.87,
    "mistralai/Mistral-7B-Instruct-v0.2": 7.24,
    "mistralai/Mixtral-8x7B-v0.1": 46.70,
    "mistralai/Mixtral-8x22B-v0.1": 140.6,
    "moonshotai/Kimi-K2-Instruct": 1026.0,
    "nvidia/DeepSeek-V3.1-NVFP4": 671.0,
    "nvidia/Llama-3.1-70B-Instruct-FP8": 70.55,
    "nvidia/Llama-3_3-Nemotron-Super-49B-v1": 49.87,
    "nvidia/Nemotron-H-56B-Base-8K": 56.3,
    "nvidia/Qwen3-235B-A22B-NVFP4": 235.09,
    "openai/gpt-oss-20b": 20.9,
    "openai/gpt-oss-120b": 116.8,
    "zai-org/GLM-4.5": 355.0,
    "zai-org/GLM-4.5-Air": 106.85,
}
"""Parameters in billions, as the publishers' model cards and pages state them, without what drafts further tokens.

What is independent of any card stands in tests/data/transformers-counts.json. Llama 4's configs here leave out the
vision tower, 0.9 billion, which the published figures include.
"""

WITH_DRAFTS = {
    "deepseek-ai/DeepSeek-R1": 684.5,
    "deepseek-ai/DeepSeek-V3": 684.5,
    "XiaomiMiMo/MiMo-7B-Base": 7.83,
    "zai-org/GLM-4.5-Air": 110.5,
}
"""Parameters in billions of the whole checkpoint, multi-token prediction included, as the Hub counts them."""

BYTES = {
    "deepseek-ai/DeepSeek-R1": 688_586_727_753,
    "deepseek-ai/DeepSeek-V3": 688_586_727_753,
    "meta-llama/Meta-Llama-3.1-8B": 16_060_522_496,
    "meta-llama/Meta-Llama-3.1-70B": 141_107_412_992,
    "meta-llama/Meta-Llama-3.1-405B": 811_706_777_600,
    "mistralai/Mistral-7B-Instruct-v0.2": 14_483_464_192,
    "mistralai/Mixtral-8x7B-v0.1": 93_405_585_408,
    "moonshotai/Kimi-K2-Instruct": 1_029_173_256_720,
    "nvidia/Llama-3_3-Nemotron-Super-49B-v1": 99_734_290_432,
    "openai/gpt-oss-20b": 13_761_264_768,
    "openai/gpt-oss-120b": 65_248_815_744,
}
"""Bytes of the checkpoint: `total_size` of each model.safetensors.index.json, as public projects quote it."""

LEFT_OUT = 0.01
"""How far a count may be from what is published."""


@pytest.mark.parametrize("name", config_names())
def test_every_config_in_the_data_folder_has_a_published_size(name: str) -> None:
    assert name in PUBLISHED


@pytest.mark.parametrize(("name", "billions"), PUBLISHED.items())
def test_the_counted_parameters_are_within_one_percent_of_the_published(name: str, billions: float) -> None:
    assert parameters(facts(name)) / BILLION == pytest.approx(billions, rel=LEFT_OUT)


@pytest.mark.parametrize(("name", "billions"), WITH_DRAFTS.items())
def test_what_drafts_tokens_is_in_the_checkpoint_and_not_loaded(name: str, billions: float) -> None:
    model = facts(name)
    drafts = sum(weight.elements for weight in model.drafts)
    assert (parameters(model) + drafts) / BILLION == pytest.approx(billions, rel=LEFT_OUT)
    assert has(model.drafts, "eh_proj")
    assert not has(model.loaded(), "eh_proj")


@pytest.mark.parametrize(("name", "size"), BYTES.items())
def test_the_counted_bytes_are_within_one_percent_of_the_published(name: str, size: int) -> None:
    assert checkpoint_bytes(facts(name)) == pytest.approx(size, rel=LEFT_OUT)


ACTIVE = {
    "Qwen/Qwen3-30B-A3B": 3.3,
    "Qwen/Qwen3-235B-A22B": 22.2,
    "Qwen/Qwen3-Next-80B-A3B-Instruct": 3.9,
    "deepseek-ai/DeepSeek-R1": 37.6,
    "meta-llama/Llama-4-Maverick-17B-128E-Instruct": 17.2,
    "meta-llama/Meta-Llama-3.1-8B": 8.03,
    "mistralai/Mixtral-8x7B-v0.1": 12.9,
    "moonshotai/Kimi-K2-Instruct": 32.9,
    "openai/gpt-oss-120b": 5.7,
    "openai/gpt-oss-20b": 4.2,
}
"""Billions of parameters a token passes: what the names and cards of these models say, embeddings and head included."""


@pytest.mark.parametrize(("name", "billions"), ACTIVE.items())
def test_the_parameters_a_token_passes_are_those_the_card_states(name: str, billions: float) -> None:
    assert active_parameters(facts(name)) / BILLION == pytest.approx(billions, rel=0.02)


RECOGNISED = (
    "EleutherAI/gpt-j-6b",
    "MiniMaxAI/MiniMax-M2",
    "Qwen/Qwen3-Next-80B-A3B-Instruct",
    "google/gemma-7b-it",
    "meta-llama/Llama-2-70b-chat-hf",
    "microsoft/Phi-3.5-MoE-instruct",
    "mistralai/Mistral-7B-Instruct-v0.2",
    "zai-org/GLM-4.5",
    "zai-org/GLM-4.5-Air",
)
"""Configs without `model_type` and `architectures`."""


@pytest.mark.parametrize("name", RECOGNISED)
def test_a_config_that_names_no_type_is_recognised_by_its_published_name_and_says_so(name: str) -> None:
    notes = facts(name).notes
    assert notes[0].startswith("no `model_type`: read as `")
    assert notes[0].endswith(f"by the name `{name}`")


@pytest.mark.parametrize("name", [name for name in config_names() if name not in RECOGNISED])
def test_a_config_that_names_its_type_needs_no_such_note(name: str) -> None:
    assert not any("no `model_type`" in note for note in facts(name).notes)


@pytest.mark.parametrize("name", ["meta-llama/Llama-3.1-8B", "deepseek-ai/DeepSeek-R1", "openai/gpt-oss-120b"])
def test_a_whole_config_of_a_counted_family_carries_no_note_and_no_guess(name: str) -> None:
    model = facts(name)
    assert (model.notes, model.guessed) == ((), False)


NAMED = {
    "nvidia/DeepSeek-V3.1-NVFP4": (Quantization.NVFP4, "NVFP4"),
    "nvidia/Llama-3.1-70B-Instruct-FP8": (Quantization.FP8, "FP8"),
    "nvidia/Qwen3-235B-A22B-NVFP4": (Quantization.NVFP4, "NVFP4"),
}


@pytest.mark.parametrize(("name", "kind", "said"), [(name, *row) for name, row in NAMED.items()])
def test_a_quantisation_that_only_the_name_states_is_taken_and_marked(name: str, kind: Quantization, said: str) -> None:
    model = facts(name)
    assert (model.quantization, model.guessed) == (kind, True)
    assert any(f"the name says `{said}`" in note for note in model.notes)


def test_nvidias_sparsely_quantised_deepseek_is_as_large_as_its_tensors() -> None:
    """Attention but for its output, and what drafts, stay plain: 393.6 billion stored elements for R1-0528-NVFP4-v2."""
    model = facts("nvidia/DeepSeek-V3.1-NVFP4")
    stored = [*(weight for weight in model.loaded() if not weight.derived), *model.drafts]
    packed = sum(one.elements * (9 / 16 if one.precision.block else 1) for one in stored)
    assert packed / BILLION == pytest.approx(393.6, rel=LEFT_OUT)


def with_quant_file(name: str, **stated: Any) -> Json:
    return config(name) | {"quantization_config": {"quant_method": "modelopt", "quantization": stated}}


def test_a_quantisation_from_its_own_file_gives_the_published_bytes() -> None:
    """nvidia/Llama-3.3-70B-Instruct-FP4, whose index has this size."""
    stated = with_quant_file(
        "meta-llama/Llama-3.1-70B",
        quant_algo="NVFP4",
        kv_cache_quant_algo="FP8",
        group_size=16,
        exclude_modules=["lm_head"],
    )
    model = from_config(stated, name="nvidia/Llama-3.3-70B-Instruct-FP4", origin="test")
    assert checkpoint_bytes(model) == pytest.approx(42_709_045_632, rel=0.0005)
    assert (model.quantization, model.kv_cache_dtype, model.guessed) == (Quantization.NVFP4, "fp8", False)


DBRX: Json = {
    "model_type": "dbrx",
    "architectures": ["DbrxForCausalLM"],
    "d_model": 6144,
    "n_heads": 48,
    "n_layers": 40,
    "max_seq_len": 32768,
    "vocab_size": 100352,
    "attn_config": {"kv_n_heads": 8, "clip_qkv": 8},
    "ffn_config": {"ffn_hidden_size": 10752, "moe_num_experts": 16, "moe_top_k": 4},
}


def test_a_config_in_sections_is_read() -> None:
    """Databricks/dbrx-base states 131.6 billion parameters, 36 of them active."""
    model = from_config(DBRX, name="databricks/dbrx-base", origin="test")
    assert parameters(model) / BILLION == pytest.approx(131.6, rel=LEFT_OUT)
    assert active_parameters(model) / BILLION == pytest.approx(36.5, rel=0.02)
    assert model.guessed is False


def test_deepseek_has_three_dense_layers_and_latent_attention_throughout() -> None:
    model = facts("deepseek-ai/DeepSeek-R1")
    assert sparse(model) == list(range(3, 61))
    assert {layer.cache for layer in model.layers} == {LatentCache(576, rope=64)}


def test_kimi_has_one_dense_layer_and_a_shared_expert() -> None:
    model = facts("moonshotai/Kimi-K2-Instruct")
    assert sparse(model) == list(range(1, 61))
    assert weight(model.layers[1], "shared_experts.down_proj").inputs == 2048


def test_gpt_oss_alternates_sliding_and_full_layers() -> None:
    assert windows(facts("openai/gpt-oss-20b")) == [128, None] * 12


def test_llama_4_attends_in_chunks_in_three_of_four_layers() -> None:
    """Maverick has experts in every second layer, Scout in each."""
    maverick = facts("meta-llama/Llama-4-Maverick-17B-128E-Instruct")
    assert windows(maverick) == [8192, 8192, 8192, None] * 12
    assert sparse(maverick) == list(range(1, 48, 2))
    assert sparse(facts("meta-llama/Llama-4-Scout-17B-16E-Instruct")) == list(range(48))


def test_gemma_4_has_wider_and_fewer_heads_where_it_sees_everything() -> None:
    model = facts("google/gemma-4-26B-A4B")
    assert windows(model) == ([1024] * 5 + [None]) * 5
    assert {layer.cache for layer in model.layers} == {GroupedCache(8, 256, 256, 1024), GroupedCache(2, 512, 512)}
    assert sum(weight.elements for weight in model.tower) / 10**6 == pytest.approx(573, rel=0.01)


def test_nemotron_nas_leaves_attention_out_of_some_layers_and_has_six_widths() -> None:
    model = facts("nvidia/Llama-3_3-Nemotron-Super-49B-v1")
    assert sum(layer.cache is None for layer in model.layers) == 31
    assert len({weight(layer, "down_proj").inputs for layer in model.layers}) == 6


def test_nemotron_h_has_one_part_a_layer() -> None:
    model = facts("nvidia/Nemotron-H-56B-Base-8K")
    kinds = [type(layer.cache) for layer in model.layers]
    assert (kinds.count(StateCache), kinds.count(GroupedCache), kinds.count(type(None))) == (54, 10, 54)


def test_qwen3_next_attends_in_every_fourth_layer() -> None:
    model = facts("Qwen/Qwen3-Next-80B-A3B-Instruct")
    assert [index for index, layer in enumerate(model.layers) if isinstance(layer.cache, GroupedCache)] == list(
        range(3, 48, 4)
    )


def test_the_smallest_qwen_ties_its_embeddings_and_the_others_do_not() -> None:
    assert facts("Qwen/Qwen3-0.6B").tied
    assert not facts("Qwen/Qwen3-8B").tied


def test_a_config_as_the_hub_publishes_it_is_the_same_facts_as_its_copy() -> None:
    """Fields of no meaning for sizes change nothing."""
    more = config("Qwen/Qwen3-8B") | {"bos_token_id": 1, "auto_map": {"AutoConfig": "x.Y"}, "rope_scaling": None}
    assert from_config(more, name="Qwen/Qwen3-8B", origin="tests/data/models") == facts("Qwen/Qwen3-8B")
