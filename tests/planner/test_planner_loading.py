"""Memory while an engine loads weights that it quantises: the weights of 16 bits first, or layer by layer."""

from dataclasses import replace

import pytest
from tests.support.fleets import a_fleet, h200s
from tests.support.models import a_demand, facts, pinned
from tests.support.plans import planned, refused

from shardwise.domain.engine import EngineName
from shardwise.domain.layout import Layout
from shardwise.domain.refusal import LoadingShort, MemoryShort
from shardwise.domain.units import GIB
from shardwise.domain.version import Version
from shardwise.planner.memory import loading_use

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
