"""Memory while an engine loads weights that it quantises: the weights of 16 bits first, or layer by layer."""

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.support.fleets import B200, H200, a_fleet, a_node, h200s
from tests.support.models import DATA, QWEN_235B_FP8, R1, a_demand, config, facts, first_layers, pinned
from tests.support.plans import planned, refused

from shardwise.checkpoint import from_config
from shardwise.domain.engine import EngineName
from shardwise.domain.hardware import ComputeCapability
from shardwise.domain.layout import Layout
from shardwise.domain.model import ModelFacts
from shardwise.domain.refusal import LoadingShort, MemoryShort
from shardwise.domain.units import GIB, MIB
from shardwise.domain.version import Version
from shardwise.planner.memory import loading_use, memory_use

QWEN_235B = "Qwen/Qwen3-235B-A22B"
FLEET = a_fleet(h200s(1))
SGLANG, VLLM = EngineName.SGLANG, EngineName.VLLM

CHOSEN: dict[str, tuple[EngineName, Version | None, str, Layout]] = {
    "SGLang holds 16 bits first": (SGLANG, None, "fp8", Layout(4, 1)),
    "vLLM quantises layer by layer": (VLLM, None, "fp8", Layout(2, 1)),
    "the first release that does": (VLLM, (0, 16, 0), "fp8", Layout(2, 1)),
    "the last that held 16 bits": (VLLM, (0, 15, 0), "fp8", Layout(4, 1)),
}


@pytest.mark.parametrize(("engine", "release", "asked", "layout"), CHOSEN.values(), ids=CHOSEN)
def test_fp8_on_load_needs_room_for_the_weights_as_they_are_stored(
    engine: EngineName, release: Version | None, asked: str, layout: Layout
) -> None:
    """235 billion parameters: 219 GiB a GPU in two parts of 16 bits, 110 GiB in four."""
    found = planned(a_demand(facts(QWEN_235B, asked), engine=engine, release=release), FLEET)
    assert found.layout == layout


def test_a_checkpoint_in_fp8_is_loaded_as_it_is() -> None:
    demand = a_demand(facts("Qwen/Qwen3-235B-A22B-FP8"), engine=SGLANG)
    assert loading_use(demand, Layout(2, 1)) == 0
    assert planned(demand, FLEET).layout == Layout(2, 1)


def test_the_layout_that_fits_afterwards_is_rejected_for_the_loading() -> None:
    demand = a_demand(facts(QWEN_235B, "fp8"), engine=SGLANG, pins=pinned(2, 1))
    (rejected,) = [found for found in refused(demand, FLEET).rejected if not found.layout.expert]
    cause = rejected.cause
    assert isinstance(cause, LoadingShort)
    assert (cause.engine, cause.release) == ("sglang", "0.5.23")
    assert 218 * GIB < cause.needed < 220 * GIB
    assert 138 * GIB < cause.budget < 140 * GIB


def test_the_hint_to_quantise_is_not_given_where_loading_would_fail() -> None:
    """Of two GPUs, the weights of 16 bits fit neither before nor while they are quantised."""
    refusal = refused(a_demand(QWEN_235B, engine=SGLANG, budget=2), FLEET)
    assert {type(found.cause) for found in refusal.rejected} >= {MemoryShort}
    assert "spec.model.quantization" not in {hint.field for hint in refusal.hints}
    vllm = refused(a_demand(QWEN_235B, engine=VLLM, budget=2), FLEET)
    assert "spec.model.quantization" in {hint.field for hint in vllm.hints}


def test_the_hint_to_quantise_is_not_given_for_an_engine_that_cannot() -> None:
    refusal = refused(a_demand(QWEN_235B, engine=EngineName.TENSORRT_LLM, budget=2), FLEET)
    assert "spec.model.quantization" not in {hint.field for hint in refusal.hints}


def test_plain_weights_stay_as_they_are() -> None:
    """Only the matrices of layers are quantised: embedding, head and norms count once."""
    model = facts(QWEN_235B, "fp8")
    demand = a_demand(model, engine=SGLANG)
    plain = a_demand(facts(QWEN_235B), engine=SGLANG)
    whole = loading_use(demand, Layout(4, 1))
    assert loading_use(plain, Layout(4, 1)) == 0
    stored = sum(weight.elements * 2 for weight in facts(QWEN_235B).loaded()) / 4
    assert whole == pytest.approx(stored, rel=0.01)
    assert replace(demand, release=(0, 5, 2)).runs == (0, 5, 2)


HOPPER: ComputeCapability = (9, 0)
MEASURED = {case["case"]: case for case in json.loads((DATA / "vllm033-h200-memory.json").read_text())["cases"]}


def on_top(model: ModelFacts, layout: Layout, **changes: Any) -> float:
    """Give the GiB that loading takes beside the weights that stay."""
    demand = a_demand(model, **{"engine": VLLM} | changes)
    return (loading_use(demand, layout, HOPPER) - memory_use(demand, layout, 0).weights) / GIB


def glm_5() -> ModelFacts:
    """Give a mixture as wide as GLM-5.2's: 256 experts of 2048 columns at a hidden size of 6144."""
    return from_config(config(R1) | {"hidden_size": 6144}, name="zai-org/GLM-5.2-FP8", origin="test")


RELAID: dict[str, tuple[ModelFacts, float]] = {
    "DeepSeek V3.2, measured +13.87 GiB": (first_layers(facts(R1), 5), 13.87),
    "GLM-5.2, measured +11.85 GiB": (glm_5(), 11.85),
}


@pytest.mark.parametrize(("model", "gib"), RELAID.values(), ids=RELAID)
def test_experts_in_fp8_blocks_take_twice_a_layers_gates_and_ups_more_on_hopper(model: ModelFacts, gib: float) -> None:
    """Vllm 0.33.0 on an H200."""
    assert on_top(model, Layout(1, 1)) == pytest.approx(gib, rel=0.02)
    assert on_top(model, Layout(4, 1)) == pytest.approx(gib / 4, rel=0.02)
    assert on_top(model, Layout(4, 1, expert=True)) == pytest.approx(gib / 4, rel=0.02)


def test_the_measured_peak_of_five_layers_is_the_weights_and_twice_the_gates_and_ups() -> None:
    case = MEASURED["deepseek-v3.2-5l"]
    measured = case["load_peak_gib"] - case["load_gib"]
    assert on_top(first_layers(facts(R1), 5), Layout(1, 1)) == pytest.approx(measured, rel=0.02)


NOT_RELAID: dict[str, tuple[ModelFacts, EngineName, ComputeCapability | None]] = {
    "on Blackwell": (facts(R1), VLLM, (10, 0)),
    "on Ada": (facts(R1), VLLM, (8, 9)),
    "on a GPU nobody knows": (facts(R1), VLLM, None),
    "with SGLang": (facts(R1), SGLANG, HOPPER),
    "with TensorRT-LLM": (facts(R1), EngineName.TENSORRT_LLM, HOPPER),
    "without experts": (facts("Qwen/Qwen3-32B-FP8"), VLLM, HOPPER),
    "experts in MXFP4": (facts("openai/gpt-oss-120b"), VLLM, HOPPER),
    "experts in 16 bits": (facts(QWEN_235B), VLLM, HOPPER),
    "experts in fp8 without blocks": (facts(QWEN_235B, "fp8"), VLLM, HOPPER),
}


@pytest.mark.parametrize(("model", "engine", "capability"), NOT_RELAID.values(), ids=NOT_RELAID)
def test_other_models_engines_and_gpus_keep_their_experts_as_they_are(
    model: ModelFacts, engine: EngineName, capability: ComputeCapability | None
) -> None:
    assert loading_use(a_demand(model, engine=engine, release=(0, 33, 0)), Layout(8, 1), capability) in (
        0,
        loading_use(a_demand(model, engine=engine, release=(0, 33, 0)), Layout(8, 1)),
    )


def test_a_layout_without_room_for_the_other_form_is_refused() -> None:
    """The GPU has 6 GiB for activations and the runtime, and the share that vLLM leaves: less than 14 GiB more."""
    cut = first_layers(facts(R1), 8)
    demand = a_demand(cut, pins=pinned(1, 1, expert=False), context=1024)
    just = int((memory_use(demand, Layout(1, 1), 0).weights / 0.92 + 6 * GIB) / MIB)
    hopper, blackwell = (a_fleet(a_node(product=product, gpus=1, memory_mib=just)) for product in (H200, B200))
    (rejected,) = refused(demand, hopper).rejected
    assert isinstance(rejected.cause, LoadingShort)
    assert rejected.cause.relays
    assert planned(demand, blackwell).layout == Layout(1, 1)


def test_published_mixtures_in_fp8_blocks_still_fit_where_they_are_served() -> None:
    assert planned(a_demand(R1), a_fleet(h200s(1))).layout == Layout(8, 1)
    assert planned(a_demand(QWEN_235B_FP8, budget=4), a_fleet(h200s(1))).layout.world_size <= 4
