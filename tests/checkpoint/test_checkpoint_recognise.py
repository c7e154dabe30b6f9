"""Which family a config belongs to, where in it the language model stands, and what it leaves to its type."""

from typing import Any

import pytest
from tests.checkpoint.support import BASE, EXPERTS, LATENT, Json, has, read, sparse, weight

from shardwise.checkpoint import ConfigError, from_config
from shardwise.domain.model import GroupedCache, LatentCache, ModelFacts

KINDS: dict[str, tuple[Json, str]] = {
    "its type": ({"model_type": "qwen3"}, "self_attn.norms"),
    "its type before its architecture": (
        {"model_type": "qwen3", "architectures": ["LlamaForCausalLM"]},
        "self_attn.norms",
    ),
    "its architecture": ({"model_type": None, "architectures": ["Qwen3ForCausalLM"]}, "self_attn.norms"),
    "an architecture in other letters": (
        {"model_type": None, "architectures": ["Gemma3ForCausalLM"]},
        "self_attn.norms",
    ),
    "another name of the type": ({"model_type": "gpt-sw3"}, "positions"),
    "its name": ({"model_type": None, "architectures": None, "name": "org/GPT2-large"}, "positions"),
}


@pytest.mark.parametrize(("changes", "tell"), KINDS.values(), ids=KINDS)
def test_a_family_is_told_by(changes: Json, tell: str) -> None:
    name = changes.get("name", "org/model")
    model = read(**{key: value for key, value in changes.items() if key != "name"}, name=name)
    assert has((*model.kinds[0].weights, *model.embedding), tell)
    assert not model.guessed


UNKNOWN = "Shardwise does not know the model type `my_qwen`: "
SAID: dict[str, tuple[Json, str, str]] = {
    "the architecture": (
        {"model_type": None, "architectures": ["Qwen3ForCausalLM"], "head_dim": 64},
        "org/model",
        "no `model_type`: read as `qwen3`, by the architecture `Qwen3ForCausalLM`",
    ),
    "the architecture where the type is unknown": (
        {"model_type": "my_qwen", "architectures": ["Qwen3ForCausalLM"], "head_dim": 64},
        "org/model",
        f"{UNKNOWN}read as `qwen3`, by the architecture `Qwen3ForCausalLM`",
    ),
    "the name": (
        {"model_type": None, "architectures": None},
        "org/Llama-3-8B",
        "no `model_type`: read as `llama`, by the name `org/Llama-3-8B`",
    ),
}


@pytest.mark.parametrize(("changes", "name", "note"), SAID.values(), ids=SAID)
def test_what_a_family_was_told_by_is_said_where_it_is_not_the_type(changes: Json, name: str, note: str) -> None:
    assert read(**changes, name=name).notes == (note,)


def new(**changes: Any) -> ModelFacts:
    """Read a config of a type and a class that nobody knows."""
    return read(model_type="brand_new", architectures=["BrandNewForCausalLM"], **changes)


@pytest.mark.parametrize(
    ("kind", "known"),
    [(None, "no `model_type`"), ("brand_new", "Shardwise does not know the model type `brand_new`")],
)
def test_an_unknown_model_type_is_marked_as_a_guess(kind: str | None, known: str) -> None:
    model = read(model_type=kind, architectures=["BrandNewForCausalLM"])
    assert model.guessed
    assert model.notes == (f"{known}: the sizes are a guess",)
    assert model.architecture == "BrandNewForCausalLM"


GUESSES: dict[str, tuple[Json, list[str], list[str]]] = {
    "gated unless its activation says otherwise": ({}, ["mlp.gate_proj"], ["bias"]),
    "not gated with plain gelu": ({"hidden_act": "gelu_new"}, ["mlp.up_proj"], ["gate_proj"]),
    "biases of attention": ({"attention_bias": True}, ["q_proj.bias", "o_proj.bias"], ["up_proj.bias"]),
    "biases of queries, keys and values": ({"qkv_bias": True}, ["k_proj.bias"], ["o_proj.bias"]),
    "biases of all": ({"use_bias": True}, ["k_proj.bias", "o_proj.bias", "down_proj.bias"], []),
    "norms of queries and keys": ({"use_qk_norm": True}, ["self_attn.norms"], []),
    "experts": (EXPERTS, ["mlp.experts.up_proj", "mlp.gate"], ["shared"]),
    "latent attention": ({key: LATENT[key] for key in LATENT if "_dim" in key or "_rank" in key}, ["kv_b_proj"], []),
}


@pytest.mark.parametrize(("changes", "there", "missing"), GUESSES.values(), ids=GUESSES)
def test_an_unknown_type_is_read_by_what_its_config_says(changes: Json, there: list[str], missing: list[str]) -> None:
    layer = new(**changes).kinds[-1]
    assert [name for name in there if not has(layer, name)] == []
    assert [name for name in missing if has(layer, name)] == []


UNREADABLE: dict[str, tuple[Json, str]] = {
    "linear attention": ({"linear_num_key_heads": 4}, r"`linear_num_key_heads` \(linear-attention layers\)"),
    "a state-space model": ({"state_size": 16}, r"`state_size` \(state-space layers\)"),
    "hybrid layers": ({"hybrid_override_pattern": "M-M*"}, r"`hybrid_override_pattern` \(hybrid layers\)"),
    "layers that differ": ({"block_configs": [{}]}, r"`block_configs` \(layers that each differ\)"),
    "layers with fields of their own": ({"per_layer_config": {"0": {}}}, "`per_layer_config`"),
    "shared keys and values": ({"num_kv_shared_layers": 2}, "`num_kv_shared_layers`"),
    "inputs of single layers": ({"hidden_size_per_layer_input": 256}, "`hidden_size_per_layer_input`"),
    "interleaved experts": ({"interleave_moe_layer_step": 2}, "`interleave_moe_layer_step`"),
    "hyper-connections": ({"hc_mult": 4}, r"`hc_mult` \(hyper-connections\)"),
    "an encoder": ({"is_encoder_decoder": True}, r"`is_encoder_decoder` \(an encoder\)"),
    "layers of a strange kind": ({"layer_types": ["full_attention"] * 3 + ["magic"]}, "`magic` in `layer_types`"),
}


@pytest.mark.parametrize(("changes", "message"), UNREADABLE.values(), ids=UNREADABLE)
def test_parts_of_an_unknown_type_that_cannot_be_counted_are_refused_by_their_field(
    changes: Json, message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        new(**changes)
    assert "`model_type: brand_new`" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("changes", "_"), UNREADABLE.values(), ids=UNREADABLE)
def test_the_same_field_off_is_no_reason(changes: Json, _: str) -> None:
    off = dict.fromkeys(changes)
    assert new(**off).guessed


REMOTE = ["aquila", "baichuan", "internlm2", "minicpm", "xverse"]


@pytest.mark.parametrize("kind", REMOTE)
def test_families_read_by_hearsay_are_marked(kind: str) -> None:
    assert read(model_type=kind).guessed


def test_chatglms_own_names_are_read() -> None:
    """THUDM/glm-4-9b states 9.4 billion parameters."""
    config = {
        "model_type": "chatglm",
        "architectures": ["ChatGLMModel"],
        "hidden_size": 4096,
        "ffn_hidden_size": 13696,
        "num_layers": 40,
        "num_attention_heads": 32,
        "multi_query_group_num": 2,
        "kv_channels": 128,
        "padded_vocab_size": 151552,
        "seq_length": 131072,
        "add_qkv_bias": True,
    }
    model = from_config(config, name="THUDM/glm-4-9b", origin="test")
    assert sum(weight.elements for weight in model.loaded()) / 10**9 == pytest.approx(9.4, rel=0.01)
    assert model.layers[0].cache == GroupedCache(2, 128, 128)


def test_the_language_model_is_found_below_text_config() -> None:
    model = from_config({"architectures": ["Outer"], "text_config": BASE}, name="org/model", origin="test")
    assert (model.architecture, model.hidden, model.guessed) == ("Outer", 1024, False)


@pytest.mark.parametrize("nest", ["text_config", "llm_config", "language_config", "language_model_config"])
def test_other_nests_are_known(nest: str) -> None:
    assert from_config({"architectures": ["Outer"], nest: BASE}, name="org/model", origin="test").hidden == 1024


def test_a_nest_in_a_nest_is_known_and_a_deeper_one_is_not_followed() -> None:
    outer = {"architectures": ["Omni"], "thinker_config": {"text_config": BASE}}
    assert from_config(outer, name="org/model", origin="test").hidden == 1024
    deep: dict[str, Any] = {"model_type": "llama"}
    for _ in range(6):
        deep = {"model_type": "llama", "text_config": deep}
    assert "apply: `vocab_size: 32000`" in from_config(deep, name="org/model", origin="test").notes[0]


TIES: dict[str, tuple[Json, Json, bool]] = {
    "neither says": ({}, {}, False),
    "the text says": ({}, {"tie_word_embeddings": True}, True),
    "the whole says": ({"tie_word_embeddings": True}, {}, True),
    "the whole has the last word": ({"tie_word_embeddings": False}, {"tie_word_embeddings": True}, False),
    "gemma ties unless told not to": ({}, {"model_type": "gemma3_text"}, True),
    "gemma told not to": ({"tie_word_embeddings": False}, {"model_type": "gemma3_text"}, False),
}


@pytest.mark.parametrize(("whole", "text", "tied"), TIES.values(), ids=TIES)
def test_whether_the_ends_are_tied_is_read_from_both(whole: Json, text: Json, tied: bool) -> None:
    config = {"architectures": ["Outer"], **whole, "text_config": BASE | text}
    assert from_config(config, name="org/model", origin="test").tied is tied


@pytest.mark.parametrize("place", ["whole", "text"])
def test_dtype_and_quantisation_may_stand_in_either(place: str) -> None:
    stated = {"torch_dtype": "bfloat16", "quantization_config": {"quant_method": "fp8"}}
    text = {key: value for key, value in BASE.items() if key != "torch_dtype"}
    config = {"text_config": text | (stated if place == "text" else {}), **(stated if place == "whole" else {})}
    model = from_config({"architectures": ["Outer"], **config}, name="org/model", origin="test")
    assert weight(model, "self_attn.q_proj").precision.bytes_per_element == 1


SHORT = {"architectures": ["LlavaForConditionalGeneration"], "model_type": "llava"}


def test_a_nested_config_leaves_to_its_type_what_it_has_by_default_and_that_is_said() -> None:
    """llava-hf/llava-1.5-7b-hf states little more than its vocabulary: the rest is Llama's, as engines read it, too."""
    text = {"model_type": "llama", "max_position_embeddings": 4096, "vocab_size": 32064}
    model = from_config(SHORT | {"text_config": text}, name="llava-hf/llava-1.5-7b-hf", origin="test")
    assert (model.hidden, len(model.order), model.vocabulary) == (4096, 32, 32064)
    said = "`hidden_size: 4096`, `intermediate_size: 11008`, `num_hidden_layers: 32`, `num_attention_heads: 32`"
    assert model.notes == (f"not in the config; these defaults of `llama` apply: {said}",)


def test_gemma_3_leaves_its_heads_and_vocabulary_to_its_type() -> None:
    """google/gemma-3-4b-it: 4.3 billion parameters, the vision tower included."""
    text = {"model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34}
    vision = {
        "model_type": "siglip_vision_model",
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_hidden_layers": 27,
        "num_attention_heads": 16,
        "image_size": 896,
        "patch_size": 14,
        "vision_use_head": False,
    }
    config = {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "model_type": "gemma3",
        "text_config": text | {"sliding_window": 1024},
        "vision_config": vision,
    }
    model = from_config(config, name="google/gemma-3-4b-it", origin="test")
    assert sum(weight.elements for weight in model.loaded()) / 10**9 == pytest.approx(4.30, rel=0.01)
    assert (model.tied, model.guessed) == (True, False)
    assert "`num_attention_heads: 8`" in model.notes[0]


def test_a_default_never_stands_in_for_a_field_that_goes_by_another_name() -> None:
    """Qwen3-Coder states `num_experts`, where its class has a default of 128 `num_local_experts`."""
    model = read(model_type="qwen3_moe", **EXPERTS | {"num_experts": 160})
    experts = weight(model, "mlp.experts.up_proj").experts
    assert experts is not None
    assert experts.count == 160
    assert sparse(model) == [0, 1, 2, 3]


def test_a_default_that_follows_from_other_fields_is_none() -> None:
    """Llama's class states a head width of 128 that follows from its other defaults."""
    model = read(num_attention_heads=32, num_key_value_heads=None)
    assert model.layers[0].cache == GroupedCache(32, 32, 32)


def test_deepseeks_head_width_is_no_fact_of_its_cache() -> None:
    assert read(**LATENT).layers[0].cache == LatentCache(576, rope=64)
    assert read(**LATENT).notes == ()


CLASSES = {
    "llama": "LlamaForCausalLM",
    "qwen3_next": "Qwen3NextForCausalLM",
    "glm4_moe": "Glm4MoeForCausalLM",
    "gptj": "GPTJForCausalLM",
    "phimoe": "PhiMoEForCausalLM",
    "minimax_m2": "MiniMaxM2ForCausalLM",
    "gemma3_text": "Gemma3ForCausalLM",
    "nemotron_h": "NemotronHForCausalLM",
    "brand_new": "BrandNewForCausalLM",
}


@pytest.mark.parametrize(("kind", "architecture"), CLASSES.items())
def test_a_config_without_an_architecture_has_that_of_its_type(kind: str, architecture: str) -> None:
    """Engines know by the class whether they can split a model into stages."""
    changes: Json = {
        **EXPERTS,
        "hybrid_override_pattern": "****" if kind == "nemotron_h" else None,
        **({} if kind != "qwen3_next" else {"layer_types": ["full_attention"] * 4}),
    }
    assert read(without="architectures", model_type=kind, **changes).architecture == architecture


@pytest.mark.parametrize(
    "listed", [{"architectures": ["A", "B"]}, {"architectures": [], "text_config": {"architectures": ["A"]}}]
)
def test_the_first_architecture_counts_that_of_the_whole_before_that_of_the_text(listed: Json) -> None:
    config = BASE | listed
    if "text_config" in listed:
        config = {"architectures": [], "text_config": BASE | listed["text_config"]}
    assert from_config(config, name="m", origin="t").architecture == "A"
