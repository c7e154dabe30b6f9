"""Kubelets on a server where there is neither a scheduler nor a kubelet: pods run as soon as they are made."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any, Final

from tests.cluster.conformance import JSON, MERGE, Api

from shardwise.reconcile.observed import see_pod

Json = dict[str, Any]

_AT_ONCE: Final = 32


@contextlib.asynccontextmanager
async def played(api: Api) -> AsyncIterator[None]:
    """Bind and run every pod for as long as the block lasts; what is deleted is gone at once."""
    playing = asyncio.create_task(_play(api))
    try:
        yield
        if playing.done():
            playing.result()
    finally:
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)


async def events(api: Api, plural: str) -> AsyncIterator[tuple[str, Json]]:
    """Watch a core kind for as long as it is asked: the present objects first."""
    params = {"watch": "true"}
    async with api.session.get(api.url + api.path(plural), params=params, ssl=api.tls) as answer:
        async for line in answer.content:
            event = json.loads(line)
            yield event["type"], event["object"]


async def _play(api: Api) -> None:
    limit = asyncio.Semaphore(_AT_ONCE)
    begun: set[tuple[str, bool]] = set()
    async with asyncio.TaskGroup() as tasks:
        async for kind, pod in events(api, "pods"):
            going = "deletionTimestamp" in pod["metadata"]
            step = (pod["metadata"]["uid"], going)
            if kind != "DELETED" and step not in begun:
                begun.add(step)
                tasks.create_task(_bury(api, pod, limit) if going else _run(api, pod, limit))


async def _run(api: Api, pod: Json, limit: asyncio.Semaphore) -> None:
    name, node = pod["metadata"]["name"], see_pod(pod).wants
    target = {"apiVersion": "v1", "kind": "Node", "name": node}
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
    async with limit:
        await api.call("POST", api.path("pods", name, "binding"), binding, JSON)
        await api.patch("pods", name, {"status": running(pod)}, MERGE, "status")


async def _bury(api: Api, pod: Json, limit: asyncio.Semaphore) -> None:
    name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
    async with limit:
        await api.delete("pods", name, {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}})


def running(pod: Json, restarts: int = 0) -> Json:
    """Give the status of a pod that runs; of one whose engines have exited as often, and were started in place."""
    ended = {"exitCode": 1, "reason": "Error", "message": "CUDA error: uncorrectable ECC error encountered"}
    last = {"lastState": {"terminated": ended}} if restarts else {}
    ready = "False" if restarts else "True"
    containers = [
        {
            "name": container["name"],
            "image": container["image"],
            "imageID": "",
            "ready": not restarts,
            "started": True,
            "restartCount": restarts,
            "state": {"running": {}},
            **last,
        }
        for container in pod["spec"]["containers"]
    ]
    conditions = [{"type": kind, "status": ready} for kind in ("ContainersReady", "Ready")]
    scheduled = [{"type": kind, "status": "True"} for kind in ("PodScheduled", "Initialized")]
    return {"phase": "Running", "conditions": scheduled + conditions, "containerStatuses": containers}
