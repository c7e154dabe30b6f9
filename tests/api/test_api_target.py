"""Targets that do not go together with other fields, or with the model."""

from typing import Any

import pytest
from tests.api.support import PLAIN
from tests.support.models import LLAMA_8B, facts

from shardwise.api.convert import to_wanted
from shardwise.api.parse import parse
from shardwise.api.problems import InvalidObject

LOAD = {"inputTokens": 3000, "outputTokens": 1001}
RATED = LOAD | {"requestsPerSecond": 2.5}
TIMED = LOAD | {"timePerToken": "50ms"}
SCALING = {"min": 1, "max": 4, "signal": "queue", "target": 5}


def converted(**spec: Any) -> None:
    model = PLAIN["spec"]["model"] | spec.pop("model", {})
    to_wanted(parse({**PLAIN, "spec": {**PLAIN["spec"], **spec, "model": model}}), facts(LLAMA_8B))


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a scaler and a rate": (
        {"target": RATED, "scaling": SCALING},
        (
            "spec.target.requestsPerSecond: `requestsPerSecond` and `spec.scaling` would both decide the number of "
            "replicas; leave one of them out"
        ),
    ),
    "requests longer than the context": (
        {"target": TIMED, "model": {"contextLength": 4000}},
        (
            "spec.target: `inputTokens` and `outputTokens` are 4001, more than the 4000 tokens of "
            "`spec.model.contextLength`"
        ),
    ),
    "requests longer than the shortest accepted context": (
        {"target": TIMED, "model": {"contextLength": 8000, "minContextLength": 2000}},
        (
            "spec.target: `inputTokens` and `outputTokens` are 4001, more than the 2000 tokens of "
            "`spec.model.minContextLength`"
        ),
    ),
}


@pytest.mark.parametrize(("spec", "message"), WRONG.values(), ids=WRONG)
def test_a_target_that_cannot_be_honoured_is_refused(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidObject) as refused:
        converted(**spec)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    "spec",
    [{"target": TIMED, "scaling": SCALING}, {"target": RATED, "model": {"contextLength": 4001}}],
    ids=["a scaler and times", "requests as long as the context"],
)
def test_a_target_that_can_be_honoured_is_taken(spec: dict[str, Any]) -> None:
    converted(**spec)
