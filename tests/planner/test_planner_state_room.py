"""Models that keep states: vLLM cuts their caches into blocks, SGLang pools them, and both bound the sequences."""

from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

import pytest
from tests.checkpoint.support import counted
from tests.engines.support import options, started
from tests.support.fleets import a_fleet, a_node, h200s
from tests.support.models import LLAMA_8B, a_demand, a_model, facts
from tests.support.plans import planned, refused

from shardwise.checkpoint import from_config
from shardwise.domain.adapters import sequences_of
from shardwise.domain.demand import Demand
from shardwise.domain.engine import EngineName
from shardwise.domain.fleet import Node
from shardwise.domain.hardware import ComputeCapability
from shardwise.domain.layout import Layout
from shardwise.domain.model import GroupedCache, ModelFacts, StateCache
from shardwise.domain.notes import StatesBoundSequences
from shardwise.domain.plan import Plan
from shardwise.domain.refusal import MemoryShort
from shardwise.domain.units import GIB
from shardwise.planner.caches import kv_bytes
from shardwise.planner.memory import memory_use, states

VLLM, SGLANG, TENSORRT_LLM = EngineName.VLLM, EngineName.SGLANG, EngineName.TENSORRT_LLM
ONE = Layout(1, 1)
GPU = 140 * GIB
NEMOTRON_56B = "nvidia/Nemotron-H-56B-Base-8K"
QWEN_NEXT = "Qwen/Qwen3-Next-80B-A3B-Instruct"
CHUNK = 8192

NEMOTRON_NANO: dict[str, Any] = {
    "architectures": ["NemotronHForCausalLM"],
    "model_type": "nemotron_h",
    "hidden_size": 2688,
    "num_hidden_layers": 52,
    "hybrid_override_pattern": "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME",
    "num_attention_heads": 32,
    "num_key_value_heads": 2,
    "head_dim": 128,
    "mamba_num_heads": 64,
    "mamba_head_dim": 64,
    "n_groups": 8,
    "ssm_state_size": 128,
    "conv_kernel": 4,
    "expand": 2,
    "intermediate_size": 1856,
    "moe_intermediate_size": 1856,
    "moe_shared_expert_intermediate_size": 3712,
    "n_routed_experts": 128,
    "n_shared_experts": 1,
    "num_experts_per_tok": 6,
    "vocab_size": 131072,
    "max_position_embeddings": 262144,
    "torch_dtype": "bfloat16",
}
"""NVIDIA-Nemotron-3-Nano-30B-A3B-BF16: 23 mixers and 6 layers of attention."""

QWEN_3_5: dict[str, Any] = {
    "architectures": ["Qwen3_5ForCausalLM"],
    "model_type": "qwen3_5_text",
    "hidden_size": 5120,
    "intermediate_size": 17408,
    "num_hidden_layers": 64,
    "num_attention_heads": 24,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "full_attention_interval": 4,
    "linear_conv_kernel_dim": 4,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 48,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "mamba_ssm_dtype": "float32",
    "max_position_embeddings": 262144,
    "vocab_size": 248320,
    "torch_dtype": "bfloat16",
}
"""The language model of Qwen3.5-27B."""


@lru_cache
def nemotron() -> ModelFacts:
    return from_config(NEMOTRON_NANO, name="nvidia/nano", origin="test")


@lru_cache
def qwen_3_5(quantization: str = "fp8") -> ModelFacts:
    return from_config(QWEN_3_5, name="Qwen/Qwen3.5-27B", origin="test", quantization=quantization)


def hybrid(attends: int, states: int, *, window: int | None = None, state: int = 1_000_000) -> ModelFacts:
    """Give a model of layers with 4096 bytes a token, and of layers with a state."""
    plain = a_model(attends + states)
    kept = replace(plain.kinds[0], cache=StateCache(state))
    if not attends:
        return replace(plain, kinds=(kept,))
    attending = replace(plain.kinds[0], cache=GroupedCache(8, 128, 128, window))
    return replace(plain, kinds=(attending, kept), order=(0,) * attends + (1,) * states)


HOPPER, AMPERE = (9, 0), (8, 6)
REQUESTS: dict[str, tuple[ModelFacts, int, int, ComputeCapability, int, int]] = {
    "Nemotron 3 Nano on an H200": (nemotron(), 1, 2048, HOPPER, 2_146_304, 6 * (4 * 2 + 1)),
    "Nemotron 3 Nano on an A10G": (nemotron(), 1, 2048, AMPERE, 2_146_304, 6 * (4 * 2 + 1)),
    "Qwen3-Next on an H200": (facts(QWEN_NEXT), 1, 8192, HOPPER, 1_179_648, 12 * (3 * 2 + 15)),
    "Qwen3-Next on an A10G": (facts(QWEN_NEXT), 1, 8192, AMPERE, 1_114_112, 12 * (3 * 2 + 16)),
    "Qwen3-Next on four H200": (facts(QWEN_NEXT), 4, 8192, HOPPER, 327_680, 12 * (3 * 2 + 26)),
    "Qwen3-Next on four A10G": (facts(QWEN_NEXT), 4, 8192, AMPERE, 278_528, 12 * (3 * 2 + 31)),
    "Nemotron-H 56B on four H200": (facts(NEMOTRON_56B), 4, 8192, HOPPER, 4_227_072, 10 * (6 * 2 + 2)),
    "Qwen3.5 27B on two H200": (qwen_3_5(), 2, 32768, HOPPER, 1_703_936, 16 * (3 * 2 + 40)),
    "Qwen3.5 27B on two A10G": (qwen_3_5(), 2, 32768, AMPERE, 1_605_632, 16 * (3 * 2 + 42)),
}
"""The bytes of a page of a layer, and the pages of a sequence: two for each state, and those of its tokens."""


@pytest.mark.parametrize(("model", "tensor", "context", "capability", "page", "pages"), REQUESTS.values(), ids=REQUESTS)
def test_a_sequence_takes_the_pages_that_vllm_plans_for_it(
    model: ModelFacts, tensor: int, context: int, capability: ComputeCapability, page: int, pages: int
) -> None:
    """Run: vLLM 0.33.0 built the layers on a pretended GPU and chose the size of their pages."""
    for concurrency in (1, 3):
        demand = a_demand(model, context=context, concurrency=concurrency)
        assert memory_use(demand, Layout(tensor, 1), GPU, capability).kv_cache == page * pages * concurrency


PAGES: dict[str, tuple[int, int, int]] = {
    "FalconH1ForCausalLM": (1, 589_824, 32 * (2 + 1)),
    "FalconH1ForCausalLM, on four": (4, 147_456, 32 * (2 + 1)),
    "JambaForCausalLM": (1, 327_680, 4 * (7 * 2 + 1)),
    "Lfm2MoeForCausalLM": (2, 16_384, 16 * (2 + 1)),
    "NemotronHForCausalLM": (4, 1_064_960, 2 + 1),
    "OlmoHybridForCausalLM": (2, 614_400, 8 * (3 * 2 + 1)),
    "Qwen3_5ForCausalLM": (4, 327_680, 8 * (3 * 2 + 1)),
    "Qwen3_5MoeForCausalLM": (2, 589_824, 10 * (3 * 2 + 1)),
    "Zamba2ForCausalLM": (2, 491_520, 9 * (6 * 2 + 1)),
}


@pytest.mark.parametrize(("said", "tensor", "page", "pages"), [(said, *row) for said, row in PAGES.items()], ids=PAGES)
def test_pages_are_as_large_as_vllms_own_for_each_architecture(said: str, tensor: int, page: int, pages: int) -> None:
    """Run as above, on a pretended H200, with the default config of each class in transformers and 16 tokens."""
    (row,) = [row for row in counted() if row["class"] == said.partition(",")[0]]
    model = from_config(row["config"] | {"torch_dtype": "bfloat16"}, name="org/model", origin="test")
    assert memory_use(a_demand(model, context=16), Layout(tensor, 1), GPU, HOPPER).kv_cache == page * pages


def test_a_request_takes_the_bytes_that_vllm_reports() -> None:
    """Nemotron 3 Nano with 2048 tokens, and Qwen3-Next with 8192: two states each, and not one."""
    for model, context, size in ((nemotron(), 2048, 115_900_416), (facts(QWEN_NEXT), 8192, 294_125_568)):
        assert memory_use(a_demand(model, context=context), ONE, GPU).kv_cache == size


def test_blocks_follow_the_chunks_of_flashinfer_since_the_release_that_does() -> None:
    older, newer = (
        memory_use(a_demand(facts(QWEN_NEXT), release=release), ONE, GPU, HOPPER).kv_cache
        for release in ((0, 32, 0), (0, 33, 0))
    )
    assert older == memory_use(a_demand(facts(QWEN_NEXT)), ONE, GPU, AMPERE).kv_cache < newer


PAGE = 256 * 4096
"""A state of 1,000,000 bytes takes a block of 256 tokens of 4096 bytes."""
BLOCKS: dict[str, tuple[ModelFacts, dict[str, Any], int]] = {
    "as many states as layers with attention": (hybrid(4, 4), {}, 4 * (2 + 4)),
    "three times as many": (hybrid(4, 12), {}, 4 * (3 * 2 + 4)),
    "groups that are filled up": (hybrid(4, 9), {}, 4 * (3 * 2 + 4)),
    "a few more states than attention: larger groups": (hybrid(4, 5), {}, 5 * (2 + 4)),
    "fewer states than attention": (hybrid(8, 2), {}, 2 * (2 + 4 * 4)),
    "a token more than a block": (hybrid(4, 4), {"context": 1025}, 4 * (2 + 5)),
    "a window and a chunk, and a block more": (hybrid(4, 4, window=512), {"context": 100_000}, 4 * (2 + 34 + 1)),
    "one state before prefixes of hybrids were cached": (hybrid(4, 4), {"release": (0, 25, 0)}, 4 * (1 + 4)),
    "two since": (hybrid(4, 4), {"release": (0, 26, 0)}, 4 * (2 + 4)),
    "a smaller cache makes blocks of more tokens": (hybrid(4, 4, state=990_000), {"kv_bytes": 1}, 4 * (2 + 3)),
}


@pytest.mark.parametrize(("model", "changes", "pages"), BLOCKS.values(), ids=BLOCKS)
def test_caches_are_cut_into_blocks_of_equal_bytes(model: ModelFacts, changes: dict[str, Any], pages: int) -> None:
    demand = a_demand(model, **{"context": 1024} | changes)
    page = PAGE if demand.kv_bytes > 1 else 496 * 2048
    assert memory_use(demand, ONE, GPU).kv_cache == pages * page


def test_a_stage_keeps_its_own_layers_of_each_group() -> None:
    """Layers are dealt out in turn, so that half of them make blocks of half the bytes."""
    plain = hybrid(4, 4)
    model = replace(plain, order=(0, 1) * 4)
    whole, half = (memory_use(a_demand(model, context=1024), Layout(1, pipeline), GPU) for pipeline in (1, 2))
    assert half.kv_cache == whole.kv_cache // 2


def test_states_alone_are_kept_as_they_are_and_once() -> None:
    """Without attention nothing is padded, and vLLM caches no prefixes."""
    model = hybrid(0, 8)
    assert memory_use(a_demand(model, concurrency=5), ONE, GPU).kv_cache == 8 * 1_000_000 * 5


def test_an_empty_block_and_a_checkpoint_in_a_prefill_are_kept_for_no_sequence() -> None:
    plain, keeps = (memory_use(a_demand(model, context=1024), ONE, GPU) for model in (a_model(16), hybrid(4, 12)))
    assert keeps.reserve - plain.reserve == 4 * PAGE * (1 + 3)


def test_a_model_without_states_is_counted_by_its_tokens() -> None:
    assert memory_use(a_demand(LLAMA_8B), ONE, GPU).kv_cache == 32 * 2 * 8 * 128 * 2 * 8192
    assert states(a_demand(LLAMA_8B), ONE, memory_use(a_demand(LLAMA_8B), ONE, GPU)) is None


@pytest.mark.parametrize("context", [1, 100, 4096, 65_536])
@pytest.mark.parametrize("engine", [VLLM, SGLANG, TENSORRT_LLM])
def test_more_tokens_and_more_sequences_never_need_less(engine: EngineName, context: int) -> None:
    for model in (nemotron(), qwen_3_5(), facts(QWEN_NEXT), hybrid(3, 7, window=512)):
        demand = a_demand(model, context=context, engine=engine)
        more = [replace(demand, context_length=context + 1000), replace(demand, concurrency=2)]
        assert all(memory_use(demand, ONE, GPU).kv_cache <= memory_use(one, ONE, GPU).kv_cache for one in more)


def on_a10g(**changes: Any) -> tuple[Demand, Plan]:
    demand = a_demand(qwen_3_5(), **{"budget": 2, "context": 32768} | changes)
    return demand, planned(demand, a_fleet(a10g()))


def a10g() -> Node:
    return a_node(product="NVIDIA-A10G", gpus=2, memory_mib=23028)


def block_count(made: Plan) -> int:
    """Count the blocks of 25.7 MB that fit beside weights, activations and reserve."""
    return (made.memory.kv_cache + made.memory.slack) // (16 * 1_605_632)


def test_vllm_is_told_no_more_sequences_than_it_has_blocks() -> None:
    """vllm#49064: 256 sequences against 161 blocks, and the engine does not start."""
    _, made = on_a10g()
    assert made.states is not None
    assert str(made.layout) == "TP2×PP1"
    assert block_count(made) * 0.85 < made.states < block_count(made) < 256
    assert options(started(made).pods[0].args)["--max-num-seqs"] == str(made.states)
    assert StatesBoundSequences(made.states) in made.notes


def test_vllm_is_told_the_usual_sequences_where_blocks_abound() -> None:
    made = planned(a_demand(facts(QWEN_NEXT), context=8192), a_fleet(h200s(1)))
    assert made.states is not None
    assert made.states > 256
    assert options(started(made).pods[0].args)["--max-num-seqs"] == "256"
    assert not [note for note in made.notes if isinstance(note, StatesBoundSequences)]


def test_the_sequences_that_the_arguments_state_need_their_blocks() -> None:
    """The object's own `--max-num-seqs` wins over the plan's, so that the plan must have room for it."""
    assert sequences_of(VLLM, ("--max-num-seqs", "8", "--max_num_seqs=64")) == 64
    assert sequences_of(VLLM, ("--max-num-seqs", "many")) is None
    assert sequences_of(VLLM, ()) is None
    assert sequences_of(SGLANG, ("--max-num-seqs", "64")) is None
    demand, made = on_a10g()
    _, asked = on_a10g(sequences=100)
    assert asked.memory.kv_cache == 112 * 16 * 1_605_632 > made.memory.kv_cache
    refusal = refused(replace(demand, sequences=256), a_fleet(a10g()))
    assert {type(found.cause) for found in refusal.rejected} == {MemoryShort}
    assert on_a10g(sequences=256, release=(0, 19, 0))[1].layout == made.layout


@pytest.mark.parametrize("engine", [VLLM, SGLANG])
def test_the_sequences_of_the_object_always_have_their_states(engine: EngineName) -> None:
    for concurrency in (1, 20, 60, 300):
        demand = a_demand(hybrid(0, 8), engine=engine, concurrency=concurrency)
        use = memory_use(demand, ONE, GPU)
        exact = replace(use, budget=use.needed)
        found = states(demand, ONE, exact)
        assert found is not None
        assert found >= concurrency * (1 if engine is VLLM else 5)


def test_the_stage_with_the_fewest_blocks_decides() -> None:
    """The output head lies on the last stage; the blocks of both stages are equal."""
    model = replace(hybrid(4, 4), order=(0, 1) * 4, embedding=())
    use = memory_use(a_demand(model, context=1024), Layout(1, 2), GPU)
    last = use.slack + use.kv_cache
    assert states(a_demand(model, context=1024), Layout(1, 2), use) == int(0.9 * last / (2 * PAGE))


SLOT = 77_266_944
"""Bytes of a state of Qwen3-Next with SGLang."""


@pytest.mark.parametrize("concurrency", [1, 8])
def test_sglang_keeps_five_states_for_a_sequence_and_an_empty_one(concurrency: int) -> None:
    """Sglang 0.5.23, kv_cache_configurator.py: 3 and 2 for tracking; with fewer than 5 it does not start."""
    demand = a_demand(facts(QWEN_NEXT), context=8192, engine=SGLANG, concurrency=concurrency)
    tokens = sum(
        kv_bytes(demand, layer.cache, 1) for layer in demand.model.layers if not isinstance(layer.cache, StateCache)
    )
    assert memory_use(demand, ONE, GPU).kv_cache == tokens + (5 * concurrency + 1) * SLOT


def test_sglang_gets_the_pool_of_its_own_rule_where_both_pools_suffice() -> None:
    demand = a_demand(facts(QWEN_NEXT), context=8192, engine=SGLANG)
    made = planned(demand, a_fleet(h200s(1)))
    tensor = made.layout.tensor
    room = made.memory.kv_cache + made.memory.slack
    assert made.states == pytest.approx(room * 0.9 / 1.9 / (SLOT / tensor), rel=0.01)
    assert options(started(made).pods[0].args)["--max-mamba-cache-size"] == str(made.states)


def test_sglang_gets_fewer_states_where_long_sequences_need_the_room() -> None:
    demand = a_demand(facts(QWEN_NEXT), context=262144, engine=SGLANG, concurrency=4)
    use = memory_use(demand, Layout(2, 1), GPU)
    exact = replace(use, budget=use.needed)
    assert states(demand, Layout(2, 1), exact) == 5 * 4
    roomy = [
        states(demand, Layout(2, 1), replace(use, budget=use.needed + extra * GIB)) or 0 for extra in range(0, 60, 6)
    ]
    assert all(fewer <= more for fewer, more in pairwise(roomy))


def test_other_engines_need_no_number_of_states() -> None:
    demand = a_demand(facts(QWEN_NEXT), engine=TENSORRT_LLM)
    assert states(demand, ONE, memory_use(demand, ONE, GPU)) is None
