"""The figures that engines offer over HTTP: how each says the size of its KV cache, and when it is not asked."""

import json
from typing import Any

import pytest
from tests.engines.support import SGLANG, TENSORRT_LLM, VLLM, wants
from tests.support.models import LLAMA_8B, a_demand, facts

from shardwise.domain.engine import EngineName
from shardwise.domain.launch import Wanted
from shardwise.engines import ENGINES

WINDOWED, STATEFUL = "openai/gpt-oss-20b", "Qwen/Qwen3-Next-80B-A3B-Instruct"
STATS = {"enable_iter_perf_stats": True}


def wanted(engine: EngineName, model: str = LLAMA_8B, **changes: Any) -> Wanted:
    return wants(a_demand(facts(model), engine=engine), **changes)


VLLM_0_33 = """\
# HELP vllm:cache_config_info Information of the LLMEngine CacheConfig
# TYPE vllm:cache_config_info gauge
vllm:cache_config_info{block_size="16",cache_dtype="auto",engine="0",gpu_memory_utilization="0.92",\
kv_cache_dtype_skip_layers="[]",kv_cache_max_concurrency="15.2",kv_cache_size_tokens="498073",mamba_block_size="None",\
num_cpu_blocks="None",num_gpu_blocks="31130",num_gpu_blocks_override="None",sliding_window="None"} 1.0
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="served"} 0.0
"""
VLLM_0_11 = """\
vllm:cache_config_info{block_size="16",cache_dtype="auto",engine="0",num_cpu_blocks="None",num_gpu_blocks="31130",\
num_gpu_blocks_override="None",sliding_window="None"} 1.0
"""
SGLANG_0_5_23 = """\
# TYPE sglang:max_total_num_tokens gauge
sglang:max_total_num_tokens_swa{engine_type="unified",model_name="served",tp_rank="0"} 7.0
sglang:max_total_num_tokens{engine_type="unified",model_name="served",moe_ep_rank="0",pp_rank="0",tp_rank="0"} 498073.0
"""
STEPS = [{"iter": 154, "kvCacheStats": {"maxNumBlocks": 101256, "tokensPerBlock": 32, "usedNumBlocks": 3}}]

ANSWERS = [
    pytest.param(VLLM, VLLM_0_33, 498_073, id="vLLM says the tokens itself"),
    pytest.param(VLLM, VLLM_0_11, 498_080, id="an older vLLM says blocks and their size"),
    pytest.param(VLLM, VLLM_0_11.replace('"31130"', '"None"'), None, id="vLLM does not know its blocks yet"),
    pytest.param(VLLM, "vllm:num_requests_running 0.0\n", None, id="vLLM without statistics"),
    pytest.param(VLLM, "", None, id="vLLM answers 404"),
    pytest.param(VLLM, VLLM_0_33.replace("498073", "9" * 15), None, id="more tokens than any cache holds"),
    pytest.param(VLLM, VLLM_0_33.replace("498073", "9" * 400), 498_080, id="a label that is no number"),
    pytest.param(
        VLLM,
        'vllm:cache_config_info{a="x,kv_cache_size_tokens=\\"7\\"",kv_cache_size_tokens="498073"} 1.0',
        498_073,
        id="a label inside the value of another label",
    ),
    pytest.param(SGLANG, SGLANG_0_5_23, 498_073, id="SGLang has a gauge, and another of a longer name"),
    pytest.param(SGLANG, "sglang:max_total_num_tokens NaN\n", None, id="SGLang says no number"),
    pytest.param(SGLANG, "sglang:max_total_num_tokens{} +Inf\n", None, id="SGLang says an endless number"),
    pytest.param(SGLANG, "sglang:max_total_num_tokens{} many\n", None, id="SGLang says a word"),
    pytest.param(TENSORRT_LLM, json.dumps(STEPS), 3_240_192, id="TensorRT-LLM has statistics of steps"),
    pytest.param(TENSORRT_LLM, "[]", None, id="TensorRT-LLM has run no step yet"),
    pytest.param(TENSORRT_LLM, '[{"iter": 1}, 7, {"kvCacheStats": []}]', None, id="steps without a cache"),
    pytest.param(TENSORRT_LLM, '{"detail": "Not Found"}', None, id="TensorRT-LLM says something else"),
    pytest.param(TENSORRT_LLM, "<html>", None, id="no JSON"),
    pytest.param(TENSORRT_LLM, "[" * 100_000, None, id="JSON that is nested too deeply"),
]
"""Engine, the text at its path, and the tokens that the text says."""


@pytest.mark.parametrize(("engine", "text", "tokens"), ANSWERS)
def test_an_answer_says_the_tokens_of_the_cache_or_nothing(engine: EngineName, text: str, tokens: int | None) -> None:
    figures = ENGINES[engine].figures(wanted(engine, options=STATS if engine is TENSORRT_LLM else {}))
    assert figures is not None
    assert figures.path == "/metrics"
    assert figures.tokens(text) == tokens


OFFERED = [
    pytest.param(VLLM, LLAMA_8B, {}, True, id="vLLM"),
    pytest.param(VLLM, WINDOWED, {}, True, id="vLLM counts sequences over all kinds of layers"),
    pytest.param(VLLM, STATEFUL, {}, False, id="vLLM with states"),
    pytest.param(SGLANG, LLAMA_8B, {}, True, id="SGLang"),
    pytest.param(SGLANG, WINDOWED, {}, False, id="SGLang has a pool more for windows"),
    pytest.param(SGLANG, STATEFUL, {}, False, id="SGLang has a pool more for states"),
    pytest.param(TENSORRT_LLM, LLAMA_8B, {}, False, id="TensorRT-LLM keeps no statistics by default"),
    pytest.param(TENSORRT_LLM, LLAMA_8B, {"options": STATS}, True, id="TensorRT-LLM with statistics"),
    pytest.param(TENSORRT_LLM, WINDOWED, {"options": STATS}, False, id="TensorRT-LLM with windows"),
]


@pytest.mark.parametrize(("engine", "model", "changes", "offered"), OFFERED)
def test_only_figures_that_the_plan_can_be_held_to_are_asked_for(
    engine: EngineName, model: str, changes: dict[str, object], offered: bool
) -> None:
    assert (ENGINES[engine].figures(wanted(engine, model, **changes)) is not None) == offered


def test_blocks_do_not_count_tokens_where_layers_differ() -> None:
    """An older vLLM says nothing that a model with windows can be held to."""
    figures = ENGINES[VLLM].figures(wanted(VLLM, WINDOWED))
    assert figures is not None
    assert figures.tokens(VLLM_0_11) is None
    assert figures.tokens(VLLM_0_33) == 498_073
