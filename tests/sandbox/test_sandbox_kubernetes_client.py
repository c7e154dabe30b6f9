"""The real dynamic client of ``kubernetes.aio`` works with the sandbox as with a cluster."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes.aio import client
from kubernetes.aio.dynamic import DynamicClient
from kubernetes.aio.dynamic.exceptions import ConflictError, NotFoundError, UnprocessibleEntityError
from tests.sandbox.support import config_map, pod, widget

from shardwise_sandbox import Sandbox

MERGE = "application/merge-patch+json"


@pytest.fixture
async def dynamic(served: Sandbox, tmp_path: Path) -> AsyncIterator[DynamicClient]:
    configuration = client.Configuration(host=served.url)
    async with client.ApiClient(configuration) as api:
        yield await DynamicClient(api, cache_file=str(tmp_path / "discovery.json"))


@pytest.fixture
async def widgets(dynamic: DynamicClient) -> Any:
    return await dynamic.resources.get(api_version="test.dev/v1", kind="Widget")


@pytest.fixture
async def config_maps(dynamic: DynamicClient) -> Any:
    return await dynamic.resources.get(api_version="v1", kind="ConfigMap")


async def test_the_client_discovers_a_custom_kind_with_its_subresources(widgets: Any) -> None:
    assert widgets.name == "widgets"
    assert sorted(widgets.subresources) == ["scale", "status"]


async def test_the_client_creates_reads_lists_and_deletes(config_maps: Any) -> None:
    await config_maps.create(body=config_map("a", k="v"), namespace="default")
    read = await config_maps.get(name="a", namespace="default")
    assert (read.data.k, read.metadata.namespace) == ("v", "default")
    listed = await config_maps.get(namespace="default", label_selector="!absent")
    assert [item.metadata.name for item in listed.items] == ["a"]
    await config_maps.delete(name="a", namespace="default")
    with pytest.raises(NotFoundError):
        await config_maps.get(name="a", namespace="default")


async def test_the_client_gets_conflict_for_a_taken_name_and_for_a_stale_replacement(config_maps: Any) -> None:
    created = await config_maps.create(body=config_map("a", k="1"), namespace="default")
    with pytest.raises(ConflictError):
        await config_maps.create(body=config_map("a"), namespace="default")
    await config_maps.patch(body={"data": {"k": "2"}}, name="a", namespace="default", content_type=MERGE)
    with pytest.raises(ConflictError):
        await config_maps.replace(body=created.to_dict(), namespace="default")


async def test_the_client_gets_422_with_causes_for_an_invalid_object(widgets: Any) -> None:
    with pytest.raises(UnprocessibleEntityError) as refused:
        await widgets.create(body=widget(size=99), namespace="default")
    status = json.loads(str(refused.value.body))
    assert [cause["field"] for cause in status["details"]["causes"]] == ["spec.size"]


async def test_the_client_applies_server_side_and_meets_conflicts_until_it_forces(widgets: Any) -> None:
    async def apply(manager: str, size: int, **more: Any) -> Any:
        return await widgets.server_side_apply(
            body=widget(size=size), name="w", namespace="default", field_manager=manager, **more
        )

    first = await apply("one", 1)
    again = await apply("one", 1)
    assert first.metadata.resourceVersion == again.metadata.resourceVersion
    with pytest.raises(ConflictError) as refused:
        await apply("two", 2)
    message = json.loads(str(refused.value.body))["message"]
    assert message == 'Apply failed with 1 conflict: conflict with "one" using test.dev/v1: .spec.size'
    forced = await apply("two", 2, force_conflicts=True)
    assert forced.spec.size == 2


async def test_the_client_applies_status_without_touching_spec(widgets: Any) -> None:
    await widgets.create(body=widget(size=3), namespace="default")
    body = {**widget(size=9), "status": {"observedGeneration": 1}}
    applied = await widgets.status.server_side_apply(
        body=body, name="w", namespace="default", field_manager="operator", force_conflicts=False
    )
    assert (applied.spec.size, applied.status.observedGeneration) == (3, 1)


async def test_the_client_watches_from_the_version_of_its_list(
    served: Sandbox, config_maps: Any, dynamic: DynamicClient
) -> None:
    served.create(config_map("before"))
    listed = await config_maps.get(namespace="default")
    served.create(config_map("after"))
    served.delete("configmaps", "default", "after")
    seen = []
    async for event in dynamic.watch(
        config_maps, namespace="default", resource_version=listed.metadata.resourceVersion, timeout=30
    ):
        seen.append((event["type"], event["object"].metadata.name))
        if len(seen) == 2:
            served.drop_watches("configmaps")
    assert seen == [("ADDED", "after"), ("DELETED", "after")]


async def test_the_client_reads_pods_that_scheduler_and_kubelet_brought_up(
    served: Sandbox, dynamic: DynamicClient
) -> None:
    pods = await dynamic.resources.get(api_version="v1", kind="Pod")
    await pods.create(body=pod("p", 8), namespace="default")
    await served.wait_for(lambda: served.get("pod", "default", "p")["status"]["phase"] == "Running")
    read = await pods.get(name="p", namespace="default")
    assert read.spec.nodeName == "h100-1"
