"""The request of one token by which an idle group is tried: what it asks, how long it waits, and who is not asked."""

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.engines.support import SGLANG, TENSORRT_LLM, VLLM, wants, wants_of

from shardwise.domain.engine import EngineName
from shardwise.domain.launch import EnvVar, HealthPolicy, Wanted
from shardwise.engines import ENGINES, problems

FIELD = "spec.health.idleRequestInterval"
LIMIT = "VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS"


def asking(wanted: Wanted, interval: float | None = 600.0) -> Wanted:
    return replace(wanted, health=HealthPolicy(interval))


def test_vllm_is_asked_for_one_token_by_the_name_that_clients_use() -> None:
    request = ENGINES[VLLM].token_request(wants())
    assert request is not None
    assert (request.path, request.gauges_at) == ("/v1/completions", "/metrics")
    assert json.loads(request.body) == {"model": "served", "prompt": [0], "max_tokens": 1, "temperature": 0}


@pytest.mark.parametrize(
    ("own", "seconds"),
    [
        pytest.param(None, 150.0, id="longer than the limit that groups of several pods get"),
        pytest.param("30", 150.0, id="a shorter limit"),
        pytest.param("900", 930.0, id="longer than a longer limit of the object"),
        pytest.param("soon", 150.0, id="a limit that is no number"),
    ],
)
def test_the_engines_own_limit_comes_first(own: str | None, seconds: float) -> None:
    request = ENGINES[VLLM].token_request(wants(env=() if own is None else (EnvVar(LIMIT, value=own),)))
    assert request is not None
    assert request.seconds == seconds


IN_WORK = [
    pytest.param("vllm:num_requests_running{} 0.0\nvllm:num_requests_waiting{} 0.0\n", 0.0, id="idle"),
    pytest.param("vllm:num_requests_running{} 2.0\nvllm:num_requests_waiting{} 1.0\n", 3.0, id="three requests"),
    pytest.param("vllm:num_requests_running{} 0.0\n", None, id="half of what must be known"),
    pytest.param("", None, id="an engine without statistics"),
]


@pytest.mark.parametrize(("text", "count"), IN_WORK)
def test_the_requests_in_work_are_counted(text: str, count: float | None) -> None:
    request = ENGINES[VLLM].token_request(wants())
    assert request is not None
    assert request.in_work(text) == count


KEY = (EnvVar("VLLM_API_KEY", secret=("keys", "vllm")),)
REFUSED = [
    pytest.param(VLLM, {}, 600.0, "", id="vLLM"),
    pytest.param(VLLM, {"args": ("--api-key", "$(KEY)")}, 600.0, "API key", id="a key"),
    pytest.param(VLLM, {"args": ("--api_key=x",)}, 600.0, "API key", id="a key in another spelling"),
    pytest.param(VLLM, {"args": ("--api-k", "x")}, 600.0, "API key", id="a key, abbreviated"),
    pytest.param(VLLM, {"env": KEY}, 600.0, "API key", id="a key of a Secret"),
    pytest.param(VLLM, {"args": ("--api-server-count", "2")}, 600.0, "", id="another argument"),
    pytest.param(VLLM, {"env": KEY}, None, "", id="a key, and nobody asks"),
    pytest.param(VLLM, {}, 59.0, "`59s` is too short: `1m` at least", id="too often"),
    pytest.param(SGLANG, {}, 600.0, "already", id="SGLang's probes ask themselves"),
    pytest.param(SGLANG, {}, None, "", id="SGLang, and nobody asks"),
    pytest.param(TENSORRT_LLM, {}, 600.0, "does not say whether a replica is idle", id="TensorRT-LLM"),
]


@pytest.mark.parametrize(("engine", "changes", "interval", "words"), REFUSED)
def test_the_field_is_refused_where_it_could_not_be_kept(
    engine: EngineName, changes: dict[str, Any], interval: float | None, words: str
) -> None:
    found = [text for field, text in problems(asking(wants_of(engine, **changes), interval)) if field == FIELD]
    assert len(found) == bool(words)
    assert all(words in text for text in found)
