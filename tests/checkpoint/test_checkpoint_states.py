"""Layers that keep a state: their weights, how a tensor group shares them, and how large the state is."""

from dataclasses import replace
from typing import Any

import pytest
from tests.checkpoint.support import dealt, has, layer_elements, made, of, read, weight
from tests.support.models import facts, parameters

from shardwise.checkpoint.parts import Dimensions, Part
from shardwise.checkpoint.states import WIDE, DeltaAttention, GatedDelta, Lightning, Mamba, Mamba2, ShortConvolution
from shardwise.domain.engine import EngineName
from shardwise.domain.model import GroupedCache, LatentCache, Layer, Split, StateCache

MAMBA = Mamba(inner=128, state=16, kernel=4, rank=4)
MAMBA2 = Mamba2(heads=8, head_dim=16, groups=2, state=32, kernel=4)
DELTA = GatedDelta(key_heads=2, value_heads=4, key_dim=16, value_dim=32, kernel=4)
KIMI = DeltaAttention(heads=4, head_dim=16, kernel=4, forget_rank=16, gate_rank=16)

ELEMENTS: dict[str, tuple[Dimensions, int]] = {
    "mamba": (MAMBA, 256 * 64 + 36 * 128 + 128 * 5 + 128 * 17 + 128 * 5 + 64 * 128),
    "mamba with norms": (
        Mamba(inner=128, state=16, kernel=4, rank=4, norm_size=36),
        256 * 64 + 36 * 128 + 128 * 5 + 128 * 17 + 128 * 5 + 64 * 128 + 36,
    ),
    "mamba in two parts": (
        Mamba(inner=128, state=16, kernel=4, rank=4, parts=2),
        256 * 64 + 72 * 64 + 128 * 5 + 128 * 17 + 128 * 5 + 64 * 128,
    ),
    "mamba without a bias of its convolution": (
        Mamba(inner=128, state=16, kernel=4, rank=4, conv_bias=False),
        256 * 64 + 36 * 128 + 128 * 5 + 128 * 17 + 128 * 4 + 64 * 128,
    ),
    "mamba 2": (MAMBA2, (2 * 128 + 128 + 8) * 64 + 256 * 5 + 24 + 128 + 64 * 128),
    "mamba 2 without a norm": (
        Mamba2(heads=8, head_dim=16, groups=2, state=32, kernel=4, norm=False),
        (2 * 128 + 128 + 8) * 64 + 256 * 5 + 24 + 64 * 128,
    ),
    "mamba 2 with biases": (
        Mamba2(heads=8, head_dim=16, groups=2, state=32, kernel=4, bias=True),
        (2 * 128 + 128 + 8) * 65 + 256 * 5 + 24 + 128 + 64 * 129,
    ),
    "gated delta net": (DELTA, (64 + 256 + 8) * 64 + 192 * 4 + 8 + 32 + 64 * 128),
    "delta net without a gate": (
        GatedDelta(key_heads=2, value_heads=4, key_dim=16, value_dim=32, kernel=4, gated=False),
        (64 + 128 + 8) * 64 + 192 * 4 + 8 + 32 + 64 * 128,
    ),
    "kimi's delta attention": (
        KIMI,
        192 * 64 + 192 * 4 + 2 * (16 * 64 + 64 * 16) + 4 * 64 + 4 + 64 + 16 + 64 * 64,
    ),
    "delta attention with whole gates": (
        DeltaAttention(heads=4, head_dim=16, kernel=4, forget_rank=None, gate_rank=None),
        192 * 64 + 192 * 4 + 2 * 64 * 64 + 4 * 64 + 4 + 64 + 16 + 64 * 64,
    ),
    "lightning": (Lightning(heads=4, head_dim=16), 192 * 64 + 64 * 64 + 64 + 64 * 64),
    "a short convolution": (ShortConvolution(kernel=3), 192 * 64 + 64 * 3 + 64 * 64),
    "a short convolution with biases": (
        ShortConvolution(kernel=3, bias=True),
        192 * 65 + 64 * 4 + 64 * 65,
    ),
}


@pytest.mark.parametrize(("dimensions", "elements"), ELEMENTS.values(), ids=ELEMENTS)
def test_a_state_layer_has_the_elements_of_its_dimensions(dimensions: Dimensions, elements: int) -> None:
    assert layer_elements(made(dimensions)) == elements


STATES: dict[str, tuple[Dimensions, int]] = {
    "mamba": (MAMBA, 2 * (128 * 3 + 128 * 16)),
    "mamba 2": (MAMBA2, 2 * (256 * 3 + 8 * 16 * 32)),
    "mamba 2 in float32": (
        Mamba2(heads=8, head_dim=16, groups=2, state=32, kernel=4, kept=WIDE),
        2 * 256 * 3 + 4 * 8 * 16 * 32,
    ),
    "gated delta net": (DELTA, 2 * (192 * 3 + 4 * 16 * 32)),
    "gated delta net in float32": (
        GatedDelta(key_heads=2, value_heads=4, key_dim=16, value_dim=32, kernel=4, kept=WIDE),
        2 * 192 * 3 + 4 * 4 * 16 * 32,
    ),
    "kimi's delta attention, always in float32": (KIMI, 2 * 192 * 3 + 4 * 4 * 16 * 16),
    "lightning": (Lightning(heads=4, head_dim=16), 2 * 4 * 16 * 16),
    "a short convolution": (ShortConvolution(kernel=3), 2 * 64 * 2),
}


@pytest.mark.parametrize(("dimensions", "size"), STATES.values(), ids=STATES)
def test_a_state_has_the_bytes_vllm_gives_it(dimensions: Dimensions, size: int) -> None:
    """Vllm 0.33.0, mamba_utils.py: what the convolution looks back on, and the recurrence."""
    assert state_of(made(dimensions)).size == size


def state_of(part: Part | Layer) -> StateCache:
    assert isinstance(part.cache, StateCache)
    return part.cache


DEALT: dict[str, tuple[Dimensions, set[tuple[int, str]]]] = {
    "mamba by channels": (MAMBA, {(128, "state-space channels")}),
    "mamba 2 by heads and groups": (MAMBA2, {(8, "state-space heads"), (2, "state-space groups")}),
    "mamba 2 of one group copies it": (
        Mamba2(heads=8, head_dim=16, groups=1, state=32, kernel=4),
        {(8, "state-space heads"), (1, "state-space groups")},
    ),
    "delta nets by key heads and value heads": (
        DELTA,
        {(2, "linear-attention key heads"), (4, "linear-attention heads")},
    ),
    "kimi's by heads": (KIMI, {(4, "linear-attention heads")}),
    "lightning by heads": (Lightning(heads=4, head_dim=16), {(4, "linear-attention heads")}),
    "convolutions by channels": (ShortConvolution(kernel=3), {(64, "state-space channels")}),
}


@pytest.mark.parametrize(("dimensions", "units"), DEALT.values(), ids=DEALT)
def test_states_are_dealt_out_whole(dimensions: Dimensions, units: set[tuple[int, str]]) -> None:
    assert {(count, what) for _, count, what in dealt(made(dimensions)).values()} == units


def test_one_group_is_held_by_every_rank_and_several_are_not() -> None:
    one = dealt(made(Mamba2(heads=8, head_dim=16, groups=1, state=32, kernel=4)))
    assert one["mixer.in_proj_groups"][0] is Split.COPIED
    assert dealt(made(MAMBA2))["mixer.in_proj_groups"][0] is Split.OUTPUTS


@pytest.mark.parametrize(
    ("dimensions", "reduces"), [(MAMBA, 2), (MAMBA2, 1), (DELTA, 1), (KIMI, 1), (Lightning(4, 16), 1)]
)
def test_state_layers_reduce_where_they_narrow(dimensions: Dimensions, reduces: int) -> None:
    assert made(dimensions).reduces == reduces


DELTA_FIELDS: dict[str, Any] = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 32,
    "linear_conv_kernel_dim": 4,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 128,
    "shared_expert_intermediate_size": 256,
}
MAMBA_FIELDS: dict[str, Any] = {
    "mamba_n_heads": 16,
    "mamba_d_head": 128,
    "mamba_n_groups": 1,
    "mamba_d_state": 32,
    "mamba_d_conv": 4,
    "mamba_expand": 2,
}
NEMOTRON: dict[str, Any] = {
    "mamba_num_heads": 16,
    "mamba_head_dim": 64,
    "n_groups": 8,
    "ssm_state_size": 32,
    "conv_kernel": 4,
    "expand": 2,
}
KIMI_FIELDS: dict[str, Any] = {
    "kv_lora_rank": 64,
    "qk_nope_head_dim": 32,
    "qk_rope_head_dim": 16,
    "v_head_dim": 32,
    "num_experts": 4,
    "num_experts_per_token": 2,
    "moe_intermediate_size": 128,
    "first_k_dense_replace": 1,
}

ORDERS: dict[str, tuple[str, dict[str, Any], str]] = {
    "qwen3-next: every fourth attends": ("qwen3_next", DELTA_FIELDS, "sssa"),
    "qwen3-next: by a stated interval": ("qwen3_next", DELTA_FIELDS | {"full_attention_interval": 2}, "sasa"),
    "qwen3-next: as listed": (
        "qwen3_next",
        DELTA_FIELDS | {"layer_types": ["full_attention", "linear_attention"] * 2},
        "asas",
    ),
    "bamba: listed by index": ("bamba", MAMBA_FIELDS | {"attn_layer_indices": [2]}, "ssas"),
    "granite: by the names of its own": (
        "granitemoehybrid",
        MAMBA_FIELDS | {"layer_types": ["mamba", "attention", "mamba", "mamba"], "shared_intermediate_size": 64},
        "sass",
    ),
    "jamba: by period and offset": (
        "jamba",
        {"mamba_d_state": 16, "attn_layer_period": 4, "attn_layer_offset": 1, "num_experts": 1},
        "sass",
    ),
    "nemotron-h: letters": ("nemotron_h", NEMOTRON | {"hybrid_override_pattern": "M-*M"}, "s-as"),
    "nemotron-h: names": (
        "nemotron_h",
        NEMOTRON | {"layers_block_type": ["mamba", "mlp", "attention", "linear_attention"]},
        "s-as",
    ),
    "nemotron-h: experts": (
        "nemotron_h",
        NEMOTRON
        | {
            "hybrid_override_pattern": "ME*-",
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 64,
        },
        "s-a-",
    ),
    "minimax: by zeros and ones": (
        "minimax",
        {"attn_type_list": [0, 0, 1, 0], "num_local_experts": 2, "num_experts_per_tok": 1},
        "ssas",
    ),
    "minimax: every second": ("minimax", {"num_local_experts": 2, "num_experts_per_tok": 1}, "sasa"),
    "kimi linear: by its own list, which counts from one": (
        "kimi_linear",
        KIMI_FIELDS
        | {"linear_attn_config": {"num_heads": 4, "head_dim": 32, "kda_layers": [1, 3, 4], "full_attn_layers": [2]}},
        "slss",
    ),
    "ling: the last of each group": (
        "bailing_hybrid",
        KIMI_FIELDS | {"linear_num_heads": 4, "linear_head_dim": 32, "layer_group_size": 2},
        "slsl",
    ),
    "lfm2: listed by index": ("lfm2", {"full_attn_idxs": [1], "conv_L_cache": 3}, "sass"),
    "mamba: states alone": ("mamba", {"state_size": 16}, "ssss"),
    "mamba 2: states alone": ("mamba2", {"state_size": 16, "num_heads": 32, "head_dim": 64}, "ssss"),
    "recurrent gemma: every third attends": ("recurrent_gemma", {"lru_width": 1024}, "ssas"),
    "rwkv": ("rwkv", {}, "ssss"),
    "xlstm": ("xlstm", {"num_heads": 16}, "ssss"),
}


@pytest.mark.parametrize(("kind", "changes", "order"), ORDERS.values(), ids=ORDERS)
def test_which_layers_keep_a_state_and_which_attend_is_read(kind: str, changes: dict[str, Any], order: str) -> None:
    letters = {StateCache: "s", GroupedCache: "a", LatentCache: "l", type(None): "-"}
    assert "".join(letters[type(layer.cache)] for layer in of(kind, **changes).layers) == order


def test_a_layer_that_attends_and_keeps_a_state_has_both() -> None:
    layers = of("falcon_h1", **MAMBA_FIELDS, mamba_d_ssm=2048).layers
    assert {type(layer.cache) for layer in layers} == {GroupedCache}
    assert {type(layer.state) for layer in layers} == {StateCache}


def test_a_state_alone_is_the_cache_and_no_second_state() -> None:
    layers = of("mamba", state_size=16).layers
    assert {type(layer.cache) for layer in layers} == {StateCache}
    assert {layer.state for layer in layers} == {None}


VLLM, SGLANG, TENSORRT_LLM = EngineName.VLLM, EngineName.SGLANG, EngineName.TENSORRT_LLM
BOTH = {"mamba_ssm_dtype": "bfloat16", "mamba_ssm_cache_dtype": "bfloat16"}
KEPT: dict[str, tuple[str, dict[str, Any], tuple[int, int, int]]] = {
    "nemotron without a dtype": ("nemotron_h", {}, (4, 4, 2)),
    "nemotron, as vLLM reads it": ("nemotron_h", {"mamba_ssm_cache_dtype": "bfloat16"}, (2, 4, 2)),
    "nemotron, as SGLang reads it": ("nemotron_h", {"mamba_ssm_dtype": "bfloat16"}, (4, 2, 2)),
    "nemotron, as both read it": ("nemotron_h", BOTH, (2, 2, 2)),
    "nemotron, by the model's dtype": ("nemotron_h", {"mamba_ssm_cache_dtype": "auto"}, (2, 4, 2)),
    "nemotron, where both say float32": ("nemotron_h", {"mamba_ssm_cache_dtype": "float32"}, (4, 4, 4)),
    "qwen3-next, which vLLM keeps in the model's dtype": ("qwen3_next", {"mamba_ssm_dtype": "float32"}, (2, 4, 4)),
    "qwen3-next without a dtype": ("qwen3_next", {}, (2, 4, 2)),
    "qwen3.5, as both read it": ("qwen3_5_text", {"mamba_ssm_dtype": "float32"}, (4, 4, 4)),
    "qwen3.5 without a dtype": ("qwen3_5_text", {}, (2, 4, 2)),
    "qwen3.5 in 16 bits": ("qwen3_5_moe_text", {"mamba_ssm_dtype": "bfloat16"}, (2, 2, 2)),
}
"""Bytes of an element of the recurrence with vLLM, SGLang and TensorRT-LLM.

vllm 0.33.0, models/config.py: NemotronHForCausalLMConfig and Qwen3_5ForConditionalGenerationConfig alone follow the
config. sglang 0.5.23, configs/mamba_utils.py: float32 unless `mamba_ssm_dtype` says otherwise.
"""


@pytest.mark.parametrize(("kind", "changes", "elements"), KEPT.values(), ids=KEPT)
def test_a_state_has_the_dtype_that_each_engine_keeps(
    kind: str, changes: dict[str, Any], elements: tuple[int, int, int]
) -> None:
    nemotron = kind == "nemotron_h"
    fields = NEMOTRON | {"hybrid_override_pattern": "MMMM"} if nemotron else DELTA_FIELDS
    convolved, recurrent = ((1024 + 512) * 3, 16 * 64 * 32) if nemotron else ((64 + 128) * 3, 4 * 16 * 32)
    state = state_of(of(kind, **fields, **changes).layers[0])
    sizes = tuple(state.on_rank(engine, 1) for engine in (VLLM, SGLANG, TENSORRT_LLM))
    assert sizes == tuple(2 * convolved + element * recurrent for element in elements)


def test_the_states_of_published_models_are_as_large_as_the_engines_make_them() -> None:
    """Nemotron-H 56B in float32, in both engines; Qwen3-Next in float32 with SGLang alone: run with each engine."""
    nemotron = facts("nvidia/Nemotron-H-56B-Base-8K").layers
    qwen = facts("Qwen/Qwen3-Next-80B-A3B-Instruct").layers
    for layers, engine, size in (
        (nemotron, VLLM, 912_605_184),
        (nemotron, SGLANG, 912_605_184),
        (qwen, VLLM, 36 * 1_097_728),
        (qwen, SGLANG, 77_266_944),
    ):
        states = [layer.cache for layer in layers if isinstance(layer.cache, StateCache)]
        assert sum(state.on_rank(engine, 1) for state in states) == size


def test_every_rank_keeps_the_inputs_of_a_single_group_whole() -> None:
    """Vllm 0.33.0, mamba_utils.py: extra_groups_for_head_shards."""
    alone, several = (state_of(made(replace(MAMBA2, groups=groups))) for groups in (1, 4))
    assert alone.on_rank(VLLM, 4) == 2 * 3 * (128 // 4 + 2 * 32) + 2 * 8 * 16 * 32 // 4
    assert several.on_rank(VLLM, 4) == several.size / 4


def test_qwen3_nexts_queries_bring_their_gate_and_its_shared_expert_has_one() -> None:
    layer = of("qwen3_next", **DELTA_FIELDS, head_dim=64).layers[3]
    assert weight(layer, "self_attn.q_proj").outputs == 2 * 16 * 64
    assert weight(layer, "shared_expert_gate").elements == 1024


def test_zambas_shared_weights_are_counted_once_and_its_caches_in_each_layer() -> None:
    made = of(
        "zamba2",
        **{key: value for key, value in MAMBA_FIELDS.items() if key != "mamba_n_heads"},
        n_mamba_heads=16,
        mamba_ngroups=1,
        mamba_headdim=128,
        layers_block_type=["hybrid", "linear_attention", "hybrid", "hybrid"],
        attention_hidden_size=2048,
        attention_head_dim=128,
        adapter_rank=8,
    )
    assert [has(layer, "shared.self_attn") for layer in made.layers] == [True, False, False, False]
    assert [layer.cache is not None and isinstance(layer.cache, GroupedCache) for layer in made.layers] == [
        True, False, True, True,
    ]  # fmt: skip
    assert all(layer.state is not None for layer in (made.layers[0], made.layers[2]))


def test_lfm2_adjusts_its_width_unless_told_not_to() -> None:
    fields: dict[str, Any] = {"full_attn_idxs": [0, 1, 2, 3], "intermediate_size": 1000, "block_multiple_of": 256}
    assert weight(of("lfm2", **fields), "feed_forward.up_proj").outputs == 768
    plain = of("lfm2", **fields, block_auto_adjust_ff_dim=False)
    assert weight(plain, "feed_forward.up_proj").outputs == 1000


def test_a_mixer_takes_the_bytes_of_the_dtype_it_is_loaded_in() -> None:
    assert state_of(made(MAMBA, plain=4)).size == 4 * (128 * 3 + 128 * 16)
    assert isinstance(made(MAMBA), Part)
    assert isinstance(read().layers[0], Layer)


KIMI_K3: dict[str, Any] = {
    "vocab_size": 163840,
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "moe_intermediate_size": 3072,
    "num_hidden_layers": 93,
    "num_attention_heads": 64,
    "num_experts": 896,
    "num_experts_per_token": 16,
    "num_shared_experts": 2,
    "first_k_dense_replace": 1,
    "routed_expert_hidden_size": 3584,
    "q_lora_rank": 1536,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "linear_attn_config": {
        "num_heads": 64,
        "head_dim": 128,
        "short_conv_kernel_size": 4,
        "full_attn_layers": [*range(4, 93, 4), 93],
        "use_full_rank_gate": True,
    },
}
"""Kimi K3's experts as sglang 0.5.23 checks them (model_loader/expert_pack_config.py); its attention is made up."""


def test_routed_experts_work_in_the_width_that_the_config_states() -> None:
    """The experts of 92 layers have 2.72 trillion parameters, half as many as at the hidden size."""
    model = of("kimi_linear", **KIMI_K3)
    routed = sum(weight.elements for layer in model.layers for weight in layer.weights if weight.experts)
    assert routed == 92 * 896 * 3 * 3584 * 3072
    layer = model.layers[1]
    for name in ("routed_expert_down_proj", "routed_expert_up_proj"):
        projection = weight(layer, name)
        assert (projection.elements, projection.split) == (3584 * 7168, Split.WHOLE)
    shared = weight(layer, "shared_experts.up_proj")
    assert (shared.outputs, shared.inputs) == (2 * 3072, 7168)


KIMI_CHANGES: dict[str, tuple[dict[str, Any], int]] = {
    "a norm of the latent width": ({"latent_moe_use_norm": True}, 92 * 3584),
    "an output gate of attention": ({"mla_use_output_gate": True}, 24 * 64 * 128 * 7168),
    "sums of earlier layers": ({"attn_res_block_size": 12}, 93 * 4 * 7168 + 2 * 7168),
    "a gate of a low rank": (
        {"linear_attn_config": KIMI_K3["linear_attn_config"] | {"use_full_rank_gate": False}},
        69 * (128 * 7168 + 8192 * 128 - 8192 * 7168),
    ),
}


@pytest.mark.parametrize(("changes", "added"), KIMI_CHANGES.values(), ids=KIMI_CHANGES)
def test_each_field_of_kimi_k3_adds_its_weights(changes: dict[str, Any], added: int) -> None:
    plain, changed = of("kimi_linear", **KIMI_K3), of("kimi_linear", **KIMI_K3 | changes)
    assert parameters(changed) - parameters(plain) == added


def test_nemotrons_latent_experts_have_projections_too() -> None:
    """Nemotron 3 Super: fc1_latent_proj and fc2_latent_proj (vllm 0.33.0, nemotron_h.py)."""
    fields: dict[str, Any] = {"hybrid_override_pattern": "ME*E", "n_routed_experts": 8, "num_experts_per_tok": 2}
    fields |= {"moe_intermediate_size": 512, "ssm_state_size": 32, "mamba_num_heads": 16, "mamba_head_dim": 64}
    layer = of("nemotron_h", **fields, moe_latent_size=256).layers[1]
    assert weight(layer, "fc1_latent_proj").elements == weight(layer, "fc2_latent_proj").elements == 256 * 1024
    assert weight(layer, "experts.up_proj").inputs == 256
