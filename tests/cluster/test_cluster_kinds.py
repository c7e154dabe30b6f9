"""Kinds against both API servers: what is told of ours, and the built-in ones the operator makes and reads."""

import asyncio
from typing import Any

import pytest
from tests.cluster.conformance import STRATEGIC, Api
from tests.sandbox.support import pod, widget

Json = dict[str, Any]


async def openapi(api: Api) -> Json:
    """Give what OpenAPI tells of our group; a real server writes it a little after it serves the kind."""
    for _ in range(100):
        index = (await api.call("GET", "/openapi/v3")).body
        found = index["paths"].get("apis/test.dev/v1")
        if found is not None:
            return (await api.call("GET", found["serverRelativeURL"].partition("?")[0])).body
        await asyncio.sleep(0.1)
    raise AssertionError("waited 10 s in vain for: test.dev/v1 in /openapi/v3")


async def test_openapi_tells_the_schema_of_our_kind(api: Api) -> None:
    """What `kubectl explain` and validation on the client read."""
    schemas = (await openapi(api))["components"]["schemas"]
    (found,) = [
        schema
        for schema in schemas.values()
        if {"group": "test.dev", "kind": "Widget", "version": "v1"}
        in [dict(kind) for kind in schema.get("x-kubernetes-group-version-kind") or ()]
    ]
    size = found["properties"]["spec"]["properties"]["size"]
    assert (size["type"], size["minimum"], size["maximum"]) == ("integer", 1, 10)
    assert found["properties"]["spec"]["required"] == ["size"]


async def test_openapi_tells_the_paths_of_our_kind(api: Api) -> None:
    root = "/apis/test.dev/v1/namespaces/{namespace}/widgets"
    paths = (await openapi(api))["paths"]
    assert {root, f"{root}/{{name}}", f"{root}/{{name}}/status", f"{root}/{{name}}/scale"} <= set(paths)


@pytest.mark.parametrize("path", ["/version", "/healthz", "/readyz", "/livez"])
async def test_the_server_tells_of_itself(api: Api, path: str) -> None:
    answer = await api.call("GET", path)
    assert answer.status == 200
    if path == "/version":
        assert (answer.body["major"], answer.body["minor"].rstrip("+").isdigit()) == ("1", True)
    else:
        assert answer.body["message"] == "ok"


async def test_discovery_lists_the_built_in_kinds_the_operator_needs(api: Api) -> None:
    resources = {resource["name"]: resource for resource in (await api.call("GET", "/api/v1")).body["resources"]}
    needed = {"pods", "pods/binding", "pods/status", "services", "nodes", "events", "namespaces"}
    assert needed <= set(resources)
    namespaced = {name: resources[name]["namespaced"] for name in ("pods", "services", "nodes", "namespaces")}
    assert namespaced == {"pods": True, "services": True, "nodes": False, "namespaces": False}
    assert {"list", "watch", "create", "patch", "delete"} <= set(resources["pods"]["verbs"])


async def test_a_refusal_is_a_status_with_its_code(api: Api) -> None:
    """Kind, reason and code, and of what: for whoever reads it by machine."""
    body = (await api.get("widgets", "x")).body
    assert (body["kind"], body["apiVersion"], body["status"]) == ("Status", "v1", "Failure")
    assert (body["code"], body["reason"]) == (404, "NotFound")
    assert body["details"] == {"name": "x", "group": "test.dev", "kind": "widgets"}
    assert body["message"] == 'widgets.test.dev "x" not found'


async def test_a_list_over_all_namespaces_holds_ours(api: Api) -> None:
    await api.made("widgets", widget("w"))
    found = (await api.call("GET", "/apis/test.dev/v1/widgets")).body["items"]
    assert (api.namespace, "w") in {(one["metadata"]["namespace"], one["metadata"]["name"]) for one in found}


def gated(name: str) -> Json:
    """Make a pod that waits, and that no scheduler of ours takes."""
    body = pod(name, schedulingGates=[{"name": "test.dev/wait"}], schedulerName="nobody")
    return body | {"metadata": {"name": name}}


async def test_a_pod_without_its_gate_is_bound_once(api: Api) -> None:
    """And then says so; to the node that was named, whatever a second one asks."""
    await api.made("pods", gated("p"))
    freed = await api.patch("pods", "p", {"spec": {"schedulingGates": None}})
    assert (freed.status, freed.body["spec"].get("schedulingGates")) == (200, None)
    target = {"apiVersion": "v1", "kind": "Node", "name": "h100-1"}
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": target}
    bound = await api.call("POST", api.path("pods", "p", "binding"), binding)
    assert (bound.status, bound.body["status"]) == (201, "Success")
    found = (await api.get("pods", "p")).body
    assert found["spec"]["nodeName"] == "h100-1"
    scheduled = [condition for condition in found["status"]["conditions"] if condition["type"] == "PodScheduled"]
    assert [one["status"] for one in scheduled] == ["True"]
    again = binding | {"target": target | {"name": "h100-2"}}
    assert (await api.call("POST", api.path("pods", "p", "binding"), again)).status == 409


async def test_a_pod_gets_no_gate_later(api: Api) -> None:
    """Gates only go: whoever wants one sets it when the pod is made."""
    await api.made("pods", gated("p"))
    more = [{"name": "test.dev/wait"}, {"name": "test.dev/more"}]
    answer = await api.patch("pods", "p", {"spec": {"schedulingGates": more}})
    assert (answer.status, answer.reason) == (422, "Invalid")


async def test_a_gated_pod_says_that_it_waits(api: Api) -> None:
    made = await api.made("pods", gated("p"))
    assert made["status"]["phase"] == "Pending"
    (condition,) = made["status"]["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("PodScheduled", "False", "SchedulingGated")


async def test_applying_a_pod_again_changes_nothing(api: Api) -> None:
    """Although the server filled in much of it: the operator applies what it wants to be there."""
    wanted = gated("p")
    first = await api.apply("pods", wanted)
    assert first.status == 201, first.body
    again = await api.apply("pods", wanted)
    assert (again.status, again.body["spec"]) == (200, first.body["spec"])


async def test_applying_another_spec_to_a_pod_is_refused(api: Api) -> None:
    """A pod is not changed but made anew, under another name."""
    await api.apply("pods", gated("p"))
    wanted = gated("p")
    wanted["spec"]["hostname"] = "other"
    answer = await api.apply("pods", wanted)
    assert (answer.status, answer.reason) == (422, "Invalid")


async def test_a_headless_service_has_no_address_and_keeps_what_it_publishes(api: Api) -> None:
    port = {"port": 80, "targetPort": 8000, "protocol": "TCP"}
    spec = {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": {"a": "b"}, "ports": [port]}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": spec}
    first = await api.apply("services", service)
    assert first.status == 201, first.body
    assert first.body["spec"]["clusterIP"] == "None"
    assert first.body["spec"]["publishNotReadyAddresses"] is True
    assert (await api.apply("services", service)).body["spec"] == first.body["spec"]


async def test_a_service_whose_port_changes_keeps_its_address(api: Api) -> None:
    def service(port: int) -> Json:
        ports = [{"port": port, "targetPort": 8000, "protocol": "TCP"}]
        spec = {"selector": {"a": "b"}, "ports": ports}
        return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": spec}

    first = (await api.apply("services", service(80))).body
    second = (await api.apply("services", service(81))).body
    assert second["spec"]["clusterIP"] == first["spec"]["clusterIP"]
    assert [port["port"] for port in second["spec"]["ports"]] == [81]


async def test_a_pods_status_is_patched_by_the_keys_of_its_lists(api: Api) -> None:
    """As a kubelet does: conditions by their type."""
    await api.made("pods", gated("p"))
    ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    answer = await api.patch("pods", "p", ready, STRATEGIC, sub="status")
    assert {condition["type"] for condition in answer.body["status"]["conditions"]} == {"PodScheduled", "Ready"}
