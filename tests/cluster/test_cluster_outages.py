"""An API server that forgets, an etcd that stops, answers that are lost, a server that begins again: groups serve on.

Nothing is restarted, nothing is doubled, and what was asked for meanwhile is done.
"""

import signal
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import pytest
import yaml
from tests.cluster.history import History, asked_twice, recorded
from tests.cluster.installed import MODELS, Running
from tests.cluster.lossy import lossy_line
from tests.cluster.plane import ControlPlane
from tests.cluster.pool import in_pool, pool

Json = dict[str, Any]

POOL: Final = "steady"
NODES: Final = 4
GPUS: Final = 2
NAMES: Final = ("pair", "many")
ROUNDS: Final = 3
LOSES: Final = 0.2
SEED: Final = 8


@pytest.fixture(scope="module")
def nodes(own_plane: ControlPlane) -> Iterator[list[str]]:
    with pool(own_plane, POOL, NODES, GPUS) as names:
        yield names


@pytest.fixture
def history(running: Running, nodes: list[str]) -> Iterator[History]:
    """Give two models that serve, and what becomes of their pods."""
    with recorded(running.plane, MODELS) as found:
        running.apply(in_pool(POOL, "pair", 2, 2), in_pool(POOL, "many", 1, replicas=2))
        for name in NAMES:
            running.ready(name)
        assert len(nodes) == NODES
        yield found


def uids(running: Running, *names: str) -> set[str]:
    return {pod["metadata"]["uid"] for name in names for pod in running.pods(name)}


def answers(running: Running) -> bool:
    """Tell whether the API server answers soon what it has to ask etcd for."""
    asked = ("get", "namespace", "default", "-o", "name", "--request-timeout=1s")
    return running.plane.kubectl(*asked, check=False).strip() == "namespace/default"


def nothing_doubled(running: Running, history: History, nodes: list[str]) -> None:
    """No pod was made a second time, and no GPU asked for twice."""
    made = [pod["metadata"]["uid"] for kind, pod in history.events() if kind == "ADDED"]
    assert len(made) == len(set(made))
    assert [twice for pods in history.instants() if (twice := asked_twice(pods, dict.fromkeys(nodes, GPUS)))] == []
    assert running.pod_names("pair") == ["pair-0-0-0", "pair-0-0-1"]
    assert running.pod_names("many") == ["many-0-0-0", "many-1-0-0"]
    assert len(running.pods("late")) == 1


def test_an_etcd_that_stands_still_delays_and_doubles_nothing(
    running: Running, own_plane: ControlPlane, history: History, nodes: list[str]
) -> None:
    """Again and again, while the operator writes: answers come late, or not at all."""
    before = uids(running, *NAMES)
    for seed in range(ROUNDS):
        running.apply(in_pool(POOL, "late", 1, engine={"args": [f"--seed={seed}"]}))
        own_plane.processes.signal("etcd", signal.SIGSTOP)
        try:
            running.until(lambda: not answers(running), "an API server that does not answer")
        finally:
            own_plane.processes.signal("etcd", signal.SIGCONT)
        running.until(lambda: answers(running), "an API server that answers")
    running.ready("late")
    (pod,) = running.pods("late")
    assert f"--seed={ROUNDS - 1}" in pod["spec"]["containers"][0]["args"]
    assert uids(running, *NAMES) == before
    nothing_doubled(running, history, nodes)


def test_answers_that_are_lost_double_nothing(
    running: Running, own_plane: ControlPlane, history: History, nodes: list[str]
) -> None:
    """What was asked is done, and the operator is not told: it finds out, and goes on from there."""
    before = uids(running, *NAMES)
    running.stop()
    kubeconfig = yaml.safe_load(running.kubeconfig.read_text())
    with lossy_line(own_plane.port("api"), SEED) as line:
        kubeconfig["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{line.port}"
        path = running.kubeconfig.with_name("lossy.kubeconfig")
        path.write_text(yaml.safe_dump(kubeconfig))
        lossy = replace(running, kubeconfig=path, process="operator-lossy")
        lossy.start()
        try:
            running.apply(in_pool(POOL, "late", 1))
            lossy.ready("late")
            line.loses = LOSES
            for seed in range(ROUNDS):
                running.apply(in_pool(POOL, "late", 1, engine={"args": [f"--seed={seed}"]}))
                lossy.ready("late")
            assert line.lost > 0
            line.loses = 0.0
            assert lossy.alive()
        finally:
            lossy.stop()
    running.start()
    running.ready("late")
    assert uids(running, *NAMES) == before
    nothing_doubled(running, history, nodes)


def test_what_happened_beyond_the_history_is_seen(
    running: Running, own_plane: ControlPlane, history: History, nodes: list[str]
) -> None:
    """The operator stands still while an object comes, another goes, and etcd forgets: its watches are too old."""
    running.apply(in_pool(POOL, "gone", 1))
    running.ready("gone")
    before = uids(running, *NAMES)
    own_plane.processes.signal(running.process, signal.SIGSTOP)
    try:
        running.apply(in_pool(POOL, "late", 1))
        running.plane.kubectl("delete", "shardedmodel", "gone", "-n", MODELS, "--wait")
        own_plane.processes.stop("kube-apiserver")
        own_plane.forget()
        own_plane.start_api_server()
    finally:
        own_plane.processes.signal(running.process, signal.SIGCONT)
    running.count_anew()
    running.ready("late")
    assert uids(running, *NAMES) == before
    assert running.alive()
    nothing_doubled(running, history, nodes)


AWAY: Final = "the API server does not answer"
LOST: Final = "nothing is done until the operator leads again"


def said(running: Running, words: str) -> int:
    """Count the lines of the operator's log that hold some words."""
    return sum(words in line for line in running.log.read_text(errors="replace").splitlines())


@pytest.fixture
def leading(running: Running, history: History) -> Iterator[Running]:
    """Give an operator that stands for election, not started yet, in place of that which made the models serve."""
    del history  # the models serve first
    running.stop()
    arguments = ("--leader-elect", "--lease=shardwise/shardwise")
    elected = replace(running, arguments=arguments, process="operator-leading")
    elected.log.unlink(missing_ok=True)
    yield elected
    elected.stop()
    running.count_anew()  # an API server that is just starting forbids what it will allow
    running.start()


def outlive(leading: Running, own_plane: ControlPlane) -> None:
    """Stop the API server until the leader has lost its Lease, and start it again."""
    before = said(leading, LOST)
    own_plane.processes.stop("kube-apiserver")
    try:
        leading.until(lambda: said(leading, LOST) > before, "a leader that has lost its Lease")
        assert leading.alive()
    finally:
        start_again(own_plane)


def start_again(own_plane: ControlPlane) -> None:
    """Start the API server, and what plays the kubelets: on a busy machine that comes back only after minutes."""
    own_plane.start_api_server()
    own_plane.processes.stop("kwok")
    own_plane.start_kwok()


def test_an_operator_waits_for_an_api_server_that_is_away_when_it_starts(
    leading: Running, own_plane: ControlPlane, history: History, nodes: list[str]
) -> None:
    """It used to end after 3 s, and to be started again by its kubelet, more and more rarely."""
    before = uids(leading, *NAMES)
    own_plane.processes.stop("kube-apiserver")
    try:
        leading.start()
        leading.until(lambda: said(leading, AWAY), "an operator that waits")
        assert leading.alive()
    finally:
        start_again(own_plane)
    leading.apply(in_pool(POOL, "late", 1))
    leading.ready("late")
    assert said(leading, AWAY) == 1
    assert uids(leading, *NAMES) == before
    nothing_doubled(leading, history, nodes)


def test_a_leader_outlives_an_api_server_that_is_away(
    leading: Running, own_plane: ControlPlane, history: History, nodes: list[str]
) -> None:
    """It stops acting when it cannot renew its Lease, and leads again; the log tells of it in a few lines."""
    before = uids(leading, *NAMES)
    leading.start()
    leading.apply(in_pool(POOL, "late", 1))
    leading.ready("late")
    for seed in (1, 2):
        outlive(leading, own_plane)
        leading.apply(in_pool(POOL, "late", 1, engine={"args": [f"--seed={seed}"]}))
        leading.ready("late")
    (pod,) = leading.pods("late")
    assert "--seed=2" in pod["spec"]["containers"][0]["args"]
    assert said(leading, "Request attempt") <= 2
    assert uids(leading, *NAMES) == before
    nothing_doubled(leading, history, nodes)
