"""An object with roles on an API server: started, edited, cut off at any call, and never more GPUs than there are."""

import copy
from collections import Counter

import pytest
from tests.support.driven import MODELS, Driven, Harm, shared

from shardwise.api.base import API_VERSION, KIND
from shardwise.render.manifest import SERVING_ROLE
from shardwise_sandbox.objects import JsonObject

OBJECT: JsonObject = {
    "apiVersion": API_VERSION,
    "kind": KIND,
    "metadata": {"name": "pair", "namespace": "default"},
    "spec": {
        "model": {"name": "meta-llama/Llama-3.1-8B"},
        "gpuBudget": {"total": 8},
        "roles": [
            {"name": "prefill", "replicas": 1, "parallelism": {"tensor": 2}},
            {"name": "decode", "replicas": 2},
        ],
    },
}


def roles_of(driven: Driven) -> Counter[str]:
    return Counter(pod["metadata"]["labels"][SERVING_ROLE] for pod in shared(driven.sandbox, "pods"))


def status_of(driven: Driven) -> JsonObject:
    (model,) = shared(driven.sandbox, MODELS)
    found: JsonObject = model["status"]
    return found


async def started() -> Driven:
    driven = Driven()
    driven.until = driven.now + 900
    driven.sandbox.create(copy.deepcopy(OBJECT))
    await driven.settle()
    return driven


async def test_both_roles_serve_and_the_status_is_stored_as_written() -> None:
    driven = await started()
    assert roles_of(driven) == {"decode": 2, "prefill": 1}
    status = status_of(driven)
    assert (status["readyReplicas"], [role["readyReplicas"] for role in status["roles"]]) == (3, [2, 1])
    assert {role["name"]: role["plan"]["tensor"] for role in status["roles"]} == {"decode": 1, "prefill": 2}
    (ready,) = [found for found in status["conditions"] if found["type"] == "Ready"]
    assert ready["status"] == "True"


async def test_a_role_is_scaled_and_the_object_goes_whole() -> None:
    driven = await started()
    roles = [{**role, "replicas": 3} if role["name"] == "decode" else role for role in OBJECT["spec"]["roles"]]
    driven.sandbox.patch("ShardedModel", "default", "pair", {"spec": {"roles": roles}})
    await driven.settle()
    assert roles_of(driven) == {"decode": 3, "prefill": 1}
    driven.sandbox.delete("ShardedModel", "default", "pair")
    await driven.settle()
    assert shared(driven.sandbox, "pods") == []


async def test_a_pipeline_scales_both_roles_by_the_rate_of_the_target() -> None:
    """In place: no group starts again, and the status has the sizing of each role."""
    driven = Driven()
    driven.until = driven.now + 900
    aimed = copy.deepcopy(OBJECT)
    load = {"inputTokens": 2000, "outputTokens": 200, "timeToFirstToken": "2s", "timePerToken": "30ms"}
    aimed["spec"] |= {"gpuBudget": {"total": 16}, "roles": [{"name": "prefill"}, {"name": "decode"}]}
    aimed["spec"]["target"] = load | {"requestsPerSecond": 10}
    driven.sandbox.create(aimed)
    await driven.settle()
    assert roles_of(driven) == {"decode": 1, "prefill": 1}
    for rate, counts in ((60, {"decode": 3, "prefill": 3}), (10, {"decode": 1, "prefill": 1})):
        driven.sandbox.patch("ShardedModel", "default", "pair", {"spec": {"target": {"requestsPerSecond": rate}}})
        await driven.settle()
        assert roles_of(driven) == counts
        status = status_of(driven)
        assert {group["attempt"] for group in status["groups"]} == {0}
        targets = [role["plan"]["target"] for role in status["roles"]]
        assert [target["asked"]["requestsPerSecond"] for target in targets] == [rate, rate]
        assert {"microsecondsOfFirstToken", "microsecondsPerToken"} <= set(targets[0])
        assert "microsecondsToFirstToken" in targets[1]


@pytest.mark.parametrize("harm", [Harm.DIES_BEFORE, Harm.DIES_AFTER, Harm.ANSWER_LOST])
@pytest.mark.parametrize("at", range(0, 12, 3))
async def test_an_operator_cut_off_at_a_call_ends_in_the_same_state(at: int, harm: Harm) -> None:
    driven = Driven()
    driven.until = driven.now + 900
    driven.sandbox.create(copy.deepcopy(OBJECT))
    driven.arm(at, harm)
    await driven.settle()
    assert roles_of(driven) == {"decode": 2, "prefill": 1}
    assert status_of(driven)["readyReplicas"] == 3
