"""The facts read off real configs, held against the published sizes; what cannot be read is refused by its field."""

import pytest
from tests.support.models import config_names, facts, parameters

from shardwise.checkpoint import ConfigError
from shardwise.domain.model import ExpertFfn, GroupedAttention, LatentAttention, Quantization

BILLION = 10**9

PUBLISHED = {
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
    "deepseek-ai/DeepSeek-R1": 671.0,
    "deepseek-ai/DeepSeek-V3": 671.0,
    "meta-llama/Llama-2-70b-chat-hf": 68.98,
    "meta-llama/Meta-Llama-3.1-8B": 8.03,
    "meta-llama/Meta-Llama-3.1-70B": 70.55,
    "meta-llama/Meta-Llama-3.1-405B": 405.85,
    "mistralai/Mixtral-8x7B-v0.1": 46.70,
    "mistralai/Mixtral-8x22B-v0.1": 140.6,
    "moonshotai/Kimi-K2-Instruct": 1026.0,
    "nvidia/DeepSeek-V3.1-NVFP4": 671.0,
    "nvidia/Llama-3.1-70B-Instruct-FP8": 70.55,
    "nvidia/Qwen3-235B-A22B-NVFP4": 235.09,
    "openai/gpt-oss-20b": 20.9,
    "openai/gpt-oss-120b": 116.8,
    "zai-org/GLM-4.5-Air": 106.0,
}
"""Parameters in billions, as the publishers state them; DeepSeek without its multi-token-prediction module."""

REFUSED = {
    "EleutherAI/gpt-j-6b": "intermediate_size",
    "Qwen/Qwen3-Next-80B-A3B-Instruct": "linear_num_key_heads",
    "google/gemma-4-26B-A4B": "vision_config",
    "meta-llama/Llama-4-Maverick-17B-128E-Instruct": "interleave_moe_layer_step",
    "meta-llama/Llama-4-Scout-17B-16E-Instruct": "interleave_moe_layer_step",
    "microsoft/Phi-3.5-MoE-instruct": "max_position_embeddings",
    "mistralai/Mistral-7B-Instruct-v0.2": "max_position_embeddings",
    "nvidia/Llama-3_3-Nemotron-Super-49B-v1": "block_configs",
    "nvidia/Nemotron-H-56B-Base-8K": "ssm_state_size",
    "zai-org/GLM-4.5": "max_position_embeddings",
}
"""Configs this version does not read, and the field its message must name."""

GUESSED = ("google/gemma-7b-it", "XiaomiMiMo/MiMo-7B-Base")
"""Readable, of a model type that is missing or was never counted: allowed to be off, and marked."""


@pytest.mark.parametrize("name", config_names())
def test_every_config_in_the_data_folder_has_a_stated_fate(name: str) -> None:
    assert (name in PUBLISHED) + (name in REFUSED) + (name in GUESSED) == 1


@pytest.mark.parametrize(("name", "billions"), PUBLISHED.items())
def test_the_counted_parameters_are_within_one_percent_of_the_published(name: str, billions: float) -> None:
    assert parameters(facts(name)) / BILLION == pytest.approx(billions, rel=0.01)


@pytest.mark.parametrize(("name", "field"), REFUSED.items())
def test_a_config_that_cannot_be_counted_is_refused_by_the_field_that_tells(name: str, field: str) -> None:
    with pytest.raises(ConfigError, match=f"`{field}`") as raised:
        facts(name)
    assert f"`{name}`" in str(raised.value)


@pytest.mark.parametrize("name", GUESSED)
def test_a_model_type_that_was_never_counted_is_marked_as_a_guess(name: str) -> None:
    assert any("guess" in note for note in facts(name).notes)


@pytest.mark.parametrize("name", ["meta-llama/Llama-3.1-8B", "deepseek-ai/DeepSeek-R1", "openai/gpt-oss-120b"])
def test_a_model_type_that_was_counted_carries_no_guess(name: str) -> None:
    assert facts(name).notes == ()


QUANTIZED = {
    "meta-llama/Llama-3.1-8B": (Quantization.NONE, 2.0, 2.0, None),
    "Qwen/Qwen3-32B-FP8": (Quantization.FP8, 1 + 4 / 128**2, 1 + 4 / 128**2, (128, 128)),
    "Qwen/Qwen3-235B-A22B-FP8": (Quantization.FP8, 1 + 4 / 128**2, 1 + 4 / 128**2, (128, 128)),
    "deepseek-ai/DeepSeek-R1": (Quantization.FP8, 1 + 4 / 128**2, 1 + 4 / 128**2, (128, 128)),
    "moonshotai/Kimi-K2-Instruct": (Quantization.FP8, 1 + 4 / 128**2, 1 + 4 / 128**2, (128, 128)),
    "openai/gpt-oss-20b": (Quantization.MXFP4, 2.0, 0.5 + 1 / 32, (1, 32)),
    "openai/gpt-oss-120b": (Quantization.MXFP4, 2.0, 0.5 + 1 / 32, (1, 32)),
}


@pytest.mark.parametrize(("name", "kind", "linear", "expert", "block"), [(n, *row) for n, row in QUANTIZED.items()])
def test_a_real_quantisation_is_read_with_its_blocks_and_what_stays_plain(
    name: str, kind: Quantization, linear: float, expert: float, block: tuple[int, int] | None
) -> None:
    model = facts(name)
    assert (model.quantization, model.plain.bytes_per_element) == (kind, 2)
    assert model.linear.bytes_per_element == pytest.approx(linear)
    assert model.expert.bytes_per_element == pytest.approx(expert)
    assert model.expert.block == block


def test_deepseek_has_three_dense_layers_and_latent_attention_throughout() -> None:
    layers = facts("deepseek-ai/DeepSeek-R1").layers
    assert [isinstance(layer.ffn, ExpertFfn) for layer in layers] == [False] * 3 + [True] * 58
    assert {layer.attention for layer in layers} == {LatentAttention(128, 1536, 512, 128, 64, 128)}


def test_kimi_has_one_dense_layer_and_a_shared_expert() -> None:
    layers = facts("moonshotai/Kimi-K2-Instruct").layers
    assert [isinstance(layer.ffn, ExpertFfn) for layer in layers] == [False] + [True] * 60
    assert layers[1].ffn == ExpertFfn(experts=384, active=8, intermediate=2048, shared_intermediate=2048)


def test_gpt_oss_alternates_sliding_and_full_layers() -> None:
    layers = facts("openai/gpt-oss-20b").layers
    windows = [layer.attention.window for layer in layers if isinstance(layer.attention, GroupedAttention)]
    assert windows == [128, None] * 12


def test_the_smallest_qwen_ties_its_embeddings_and_the_others_do_not() -> None:
    assert facts("Qwen/Qwen3-0.6B").tied_embeddings
    assert not facts("Qwen/Qwen3-8B").tied_embeddings
