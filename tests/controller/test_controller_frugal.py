"""kopf's settings: nothing is kept of any object, nothing is written to any, and only what may be ours is asked for."""

from typing import Any

import aiohttp
import kopf
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from shardwise.controller.frugal import IDLE_SECONDS, Aimless, Forgetful, frugal_settings, no_records, slimming

NODE = kopf.Body(
    {
        "metadata": {"name": "h100-1", "labels": {"nvidia.com/gpu.count": "8"}, "annotations": {"a": "b"}},
        "spec": {"podCIDR": "10.0.0.0/24"},
        "status": {"images": [{"names": ["engine:1"]}]},
    }
)
SELECTORS = {"services": "app.kubernetes.io/managed-by=shardwise"}


def test_of_an_object_nothing_is_kept() -> None:
    """All of it, but its status, would be copied with every event."""
    assert Forgetful().build(body=NODE) == {}
    assert Forgetful().build(body=NODE, extra_fields=["status"]) == {}
    assert Forgetful().fetch(body=NODE) is None  # type: ignore[func-returns-value] # which is what kopf asks


def test_of_a_handler_nothing_is_kept() -> None:
    essence = kopf.BodyEssence(spec={"a": 1})
    assert Aimless().fetch(key="pod", body=NODE) is None  # type: ignore[func-returns-value] # as above
    assert Aimless().clear(essence=essence) is essence


def test_nothing_is_written_to_an_object() -> None:
    """GitOps tools would see any annotation as a difference."""
    patch = kopf.Patch()
    Forgetful().store(body=NODE, patch=patch, essence=kopf.BodyEssence(spec={"a": 1}))
    Aimless().store(key="pod", record={}, body=NODE, patch=patch)
    Aimless().touch(body=NODE, patch=patch, value="now")
    Aimless().purge(key="pod", body=NODE, patch=patch)
    assert not patch


def test_the_settings_are_those_of_a_watcher() -> None:
    """No Events of kopf's, lists by pages, and no task for each of thousands of objects a while longer than needed."""
    settings = frugal_settings(SELECTORS)
    assert settings.posting.enabled is False
    assert isinstance(settings.persistence.diffbase_storage, Forgetful)
    assert isinstance(settings.persistence.progress_storage, Aimless)
    assert settings.watching.chunk_size == 200
    assert settings.queueing.idle_timeout == IDLE_SECONDS
    assert settings.queueing.worker_limit is None  # a limit deadlocks, or crawls: kopf's tasks wait for one another


@pytest.mark.parametrize(("plural", "selectors"), [("services", [SELECTORS["services"]]), ("pods", [])])
def test_only_what_may_be_ours_is_watched(plural: str, selectors: list[str]) -> None:
    """A cluster has thousands of Services; of pods everybody's count, as they hold GPUs."""
    resource = kopf.Resource(group="", version="v1", plural=plural, namespaced=True)
    assert list(frugal_settings(SELECTORS).watching.label_selectors.collect(resource)) == selectors


def test_kopf_tries_again_soon_and_never_kills_a_process_that_lives_on() -> None:
    """Its own timer would, ten minutes after a term has ended."""
    settings = frugal_settings({})
    assert settings.process.ultimate_exiting_timeout is None
    assert settings.networking.connect_timeout == 10.0
    assert isinstance(settings.networking.error_backoffs, tuple)
    assert max(settings.networking.error_backoffs) == 5


async def test_of_an_object_no_record_is_kept() -> None:
    """Kopf has one for every object that was ever seen, in case that a handler goes on."""
    memories = no_records()
    body = kopf.RawBody(metadata={"uid": "u", "name": "n"})
    first = await memories.recall(body, noticed_by_listing=True)
    assert first.noticed_by_listing
    assert await memories.recall(body) is not first
    assert list(memories.iter_all_memories()) == []
    await memories.forget(body)


async def test_the_objects_of_a_list_are_slim_before_kopf_sees_them() -> None:
    """It begins a task for each: whole, they take some hundred megabytes together."""
    known = {"metadata": {"name": "a"}}
    lists: dict[str, Any] = {
        "NodeList": {"kind": "NodeList", "items": [{"metadata": {"name": "a"}, "status": {"images": ["x"]}}]},
        "PodList": {"kind": "PodList", "items": [{"spec": "whole"}]},
        "Empty": {"kind": "NodeList", "items": None},
        "Table": ["no", "list"],
    }

    async def answer(request: web.Request) -> web.Response:
        return web.json_response(lists[request.path[1:]])

    app = web.Application()
    app.router.add_get("/{kind}", answer)
    async with TestServer(app) as server:
        kind = slimming({"NodeList": lambda _: known})
        async with aiohttp.ClientSession(server.make_url("/"), response_class=kind) as session:
            read = {name: await (await session.get(f"/{name}")).json() for name in lists}
    assert read["NodeList"]["items"] == [known]
    assert read["NodeList"]["items"][0] is not known, "kopf adds fields"
    assert (read["PodList"], read["Empty"]["items"], read["Table"]) == (lists["PodList"], [], ["no", "list"])
