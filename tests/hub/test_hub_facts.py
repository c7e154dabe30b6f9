"""The facts of models of the catalog are read once for all objects that say the same of their model."""

from typing import Any

from tests.support.operating import a_model

from shardwise.api import ShardedModel
from shardwise.hub import model_facts


def of(name: str, **spec: Any) -> ShardedModel:
    return ShardedModel.model_validate(a_model(name, gpus=8, **spec))


def test_objects_of_a_model_share_its_facts() -> None:
    assert model_facts(of("a")) is model_facts(of("b"))


def test_objects_that_say_another_size_or_quantisation_have_facts_of_their_own() -> None:
    found = [
        model_facts(of("a", **given)) for given in ({}, {"model_weightBytes": "200G"}, {"model_quantization": "fp8"})
    ]
    assert len({id(facts) for facts in found}) == len(found)
    assert found[1] != found[0] != found[2]
