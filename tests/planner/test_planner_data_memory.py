"""What a rank holds beside data ranks: against the bytes of vLLM's own classes, and part by part."""

import json
from dataclasses import replace
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.fleets import H200, cuda_bytes
from tests.support.models import DATA, KIMI_K2, LLAMA_8B, R1, Mixed, a_demand, a_model, facts

from shardwise.domain.engine import EngineName, chunk_tokens
from shardwise.domain.layout import Layout
from shardwise.domain.model import ModelFacts, expert_count
from shardwise.planner.budgets import COMMUNICATOR_OF_TENSOR
from shardwise.planner.caches import on_rank
from shardwise.planner.data_support import spread_of
from shardwise.planner.memory import memory_use
from shardwise.planner.weights import Spread, bytes_on_rank, parts

VLLM, SGLANG, TENSORRT_LLM = EngineName
GPU = cuda_bytes(H200)
MIXTRAL = "mistralai/Mixtral-8x7B-v0.1"
MAVERICK = "meta-llama/Llama-4-Maverick-17B-128E-Instruct"

TRUTH: Final[list[dict[str, Any]]] = [
    row for row in json.loads((DATA / "data-parallel-weights.json").read_text())["rows"] if "refused" not in row
]
"""What vLLM's classes hold."""


def named(row: dict[str, Any]) -> str:
    experts = "whole" if row["expertParallel"] else "split"
    copies = f"-{row['redundantExperts']}-redundant" if "redundantExperts" in row else ""
    return f"{row['model']}-T{row['tensor']}D{row['data']}P{row['pipeline']}-{experts}-rank{row['rank']}{copies}"


def as_built(name: str) -> ModelFacts:
    """Give a model as the classes were built: without what an engine computes when it loads.

    Kimi K2 was built with three dense layers, the default of DeepSeek V3. Its own config says one.
    """
    model = facts(name)
    kinds = tuple(
        replace(layer, weights=tuple(weight for weight in layer.weights if not weight.derived)) for layer in model.kinds
    )
    order = (0,) * 3 + (1,) * 58 if name == KIMI_K2 else model.order
    return replace(model, kinds=kinds, order=order, checkpoint_bytes=None)


def counted(row: dict[str, Any]) -> int:
    """Give the bytes that vLLM holds, without the tower of Maverick, which our config of it leaves out."""
    held: int = row["bytes"]
    return held - row["parts"]["vision"] - row["parts"]["other"] if row["model"] == MAVERICK else held


@pytest.mark.parametrize("row", [row for row in TRUTH if row["pipeline"] == 1], ids=named)
def test_a_rank_holds_what_the_engines_own_class_holds(row: dict[str, Any]) -> None:
    """Within a hundredth on the fullest rank. The last rank of an uneven deal holds an expert a layer less."""
    layout = Layout(row["tensor"], 1, row["expertParallel"], row["data"])
    demand = a_demand(as_built(row["model"]), redundant_experts=row.get("redundantExperts", 0))
    weights = memory_use(demand, layout, GPU).weights
    if row["rank"] == 0:
        assert weights == pytest.approx(counted(row), rel=0.01)
    else:
        assert weights > counted(row)


@pytest.mark.parametrize("row", [row for row in TRUTH if row["pipeline"] > 1], ids=named)
def test_a_stage_of_data_ranks_holds_what_the_engines_own_class_holds(row: dict[str, Any]) -> None:
    """No stage holds more than the fullest one that we plan for."""
    layout = Layout(row["tensor"], row["pipeline"], row["expertParallel"], row["data"])
    weights = memory_use(a_demand(as_built(row["model"])), layout, GPU).weights
    others = [
        counted(other)
        for other in TRUTH
        if (other["model"], other["tensor"], other["data"], other["pipeline"])
        == (row["model"], row["tensor"], row["data"], row["pipeline"])
    ]
    assert weights == pytest.approx(max(others), rel=0.01)
    assert weights >= counted(row) * 0.99


def test_the_truth_has_models_of_many_kinds_and_wide_groups() -> None:
    assert len({row["model"] for row in TRUTH}) == 9
    assert {row["tensor"] * row["data"] for row in TRUTH} >= {8, 12, 16, 24, 32, 72}
    assert {row["expertParallel"] for row in TRUTH} == {True, False}


WHOLE, SPLIT = Layout(2, 1, True, 4), Layout(2, 1, False, 4)
SPREADS: dict[str, tuple[EngineName, str, Layout, Spread | None]] = {
    "no data ranks": (SGLANG, "DeepseekV3ForCausalLM", Layout(8, 1, True), None),
    "vLLM, experts run sequence-parallel": (VLLM, "DeepseekV3ForCausalLM", WHOLE, Spread(2, 1, 2, 2)),
    "vLLM, split experts": (VLLM, "DeepseekV3ForCausalLM", SPLIT, Spread(2, 2, 2, 2)),
    "vLLM, one GPU a data rank": (VLLM, "DeepseekV3ForCausalLM", Layout(1, 1, True, 8), Spread(1, 1, 1, 1)),
    "vLLM, another class": (VLLM, "Glm4MoeForCausalLM", WHOLE, Spread(2, 2, 2, 2)),
    "SGLang shares more over the stage": (SGLANG, "DeepseekV3ForCausalLM", WHOLE, Spread(8, 8, 8, 2)),
    "SGLang, split experts": (SGLANG, "DeepseekV3ForCausalLM", SPLIT, Spread(8, 8, 8, 2)),
    "TensorRT-LLM holds them whole": (TENSORRT_LLM, "DeepseekV3ForCausalLM", Layout(1, 1, True, 8), Spread(1, 1, 1, 1)),
}


@pytest.mark.parametrize(("engine", "architecture", "layout", "spread"), SPREADS.values(), ids=SPREADS)
def test_each_engine_shares_the_other_parts_in_its_own_way(
    engine: EngineName, architecture: str, layout: Layout, spread: Spread | None
) -> None:
    assert spread_of(engine, architecture, layout) == spread


def test_older_releases_of_sglang_hold_the_whole_embedding_on_each_gpu() -> None:
    """129280 × 7168 in 16 bits: half of it more on each of two GPUs of a data rank, all GPUs of a lone rank alike."""
    demand = a_demand(R1, engine=SGLANG)
    before, since = (
        memory_use(replace(demand, release=release), WHOLE, GPU).weights for release in ((0, 5, 8), (0, 5, 9))
    )
    assert before - since == pytest.approx(129280 * 7168, rel=0.05)
    lone = [
        memory_use(replace(demand, release=release), Layout(1, 1, True, 8), GPU).weights
        for release in ((0, 5, 8), (0, 5, 9))
    ]
    assert lone[0] == lone[1]


@pytest.mark.parametrize("engine", list(EngineName))
def test_attention_is_whole_on_every_data_rank_and_experts_are_divided(engine: EngineName) -> None:
    layer = facts(R1).kinds[-1]
    layout = Layout(1, 1, True, 8)
    spread = spread_of(engine, "DeepseekV3ForCausalLM", layout)
    attention = [weight for weight in layer.weights if weight.name.startswith("self_attn")]
    experts = [weight for weight in layer.weights if weight.experts is not None]
    assert bytes_on_rank(attention, layout, spread) == sum(weight.size for weight in attention)
    assert bytes_on_rank(experts, layout, spread) == sum(weight.size for weight in experts) / 8


def test_experts_that_the_gpus_do_not_divide_leave_one_more_on_the_fullest() -> None:
    """256 experts over 24 GPUs: sixteen of them hold eleven."""
    (gate,) = [weight for weight in facts(R1).kinds[-1].weights if weight.name == "mlp.experts.gate_proj.weight"]
    assert parts(gate, Layout(1, 1, True, 24)) == 256 / 11
    assert parts(gate, Layout(3, 1, True, 8)) == 256 / 11
    assert parts(gate, Layout(1, 1, False, 16)) == 16


@pytest.mark.parametrize(("model", "count"), [(facts(R1), 256), (facts(MIXTRAL), 8), (facts(LLAMA_8B), 0)])
def test_experts_are_counted(model: ModelFacts, count: int) -> None:
    assert expert_count(model) == count


def test_each_data_rank_caches_its_own_sequences() -> None:
    """Latent attention is not divided by the tensor degree: data ranks divide its sequences."""
    demand = a_demand(R1, concurrency=64)
    one, eight = (memory_use(demand, Layout(1, 1, True, data), GPU).kv_cache for data in (1, 8))
    assert one == 8 * eight
    assert memory_use(demand, Layout(8, 1), GPU).kv_cache == one


def test_a_data_rank_holds_at_least_a_whole_sequence() -> None:
    one = memory_use(a_demand(R1, concurrency=1), Layout(1, 1, True, 8), GPU).kv_cache
    assert one == memory_use(a_demand(R1, concurrency=8), Layout(1, 1, True, 8), GPU).kv_cache
    assert one < memory_use(a_demand(R1, concurrency=9), Layout(1, 1, True, 8), GPU).kv_cache


def test_the_context_degree_divides_the_tokens_of_a_sequence() -> None:
    demand = a_demand(R1, context=8192)
    whole, divided = (memory_use(demand, Layout(8, 1, context=degree), GPU).kv_cache for degree in (1, 8))
    assert whole == 8 * divided
    of_heads = a_demand("Qwen/Qwen3-235B-A22B-FP8", context=8192)
    whole, divided = (memory_use(of_heads, Layout(8, 1, True, context=degree), GPU).kv_cache for degree in (1, 2))
    assert whole == 2 * divided


@given(st.integers(1, 64), st.integers(1, 8), st.integers(1, 300), st.integers(1, 9000))
def test_ranks_together_cache_all_sequences_and_all_tokens(
    data: int, context: int, sequences: int, tokens: int
) -> None:
    demand = replace(a_demand(R1), concurrency=sequences, context_length=tokens)
    here = on_rank(demand, Layout(8, 1, True, data, context))
    assert here.concurrency * data >= sequences > (here.concurrency - 1) * data
    assert here.context_length * context >= tokens > (here.context_length - 1) * context


@pytest.mark.parametrize(("data", "tokens"), [(1, 8192), (2, 4096), (4, 2048), (8, 1024), (16, 1024), (72, 1024)])
def test_data_ranks_divide_the_chunk_down_to_what_keeps_a_gpu_busy(data: int, tokens: int) -> None:
    assert chunk_tokens(data) == tokens


def test_the_experts_of_a_rank_see_the_tokens_of_all_data_ranks() -> None:
    """Attention works on the rank's own chunk. Hidden states come from all data ranks, and go back."""
    model = a_model(1, ffn=Mixed(64, 4, 2048))
    (layer,) = model.kinds
    for data in (2, 8, 32):
        own, seen = chunk_tokens(data), data * chunk_tokens(data)
        attention = own * (3 * model.hidden + layer.widths.split + layer.widths.whole)
        expert = seen * (layer.widths.expert + 2 * model.hidden)
        use = memory_use(a_demand(model), Layout(1, 1, True, data), GPU)
        assert use.activations == max(2 * (attention + expert), 3 * 4 * 256 * model.vocabulary)


def test_data_ranks_have_two_more_communicators() -> None:
    demand = a_demand(R1)
    alone, ranks = (memory_use(demand, layout, GPU).reserve for layout in (Layout(8, 1), Layout(8, 1, True, 2)))
    assert ranks - alone == 2 * COMMUNICATOR_OF_TENSOR


def test_more_data_ranks_never_hold_more_experts_nor_more_cache() -> None:
    uses = [memory_use(a_demand(R1, concurrency=64), Layout(2, 1, True, data), GPU) for data in (1, 2, 4, 8, 16)]
    assert [use.weights for use in uses] == sorted((use.weights for use in uses), reverse=True)
    assert [use.kv_cache for use in uses] == sorted((use.kv_cache for use in uses), reverse=True)
