"""How layers are dealt to stages: what vLLM itself gave when run, and what must always hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.models import LLAMA_8B, R1, facts

from shardwise.domain.model import ExpertFfn
from shardwise.planner.stages import kinds, layers_per_stage, stages_of

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

sizes = st.integers(1, 200).flatmap(lambda layers: st.tuples(st.just(layers), st.integers(1, layers)))


@pytest.mark.parametrize(("size", "split"), RAN.items(), ids=str)
def test_layers_are_split_as_vllm_splits_them(size: tuple[int, int], split: tuple[int, ...]) -> None:
    assert layers_per_stage(*size) == split


@given(sizes)
def test_every_layer_is_on_one_stage(size: tuple[int, int]) -> None:
    layers, pipeline = size
    assert sum(layers_per_stage(layers, pipeline)) == layers
    assert len(layers_per_stage(layers, pipeline)) == pipeline


@given(sizes)
def test_stages_differ_by_one_layer_at_most_and_none_is_empty(size: tuple[int, int]) -> None:
    split = layers_per_stage(*size)
    assert max(split) - min(split) <= 1
    assert min(split) >= 1


@given(sizes)
def test_the_last_stage_never_has_one_more(size: tuple[int, int]) -> None:
    split = layers_per_stage(*size)
    assert split[-1] == min(split)


@pytest.mark.parametrize("pipeline", [1, 2, 4, 61])
def test_the_kinds_of_layers_keep_their_order_over_the_stages(pipeline: int) -> None:
    model = facts(R1)
    stages = stages_of(model, pipeline)
    assert sum(sum(stage.values()) for stage in stages) == 61
    dense = [sum(n for layer, n in stage.items() if not isinstance(layer.ffn, ExpertFfn)) for stage in stages]
    assert sum(dense) == 3
    assert dense == sorted(dense, reverse=True)


def test_a_model_of_equal_layers_has_one_kind() -> None:
    assert len(kinds(facts(LLAMA_8B))) == 1
    assert len(kinds(facts(R1))) == 2
