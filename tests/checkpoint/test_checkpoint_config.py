"""Reading a config.json field by field: what each field means, and what a wrong one is told."""

from typing import Any

import pytest

from shardwise.checkpoint import ConfigError, from_config
from shardwise.domain.model import DenseFfn, ExpertFfn, GroupedAttention, LatentAttention, Quantization

BASE: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 4,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "vocab_size": 32000,
    "max_position_embeddings": 4096,
    "torch_dtype": "bfloat16",
}
EXPERTS: dict[str, Any] = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 512}
LATENT: dict[str, Any] = {
    "kv_lora_rank": 512,
    "q_lora_rank": 1536,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
}


def read(*, without: str = "", **changes: Any) -> Any:
    config = {key: value for key, value in (BASE | changes).items() if key != without}
    return from_config(config, name="org/model", origin="test")


@pytest.mark.parametrize(
    "field",
    [
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "vocab_size",
        "max_position_embeddings",
        "intermediate_size",
    ],
)
def test_a_field_that_is_missing_is_named(field: str) -> None:
    with pytest.raises(ConfigError, match=f"config of `org/model` lacks `{field}`"):
        read(without=field)


WRONG = {
    "text for a number": ({"hidden_size": "1024"}, "`hidden_size: '1024'`: a whole number of at least 1 is needed"),
    "a fraction": ({"hidden_size": 1024.5}, "`hidden_size: 1024.5`"),
    "a negative number": ({"num_hidden_layers": -1}, "`num_hidden_layers: -1`"),
    "true for a number": ({"vocab_size": True}, "`vocab_size: True`"),
    "a list for a number": ({"num_attention_heads": [16, 16]}, r"`num_attention_heads: \[16, 16\]`"),
    "an object for a number": ({"vocab_size": {}}, "`vocab_size: {}`"),
    "a number nobody means": ({"hidden_size": 10**30}, "`hidden_size` above 1,000,000,000"),
    "millions of layers": ({"num_hidden_layers": 10**7}, "10000000 layers: at most 4096"),
    "KV heads that do not divide": ({"num_key_value_heads": 3}, "3 `num_key_value_heads` for 16 heads"),
    "more active experts than experts": (EXPERTS | {"num_experts_per_tok": 9}, "9 active experts of 8"),
    "experts without the active count": ({"num_experts": 8, "moe_intermediate_size": 512}, "`num_experts_per_tok`"),
    "latent attention cut short": ({"kv_lora_rank": 512}, "lacks `qk_nope_head_dim`"),
    "an unknown dtype": ({"torch_dtype": "float7"}, "`torch_dtype: float7`: known are bfloat16, float16"),
    "layer types that miscount": (
        {"sliding_window": 128, "layer_types": ["full_attention"]},
        "1 `layer_types` for 4 layers",
    ),
    "a vision tower": ({"vision_config": {"depth": 2}}, "`vision_config`, that is a vision tower"),
    "an encoder": ({"is_encoder_decoder": True}, "`is_encoder_decoder`, that is an encoder"),
    "a state-space model": ({"state_size": 16}, "`state_size`, that is state-space layers"),
    "hybrid layers": ({"hybrid_override_pattern": "M-M*"}, "`hybrid_override_pattern`"),
    "a vision tower below text_config": ({"text_config": BASE | {"audio_config": {"a": 1}}}, "`audio_config`"),
}


@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_field_is_named_with_its_value(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        read(**changes)
    assert "org/model" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_long_wrong_value_does_not_flood_the_message() -> None:
    with pytest.raises(ConfigError) as raised:
        read(hidden_size=["x" * 100] * 100)
    assert len(str(raised.value)) < 200


def test_a_plain_config_gives_equal_layers() -> None:
    model = read()
    assert len(model.layers) == 4
    assert set(model.layers) == {model.layers[0]}
    assert model.layers[0].attention == GroupedAttention(heads=16, kv_heads=4, head_dim=64)
    assert model.layers[0].ffn == DenseFfn(4096)
    assert (model.hidden, model.vocabulary, model.context_length) == (1024, 32000, 4096)
    assert (model.name, model.architecture, model.origin) == ("org/model", "LlamaForCausalLM", "test")


MEANINGS: dict[str, tuple[dict[str, Any], GroupedAttention]] = {
    "an own head width": ({"head_dim": 128}, GroupedAttention(16, 4, 128)),
    "a null head width": ({"head_dim": None}, GroupedAttention(16, 4, 64)),
    "biases": ({"attention_bias": True}, GroupedAttention(16, 4, 64, bias=True)),
    "qwen2 has biases unsaid": ({"model_type": "qwen2"}, GroupedAttention(16, 4, 64, bias=True)),
    "qwen3 normalises queries and keys": ({"model_type": "qwen3"}, GroupedAttention(16, 4, 64, qk_norm=True)),
    "a window": ({"sliding_window": 512}, GroupedAttention(16, 4, 64, window=512)),
    "a window that is off": ({"sliding_window": 512, "use_sliding_window": False}, GroupedAttention(16, 4, 64)),
    "a null window": ({"sliding_window": None}, GroupedAttention(16, 4, 64)),
    "multi-head": ({"num_key_value_heads": None}, GroupedAttention(16, 16, 64)),
    "multi-query": ({"num_key_value_heads": 1}, GroupedAttention(16, 1, 64)),
}


@pytest.mark.parametrize(("changes", "expected"), MEANINGS.values(), ids=MEANINGS)
def test_attention_is_read(changes: dict[str, Any], expected: GroupedAttention) -> None:
    assert {layer.attention for layer in read(**changes).layers} == {expected}


def test_latent_attention_is_told_by_its_rank() -> None:
    assert read(**LATENT).layers[0].attention == LatentAttention(16, 1536, 512, 128, 64, 128)


def test_latent_attention_without_a_query_rank_projects_queries_whole() -> None:
    attention = read(**(LATENT | {"q_lora_rank": None})).layers[0].attention
    assert attention == LatentAttention(16, None, 512, 128, 64, 128)


FFNS: dict[str, tuple[dict[str, Any], DenseFfn | ExpertFfn]] = {
    "gated by default": ({}, DenseFfn(4096)),
    "not gated with plain gelu": ({"hidden_act": "gelu"}, DenseFfn(4096, gated=False)),
    "gemma is gated with gelu": ({"hidden_act": "gelu", "model_type": "gemma"}, DenseFfn(4096)),
    "experts": (EXPERTS, ExpertFfn(8, 2, 512)),
    "Mixtral's names": (
        {"num_local_experts": 8, "num_experts_per_tok": 2},
        ExpertFfn(experts=8, active=2, intermediate=4096),
    ),
    "DeepSeek's shared experts": (EXPERTS | {"n_shared_experts": 2}, ExpertFfn(8, 2, 512, shared_intermediate=1024)),
    "Qwen's shared expert": (
        EXPERTS | {"shared_expert_intermediate_size": 768},
        ExpertFfn(8, 2, 512, shared_intermediate=768),
    ),
    "zero experts is dense": ({"num_experts": 0}, DenseFfn(4096)),
}


@pytest.mark.parametrize(("changes", "expected"), FFNS.values(), ids=FFNS)
def test_the_feed_forward_is_read(changes: dict[str, Any], expected: DenseFfn | ExpertFfn) -> None:
    assert {layer.ffn for layer in read(**changes).layers} == {expected}


EXPERT_LAYERS: dict[str, tuple[dict[str, Any], list[int]]] = {
    "all": ({}, [0, 1, 2, 3]),
    "all but the first two": ({"first_k_dense_replace": 2}, [2, 3]),
    "every second": ({"decoder_sparse_step": 2}, [1, 3]),
    "all but the listed": ({"mlp_only_layers": [0, 3]}, [1, 2]),
    "an empty list": ({"mlp_only_layers": []}, [0, 1, 2, 3]),
}


@pytest.mark.parametrize(("changes", "expected"), EXPERT_LAYERS.values(), ids=EXPERT_LAYERS)
def test_which_layers_have_experts_is_read(changes: dict[str, Any], expected: list[int]) -> None:
    layers = read(**EXPERTS, **changes).layers
    assert [index for index, layer in enumerate(layers) if isinstance(layer.ffn, ExpertFfn)] == expected


def test_the_language_model_is_found_below_text_config() -> None:
    model = from_config({"architectures": ["Outer"], "text_config": BASE}, name="org/model", origin="test")
    assert (model.architecture, model.hidden) == ("Outer", 1024)


def test_other_spellings_of_the_same_field_are_read() -> None:
    old = {
        "n_embd": 1024,
        "n_layer": 2,
        "n_head": 16,
        "n_inner": 4096,
        "vocab_size": 50400,
        "n_positions": 2048,
        "activation_function": "gelu_new",
    }
    model = from_config(old, name="org/model", origin="test")
    assert (model.hidden, len(model.layers), model.context_length) == (1024, 2, 2048)
    assert model.layers[0].ffn == DenseFfn(4096, gated=False)


def test_the_architecture_falls_back_to_the_model_type() -> None:
    assert read(without="architectures").architecture == "llama"


@pytest.mark.parametrize("kind", [None, "brand_new"])
def test_an_unknown_model_type_is_marked_as_a_guess(kind: str | None) -> None:
    notes = read(model_type=kind).notes
    assert notes == (f"model type `{kind}` is not one Shardwise has counted: sizes are a guess",)


def test_the_published_size_is_kept_only_for_the_precision_it_was_published_in() -> None:
    sized = {"name": "org/model", "origin": "test", "checkpoint_bytes": 10**9}
    assert from_config(BASE, **sized).checkpoint_bytes == 10**9
    assert from_config(BASE, quantization="fp8", **sized).checkpoint_bytes is None


@pytest.mark.parametrize("kind", list(Quantization))
def test_a_forced_quantisation_is_what_the_facts_say(kind: Quantization) -> None:
    assert from_config(BASE, name="m", origin="t", quantization=kind.value).quantization is kind


def test_a_quantisation_nobody_knows_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="`fp7` is not known: auto, none, fp8, int4, mxfp4, nvfp4"):
        from_config(BASE, name="m", origin="t", quantization="fp7")
