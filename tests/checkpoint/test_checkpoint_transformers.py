"""Our count of parameters against that of transformers' own models, for every architecture it knows.

The counts are made by `make check-transformers`; this test needs neither torch nor transformers.
"""

from collections import Counter
from typing import Any

import pytest
from tests.checkpoint.support import Json, counted
from tests.support.models import parameters

from shardwise.checkpoint import ConfigError, from_config
from shardwise.checkpoint.families import kinds

NEAR = 0.01
EXACT = 0.0001

OTHERWISE: dict[str, str] = {
    "longcat_flash": "transformers allocates projections for experts that do nothing; checkpoints hold none",
}
"""Families whose checkpoints differ from the class, and in what: these are allowed to be off."""

UNTIED = "a class whose other weights are untied, too: no checkpoint is stored so"
STRANGE: dict[str, dict[str, str]] = {
    "electra": {"tie_word_embeddings": UNTIED},
    "gemma3n_text": {"tie_word_embeddings": UNTIED},
    "zamba": {"tie_word_embeddings": UNTIED},
    "zamba2": {"tie_word_embeddings": UNTIED},
    "dots3_note": {"tie_word_embeddings": "ties the text model of a config that says otherwise within"},
    "gpt2": {"add_cross_attention": "an encoder's decoder"},
    "xglm": {"add_cross_attention": "an encoder's decoder"},
    "helium": {
        "hidden_size": "an output projection that does not fit the heads",
        "num_attention_heads": "an output projection that does not fit the heads",
        "head_dim": "an output projection that does not fit the heads",
    },
    "xlstm": {"embedding_dim": "an embedding that does not fit the layers"},
    "roc_bert": {"enable_shape": "a projection that does not fit what is concatenated"},
    "git": {"*": "not a family of its own"},
    "phi4_multimodal": {"*": "not a family of its own"},
    "gemma4_assistant": {"*": "a draft for another model's states"},
    "gemma4_unified_assistant": {"*": "a draft for another model's states"},
}
"""Variants that no checkpoint has, by the field that is changed."""

MODELS = {f"{row['config']['model_type']}-{row['class']}": row for row in counted()}
CAUSAL = {name: row for name, row in MODELS.items() if row["group"] == "causal"}


def ours(config: Json) -> tuple[str, float]:
    """Give our verdict on a config, and our count."""
    try:
        model = from_config(config, name="org/model", origin="test")
    except ConfigError:
        return "refused", 0
    return ("guessed" if model.guessed else "counted"), parameters(model)


@pytest.mark.parametrize("name", MODELS)
def test_every_architecture_is_counted_as_transformers_counts_it_or_says_that_it_is_not(name: str) -> None:
    """There is no third way: a number that is neither right nor marked."""
    row = MODELS[name]
    verdict, count = ours(row["config"])
    if verdict == "counted" and row["config"]["model_type"] not in OTHERWISE:
        assert count == pytest.approx(row["parameters"], rel=NEAR)


@pytest.mark.parametrize("name", [name for name, row in CAUSAL.items() if row.get("variants")])
def test_every_field_that_changes_a_models_size_changes_ours_as_much(name: str) -> None:
    """One field at a time: a reader that overlooks a field, or takes one for another, is found out."""
    row, wrong = CAUSAL[name], []
    kind = row["config"]["model_type"]
    if kind in OTHERWISE or ours(row["config"])[0] != "counted":
        return
    for changes, parameters_then in row["variants"]:
        if STRANGE.get(kind, {}).keys() & {*changes, "*"}:
            continue
        config = {key: value for key, value in (row["config"] | changes).items() if value is not None}
        verdict, count = ours(config)
        if verdict == "counted" and abs(count / parameters_then - 1) > NEAR:
            wrong.append((changes, count, parameters_then))
    assert wrong == []


def test_nine_in_ten_of_the_causal_language_models_are_counted_to_the_last_parameter() -> None:
    fates = Counter(_fate(row) for row in CAUSAL.values())
    assert fates["exact"] / len(CAUSAL) > 0.9, fates
    assert (fates["exact"] + fates["near"]) / len(CAUSAL) > 0.93, fates
    assert fates["wrong"] == 0, fates


def _fate(row: Json) -> str:
    verdict, count = ours(row["config"])
    if verdict != "counted" or row["config"]["model_type"] in OTHERWISE:
        return verdict
    off = abs(count / row["parameters"] - 1)
    return "exact" if off < EXACT else "near" if off < NEAR else "wrong"


def test_most_refusals_of_variants_are_of_heads_that_do_not_divide() -> None:
    """A variant that is refused is one that no engine could run either."""
    messages = Counter(
        "divide" if "divisor" in said else "experts" if "active experts" in said else said
        for row in CAUSAL.values()
        if ours(row["config"])[0] == "counted"
        for changes, _ in row.get("variants", [])
        if (said := _refusal({**row["config"], **changes})) is not None
    )
    assert messages["divide"] + messages["experts"] == messages.total(), messages


def _refusal(config: dict[str, Any]) -> str | None:
    try:
        from_config({key: value for key, value in config.items() if value is not None}, name="m", origin="test")
    except ConfigError as error:
        return str(error)
    return None


def test_the_list_has_every_mapping_of_transformers() -> None:
    groups = Counter(row["group"] for row in counted())
    assert groups["causal"] > 180
    assert groups["image"] > 70
    assert groups["multimodal"] > 8
    assert sum(len(row.get("variants", [])) for row in counted()) > 2500


@pytest.mark.parametrize("kind", sorted(kinds()))
def test_every_family_is_proven_by_a_count_or_a_published_size(kind: str) -> None:
    counted_kinds = {row["config"]["model_type"] for row in counted()} | {
        section.get("model_type")
        for row in counted()
        for section in row["config"].values()
        if isinstance(section, dict)
    }
    by_published_size = {"kimi_k2", "mimo", "nemotron-nas"}
    marked_as_guesses = {"aquila", "baichuan", "chatglm", "internlm2", "minicpm", "xverse"}
    assert kind in counted_kinds | by_published_size | marked_as_guesses | {"dbrx"}
