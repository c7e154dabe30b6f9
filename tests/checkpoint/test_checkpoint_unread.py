"""Fields that look like sizes and that no reader knows are noted, and no field of a config that is counted right is."""

from typing import Any

import pytest
from tests.checkpoint.support import EXPERTS, LATENT, counted, of, read
from tests.support.models import config_names, facts

from shardwise.checkpoint import ConfigError, catalog, from_config


def said_of(notes: tuple[str, ...]) -> list[str]:
    return [note for note in notes if "sizes may differ" in note]


NOTED: dict[str, dict[str, Any]] = {
    "a width": {"adapter_width": 64},
    "a rank": {"key_lora_rank": 64},
    "a number of a new kind of layers": {"num_memory_layers": 2},
    "a hidden size of experts": {"routed_expert_hidden_size": 512},
    "a dimension, in an abbreviation": {"mlp_d_low": 32},
    "a list of sizes, one for each layer": {"low_rank_sizes": [16, 0, 16, 32]},
}


@pytest.mark.parametrize("changes", NOTED.values(), ids=NOTED)
@pytest.mark.parametrize("fields", [EXPERTS | {"model_type": "qwen3_moe"}, LATENT, {}], ids=["moe", "latent", "dense"])
def test_a_field_that_may_be_a_size_and_is_not_known_is_noted(fields: dict[str, Any], changes: dict[str, Any]) -> None:
    model = read(without="architectures", **fields, **changes)
    assert said_of(model.notes) == [f"`{next(iter(changes))}` is not a field that Shardwise knows; sizes may differ"]


def test_several_fields_stand_in_one_note() -> None:
    model = read(num_memory_layers=2, memory_rank=8)
    assert said_of(model.notes) == [
        "`memory_rank`, `num_memory_layers` are not fields that Shardwise knows; sizes may differ"
    ]


UNNOTED: dict[str, dict[str, Any]] = {
    "nothing": {"memory_rank": 0},
    "null": {"memory_rank": None},
    "a switch": {"use_memory_layers": True},
    "a name": {"memory_size": "large"},
    "a fraction": {"hidden_dropout": 0.1},
    "an identifier": {"image_token_id": 5},
    "another name of a field that is read": {"dim_ff": 4096, "n_head": 16},
    "layers that draft tokens": {"mtp_transformer_layers": 1},
    "how to generate": {"num_beams": 4},
    "an empty list": {"memory_sizes": []},
    "nothing in each layer": {"memory_sizes": [0, None]},
}


@pytest.mark.parametrize("changes", UNNOTED.values(), ids=UNNOTED)
def test_other_fields_are_not_noted(changes: dict[str, Any]) -> None:
    assert said_of(read(**changes).notes) == []


def test_a_name_that_is_harmless_in_one_family_is_noted_in_others() -> None:
    assert said_of(of("llama", dense_intermediate_size=64).notes) != []


@pytest.mark.parametrize("name", config_names())
def test_a_published_config_has_no_such_note(name: str) -> None:
    assert said_of(facts(name).notes) == []


def test_no_config_of_the_catalog_has_such_a_note() -> None:
    noted = {name: said_of(from_config(row, name=name, origin="test").notes) for name, row in catalog.configs().items()}
    assert {name: notes for name, notes in noted.items() if notes} == {}


def test_no_architecture_of_transformers_that_is_counted_right_has_such_a_note() -> None:
    noted = {}
    for row in counted():
        try:
            model = from_config(row["config"], name="org/model", origin="test")
        except ConfigError:
            continue
        if not model.guessed and (said := said_of(model.notes)):
            noted[row["class"]] = said
    assert noted == {}
