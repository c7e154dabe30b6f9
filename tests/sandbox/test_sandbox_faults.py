"""Faults that a test injects, and the record of requests."""

from typing import Any

import aiohttp
import pytest
from tests.sandbox.support import Http, config_map

from shardwise_sandbox import Fault, RequestInfo, Sandbox

CMS = "/api/v1/namespaces/default/configmaps"


def on_post(fault: Fault) -> Any:
    return lambda request: fault if request.method == "POST" else None


ANSWERED: dict[str, tuple[Fault, int, str, list[str]]] = {
    "refused before it is applied": (Fault.answer(503), 503, "ServiceUnavailable", []),
    "refused with a reason": (Fault.answer(403, "Forbidden"), 403, "Forbidden", []),
    "called expired": (Fault.answer(410), 410, "Expired", []),
    "applied, then called failed": (Fault.apply_then_answer(500), 500, "InternalError", ["a"]),
}


@pytest.mark.parametrize(("fault", "code", "reason", "left"), ANSWERED.values(), ids=ANSWERED)
async def test_a_request_is(served: Sandbox, http: Http, fault: Fault, code: int, reason: str, left: list[str]) -> None:
    served.faults = on_post(fault)
    found, body = await http("POST", CMS, config_map("a"))
    assert (found, body["kind"], body["reason"]) == (code, "Status", reason)
    assert served.names("cm") == left


CUT: dict[str, tuple[Fault, list[str]]] = {
    "before the request is applied": (Fault.drop(), []),
    "after it is applied: the answer is lost": (Fault.lose_answer(), ["a"]),
}


@pytest.mark.parametrize(("fault", "left"), CUT.values(), ids=CUT)
async def test_the_connection_is_cut(served: Sandbox, http: Http, fault: Fault, left: list[str]) -> None:
    served.faults = on_post(fault)
    with pytest.raises(aiohttp.ClientError):
        await http("POST", CMS, config_map("a"))
    assert served.names("cm") == left
    assert [(request.method, request.code) for request in served.requests] == [("POST", 0)]
    assert str(served.requests[0]) == f"POST {CMS} lost"


async def test_a_delayed_request_is_answered_properly(served: Sandbox, http: Http) -> None:
    served.faults = on_post(Fault.delay(0.001))
    assert (await http("POST", CMS, config_map("a")))[0] == 201


async def test_a_hook_may_be_asynchronous_and_sees_the_whole_request(served: Sandbox, http: Http) -> None:
    seen: list[RequestInfo] = []

    async def hook(request: RequestInfo) -> Fault | None:
        seen.append(request)
        return None

    served.faults = hook
    path = "/apis/test.dev/v1/namespaces/default/widgets/w/status"
    await http("PATCH", path, {"status": {}}, "application/merge-patch+json", fieldManager="me")
    (request,) = seen
    assert (request.group, request.resource, request.namespace, request.name, request.subresource) == (
        "test.dev",
        "widgets",
        "default",
        "w",
        "status",
    )
    assert (request.field_manager, request.body, request.code) == ("me", {"status": {}}, 404)


async def test_faults_can_be_taken_away(served: Sandbox, http: Http) -> None:
    served.faults = on_post(Fault.answer(500))
    assert served.faults is not None
    served.faults = None
    assert (await http("POST", CMS, config_map("a")))[0] == 201


@pytest.mark.parametrize("code", [429, 503])
async def test_a_busy_server_says_when_to_come_back(served: Sandbox, http: Http, code: int) -> None:
    served.faults = on_post(Fault.answer(code))
    async with http.session.post(http.url + CMS, json=config_map("a")) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (code, "1")


async def test_requests_are_recorded_so_that_a_test_can_count_writes(served: Sandbox, http: Http) -> None:
    await http("GET", CMS)
    await http("POST", CMS, config_map("a"))
    await http("POST", CMS, config_map("a"))
    await http("DELETE", CMS + "/a")
    assert [(request.method, request.code) for request in served.requests if request.is_write] == [
        ("POST", 201),
        ("POST", 409),
        ("DELETE", 200),
    ]


WATCHES = [({"watch": "true"}, True), ({"watch": "1"}, True), ({"watch": "false"}, False), ({}, False)]


@pytest.mark.parametrize(("query", "expected"), WATCHES)
def test_a_request_knows_whether_it_is_a_watch(query: dict[str, str], expected: bool) -> None:
    assert RequestInfo("GET", "/x", query).is_watch is expected


MANAGERS = [
    ({"fieldManager": "m"}, "agent/1", "m"),
    ({}, "agent/1 (linux)", "agent"),
    ({}, "", "unknown"),
]


@pytest.mark.parametrize(("query", "agent", "expected"), MANAGERS)
def test_a_request_knows_its_manager(query: dict[str, str], agent: str, expected: str) -> None:
    assert RequestInfo("PUT", "/x", query, agent).field_manager == expected
