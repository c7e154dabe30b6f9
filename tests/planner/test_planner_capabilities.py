"""Features of engines that some compute capabilities lack: attention, caches, kernels of experts, and the wheel."""

from dataclasses import replace

import pytest
from tests.support.fleets import A100, H100, RTX_PRO, T4, a_fleet, a_node
from tests.support.models import (
    KIMI_K2,
    LLAMA_8B,
    QWEN_235B_FP8,
    R1,
    Dense,
    Mixed,
    a_demand,
    a_model,
    facts,
    pinned,
)
from tests.support.plans import planned, refused

from shardwise.checkpoint import from_config
from shardwise.data import table
from shardwise.domain.demand import Demand
from shardwise.domain.engine import EngineName
from shardwise.domain.fleet import Fleet
from shardwise.domain.hardware import ComputeCapability, parse_capability
from shardwise.domain.layout import Layout
from shardwise.domain.model import CheckpointMethod, LatentCache, ModelFacts, Precision, Quantization
from shardwise.domain.refusal import CapabilityUnsupported, Cause, KernelSplit, RefusalReason
from shardwise.domain.version import Version, parse_version
from shardwise.planner.capability_support import CapabilityRow, takes, unsuited, unsuited_layout
from shardwise.planner.pools import Pool, eligible

VLLM, SGLANG, TENSORRT_LLM = EngineName.VLLM, EngineName.SGLANG, EngineName.TENSORRT_LLM
ATTENTION = "sparse latent attention"
CACHE = "an fp8 cache of latent attention"
NVFP4 = Precision(0.5625, (1, 16))
SPARSE = a_model(cache=LatentCache(576, 132))
LATENT = a_model(cache=LatentCache(576))


def of_capability(capability: ComputeCapability | None, product: str = H100, nodes: int = 1) -> Fleet:
    """Give nodes of eight GPUs whose labels say a compute capability."""
    made = (a_node(f"node-{index}", product=product) for index in range(nodes))
    return a_fleet(node._replace(compute_capability=capability) for node in made)


def pool_of(demand: Demand, capability: ComputeCapability | None) -> Pool:
    (pool,) = eligible(demand, of_capability(capability)).pools
    return pool


def lacking(engine: str, release: str, what: str, has: str, *taken: str) -> CapabilityUnsupported:
    return CapabilityUnsupported(H100, engine, release, what, has, taken)


FEATURES: dict[str, tuple[Demand, ComputeCapability | None, Cause | None]] = {
    "sparse attention on Ampere": (
        a_demand(SPARSE), (8, 0), lacking("vllm", "0.33.0", ATTENTION, "8.0", "9.0", "10.0", "12.0"),
    ),
    "on Ada": (a_demand(SPARSE), (8, 9), lacking("vllm", "0.33.0", ATTENTION, "8.9", "9.0", "10.0", "12.0")),
    "on Hopper": (a_demand(SPARSE), (9, 0), None),
    "on Blackwell": (a_demand(SPARSE), (10, 3), None),
    "on Blackwell for workstations": (a_demand(SPARSE), (12, 0), None),
    "on Blackwell for workstations, before": (
        a_demand(SPARSE, release=(0, 23, 0)), (12, 0), lacking("vllm", "0.23.0", ATTENTION, "12.0", "9.0", "10.0"),
    ),
    "a 16-bit cache on Blackwell for workstations": (
        a_demand(SPARSE, kv_cache_dtype="bfloat16"),
        (12, 0),
        lacking("vllm", "0.33.0", "a 16-bit cache of sparse latent attention", "12.0", "9.0", "10.0"),
    ),
    "a 16-bit cache on Hopper": (a_demand(SPARSE, kv_cache_dtype="bfloat16"), (9, 0), None),
    "on a capability that nobody knows": (a_demand(SPARSE), None, None),
    "sparse attention of SGLang on Ampere": (
        a_demand(SPARSE, engine=SGLANG), (8, 0), lacking("sglang", "0.5.23", ATTENTION, "8.0", "9.0 or more"),
    ),
    "an engine without a row": (a_demand(SPARSE, engine=TENSORRT_LLM), (8, 0), None),
    "an fp8 cache on Ampere": (
        a_demand(LATENT, kv_bytes=1), (8, 0), lacking("vllm", "0.33.0", CACHE, "8.0", "8.9 or more"),
    ),
    "an fp8 cache on an A10": (
        a_demand(LATENT, kv_bytes=1), (8, 6), lacking("vllm", "0.33.0", CACHE, "8.6", "8.9 or more"),
    ),
    "an fp8 cache on Ada": (a_demand(LATENT, kv_bytes=1), (8, 9), None),
    "an fp8 cache on Ada, before": (
        a_demand(LATENT, kv_bytes=1, release=(0, 17, 0)), (8, 9),
        lacking("vllm", "0.17.0", CACHE, "8.9", "9.0", "10.0"),
    ),
    "a 16-bit cache on Ampere": (a_demand(LATENT), (8, 0), None),
    "an fp8 cache of grouped attention on Ampere": (a_demand(LLAMA_8B, kv_bytes=1), (8, 0), None),
    "a wheel without code for Volta": (
        a_demand(LLAMA_8B), (7, 0),
        lacking("vllm", "0.33.0", "compiled kernels", "7.0", "7.5", "8.0", "8.6", "8.9", "9.0", "10.0", "12.0"),
    ),
    "TensorRT-LLM has no code for Turing": (
        a_demand(LLAMA_8B, engine=TENSORRT_LLM), (7, 5),
        lacking("tensorrt-llm", "1.2.1", "compiled kernels", "7.5", "8.0", "8.6", "8.9", "9.0", "10.0", "12.0"),
    ),
    "SGLang ends on Volta": (
        a_demand(LLAMA_8B, engine=SGLANG), (7, 0), lacking("sglang", "0.5.23", "support", "7.0", "7.5 or more"),
    ),
    "SGLang ends on Volta, whatever the image": (
        a_demand(LLAMA_8B, engine=SGLANG, published=False), (7, 0),
        lacking("sglang", "0.5.23", "support", "7.0", "7.5 or more"),
    ),
    "SGLang on Turing": (a_demand(LLAMA_8B, engine=SGLANG), (7, 5), None),
    "code for 8.6 runs on 8.7": (a_demand(LLAMA_8B), (8, 7), None),
    "code for 10.0 runs on 10.3": (a_demand(LLAMA_8B), (10, 3), None),
    "and not on 11.0": (
        a_demand(LLAMA_8B), (11, 0),
        lacking("vllm", "0.33.0", "compiled kernels", "11.0", "7.5", "8.0", "8.6", "8.9", "9.0", "10.0", "12.0"),
    ),
    "an image of another name may hold other code": (a_demand(LLAMA_8B, published=False), (7, 0), None),
    "a release whose wheel nobody read": (a_demand(LLAMA_8B, release=(0, 19, 0)), (7, 0), None),
}  # fmt: skip


@pytest.mark.parametrize(("demand", "capability", "expected"), FEATURES.values(), ids=FEATURES)
def test_a_feature_that_the_gpus_lack_rules_the_pool_out(
    demand: Demand, capability: ComputeCapability | None, expected: Cause | None
) -> None:
    assert unsuited(demand, pool_of(demand, capability)) == expected


def narrow_experts(**changes: object) -> ModelFacts:
    """Give a model of experts with 704 columns in NVFP4."""
    return replace(a_model(ffn=Mixed(8, 2, 704), precision=NVFP4, quantization=Quantization.NVFP4), **changes)  # type: ignore[arg-type]


def stored_by(method: str, *variants: str) -> CheckpointMethod:
    return CheckpointMethod(method, Quantization.NVFP4, variants)


SPLITS: dict[str, tuple[Demand, ComputeCapability, Layout, int | None]] = {
    "half of 704 columns": (a_demand(narrow_experts()), (12, 0), Layout(2, 1), 352),
    "a quarter": (a_demand(narrow_experts()), (12, 1), Layout(4, 1), 176),
    "all of them": (a_demand(narrow_experts()), (12, 0), Layout(1, 1), None),
    "whole experts": (a_demand(narrow_experts()), (12, 0), Layout(2, 1, expert=True), None),
    "on B200, which pads": (a_demand(narrow_experts()), (10, 0), Layout(2, 1), None),
    "on Hopper": (a_demand(narrow_experts()), (9, 0), Layout(2, 1), None),
    "before the kernels": (a_demand(narrow_experts(), release=(0, 13, 0)), (12, 0), Layout(2, 1), None),
    "on SGLang": (a_demand(narrow_experts(), engine=SGLANG), (12, 0), Layout(2, 1), None),
    "columns that divide": (
        a_demand(a_model(ffn=Mixed(8, 2, 768), precision=NVFP4, quantization=Quantization.NVFP4)), (12, 0),
        Layout(2, 1), None,
    ),
    "inputs in 16 bits": (
        a_demand(narrow_experts(method=stored_by("modelopt", "quant_algo: W4A16_NVFP4"))), (12, 0), Layout(2, 1), None,
    ),
    "inputs in 16 bits, by compressed-tensors": (
        a_demand(narrow_experts(method=stored_by("compressed-tensors", "input_activations: null"))), (12, 0),
        Layout(2, 1), None,
    ),
    "a method that quantises inputs": (
        a_demand(narrow_experts(method=stored_by("modelopt", "quant_algo: NVFP4"))), (12, 0), Layout(2, 1), 352,
    ),
    "no experts": (
        a_demand(a_model(ffn=Dense(704), precision=NVFP4, quantization=Quantization.NVFP4)), (12, 0), Layout(2, 1),
        None,
    ),
    "experts in fp8": (a_demand(a_model(ffn=Mixed(8, 2, 704))), (12, 0), Layout(2, 1), None),
}  # fmt: skip


@pytest.mark.parametrize(("demand", "capability", "layout", "part"), SPLITS.values(), ids=SPLITS)
def test_nvfp4_experts_have_columns_in_64s_on_12_x(
    demand: Demand, capability: ComputeCapability, layout: Layout, part: int | None
) -> None:
    has = f"{capability[0]}.{capability[1]}"
    expected = None if part is None else KernelSplit(H100, "vllm", has, "expert columns", part, 64, layout.tensor)
    assert unsuited_layout(demand, pool_of(demand, capability), layout) == expected


def test_nvfp4_experts_that_12_x_cannot_split_are_dealt_out_whole_or_refused() -> None:
    """FlashInfer's kernels take whole experts of a tensor group, which keep all their columns."""
    fleet = a_fleet(a_node(product=RTX_PRO))
    assert str(planned(a_demand(narrow_experts(), pins=pinned(2, 1)), fleet).layout) == "TP2×PP1 EP"
    refusal = refused(a_demand(narrow_experts(), pins=pinned(2, 1, expert=False)), fleet)
    assert refusal.reason is RefusalReason.ILLEGAL_LAYOUT
    assert [lost.cause for lost in refusal.rejected] == [
        KernelSplit(RTX_PRO, "vllm", "12.0", "expert columns", 352, 64, 2)
    ]
    assert [(hint.field, hint.value) for hint in refusal.hints] == [("spec.parallelism.expert", True)]


def test_finer_blocks_of_experts_need_kernels_that_older_gpus_lack() -> None:
    demand = a_demand(QWEN_235B_FP8)
    split, whole = Layout(8, 1), Layout(8, 1, expert=True)
    assert unsuited_layout(demand, pool_of(demand, (9, 0)), split) is None
    assert isinstance(unsuited_layout(demand, pool_of(demand, (8, 0)), split), CapabilityUnsupported)
    assert unsuited_layout(demand, pool_of(demand, (8, 0)), whole) is None
    assert unsuited_layout(demand, pool_of(demand, (8, 0)), Layout(4, 1)) is None


def test_a_pool_of_newer_gpus_serves_where_another_is_ruled_out() -> None:
    demand = a_demand(facts(R1), kv_bytes=1, budget=16)
    fleet = a_fleet(
        *(a_node(f"a100-{index}", product=A100) for index in range(2)),
        *(a_node(f"h100-{index}") for index in range(2)),
    )
    made = planned(demand, fleet)
    assert made.product == H100
    lost = {type(loser.cause) for loser in made.alternatives if loser.product == A100}
    assert CapabilityUnsupported in lost


def test_an_fp8_cache_is_no_hint_where_the_gpus_lack_it() -> None:
    """On H200 the hint works; the same memory on Ampere gets none."""
    demand = a_demand(KIMI_K2, context=131072)
    fields = {
        capability: [hint.field for hint in refused(demand, of_capability(capability, "NVIDIA-H200")).hints]
        for capability in ((9, 0), (8, 0))
    }
    assert "spec.model.kvCacheDtype" in fields[9, 0]
    assert "spec.model.kvCacheDtype" not in fields[8, 0]


def test_a_16_bit_cache_is_a_hint_where_the_gpus_lack_fp8() -> None:
    fleet = of_capability((8, 0), A100, nodes=2)
    asked = refused(a_demand(facts(R1), kv_bytes=1, budget=16, context=32768), fleet)
    assert [(hint.field, hint.value) for hint in asked.hints] == [("spec.model.kvCacheDtype", "auto")]
    stated = a_demand(replace(facts(R1), kv_cache_dtype="fp8"), kv_bytes=1, budget=16, context=32768)
    assert [(hint.field, hint.value) for hint in refused(stated, fleet).hints] == [
        ("spec.model.kvCacheDtype", "bfloat16")
    ]


def test_mxfp4_needs_more_than_a_turing_gpu() -> None:
    refusal = refused(a_demand("openai/gpt-oss-20b", budget=4), a_fleet(a_node(product=T4, gpus=4)))
    assert (refusal.reason, refusal.waits) == (RefusalReason.ILLEGAL_LAYOUT, False)


def test_sparse_attention_of_a_published_config_is_ruled_out_on_ampere() -> None:
    config = {
        "architectures": ["DeepseekV32ForCausalLM"], "model_type": "deepseek_v32", "torch_dtype": "bfloat16",
        "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]},
    }  # fmt: skip
    sized = {"hidden_size": 7168, "intermediate_size": 18432, "num_hidden_layers": 61, "num_attention_heads": 128}
    model = from_config(config | sized | {"vocab_size": 129280}, name="deepseek-ai/DeepSeek-V3.2", origin="tests")
    demand = a_demand(model, budget=16, context=32768)
    refusal = refused(demand, of_capability((8, 0), A100, nodes=2))
    assert {type(lost.cause) for lost in refusal.rejected} == {CapabilityUnsupported}
    assert refusal.hints == ()
    assert planned(demand, of_capability((9, 0), H100, nodes=2)).gpus == 16


def test_every_row_is_of_an_engine_and_its_numbers_can_be_read() -> None:
    for name, row in table("capabilities.toml", CapabilityRow).items():
        assert name.partition(" ")[0] in set(EngineName)
        assert row.takes or row.multiple
        assert all(parse_version(since) for since in (*row.takes, *row.multiple))
        listed = [entry.removesuffix("+") for entries in row.takes.values() for entry in entries]
        assert all(parse_capability(entry) for entry in listed)
        assert all(entries[1::2] and all(map(str.isdigit, entries[1::2])) for entries in row.multiple.values())


@pytest.mark.parametrize("release", [(0, 14, 0), (0, 33, 0), (1, 0, 0)])
def test_the_newest_row_that_is_not_later_counts(release: Version) -> None:
    row = CapabilityRow("tests", "x", {"0.15.0": ("9.0",), "0.33.0": ("8.9+",)})
    expected = {(0, 14, 0): None, (0, 33, 0): ("8.9+",), (1, 0, 0): ("8.9+",)}
    assert takes(row, release, (8, 0)) == expected[release]
    assert takes(row, (0, 20, 0), (8, 9)) == ("9.0",)
    assert takes(row, (0, 20, 0), (9, 0)) is None
