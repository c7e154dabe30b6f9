"""Each engine's own rule of how much of a GPU it may use, and what the planner therefore promises."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.models import LLAMA_8B, LLAMA_70B, R1, a_demand

from shardwise.domain.engine import EngineName
from shardwise.domain.layout import Layout
from shardwise.domain.plan import MemoryUse
from shardwise.domain.units import GIB, MIB
from shardwise.planner.budgets import CUDA_CONTEXT, RESERVE_ONE_GPU, memory_use

H100 = 81559 * MIB
T4 = 15360 * MIB
ONE = Layout(1, 1)
VLLM, SGLANG, TENSORRT_LLM = EngineName.VLLM, EngineName.SGLANG, EngineName.TENSORRT_LLM


def use(engine: EngineName, layout: Layout = ONE, gpu: int = H100, model: str = LLAMA_8B, **changes: Any) -> MemoryUse:
    demand = a_demand(model, engine=engine, **changes)
    return memory_use(demand, layout, gpu, weights=15 * GIB, kv_cache=2 * GIB, activations=1 * GIB)


def test_vllm_takes_its_share_of_the_gpu_and_keeps_its_runtime_inside_it() -> None:
    made = use(VLLM)
    assert made.budget == int(H100 * 0.92)
    assert made.reserve == RESERVE_ONE_GPU


SGLANG_KEEPS = {
    "H100, TP1": (Layout(1, 1), H100, LLAMA_8B, 512 + 12288 + 128 + 512 + 64),
    "H100, TP8": (Layout(8, 1), H100, LLAMA_70B, 512 + 12288 + 1024 + 1024 + 64),
    "H100, TP8×PP2": (Layout(8, 2), H100, LLAMA_70B, 512 + 12288 + 2048 + 1024 + 64),
    "latent attention captures more": (Layout(8, 1), H100, R1, 512 + 12288 + 1024 + 1024 + 1536),
}


@pytest.mark.parametrize(("layout", "gpu", "model", "mib"), SGLANG_KEEPS.values(), ids=SGLANG_KEEPS)
def test_sglang_keeps_back_what_its_own_default_would(layout: Layout, gpu: int, model: str, mib: int) -> None:
    made = use(SGLANG, layout, gpu, model)
    assert made.budget == gpu
    assert made.activations + made.reserve == mib * MIB


def test_sglangs_static_fraction_on_eight_h100_is_the_documented_one() -> None:
    """About 0.81: 15 GB of 80 are kept back."""
    made = use(SGLANG, Layout(8, 1), H100, LLAMA_70B)
    assert (made.budget - made.activations - made.reserve) / made.budget == pytest.approx(0.81, abs=0.01)


def test_tensorrt_llm_leaves_a_tenth_of_what_is_free_after_loading() -> None:
    made = use(TENSORRT_LLM)
    free = H100 - made.weights - made.activations - RESERVE_ONE_GPU - CUDA_CONTEXT
    assert made.slack + made.kv_cache == pytest.approx(0.9 * free, abs=2)


@pytest.mark.parametrize("engine", EngineName)
def test_the_object_may_override_what_the_runtime_takes(engine: EngineName) -> None:
    small, large = (use(engine, Layout(2, 1), reserve=reserve) for reserve in (1 * GIB, 30 * GIB))
    assert small.slack > large.slack
    assert H100 - large.budget + large.reserve >= 30 * GIB


def test_an_overridden_reserve_is_taken_at_its_word_by_vllm() -> None:
    assert use(VLLM, Layout(8, 1), reserve=7).reserve == 7


@pytest.mark.parametrize("engine", EngineName)
def test_what_an_object_keeps_back_beyond_the_runtime_is_left_to_others(engine: EngineName) -> None:
    plain, kept = use(engine), use(engine, reserve=RESERVE_ONE_GPU + 10 * GIB)
    assert (plain.left_free, kept.left_free) == (0, 10 * GIB)
    assert use(engine, reserve=RESERVE_ONE_GPU).left_free == 0
    assert use(engine, reserve=7).left_free == 0


def test_vllm_is_given_less_of_the_gpu_by_what_is_left_to_others() -> None:
    plain, kept = use(VLLM), use(VLLM, reserve=RESERVE_ONE_GPU + 10 * GIB)
    assert (kept.budget, kept.reserve) == (plain.budget - 10 * GIB, plain.reserve)


def test_more_than_the_gpu_has_cannot_be_left_to_others() -> None:
    assert use(VLLM, reserve=100 * GIB).budget == 0


@given(
    engine=st.sampled_from(EngineName),
    tensor=st.sampled_from([1, 2, 4, 8]),
    pipeline=st.integers(1, 4),
    gpu=st.integers(16 * GIB, 288 * GIB),
)
def test_no_engine_is_promised_more_than_the_gpu_has(engine: EngineName, tensor: int, pipeline: int, gpu: int) -> None:
    made = use(engine, Layout(tensor, pipeline), gpu)
    assert made.budget <= gpu
    assert made.reserve > 0
    assert made.needed >= 18 * GIB


def test_a_gpu_that_is_too_small_has_negative_slack_with_every_engine() -> None:
    assert all(use(engine, gpu=T4).slack < 0 for engine in EngineName)
