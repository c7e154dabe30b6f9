"""How layers are dealt to stages: what vLLM itself gave when run, each engine's rule, and what must always hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.models import LLAMA_8B, R1, facts

from shardwise.domain.engine import EngineName
from shardwise.planner.stages import layers_per_stage, stages_of

RAN = {
    (28, 3): (9, 10, 9),
    (80, 3): (27, 27, 26),
    (61, 2): (31, 30),
    (61, 4): (15, 15, 16, 15),
    (126, 2): (63, 63),
    (126, 4): (31, 32, 32, 31),
    (32, 1): (32,),
    (32, 5): (6, 6, 7, 7, 6),
    (7, 4): (2, 2, 2, 1),
    (4, 4): (1, 1, 1, 1),
    (1, 1): (1,),
}
"""The first four were run with vLLM 0.33.0; the rest follow its rule: counted back from the last but one."""

engines = st.sampled_from(EngineName)
sizes = st.integers(1, 200).flatmap(lambda layers: st.tuples(st.just(layers), st.integers(1, layers)))


@pytest.mark.parametrize(("size", "split"), RAN.items(), ids=str)
def test_layers_are_split_as_vllm_splits_them(size: tuple[int, int], split: tuple[int, ...]) -> None:
    assert layers_per_stage(EngineName.VLLM, *size) == split


OTHERS = {
    (EngineName.SGLANG, 61, 2): (30, 31),
    (EngineName.SGLANG, 126, 4): (31, 31, 32, 32),
    (EngineName.SGLANG, 80, 3): (26, 27, 27),
    (EngineName.TENSORRT_LLM, 61, 2): (31, 30),
    (EngineName.TENSORRT_LLM, 126, 4): (32, 32, 31, 31),
    (EngineName.TENSORRT_LLM, 80, 3): (27, 27, 26),
}


@pytest.mark.parametrize(("asked", "split"), OTHERS.items(), ids=str)
def test_the_other_engines_put_what_is_left_at_their_own_end(
    asked: tuple[EngineName, int, int], split: tuple[int, ...]
) -> None:
    """SGLang at the last stages, TensorRT-LLM at the first."""
    assert layers_per_stage(*asked) == split


@given(engines, sizes)
def test_every_layer_is_on_one_stage(engine: EngineName, size: tuple[int, int]) -> None:
    layers, pipeline = size
    assert sum(layers_per_stage(engine, layers, pipeline)) == layers
    assert len(layers_per_stage(engine, layers, pipeline)) == pipeline


@given(engines, sizes)
def test_stages_differ_by_one_layer_at_most_and_none_is_empty(engine: EngineName, size: tuple[int, int]) -> None:
    split = layers_per_stage(engine, *size)
    assert max(split) - min(split) <= 1
    assert min(split) >= 1


@given(sizes)
def test_the_last_stage_of_vllm_never_has_one_more(size: tuple[int, int]) -> None:
    split = layers_per_stage(EngineName.VLLM, *size)
    assert split[-1] == min(split)


@pytest.mark.parametrize("engine", EngineName)
@pytest.mark.parametrize("pipeline", [1, 2, 4, 61])
def test_the_different_stages_together_hold_every_layer_and_two_ends(engine: EngineName, pipeline: int) -> None:
    """R1 has 3 dense layers, all near the first end, and 58 of experts."""
    stages = stages_of(facts(R1), engine, pipeline)
    assert [sum(stage.layers[kind] * count for stage, count in stages) for kind in (0, 1)] == [3, 58]
    assert sum(count for _, count in stages) == pipeline
    assert sum(stage.first * count for stage, count in stages) == 1
    assert sum(stage.last * count for stage, count in stages) == 1
    assert stages[0][0].layers[0] == min(3, layers_per_stage(engine, 61, pipeline)[0])


def test_a_model_of_equal_layers_has_few_different_stages() -> None:
    """However deep the pipeline: planning looks at each once."""
    assert len(stages_of(facts(LLAMA_8B), EngineName.VLLM, 32)) == 3
    assert len(stages_of(facts(LLAMA_8B), EngineName.VLLM, 5)) == 4
