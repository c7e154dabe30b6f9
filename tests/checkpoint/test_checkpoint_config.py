"""Reading a config.json field by field: what each field means, and what a wrong one is told."""

from typing import Any

import pytest
from tests.checkpoint.support import BASE, EXPERTS, LATENT, dealt, has, of, read, sparse, weight, windows

from shardwise.checkpoint import ConfigError, from_config
from shardwise.domain.model import GroupedCache, LatentCache, Quantization, Split

DIMENSIONS = [
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "vocab_size",
    "intermediate_size",
]


@pytest.mark.parametrize("field", DIMENSIONS)
@pytest.mark.parametrize("kind", ["llama", "qwen2", "gemma2", "brand_new"])
def test_a_dimension_that_is_missing_is_named(field: str, kind: str) -> None:
    """A whole config without it is broken: nobody publishes one, and the type's default would be a silent guess."""
    with pytest.raises(ConfigError, match=f"config of `org/model` lacks `{field}`"):
        read(without=field, model_type=kind)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "text for a number": ({"hidden_size": "1024"}, "`hidden_size: '1024'`: a whole number of at least 1 is needed"),
    "a fraction": ({"hidden_size": 1024.5}, "`hidden_size: 1024.5`"),
    "not a number": ({"hidden_size": float("nan")}, "`hidden_size: nan`: a whole number of at least 1 is needed"),
    "infinity": ({"num_hidden_layers": float("inf")}, "`num_hidden_layers: inf`"),
    "zero": ({"num_attention_heads": 0}, "has `num_attention_heads: 0`: a whole number of at least 1 is needed"),
    "a negative number": ({"num_hidden_layers": -1}, "`num_hidden_layers: -1`"),
    "true for a number": ({"vocab_size": True}, "`vocab_size: True`"),
    "a list for a number": ({"num_attention_heads": [16, 16]}, r"`num_attention_heads: \[16, 16\]`"),
    "an object for a number": ({"vocab_size": {"a": 1}}, "`vocab_size: {'a': 1}`"),
    "a number nobody means": ({"hidden_size": 10**30}, "`hidden_size` above 1,000,000,000"),
    "a number too long to print": ({"hidden_size": -(10**5000)}, "`hidden_size: a int too large to print`"),
    "millions of layers": ({"num_hidden_layers": 10**7}, "10000000 layers: at most 4096"),
    "KV heads that do not divide": ({"num_key_value_heads": 3}, "`num_key_value_heads: 3` for 16 heads"),
    "more active experts than experts": (
        {"model_type": "qwen3_moe"} | EXPERTS | {"num_experts_per_tok": 9},
        "9 active experts a token, but only 8",
    ),
    "experts without the active count": (
        {"model_type": "mixtral", "num_local_experts": 8, "num_experts_per_tok": None},
        "`num_experts_per_tok`",
    ),
    "latent attention cut short": ({"model_type": "deepseek_v2"} | EXPERTS, "lacks `kv_lora_rank`"),
    "an unknown dtype": ({"torch_dtype": "float7"}, "`torch_dtype: float7`: known are auto, bfloat16"),
    "a number for a dtype": ({"torch_dtype": 16}, "`torch_dtype: 16`: a string is needed"),
    "a text for a flag": ({"attention_bias": "false"}, "`attention_bias: 'false'`: true or false is needed"),
    "a number for a flag": ({"tie_word_embeddings": 2}, "`tie_word_embeddings: 2`: true or false is needed"),
    "a text for a list": (
        {"architectures": "LlamaForCausalLM"},
        "`architectures: 'LlamaForCausalLM'`: a list is needed",
    ),
    "numbers for texts": ({"architectures": [1]}, "1 in `architectures`: strings are needed"),
    "a list for an object": ({"text_config": [1]}, r"`text_config: \[1\]`: an object is needed"),
    "a text for a quantisation": ({"quantization_config": "fp8"}, "`quantization_config: 'fp8'`: an object is needed"),
    "layer types that miscount": (
        {"sliding_window": 128, "layer_types": ["full_attention"]},
        "1 `layer_types`: 4 are needed",
    ),
    "layer types that are numbers": ({"layer_types": [1, 2, 3, 4]}, "1 in `layer_types`: strings are needed"),
    "a model type that is a list": ({"model_type": ["llama"]}, r"`model_type: \['llama'\]`: a string is needed"),
    "a hybrid pattern of other letters": (
        {"model_type": "nemotron_h", "hybrid_override_pattern": "MX*-", "num_hidden_layers": 4},
        "has `X` in `hybrid_override_pattern`: M, *, - and E are known".replace("*", r"\*"),
    ),
    "a hybrid pattern that miscounts": (
        {"model_type": "nemotron_h", "hybrid_override_pattern": "M-", "num_hidden_layers": 4},
        "lists 2 kinds of layers: 4 are needed",
    ),
    "no hybrid pattern": ({"model_type": "nemotron_h"}, "lacks `hybrid_override_pattern`: the kind of each layer"),
    "an empty hybrid pattern": ({"model_type": "nemotron_h", "hybrid_override_pattern": ""}, "the kind of each layer"),
    "no kinds of hybrid layers": (
        {"model_type": "zamba2", "mamba_d_state": 16, "n_mamba_heads": 8},
        "lacks `layers_block_type`: the kind of each layer is needed",
    ),
    "kinds of hybrid layers that miscount": (
        {"model_type": "zamba2", "layers_block_type": ["hybrid"]},
        "1 `layers_block_type`: 4 are needed",
    ),
    "no blocks": ({"model_type": "nemotron-nas"}, "0 `block_configs`: 4 are needed"),
    "blocks that miscount": ({"model_type": "nemotron-nas", "block_configs": [{}]}, "1 `block_configs`: 4 are needed"),
    "a block that is no object": (
        {"model_type": "nemotron-nas", "block_configs": [1] * 4},
        "a `block_configs` entry that is not an object",
    ),
    "a multiple of the width below nothing": (
        {
            "model_type": "nemotron-nas",
            "block_configs": [{"attention": {"n_heads_in_group": 4}, "ffn": {"ffn_mult": -1}}] * 4,
        },
        "`ffn_mult: -1`: a positive number is needed",
    ),
    "heads a group does not divide": (
        {"model_type": "nemotron-nas", "block_configs": [{"attention": {"n_heads_in_group": 5}, "ffn": {}}] * 4},
        "`n_heads_in_group: 5` for 16 heads: a divisor is needed",
    ),
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


def test_a_value_nested_without_end_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ConfigError, match="is nested more than 32 levels deep"):
        read(hidden_size=endless)


def test_a_plain_config_gives_equal_layers() -> None:
    model = read()
    assert (len(model.kinds), model.order) == (1, (0, 0, 0, 0))
    assert {layer.cache for layer in model.layers} == {GroupedCache(4, 64, 64)}
    assert (model.hidden, model.vocabulary, model.context_length) == (1024, 32000, 4096)
    assert (model.name, model.architecture, model.origin) == ("org/model", "LlamaForCausalLM", "test")
    assert (model.tied, model.guessed, model.notes) == (False, False, ())


def test_the_ends_are_a_vocabulary_each_and_a_norm() -> None:
    model = read()
    assert [
        (weight.name, weight.outputs, weight.inputs, weight.split) for weight in (*model.embedding, *model.head)
    ] == [
        ("model.embed_tokens.weight", 32000, 1024, Split.VOCABULARY),
        ("model.norm", 1024, 1, Split.WHOLE),
        ("lm_head.weight", 32000, 1024, Split.VOCABULARY),
    ]


def test_a_tied_model_has_no_head_of_its_own() -> None:
    model = read(tie_word_embeddings=True)
    assert model.tied
    assert not has(model.head, "lm_head")


CACHES: dict[str, tuple[dict[str, Any], GroupedCache]] = {
    "an own head width": ({"head_dim": 128}, GroupedCache(4, 128, 128)),
    "a null head width": ({"head_dim": None}, GroupedCache(4, 64, 64)),
    "a window": ({"sliding_window": 512}, GroupedCache(4, 64, 64, 512)),
    "a window that is off": ({"sliding_window": 512, "use_sliding_window": False}, GroupedCache(4, 64, 64)),
    "a null window": ({"sliding_window": None}, GroupedCache(4, 64, 64)),
    "multi-head": ({"num_key_value_heads": None}, GroupedCache(16, 64, 64)),
    "multi-query": ({"num_key_value_heads": 1}, GroupedCache(1, 64, 64)),
}


@pytest.mark.parametrize(("changes", "expected"), CACHES.values(), ids=CACHES)
def test_what_a_layer_keeps_of_a_token_is_read(changes: dict[str, Any], expected: GroupedCache) -> None:
    assert {layer.cache for layer in read(**changes).layers} == {expected}


BIASES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "none": ({}, set()),
    "llama's": ({"attention_bias": True}, {"q_proj", "k_proj", "v_proj", "o_proj"}),
    "qwen2 has them unsaid, but on the output": ({"model_type": "qwen2"}, {"q_proj", "k_proj", "v_proj"}),
    "glm": ({"model_type": "glm4", "attention_bias": True}, {"q_proj", "k_proj", "v_proj"}),
    "a feed-forward block's": ({"mlp_bias": True}, {"gate_proj", "up_proj", "down_proj"}),
    "starcoder2 has them all, and no gate": (
        {"model_type": "starcoder2"},
        {"q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"},
    ),
    "whisper's keys have none": (
        {
            "model_type": "whisper",
            "d_model": 64,
            "decoder_layers": 2,
            "decoder_attention_heads": 4,
            "decoder_ffn_dim": 128,
        },
        {"q_proj", "v_proj", "o_proj", "up_proj", "down_proj"},
    ),
}


@pytest.mark.parametrize(("changes", "expected"), BIASES.values(), ids=BIASES)
def test_biases_are_where_the_family_has_them(changes: dict[str, Any], expected: set[str]) -> None:
    biased = {
        weight.name.split(".")[-2] for weight in read(**changes).kinds[0].weights if weight.name.endswith(".bias")
    }
    assert biased == expected


WINDOWS: dict[str, tuple[dict[str, Any], list[int | None]]] = {
    "listed": (
        {"layer_types": ["sliding_attention", "full_attention"] * 2, "sliding_window": 128},
        [128, None, 128, None],
    ),
    "listed, without a window": ({"layer_types": ["sliding_attention"] * 4}, [None] * 4),
    "every layer's": ({"model_type": "mistral", "sliding_window": 99}, [99] * 4),
    "switched off": ({"model_type": "qwen2", "sliding_window": 99}, [None] * 4),
    "switched on from a layer on": (
        {"model_type": "qwen2", "sliding_window": 99, "use_sliding_window": True, "max_window_layers": 2},
        [None, None, 99, 99],
    ),
    "gemma 2's every second": ({"model_type": "gemma2", "sliding_window": 99}, [99, None, 99, None]),
    "gemma 3's five of six": (
        {"model_type": "gemma3_text", "sliding_window": 99, "num_hidden_layers": 7},
        [99, 99, 99, 99, 99, None, 99],
    ),
    "gemma 3's by a stated pattern": (
        {"model_type": "gemma3_text", "sliding_window": 99, "sliding_window_pattern": 2},
        [99, None, 99, None],
    ),
    "exaone's by letters": (
        {"model_type": "exaone4", "sliding_window": 99, "sliding_window_pattern": "LLLG"},
        [99, 99, 99, None],
    ),
    "command r's three of four": ({"model_type": "cohere2", "sliding_window": 99}, [99, 99, 99, None]),
    "gpt-oss's every second, the first too": (
        {"model_type": "gpt_oss", "sliding_window": 99, "num_local_experts": 4, "num_experts_per_tok": 2},
        [99, None, 99, None],
    ),
    "llama 4's chunks": (
        {
            "model_type": "llama4_text",
            "attention_chunk_size": 512,
            "intermediate_size_mlp": 99,
            "num_local_experts": 4,
            "num_experts_per_tok": 1,
        },
        [512, 512, 512, None],
    ),
    "llama 4's chunks where rotary positions are listed": (
        {
            "model_type": "llama4_text",
            "attention_chunk_size": 512,
            "no_rope_layers": [0, 1, 0, 1],
            "num_local_experts": 4,
            "num_experts_per_tok": 1,
            "intermediate_size_mlp": 99,
        },
        [None, 512, None, 512],
    ),
    "chunks that are listed": (
        {"layer_types": ["chunked_attention", "full_attention"] * 2, "attention_chunk_size": 512},
        [512, None, 512, None],
    ),
}


@pytest.mark.parametrize(("changes", "expected"), WINDOWS.values(), ids=WINDOWS)
def test_windows_are_where_the_family_has_them(changes: dict[str, Any], expected: list[int | None]) -> None:
    assert windows(read(**changes)) == expected


SPARSE: dict[str, tuple[dict[str, Any], list[int]]] = {
    "qwen: all": ({"model_type": "qwen3_moe"}, [0, 1, 2, 3]),
    "qwen: every second": ({"model_type": "qwen3_moe", "decoder_sparse_step": 2}, [1, 3]),
    "qwen: all but the listed": ({"model_type": "qwen3_moe", "mlp_only_layers": [0, 3]}, [1, 2]),
    "qwen: an empty list": ({"model_type": "qwen3_moe", "mlp_only_layers": []}, [0, 1, 2, 3]),
    "glm: all but the first": ({"model_type": "glm4_moe"}, [1, 2, 3]),
    "glm: all but the first two": ({"model_type": "glm4_moe", "first_k_dense_replace": 2}, [2, 3]),
    "glm: none spared": ({"model_type": "glm4_moe", "first_k_dense_replace": 0}, [0, 1, 2, 3]),
    "a list of kinds": ({"model_type": "hy_v3", "mlp_layer_types": ["dense", "sparse", "dense", "sparse"]}, [1, 3]),
    "a frequency": (LATENT | {"model_type": "deepseek_v2", "moe_layer_freq": 2, "num_experts": None}, [2]),
    "a list of frequencies": ({"model_type": "mimo_v2_flash", "moe_layer_freq": [0, 1, 1, 0]}, [1, 2]),
    "ernie: from a layer to another": (
        {"model_type": "ernie4_5_moe", "moe_layer_start_index": 1, "moe_layer_end_index": 2},
        [1, 2],
    ),
    "ernie: to the last": ({"model_type": "ernie4_5_moe", "moe_layer_end_index": -1}, [0, 1, 2, 3]),
    "ernie: every second": ({"model_type": "ernie4_5_moe", "moe_layer_interval": 2}, [1, 3]),
    "llama 4: every second": ({"model_type": "llama4_text", "interleave_moe_layer_step": 2}, [1, 3]),
    "llama 4: listed": ({"model_type": "llama4_text", "moe_layers": [0, 2]}, [0, 2]),
    "jamba: by period and offset": (
        {"model_type": "jamba", "mamba_d_state": 16, "expert_layer_period": 2, "expert_layer_offset": 1},
        [1, 3],
    ),
    "mixtral: all": ({"model_type": "mixtral"}, [0, 1, 2, 3]),
    "no experts at all": ({"model_type": "glm4_moe", "num_experts": 0}, []),
}


@pytest.mark.parametrize(("changes", "expected"), SPARSE.values(), ids=SPARSE)
def test_which_layers_have_experts_is_read(changes: dict[str, Any], expected: list[int]) -> None:
    made = EXPERTS | {"intermediate_size_mlp": 2048, "num_nextn_predict_layers": 0} | changes
    assert sparse(read(**made)) == expected


SHARED: dict[str, tuple[dict[str, Any], int]] = {
    "none": ({"model_type": "qwen3_moe"}, 0),
    "deepseek's are as wide as so many experts": ({"model_type": "glm4_moe", "n_shared_experts": 2}, 1024),
    "qwen's has its own width": ({"model_type": "qwen2_moe", "shared_expert_intermediate_size": 768}, 768),
    "zero is none": ({"model_type": "qwen2_moe", "shared_expert_intermediate_size": 0}, 0),
    "llama 4's is as wide as an expert": ({"model_type": "llama4_text", "intermediate_size_mlp": 2048}, 4096),
    "granite's": ({"model_type": "granitemoeshared", "shared_intermediate_size": 640}, 640),
}


@pytest.mark.parametrize(("changes", "columns"), SHARED.values(), ids=SHARED)
def test_shared_experts_are_read(changes: dict[str, Any], columns: int) -> None:
    layer = read(**EXPERTS, **changes).kinds[-1]
    assert has(layer, "shared_experts") is bool(columns)
    if columns:
        assert weight(layer, "shared_experts.down_proj").inputs == columns


def test_experts_keep_their_number_and_how_many_a_token_meets() -> None:
    experts = weight(read(model_type="qwen3_moe", **EXPERTS), "mlp.experts.up_proj").experts
    assert experts is not None
    assert (experts.count, experts.active) == (8, 2)


def test_layers_may_have_heads_of_their_own() -> None:
    """poolside/Laguna-XS.2 has 48 where it sees everything and 64 where it slides."""
    model = read(model_type="laguna", **EXPERTS, num_attention_heads_per_layer=[16, 32, 32, 16], head_dim=64)
    assert [weight(layer, "self_attn.q_proj").units for layer in model.layers] == [16, 32, 32, 16]


def test_a_list_of_heads_that_miscounts_is_named() -> None:
    with pytest.raises(ConfigError, match="1 `num_attention_heads_per_layer`: 4 are needed"):
        read(model_type="laguna", **EXPERTS, num_attention_heads_per_layer=[16])


def test_latent_attention_is_told_by_its_ranks() -> None:
    model = read(**LATENT)
    assert {layer.cache for layer in model.layers} == {LatentCache(576, rope=64)}
    assert dealt(model.kinds[0])["self_attn.q_b_proj"] == (Split.OUTPUTS, 16, "attention heads")


def test_latent_attention_without_a_query_rank_projects_queries_whole() -> None:
    layer = read(**LATENT | {"q_lora_rank": None}).kinds[0]
    assert not has(layer, "q_a_proj")
    assert weight(layer, "self_attn.q_proj").outputs == 16 * 192


def test_other_spellings_of_the_same_field_are_read() -> None:
    old = {
        "model_type": "gpt2",
        "n_embd": 1024,
        "n_layer": 2,
        "n_head": 16,
        "vocab_size": 50400,
        "n_positions": 2048,
        "activation_function": "gelu_new",
    }
    model = from_config(old, name="org/model", origin="test")
    assert (model.hidden, len(model.layers), model.context_length) == (1024, 2, 2048)
    assert weight(model, "mlp.up_proj").outputs == 4096
    assert not has(model, "gate_proj")
    assert weight(model, "positions").outputs == 2048


def test_bloom_names_its_hidden_size_in_its_own_way() -> None:
    made = of("bloom", without=("architectures", "hidden_size", "intermediate_size"), n_embed=1024)
    assert (made.hidden, made.notes) == (1024, of("bloom", without=("architectures", "intermediate_size")).notes)


def test_a_model_that_states_no_limit_is_served_as_vllm_serves_it() -> None:
    assert of("mamba", state_size=16).context_length == 4096
    assert of("mamba", state_size=16, without="max_position_embeddings").context_length == 2048


def test_the_published_size_is_kept_only_for_the_precision_it_was_published_in() -> None:
    sized: dict[str, Any] = {"name": "org/model", "origin": "test", "checkpoint_bytes": 10**9}
    assert from_config(BASE, **sized).checkpoint_bytes == 10**9
    assert from_config(BASE, quantization="fp8", **sized).checkpoint_bytes is None


@pytest.mark.parametrize("kind", list(Quantization))
def test_a_forced_quantisation_is_what_the_facts_say(kind: Quantization) -> None:
    assert from_config(BASE, name="m", origin="t", quantization=kind.value).quantization is kind


def test_a_quantisation_nobody_knows_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="`fp7` is not known: use auto, none, fp8, int8, int4, mxfp4, nvfp4"):
        from_config(BASE, name="m", origin="t", quantization="fp7")
