"""An operator that is killed again and again while objects come, change and lose pods: by what the API server recorded.

Kills come soon after a start, while it works; when is drawn from a seed.
"""

import random
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from tests.cluster.history import History, asked_twice, recorded
from tests.cluster.installed import MODELS, Running
from tests.cluster.pool import in_pool, pool
from tests.cluster.reached import Reached

Json = dict[str, Any]

KILLS: Final = 50
SEED: Final = 8
POOL: Final = "killed"
NODES: Final = 20
GPUS: Final = 4
OBJECTS: Final = 20
PAIRS: Final = 3
"""So many of the objects are groups of two whole nodes."""


@pytest.fixture(scope="module")
def nodes(plane: Reached) -> Iterator[list[str]]:
    with pool(plane, POOL, NODES, GPUS) as names:
        yield names


class Users:
    """What users and chance do to the objects between two kills; and what each object should come to be."""

    def __init__(self, running: Running, chance: random.Random) -> None:
        self._running = running
        self._chance = chance
        self.replicas: dict[str, int] = {}
        self.seeds: dict[str, int] = {}

    def come(self, name: str) -> None:
        """Make an object, or make it anew."""
        self.replicas[name], self.seeds[name] = 1, 0
        self._apply(name)

    def act(self, step: int) -> None:
        """Let somebody do something to an object."""
        name = self._chance.choice(list(self.replicas))
        deeds: list[Callable[[str, int], None]] = [self._edit, self._edit, self._scale, self._scale, self._lose]
        self._chance.choice([*deeds, self._delete])(name, step)

    def _apply(self, name: str) -> None:
        number, replicas = int(name[1:]), self.replicas[name]
        tensor, pipeline = (GPUS, 2) if number < PAIRS else (1 + number % 2, 1)
        args = {"args": [f"--seed={self.seeds[name]}"]}
        self._running.apply(in_pool(POOL, name, tensor, pipeline, replicas=replicas, engine=args))

    def _edit(self, name: str, step: int) -> None:
        self.seeds[name] = step
        self._apply(name)

    def _scale(self, name: str, _: int) -> None:
        if int(name[1:]) >= PAIRS:
            self.replicas[name] = self._chance.choice([1, 2, 3])
            self._apply(name)

    def _lose(self, name: str, _: int) -> None:
        pods = self._running.pod_names(name)
        if pods:
            pod = self._chance.choice(pods)
            self._running.plane.kubectl("delete", "pod", pod, "-n", MODELS, "--wait=false", "--ignore-not-found")

    def _delete(self, name: str, _: int) -> None:
        self._running.plane.kubectl("delete", "shardedmodel", name, "-n", MODELS, "--wait=false")
        self.come(name)


def test_fifty_kills_over_twenty_objects(running: Running, nodes: list[str]) -> None:
    """No GPU is asked for twice at any instant; in the end all serve as last edited, and nothing is left over."""
    chance = random.Random(SEED)  # noqa: S311 - moments and deeds, no secrets
    users = Users(running, chance)
    with recorded(running.plane, MODELS) as history:
        for kill in range(KILLS):
            if kill < OBJECTS:
                users.come(f"k{kill}")
            else:
                users.act(kill)
            time.sleep(chance.uniform(0.3, 1.5))
            running.stop(signal.SIGKILL)
            running.start()
            if kill >= OBJECTS // 2:
                users.act(kill)
        for name in users.replicas:
            running.ready(name)
        nothing_is_left_over(running, users)
        no_gpu_is_asked_for_twice(history, dict.fromkeys(nodes, GPUS))


def nothing_is_left_over(running: Running, users: Users) -> None:
    """Of every kind there is what the statuses say, and no more."""
    running.until(lambda: settled(running, users), "no more and no less than the statuses say")
    for name, seed in users.seeds.items():
        pods = running.pods(name)
        assert all(f"--seed={seed}" in pod["spec"]["containers"][0]["args"] for pod in pods), name
    ours = {item["metadata"]["uid"] for item in running.get("shardedmodels")["items"]}
    for item in running.get("pods,services,poddisruptionbudgets,secrets,configmaps", *LABELLED)["items"]:
        assert {owner["uid"] for owner in item["metadata"]["ownerReferences"]} <= ours


LABELLED: Final = ("-l", "app.kubernetes.io/managed-by=shardwise")


def settled(running: Running, users: Users) -> bool:
    """Compare what there is with what there should be; the difference is told by who waits in vain."""
    there, should_be = found(running), expected(running, users)
    assert (there - should_be, should_be - there) == (set(), set())
    return True


def found(running: Running) -> set[str]:
    """Name all that is labelled as ours, but the objects."""
    items = running.get("pods,services,poddisruptionbudgets,secrets,configmaps", *LABELLED)["items"]
    return {f"{item['kind']} {item['metadata']['name']}" for item in items}


def expected(running: Running, users: Users) -> set[str]:
    """Name what the groups of the statuses are made of."""
    names: set[str] = set()
    for model, replicas in users.replicas.items():
        groups = running.status(model)["groups"]
        assert len(groups) == replicas
        names |= {f"Service {model}"} | ({f"PodDisruptionBudget {model}"} if replicas > 1 else set())
        for group in groups:
            name = f"{model}-{group['replica']}-{group['attempt']}"
            names |= {f"Service {name}", *(f"Pod {name}-{index}" for index in range(len(group["nodes"])))}
    return names


def no_gpu_is_asked_for_twice(history: History, capacity: dict[str, int]) -> None:
    instants = list(history.instants())
    assert len(instants) > KILLS
    assert [twice for pods in instants if (twice := asked_twice(pods, capacity))] == []
