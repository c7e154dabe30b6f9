"""The weights of attention: their shapes, and how the ranks of a tensor group share them."""

import pytest
from tests.checkpoint.support import LATENT, dealt, has, layer_elements, made, of, read, weight

from shardwise.checkpoint.parts import Dimensions, Grouped, Index, Latent, Matrix, Part, Remembers, Vectors
from shardwise.domain.model import GroupedCache, LatentCache, Split, Widths

PLAIN = Grouped(8, 2, 16)
DEEPSEEK = Latent(8, 32, 24, 16, 8, 16)
HEADS, KV_HEADS = "attention heads", "KV heads"


def test_queries_are_dealt_out_by_heads_keys_and_values_by_kv_heads() -> None:
    assert dealt(made(PLAIN)) == {
        "self_attn.q_proj": (Split.OUTPUTS, 8, HEADS),
        "self_attn.k_proj": (Split.COPIED, 2, KV_HEADS),
        "self_attn.v_proj": (Split.COPIED, 2, KV_HEADS),
        "self_attn.o_proj": (Split.INPUTS, 8, HEADS),
    }


SHAPES: dict[str, tuple[Grouped, dict[str, tuple[int, int]]]] = {
    "plain": (
        PLAIN,
        {"q_proj": (128, 64), "k_proj": (32, 64), "v_proj": (32, 64), "o_proj": (64, 128)},
    ),
    "values narrower than keys": (
        Grouped(8, 2, 16, value_dim=8),
        {"q_proj": (128, 64), "k_proj": (32, 64), "v_proj": (16, 64), "o_proj": (64, 64)},
    ),
    "a gate in the query projection": (
        Grouped(8, 2, 16, gated_query=True),
        {"q_proj": (256, 64), "k_proj": (32, 64), "v_proj": (32, 64), "o_proj": (64, 128)},
    ),
    "a gate for each element": (
        Grouped(8, 2, 16, gate_per_head=16),
        {"q_proj": (128, 64), "k_proj": (32, 64), "v_proj": (32, 64), "o_proj": (64, 128), "gate_proj": (128, 64)},
    ),
    "a gate for each head, by another name": (
        Grouped(8, 2, 16, gate_per_head=1, gate_name="g_proj"),
        {"q_proj": (128, 64), "k_proj": (32, 64), "v_proj": (32, 64), "o_proj": (64, 128), "g_proj": (8, 64)},
    ),
    "values that are the keys": (
        Grouped(8, 2, 16, values=False),
        {"q_proj": (128, 64), "k_proj": (32, 64), "o_proj": (64, 128)},
    ),
    "keys and values of another layer": (
        Grouped(8, 2, 16, shared=True),
        {"q_proj": (128, 64), "o_proj": (64, 128)},
    ),
    "an input of two hidden states": (
        Grouped(8, 2, 16, input_size=128),
        {"q_proj": (128, 128), "k_proj": (32, 128), "v_proj": (32, 128), "o_proj": (64, 128)},
    ),
}


@pytest.mark.parametrize(("dimensions", "expected"), SHAPES.values(), ids=SHAPES)
def test_projections_have_their_shapes(dimensions: Grouped, expected: dict[str, tuple[int, int]]) -> None:
    part = made(dimensions)
    found = {weight.name.split(".")[1]: (weight.outputs, weight.inputs) for weight in part.weights}
    assert found == expected


SMALL: dict[str, tuple[Grouped, int]] = {
    "nothing": (PLAIN, 0),
    "norms of queries and keys": (Grouped(8, 2, 16, qk_norm=True), 32),
    "a norm of queries alone": (Grouped(8, 2, 16, qk_norm=True, shared=True), 16 - 2 * 64 * 32),
    "other norms": (Grouped(8, 2, 16, norm_size=99), 99),
    "sinks": (Grouped(8, 2, 16, sinks=True), 8),
    "biases of queries, keys and values": (Grouped(8, 2, 16, bias=True), 128 + 32 + 32),
    "a bias of the output": (Grouped(8, 2, 16, out_bias=True), 64),
    "biases but for keys": (Grouped(8, 2, 16, bias=True, key_bias=False), 128 + 32),
}


@pytest.mark.parametrize(("dimensions", "more"), SMALL.values(), ids=SMALL)
def test_small_weights_are_counted(dimensions: Grouped, more: int) -> None:
    assert layer_elements(made(dimensions)) == layer_elements(made(PLAIN)) + more


CACHES: dict[str, tuple[Grouped, GroupedCache | None]] = {
    "plain": (PLAIN, GroupedCache(2, 16, 16)),
    "a window": (Grouped(8, 2, 16, window=99), GroupedCache(2, 16, 16, 99)),
    "values narrower than keys": (Grouped(8, 2, 16, value_dim=8), GroupedCache(2, 16, 8)),
    "values that are the keys are kept all the same": (Grouped(8, 2, 16, values=False), GroupedCache(2, 16, 16)),
    "keys and values of another layer": (Grouped(8, 2, 16, shared=True), None),
    "keys and values of an image": (Grouped(8, 2, 16, cached=False), None),
}


@pytest.mark.parametrize(("dimensions", "cache"), CACHES.values(), ids=CACHES)
def test_what_is_kept_of_a_token_follows_from_the_dimensions(dimensions: Grouped, cache: GroupedCache | None) -> None:
    assert made(dimensions).cache == cache


def test_biases_go_with_their_outputs_but_for_the_one_that_is_added_once() -> None:
    part = made(Grouped(8, 2, 16, bias=True, out_bias=True))
    biases = {weight.name: weight.split for weight in part.weights if weight.name.endswith(".bias")}
    assert biases == {
        "self_attn.q_proj.bias": Split.OUTPUTS,
        "self_attn.k_proj.bias": Split.COPIED,
        "self_attn.v_proj.bias": Split.COPIED,
        "self_attn.o_proj.bias": Split.WHOLE,
    }
    assert not any(weight.linear for weight in part.weights if weight.name.endswith(".bias"))


def test_latent_attention_deals_out_what_is_per_head_and_copies_the_rest() -> None:
    assert dealt(made(DEEPSEEK)) == {
        "self_attn.q_b_proj": (Split.OUTPUTS, 8, HEADS),
        "self_attn.kv_b_proj": (Split.OUTPUTS, 8, HEADS),
        "self_attn.o_proj": (Split.INPUTS, 8, HEADS),
        "self_attn.kv_b_proj.absorbed": (Split.OUTPUTS, 8, HEADS),
    }


def test_what_engines_decode_with_is_no_weight_of_the_checkpoint() -> None:
    part = made(DEEPSEEK)
    derived = [weight for weight in part.weights if weight.derived]
    assert [one.name for one in derived] == ["self_attn.kv_b_proj.absorbed"]
    assert derived[0].elements == weight(part, "kv_b_proj").elements == 8 * 32 * 24


LATENT_SHAPES: dict[str, tuple[Latent, int]] = {
    "a rank of the queries": (
        DEEPSEEK,
        32 * 64 + 192 * 32 + 32 * 64 + 24 + 32 + 256 * 24 + 64 * 128,
    ),
    "whole queries": (
        Latent(8, None, 24, 16, 8, 16),
        192 * 64 + 32 * 64 + 24 + 256 * 24 + 64 * 128,
    ),
    "biases": (
        Latent(8, 32, 24, 16, 8, 16, bias=True),
        33 * 64 - 64 + 32 + 192 * 32 + 32 * 64 + 32 + 24 + 32 + 256 * 24 + 64 * 128 + 64,
    ),
    "a gate a head": (
        Latent(8, None, 24, 16, 8, 16, gate_per_head=1),
        192 * 64 + 32 * 64 + 24 + 256 * 24 + 64 * 128 + 8 * 64,
    ),
    "queries and a gate of two compressed vectors": (
        Latent(8, 32, 24, 16, 8, 16, gate_per_head=16, query_copies=2),
        32 * 64 + 192 * 64 + 32 * 64 + 24 + 32 + 256 * 24 + 64 * 128 + 128 * 64,
    ),
    "sinks": (
        Latent(8, None, 24, 16, 8, 16, sinks=True),
        192 * 64 + 32 * 64 + 24 + 256 * 24 + 64 * 128 + 8,
    ),
    "an indexer": (
        Latent(8, 32, 24, 16, 8, 16, index=Index(4, 16)),
        32 * 64 + 192 * 32 + 32 * 64 + 24 + 32 + 256 * 24 + 64 * 128 + 64 * 32 + 16 * 64 + 32 + 4 * 64,
    ),
}


@pytest.mark.parametrize(("dimensions", "elements"), LATENT_SHAPES.values(), ids=LATENT_SHAPES)
def test_latent_attention_has_the_elements_of_its_dimensions(dimensions: Latent, elements: int) -> None:
    assert layer_elements(made(dimensions)) == elements


def test_the_compressed_cache_is_as_wide_as_its_rank_and_rotary_part() -> None:
    assert made(DEEPSEEK).cache == LatentCache(32, rope=8)


@pytest.mark.parametrize(("dim", "size"), [(64, 68), (128, 132), (256, 264)])
def test_an_indexer_keeps_its_keys_in_fp8_with_a_scale_for_each_128(dim: int, size: int) -> None:
    assert made(Latent(8, 32, 24, 16, 8, 16, index=Index(4, dim))).cache == LatentCache(32, size, 8)


def test_every_rank_holds_the_whole_indexer() -> None:
    part = made(Latent(8, 32, 24, 16, 8, 16, index=Index(4, 16)))
    assert {weight.split for weight in part.weights if ".indexer." in weight.name} == {Split.WHOLE}


SPARSE_LAYERS: dict[str, tuple[dict[str, object], list[bool]]] = {
    "all of DeepSeek V3.2": ({"model_type": "deepseek_v32"}, [True] * 4),
    "none of DeepSeek V3": ({"model_type": "deepseek_v3"}, [False] * 4),
    "where it is not shared": (
        {"model_type": "glm_moe_dsa", "indexer_types": ["full", "shared", "shared", "full"]},
        [True, False, False, True],
    ),
    "where the layer is indexed": (
        {
            "model_type": "dots3_note_text",
            "layer_types": ["indexed_attention", "sliding_attention", "sliding_attention", "indexed_attention"],
        },
        [True, False, False, True],
    ),
}


@pytest.mark.parametrize(("changes", "expected"), SPARSE_LAYERS.values(), ids=SPARSE_LAYERS)
def test_layers_have_an_indexer_where_the_family_has_them(changes: dict[str, object], expected: list[bool]) -> None:
    model = read(**LATENT | {"index_n_heads": 4, "index_head_dim": 128, "num_nextn_predict_layers": 0} | changes)
    assert [has(layer, "indexer") for layer in model.layers] == expected


WHOLE: dict[str, tuple[Dimensions, Part]] = {
    "nothing": (Vectors(0), Part(())),
    "a memory of another's": (Remembers(LatentCache(9)), Part((), LatentCache(9))),
}


@pytest.mark.parametrize(("dimensions", "part"), WHOLE.values(), ids=WHOLE)
def test_dimensions_without_weights_have_none(dimensions: Dimensions, part: Part) -> None:
    assert made(dimensions) == part


def test_a_matrix_is_what_it_says() -> None:
    part = made(Matrix("linear", 8, 4, Split.OUTPUTS, 2, "things", bias=True, reduces=1))
    assert [(weight.name, weight.elements, weight.linear) for weight in part.weights] == [
        ("linear.weight", 32, True),
        ("linear.bias", 8, False),
    ]
    assert part.reduces == 1
    assert not made(Matrix("router", 8, 4, plain=True)).weights[0].linear


def test_results_in_between_are_as_wide_as_what_makes_them() -> None:
    assert made(PLAIN).widths == Widths(split=128)
    assert made(DEEPSEEK).widths == Widths(split=8 * (2 * 24 + 16))


def test_each_part_that_mixes_the_ranks_reduces_once() -> None:
    assert (made(PLAIN).reduces, made(DEEPSEEK).reduces) == (1, 1)
    assert {layer.reduces for layer in read().layers} == {2}
    assert {layer.reduces for layer in of("cohere").layers} == {2}
