"""Groups of real processes: the scripts, probes, hooks and graces that Shardwise renders, on process kubelets.

The engine is a fake that lives and dies as vLLM does (tests/process_kubelet/fake_engine.py): its ``/health`` says 200
although other ranks are gone, and it ends with exit code 0. Each test runs on the in-memory API, and on the real one.
"""

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from tests.cluster.scenes import POOL
from tests.process_kubelet.kubelet import Refused
from tests.process_kubelet.load import Request
from tests.process_kubelet.random_kills import Losses, RandomKills, Target
from tests.process_kubelet.scene import LIMIT, Scene
from tests.support.operating import a_model

Json = dict[str, Any]

PROMPT: Final = "Hello"
TARGETS: Final = (
    Target("the leader's rank", 0, " rank "),
    Target("the follower's rank", 1, " rank "),
    Target("the leader", 0),
    Target("the follower", 1),
)
TOKENS: Final = [(sum(PROMPT.encode()) + 31 * place) % 256 for place in range(5)]


def pair(name: str = "pair", *, env: dict[str, str] | None = None, gates: Path, **spec: Any) -> Json:
    """Make a model of groups of two pods with a GPU each."""
    variables = {"GATES": str(gates), **(env or {})}
    return a_model(
        name,
        gpus=4,
        parallelism={"tensor": 1, "pipeline": 2},
        placement={"nodeSelector": {"pool": POOL}},
        model_contextLength=8192,
        engine={"env": [{"name": key, "value": value} for key, value in variables.items()]},
        **spec,
    )


HELD: Final = {"maxRestarts": 0}
"""A policy under which a group that fails is held with its pods."""


def rank_of(scene: Scene, pod: str) -> int:
    """Give the process of a rank, beside its engine."""
    _, *ranks = scene.kubelets.pod(pod).containers["engine"].processes()
    assert len(ranks) == 1
    return ranks[0]


def phase(pod: Json) -> str:
    found: str = (pod.get("status") or {}).get("phase", "")
    return found


async def test_a_group_meets_and_serves(scene: Scene, gates: Path) -> None:
    """Its scripts ran in containers of their own, and its ranks met by the names that the Services give."""
    await scene.apply(pair(gates=gates))
    await scene.ready("pair")
    assert await scene.complete("pair", PROMPT, 5) == TOKENS
    assert sorted(scene.kubelets.exits) == [
        ("pair-0-0-0", "wait-for-followers", 0),
        ("pair-0-0-1", "wait-for-leader", 0),
    ]
    leader, follower = await scene.pods("pair")
    assert leader["status"]["podIP"] != follower["status"]["podIP"]


def runs(scene: Scene, pod: str, container: str) -> bool:
    """Tell whether a container of a pod runs."""
    names = {pod.name for pod in scene.kubelets.pods.values()}
    found = scene.kubelets.pod(pod).containers.get(container) if pod in names else None
    return found is not None and found.running


async def test_the_engines_of_a_group_start_side_by_side(scene: Scene, gates: Path) -> None:
    """The follower's engine is there before the leader's has opened any port."""
    (gates / "import-pair-0-0-0").touch()
    await scene.apply(pair(gates=gates))

    async def both_start() -> bool:
        return all(runs(scene, f"pair-0-0-{index}", "engine") for index in range(2))

    await scene.until(both_start, "both engines started")
    (gates / "import-pair-0-0-0").unlink()
    await scene.ready("pair")
    assert await scene.complete("pair", PROMPT, 5) == TOKENS


@pytest.mark.parametrize(("late", "waits"), [(0, "wait-for-leader"), (1, "wait-for-followers")])
async def test_no_engine_starts_before_the_weights_of_all_are_there(
    scene: Scene, gates: Path, late: int, waits: str
) -> None:
    """The leader or a follower fetches for longer than any engine would wait for it; then all start."""
    (gates / f"fetch-pair-0-0-{late}").touch()
    await scene.apply(pair(gates=gates, model_source={"huggingFace": {"prePull": True}}))

    async def one_waits() -> bool:
        return runs(scene, f"pair-0-0-{1 - late}", waits) and runs(scene, f"pair-0-0-{late}", "weights")

    await scene.until(one_waits, "one pod with its weights, one without")
    assert not any("engine" in scene.kubelets.pod(f"pair-0-0-{index}").containers for index in range(2))
    (gates / f"fetch-pair-0-0-{late}").unlink()
    await scene.ready("pair")
    assert await scene.complete("pair", PROMPT, 5) == TOKENS


async def test_a_leader_that_leaves_finishes_its_requests(scene: Scene, gates: Path) -> None:
    """The drain script waits for a request in work, and the follower stays meanwhile."""
    await scene.apply(pair(gates=gates))
    await scene.ready("pair")
    (place,) = await scene.endpoints("pair")
    (gates / "step").touch()
    asking = asyncio.create_task(scene.ask(place, PROMPT, 5))

    async def is_in_work() -> bool:
        return "running{" in (text := (await scene.get(place, "/metrics"))[1]) and " 1.0" in text

    async def is_leaving() -> bool:
        return "deletionTimestamp" in (await scene.pod("pair-0-0-0"))["metadata"]

    await scene.until(is_in_work, "the request in work")
    await scene.patch("pair", replicas=0)
    await scene.until(is_leaving, "the leader on its way out")
    assert "deletionTimestamp" not in (await scene.pod("pair-0-0-1"))["metadata"]
    (gates / "step").unlink()
    assert await asking == TOKENS
    await scene.gone("pair")
    assert ("pair-0-0-0", "engine", 0) in scene.kubelets.exits


@pytest.mark.parametrize("present", [True, False], ids=["operator there", "operator away"])
async def test_no_request_goes_to_a_broken_group(scene: Scene, gates: Path, present: bool) -> None:
    """A rank is killed: its pod ends by itself with exit code 0, and the leader's engine goes on saying 200."""
    await scene.apply(pair(gates=gates, restartPolicy=HELD))
    await scene.ready("pair")
    (place,) = await scene.endpoints("pair")
    if not present:
        await scene.operator.stop()
    os.kill(rank_of(scene, "pair-0-0-1"), signal.SIGKILL)

    async def is_shut() -> bool:
        return not await scene.endpoints("pair")

    await scene.until(is_shut, "no endpoints")
    assert (await scene.get(place, "/health"))[0] == 200
    assert ("pair-0-0-1", "engine", 0) in scene.kubelets.exits
    if not present:
        await scene.operator.start()

    async def is_held() -> bool:
        return await scene.groups("pair") == [(0, "Held")]

    await scene.until(is_held, "the group held")
    assert await scene.endpoints("pair") == []
    assert phase(await scene.pod("pair-0-0-0")) == "Running"  # kept, with its log
    labels = (await scene.pod("pair-0-0-0"))["metadata"]["labels"]
    assert "shardwise.dev/serves" not in labels


def met_or_many(losses: Losses) -> bool:
    """Kill at least five times, and on until a kill has met a request: a short request may be missed a few times."""
    return len(losses.kills) < 5 or (not losses.lost and len(losses.kills) < 25)


async def test_kills_at_random_cost_only_requests_to_the_killed_groups(scene: Scene, gates: Path) -> None:
    """Two replicas under load: no request is lost that begins after the leader has left, and none waits for long.

    A group that has served is forgiven at once: chance may choose the same replica each time, and each further failure
    would double its back-off.
    """
    limit = {"VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS": "1"}
    await scene.apply(pair(gates=gates, env=limit, replicas=2, restartPolicy={"window": "0s"}))
    await scene.ready("pair")
    request = Request(PROMPT, len(TOKENS))
    killing = RandomKills(scene, "pair", request, TARGETS, LIMIT, pause=0.2)
    losses = await killing.run(2, TOKENS, met_or_many)
    assert losses.unexplained == []
    assert losses.lost, "no kill met a request: the load is too thin"
    assert losses.longest_wait < 10
    assert [await scene.ask(place, PROMPT, 5) for place in await scene.endpoints("pair")] == [TOKENS, TOKENS]


async def test_a_group_heals_though_a_request_is_in_work(scene: Scene, gates: Path) -> None:
    """The old leader would drain for 40 seconds: no rank answers it. Its pod gets a short grace instead."""
    await scene.apply(pair(gates=gates))
    await scene.ready("pair")
    (place,) = await scene.endpoints("pair")
    (gates / "step").touch()
    asking = asyncio.create_task(scene.ask(place, PROMPT, 5))

    async def is_in_work() -> bool:
        return " 1.0" in (await scene.get(place, "/metrics"))[1]

    await scene.until(is_in_work, "the request in work")
    os.kill(rank_of(scene, "pair-0-0-1"), signal.SIGKILL)

    async def is_leaving() -> bool:
        return "deletionTimestamp" in (await scene.pod("pair-0-0-0"))["metadata"]

    await scene.until(is_leaving, "the old leader on its way out")
    began = time.monotonic()

    async def is_gone() -> bool:
        return not await scene.pod("pair-0-0-0")

    await scene.until(is_gone, "the old leader gone")
    assert time.monotonic() - began < 20
    with pytest.raises((aiohttp.ClientError, Refused)):
        await asking
    (gates / "step").unlink()
    await scene.ready("pair")
    assert await scene.groups("pair") == [(1, "Ready")]
    assert await scene.complete("pair", PROMPT, 5) == TOKENS


async def test_an_engine_that_still_starts_is_gone_within_seconds(scene: Scene, gates: Path) -> None:
    """As the first process of its container it drops SIGTERM, and its own grace is a minute."""
    (gates / "import-pair-0-0-0").touch()
    await scene.apply(pair(gates=gates))

    async def imports() -> bool:
        return runs(scene, "pair-0-0-0", "engine")

    await scene.until(imports, "the leader's engine started")
    began = time.monotonic()
    await scene.delete("pair")
    await scene.gone("pair")
    assert time.monotonic() - began < 20
    assert ("pair-0-0-0", "engine", 128 + signal.SIGKILL) in scene.kubelets.exits


async def test_a_group_that_is_over_does_not_come_back(scene: Scene, gates: Path) -> None:
    """Leader killed, the follower ends with it: nothing is started in place, and the status tells the kill."""
    await scene.apply(pair(gates=gates, restartPolicy=HELD))
    await scene.ready("pair")
    scene.kubelets.pod("pair-0-0-0").containers["engine"].signal(signal.SIGKILL)

    async def is_over() -> bool:
        pods = await scene.pods("pair")
        return [phase(pod) for pod in pods] == ["Failed", "Succeeded"] and await scene.groups("pair") == [(0, "Held")]

    await scene.until(is_over, "both pods ended, the group held")
    engines = [pod["status"]["containerStatuses"][0] for pod in await scene.pods("pair")]
    assert [engine["state"]["terminated"]["exitCode"] for engine in engines] == [128 + signal.SIGKILL, 0]
    assert [engine["restartCount"] for engine in engines] == [0, 0]
    assert not any(scene.kubelets.pod(f"pair-0-0-{index}").containers["engine"].running for index in range(2))
    assert "137" in (await scene.status("pair"))["message"]


async def test_the_last_words_of_an_engine_are_told(scene: Scene, gates: Path) -> None:
    await scene.apply(pair(gates=gates, restartPolicy=HELD))
    await scene.ready("pair")
    (gates / "exit-pair-0-0-1").write_text("3 RuntimeError: CUDA error: an illegal memory access was encountered")

    async def told() -> str:
        message = str((await scene.status("pair")).get("message"))
        return message if "illegal memory access" in message else ""

    assert "exited 3" in await scene.until(told, "the last words")


async def test_a_hang_ends_with_the_time_that_the_engine_allows(scene: Scene, gates: Path) -> None:
    """A rank is stopped: the request gets an error after that time, and the group starts anew."""
    await scene.apply(pair(gates=gates, env={"VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS": "1"}, restartPolicy=HELD))
    await scene.ready("pair")
    os.kill(rank_of(scene, "pair-0-0-1"), signal.SIGSTOP)
    with pytest.raises(Refused, match="500"):
        await scene.complete("pair", PROMPT, 5)

    async def is_held() -> bool:
        return await scene.groups("pair") == [(0, "Held")] and not await scene.endpoints("pair")

    await scene.until(is_held, "the group held")
    assert ("pair-0-0-0", "engine", 0) in scene.kubelets.exits
