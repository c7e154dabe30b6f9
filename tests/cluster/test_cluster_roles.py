"""Prefill and decode as groups of real processes: each role lives by itself, and an update keeps a pair.

The engine is the fake of ``test_cluster_engine_processes.py``: it moves no caches, and each role serves whole requests.
Each test runs on the in-memory API, and on the real API.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
from tests.cluster.scenes import POOL
from tests.process_kubelet.load import Request, steady_load
from tests.process_kubelet.scene import Scene
from tests.support.operating import a_model

from shardwise.render.manifest import MODEL, SERVING_ROLE

Json = dict[str, Any]

PROMPT: Final = "Hello"
TOKENS: Final = [(sum(PROMPT.encode()) + 31 * place) % 256 for place in range(5)]
REQUEST: Final = Request(PROMPT, len(TOKENS))
RELEASE: Final = "TRIED_RELEASE"
"""A variable of the engine, by which the tests tell old content from new."""


def roles(gates: Path, *, stages: int = 1, decode: int = 1, release: str = "1") -> Json:
    """Make a model whose prefill has some stages, a pod each, and whose decode has replicas of a pod each."""
    variables = {"GATES": str(gates), RELEASE: release}
    return a_model(
        "roles",
        gpus=4,
        roles=[
            {"name": "prefill", "replicas": 1, "parallelism": {"tensor": 1, "pipeline": stages}},
            {"name": "decode", "replicas": decode, "parallelism": {"tensor": 1, "pipeline": 1}},
        ],
        placement={"nodeSelector": {"pool": POOL}},
        model_contextLength=8192,
        engine={"env": [{"name": key, "value": value} for key, value in variables.items()]},
    )


def role_of(pod: Json) -> str:
    found: str = pod["metadata"]["labels"][SERVING_ROLE]
    return found


def release_of(pod: Json) -> str:
    (found,) = [entry["value"] for entry in pod["spec"]["containers"][0]["env"] if entry["name"] == RELEASE]
    return str(found)


def serves(pod: Json) -> bool:
    """Tell whether routers may send requests to a pod."""
    return "shardwise.dev/serves" in pod["metadata"]["labels"]


async def pods_of(scene: Scene, role: str) -> list[Json]:
    return [pod for pod in await scene.pods("roles") if role_of(pod) == role]


async def uids(scene: Scene, role: str) -> list[str]:
    return [pod["metadata"]["uid"] for pod in await pods_of(scene, role)]


async def attempts(scene: Scene, role: str) -> list[tuple[int, str]]:
    """Give attempt and state of each group of a role."""
    groups = (await scene.status("roles")).get("groups") or ()
    return [(group["attempt"], group["state"]) for group in groups if group["role"] == role]


async def test_both_roles_come_up_and_clients_reach_decode_alone(scene: Scene, gates: Path) -> None:
    """Prefill has two pods, decode two replicas; each role has its part of the status."""
    await scene.apply(roles(gates, stages=2, decode=2))
    await scene.ready("roles")
    status = await scene.status("roles")
    assert {role["name"]: role["readyReplicas"] for role in status["roles"]} == {"decode": 2, "prefill": 1}
    assert {role["name"]: role["plan"]["pipeline"] for role in status["roles"]} == {"decode": 1, "prefill": 2}
    assert [role_of(pod) for pod in await scene.pods("roles") if serves(pod)] == ["decode", "decode", "prefill"]
    addresses = {pod["status"]["podIP"] for pod in await pods_of(scene, "decode")}

    async def are_decode() -> bool:
        return {place.partition(":")[0] for place in await scene.endpoints("roles")} == addresses

    await scene.until(are_decode, "the Service leads to both replicas of decode")
    assert await scene.complete("roles", PROMPT, 5) == TOKENS


async def test_prefill_dies_and_comes_back_while_decode_serves_every_request(scene: Scene, gates: Path) -> None:
    """A rank of its second pod is killed. Not a pod of decode is touched."""
    await scene.apply(roles(gates, stages=2, decode=2))
    await scene.ready("roles")
    before = await uids(scene, "decode")
    (follower,) = [pod for pod in await pods_of(scene, "prefill") if not serves(pod)]
    _, rank = scene.kubelets.pod(follower["metadata"]["name"]).containers["engine"].processes()

    async def is_back() -> bool:
        return await attempts(scene, "prefill") == [(1, "Ready")] and await scene.is_ready("roles")

    async with steady_load(scene, "roles", REQUEST, pause=0.02) as asked:
        os.kill(rank, signal.SIGKILL)
        await scene.until(is_back, "prefill serves again, as its second attempt")
    assert len(asked) > 10
    assert [request for request in asked if request.tokens != TOKENS] == []
    assert await uids(scene, "decode") == before
    assert await attempts(scene, "decode") == [(0, "Ready"), (0, "Ready")]


async def test_a_replica_of_decode_dies_and_comes_back_alone(scene: Scene, gates: Path) -> None:
    """The other replica of decode and prefill keep their pods, and the Service leads to the other replica meanwhile."""
    await scene.apply(roles(gates, stages=2, decode=2))
    await scene.ready("roles")
    prefill, (victim, other) = await uids(scene, "prefill"), await pods_of(scene, "decode")
    scene.kubelets.pod(victim["metadata"]["name"]).containers["engine"].signal(signal.SIGKILL)

    async def leads_to_the_other() -> bool:
        places = await scene.endpoints("roles")
        return [place.partition(":")[0] for place in places] == [other["status"]["podIP"]]

    await scene.until(leads_to_the_other, "the Service leads to the other replica alone")
    assert await scene.complete("roles", PROMPT, 5) == TOKENS

    async def is_back() -> bool:
        return sorted(await attempts(scene, "decode")) == [(0, "Ready"), (1, "Ready")]

    await scene.until(is_back, "the killed replica serves again")
    assert await uids(scene, "prefill") == prefill
    assert other["metadata"]["uid"] in await uids(scene, "decode")


@contextlib.asynccontextmanager
async def watched_pairs(scene: Scene) -> AsyncIterator[list[set[str]]]:
    """Note again and again the releases of which both roles serve, for as long as the block lasts."""
    seen: list[set[str]] = []

    async def watch() -> None:
        while True:
            serving = [(role_of(pod), release_of(pod)) for pod in await scene.pods("roles") if serves(pod)]
            seen.append({found for role, found in serving if role == "decode" and ("prefill", found) in serving})
            await asyncio.sleep(0.03)

    task = asyncio.create_task(watch())
    try:
        yield seen
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_an_update_of_both_roles_keeps_a_pair_of_one_content(scene: Scene, gates: Path) -> None:
    """Two GPUs are free: at every look, both roles of the old release serve, or both of the new."""
    await scene.apply(roles(gates))
    await scene.ready("roles")
    async with watched_pairs(scene) as seen:
        await scene.apply(roles(gates, release="2"))

        async def is_new() -> bool:
            return {release_of(pod) for pod in await scene.pods("roles")} == {"2"} and await scene.is_ready("roles")

        await scene.until(is_new, "both roles have the new release")
    assert [pair for pair in seen if not pair] == []
    assert (seen[0], seen[-1]) == ({"1"}, {"2"})
    assert await scene.complete("roles", PROMPT, 5) == TOKENS


LEFT: Final = (
    "/api/v1/namespaces/default/pods",
    "/api/v1/namespaces/default/services",
    "/apis/policy/v1/namespaces/default/poddisruptionbudgets",
)


async def left(scene: Scene) -> list[str]:
    """Name the objects of both roles that are there."""
    lists = [await scene.line.call("GET", f"{path}?labelSelector={MODEL}%3Droles") for path in LEFT]
    return [item["metadata"]["name"] for found in lists for item in found["items"]]


async def test_deleting_the_object_leaves_nothing_of_either_role(scene: Scene, gates: Path) -> None:
    await scene.apply(roles(gates, stages=2))
    await scene.ready("roles")
    assert len(await left(scene)) > len(await scene.pods("roles"))
    await scene.delete("roles")

    async def none() -> bool:
        return await left(scene) == []

    await scene.until(none, "no pod, no Service and no disruption budget of the object")


@pytest.mark.parametrize("scene", ["in-memory"], indirect=True)
@pytest.mark.parametrize("role", ["prefill", "decode"])
async def test_a_role_alone_is_scaled_and_the_other_keeps_its_pods(scene: Scene, gates: Path, role: str) -> None:
    """On one API only: the operator asks a real API server for nothing that the tests above do not."""
    await scene.apply(roles(gates))
    await scene.ready("roles")
    other = "decode" if role == "prefill" else "prefill"
    before = await uids(scene, other)
    changed = roles(gates)
    (more,) = [entry for entry in changed["spec"]["roles"] if entry["name"] == role]
    more["replicas"] = 2
    await scene.apply(changed)

    async def is_more() -> bool:
        return await attempts(scene, role) == [(0, "Ready"), (0, "Ready")] and await scene.is_ready("roles")

    await scene.until(is_more, f"two replicas of {role} serve")
    assert await uids(scene, other) == before
