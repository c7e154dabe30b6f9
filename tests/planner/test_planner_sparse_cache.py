"""The cache of sparse latent attention on each architecture of GPUs, in bytes a token."""

from dataclasses import replace
from typing import Any

import pytest
from tests.support.models import LLAMA_8B, R1, a_demand, facts

from shardwise.domain.engine import EngineName
from shardwise.domain.model import LatentCache, ModelFacts
from shardwise.planner.caches import token_bytes
from shardwise.planner.sparse_cache import on_gpus

VLLM, SGLANG = EngineName.VLLM, EngineName.SGLANG
A100, H200, B200, RTX = (8, 0), (9, 0), (10, 0), (12, 0)
FP8: dict[str, Any] = {"kv_bytes": 1, "kv_cache_dtype": "fp8"}
INDEX = 132


def sparse(architecture: str = "DeepseekV32ForCausalLM") -> ModelFacts:
    """Give DeepSeek R1 with the cache of V3.2: 512 compressed elements, 64 of positions, and an index."""
    model = facts(R1)
    kinds = tuple(replace(layer, cache=LatentCache(576, INDEX, 64)) for layer in model.kinds)
    return replace(model, architecture=architecture, kinds=kinds)


V32, GLM = sparse(), sparse("GlmMoeDsaForCausalLM")

BYTES: dict[str, tuple[ModelFacts, EngineName, tuple[int, int] | None, dict[str, Any], int]] = {
    "16 bits on Hopper": (V32, VLLM, H200, {}, 1152),
    "fp8 on Hopper keeps scales, and positions in 16 bits": (V32, VLLM, H200, FP8, 656),
    "with SGLang as well": (V32, SGLANG, H200, FP8, 656),
    "fp8 on Blackwell is plain": (V32, VLLM, B200, FP8, 576),
    "fp8 on GPUs that nobody knows": (V32, VLLM, None, FP8, 576),
    "vLLM leaves V3.2 in 16 bits on Blackwell": (V32, VLLM, B200, {}, 1152),
    "and makes that of GLM-5 fp8": (GLM, VLLM, B200, {}, 576),
    "GLM-5 on Hopper": (GLM, VLLM, H200, {}, 1152),
    "Blackwell for workstations has fp8 with scales alone": (V32, VLLM, RTX, {}, 656),
    "and where it is told fp8": (V32, VLLM, RTX, FP8, 656),
    "SGLang makes it fp8": (V32, SGLANG, B200, {}, 576),
    "unless it is told otherwise": (V32, SGLANG, B200, {"kv_cache_dtype": "bfloat16"}, 1152),
}


@pytest.mark.parametrize(("model", "engine", "capability", "asked", "size"), BYTES.values(), ids=BYTES)
def test_a_token_of_sparse_attention_takes_these_bytes(
    model: ModelFacts, engine: EngineName, capability: tuple[int, int] | None, asked: dict[str, Any], size: int
) -> None:
    demand = on_gpus(a_demand(model, engine=engine, **asked), capability)
    caches = {layer.cache for layer in demand.model.kinds if isinstance(layer.cache, LatentCache)}
    assert {token_bytes(cache, 8, demand.kv_bytes) for cache in caches} == {size + INDEX}


def test_layers_that_share_the_index_of_another_layer_keep_the_same_form() -> None:
    """GLM-5 has an index in some of its layers only; each layer keeps its own compressed head."""
    first, second = LatentCache(576, INDEX, 64), LatentCache(576, 0, 64)
    kinds = (replace(V32.kinds[0], cache=first), replace(V32.kinds[1], cache=second))
    demand = on_gpus(a_demand(replace(V32, kinds=kinds), **FP8), H200)
    assert [layer.cache for layer in demand.model.kinds] == [LatentCache(656, INDEX, 64), LatentCache(656, 0, 64)]


@pytest.mark.parametrize("name", [R1, LLAMA_8B])
@pytest.mark.parametrize("capability", [A100, H200, B200])
def test_other_attention_is_the_same_on_all_gpus(name: str, capability: tuple[int, int]) -> None:
    demand = a_demand(facts(name), **FP8)
    assert on_gpus(demand, capability) is demand
