"""The memory model against what real vLLM 0.24 reported on one H200 (tests/data/vllm-h200-memory.json)."""

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.support.fleets import H200, a_fleet, cuda_bytes, h200s
from tests.support.models import DATA, LLAMA_8B, a_demand, facts, first_layers
from tests.support.plans import planned

from shardwise.domain.cache_tokens import CacheTokens
from shardwise.domain.layout import Layout
from shardwise.domain.units import GIB
from shardwise.planner.caches import kv_bytes
from shardwise.planner.memory import memory_use

ROWS: list[dict[str, Any]] = json.loads((DATA / "vllm-h200-memory.json").read_text())["rows"]
ROW_NAMES = [f"{row['model']}-{row['layers']}-{index}" for index, row in enumerate(ROWS)]
WITH_CACHE = [row for row in ROWS if "kvCacheGiB" in row]
WITH_CACHE_NAMES = [name for name, row in zip(ROW_NAMES, ROWS, strict=True) if "kvCacheGiB" in row]


def use_of(row: dict[str, Any]) -> Any:
    model = facts(row["model"])
    cut = model if row["layers"] == "all" else first_layers(model, row["layers"])
    demand = a_demand(cut, budget=1)
    return demand, memory_use(demand, Layout(1, 1), cuda_bytes(H200))


@pytest.mark.parametrize("row", ROWS, ids=ROW_NAMES)
def test_weights_are_within_one_percent(row: dict[str, Any]) -> None:
    _, use = use_of(row)
    assert use.weights / GIB == pytest.approx(row["weightsGiB"], rel=0.01)


@pytest.mark.parametrize("row", WITH_CACHE, ids=WITH_CACHE_NAMES)
def test_the_room_for_the_kv_cache_is_within_three_percent_and_hardly_above(row: dict[str, Any]) -> None:
    _, use = use_of(row)
    room = (use.slack + use.kv_cache) / GIB
    assert row["kvCacheGiB"] * 0.97 <= room <= row["kvCacheGiB"] * 1.01


@pytest.mark.parametrize("row", WITH_CACHE, ids=WITH_CACHE_NAMES)
def test_bytes_per_token_of_the_kv_cache_are_within_one_percent(row: dict[str, Any]) -> None:
    demand, use = use_of(row)
    measured = row["kvCacheGiB"] * GIB / row["kvCacheTokens"]
    assert use.kv_cache / demand.context_length == pytest.approx(measured, rel=0.01)


@pytest.mark.parametrize("row", WITH_CACHE, ids=WITH_CACHE_NAMES)
def test_the_tokens_the_cache_holds_are_within_three_percent_and_hardly_above(row: dict[str, Any]) -> None:
    demand, use = use_of(row)
    per_token = sum(kv_bytes(demand, layer.cache, 1) for layer in demand.model.layers) / demand.context_length
    tokens = (use.slack + use.kv_cache) / per_token
    assert row["kvCacheTokens"] * 0.97 <= tokens <= row["kvCacheTokens"] * 1.01


@pytest.mark.parametrize("row", WITH_CACHE, ids=WITH_CACHE_NAMES)
def test_a_plan_says_the_tokens_that_the_engine_will_report(row: dict[str, Any]) -> None:
    """A difference of more than 5 % is told to the user, so the plan itself must err by less."""
    demand, use = use_of(row)
    plan = replace(
        planned(a_demand(facts(LLAMA_8B)), a_fleet(h200s(1))),
        memory=use,
        context_length=demand.context_length,
        concurrency=demand.concurrency,
    )
    assert not CacheTokens(plan.cache_tokens, row["kvCacheTokens"]).differs


@pytest.mark.parametrize("row", [row for row in WITH_CACHE if "Llama" in row["model"] and row["activationGiB"] != 1.1])
def test_activations_of_dense_models_are_within_ten_percent(row: dict[str, Any]) -> None:
    _, use = use_of(row)
    assert use.activations / GIB == pytest.approx(row["activationGiB"], rel=0.1)


def test_the_reserve_covers_what_lies_outside_pytorch_and_the_graphs() -> None:
    measured = max(row["nonTorchGiB"] + row.get("graphsGiB", 0) for row in WITH_CACHE)
    _, use = use_of(WITH_CACHE[0])
    assert use.reserve / GIB >= measured


def test_the_data_holds_the_rows_it_should() -> None:
    assert len(ROWS) == 8
    assert len(WITH_CACHE) == 7
