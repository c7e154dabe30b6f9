"""The memory of LoRA adapters, which an engine takes when it starts; and arguments whose memory nobody counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.fleets import H100, a_fleet, a_node, cuda_bytes
from tests.support.models import LLAMA_8B, LLAMA_70B, QWEN_235B_FP8, a_demand, facts
from tests.support.plans import planned, refused

from shardwise.domain.adapters import Adapters, adapters_of, redundant_experts, uncounted, uncounted_options
from shardwise.domain.engine import EngineName
from shardwise.domain.layout import Layout
from shardwise.domain.notes import NotCounted
from shardwise.domain.refusal import RefusalReason
from shardwise.domain.units import GIB
from shardwise.planner.adapter_weights import adapter_bytes
from shardwise.planner.memory import memory_use

VLLM, SGLANG, TENSORRT_LLM = EngineName.VLLM, EngineName.SGLANG, EngineName.TENSORRT_LLM

READ: dict[str, tuple[EngineName, str, Adapters | None]] = {
    "no adapters": (VLLM, "--max-lora-rank 64", None),
    "vLLM's defaults": (VLLM, "--enable-lora", Adapters(1, 16)),
    "stated": (VLLM, "--enable-lora --max-loras 8 --max-lora-rank 256", Adapters(8, 256)),
    "attached and with underscores": (VLLM, "--enable_lora --max_loras=8 --max-lora-rank=256", Adapters(8, 256)),
    "the last value counts": (VLLM, "--enable-lora --max-loras 8 --max-loras 2", Adapters(2, 16)),
    "abbreviated": (SGLANG, "--lora-path a=b --max-lora-r 64", Adapters(8, 64)),
    "a longer word of another option": (VLLM, "--enable-lora-bias", None),
    "no number: the engine refuses it": (VLLM, "--enable-lora --max-loras many", Adapters(1, 16)),
    "SGLang's default number": (SGLANG, "--lora-paths a=b --max-lora-rank 64", Adapters(8, 64)),
    "SGLang reads the rank off the adapters": (SGLANG, "--enable-lora", None),
    "TensorRT-LLM has them in its options": (TENSORRT_LLM, "--enable-lora", None),
}


@pytest.mark.parametrize(("engine", "args", "adapters"), READ.values(), ids=READ)
def test_adapters_are_read_off_the_arguments(engine: EngineName, args: str, adapters: Adapters | None) -> None:
    assert adapters_of(engine, args.split()) == adapters


UNCOUNTED: dict[str, tuple[EngineName, str, tuple[str, ...]]] = {
    "nothing": (VLLM, "--seed 1", ()),
    "a draft model": (VLLM, "--speculative-config={} --seed 1", ("--speculative-config",)),
    "a draft model, short": (VLLM, "-sc {}", ("--speculative-config",)),
    "a draft model, key by key": (
        VLLM, "--speculative-config.method=eagle3 --speculative_config.model x/y", ("--speculative-config",),
    ),
    "a draft model, by words of its own": (VLLM, "--spec-model x/y --spec-tokens 3", ("--spec-model",)),
    "whole contexts in sliding layers": (
        VLLM,
        "--disable-hybrid-kv-cache-manager",
        ("--disable-hybrid-kv-cache-manager",),
    ),
    "adapters that are counted": (VLLM, "--enable-lora", ()),
    "adapters whose rank nobody states": (SGLANG, "--enable-lora --lora-paths a=b", ("--enable-lora", "--lora-paths")),
    "wider states": (VLLM, "--mamba-ssm-cache-dtype float32", ("--mamba-ssm-cache-dtype",)),
    "wider inputs of convolutions": (VLLM, "--mamba_cache_dtype=float32", ("--mamba-cache-dtype",)),
    "narrower states": (VLLM, "--mamba-ssm-cache-dtype bfloat16", ()),
    "the exchange of experts": (VLLM, "--enable-eplb --eplb-config={}", ("--enable-eplb",)),
    "SGLang's exchange of experts": (SGLANG, "--enable-eplb --ep-num-redundant-experts 8", ("--enable-eplb",)),
    "SGLang's wider states": (SGLANG, "--mamba-ssm-dtype float32", ("--mamba-ssm-dtype",)),
    "SGLang's drafts, abbreviated": (SGLANG, "--speculative-algo EAGLE", ("--speculative-algorithm",)),
    "SGLang's drafts": (SGLANG, "--speculative-algorithm EAGLE", ("--speculative-algorithm",)),
}  # fmt: skip


REDUNDANT: dict[str, tuple[EngineName, tuple[str, ...], int]] = {
    "none": (VLLM, ("--enable-eplb",), 0),
    "in an object": (VLLM, ("--eplb-config", '{"num_redundant_experts": 32}'), 32),
    "in an object, attached": (VLLM, ('--eplb_config={"num_redundant_experts": 32, "window_size": 1000}',), 32),
    "key by key": (VLLM, ("--eplb-config.num_redundant_experts", "16"), 16),
    "in no object": (VLLM, ("--eplb-config", "[32]"), 0),
    "in no JSON": (VLLM, ("--eplb-config", "{"), 0),
    "no number": (VLLM, ("--eplb-config", '{"num_redundant_experts": "many"}'), 0),
    "SGLang": (SGLANG, ("--ep-num-redundant-experts", "32"), 32),
    "SGLang, attached": (SGLANG, ("--ep-num-redundant-experts=8",), 8),
    "SGLang, no number": (SGLANG, ("--ep-num-redundant-experts=x",), 0),
    "an engine that takes no such word": (EngineName.TENSORRT_LLM, ("--ep-num-redundant-experts=8",), 0),
}


@pytest.mark.parametrize(("engine", "args", "count"), REDUNDANT.values(), ids=REDUNDANT)
def test_redundant_experts_are_read_off_the_arguments(engine: EngineName, args: tuple[str, ...], count: int) -> None:
    assert redundant_experts(engine, args) == count


@pytest.mark.parametrize(("engine", "args", "words"), UNCOUNTED.values(), ids=UNCOUNTED)
def test_arguments_that_take_memory_beside_the_plan_are_known(
    engine: EngineName, args: str, words: tuple[str, ...]
) -> None:
    assert uncounted(engine, args.split()) == words


def test_options_of_tensorrt_llm_that_take_memory_beside_the_plan_are_known() -> None:
    options = {"speculative_config": {"decoding_type": "Eagle3"}, "dtype": "bfloat16", "lora_config": None}
    assert uncounted_options(options) == ("speculative_config",)


def test_eight_adapters_of_rank_256_take_33_gib_of_two_gpus_each() -> None:
    """Llama 70B at TP2: (2 x 8192 + ...) elements of each pair, for 80 layers (sgl-project/sglang#22864)."""
    (layer,) = adapter_bytes(facts(LLAMA_70B), Layout(2, 1), Adapters(8, 256))
    sides = (8192 + 4096) + 2 * (8192 + 512) + (4096 + 8192) + 2 * (8192 + 14336) + (14336 + 8192)
    assert layer == sides * 8 * 256 * 2
    assert 80 * layer / GIB == pytest.approx(33.4, abs=0.1)


def test_adapters_that_do_not_fit_are_refused() -> None:
    adapted = a_demand(LLAMA_70B, budget=2, adapters=Adapters(8, 256))
    two = a_fleet(a_node(gpus=2))
    assert planned(a_demand(LLAMA_70B, budget=2), two).layout == Layout(2, 1)
    assert refused(adapted, two).reason is RefusalReason.MEMORY_SHORT


@given(st.sampled_from([LLAMA_8B, LLAMA_70B, QWEN_235B_FP8]), st.sampled_from([1, 2, 4]), st.integers(1, 64))
def test_adapters_add_in_proportion_to_their_number_and_rank(name: str, tensor: int, rank: int) -> None:
    layout, gpu = Layout(tensor, 1), cuda_bytes(H100)
    plain, some, twice = (
        memory_use(a_demand(name, adapters=adapters), layout, gpu).weights
        for adapters in (None, Adapters(1, rank), Adapters(2, rank))
    )
    assert twice - some == pytest.approx(some - plain, abs=2)
    assert some > plain


def test_a_plan_says_which_arguments_it_does_not_count() -> None:
    made = planned(a_demand(LLAMA_8B, uncounted=("--speculative-config",)), a_fleet(a_node()))
    assert made.notes == (NotCounted("--speculative-config", made.memory.slack),)
