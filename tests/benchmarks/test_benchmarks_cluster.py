"""The benchmark of the cluster measures what it says, at a size at which it takes seconds. No time is judged here."""

from collections import Counter
from typing import Any

import pytest
from benchmarks.beside import CONTENDERS, LWS, SHARDWISE, Turn
from benchmarks.kubelets import running
from benchmarks.launched import Launched, a_large_model, launched, models, nodes
from benchmarks.servers import Call, in_memory
from benchmarks.takeover import Healed, Takeover

from benchmarks import cluster
from shardwise.reconcile.observed import see_pod

Json = dict[str, Any]

OBJECTS = 4
PODS = 16


@pytest.fixture(scope="module")
def state() -> Launched:
    return launched(nodes(20), models(OBJECTS))


def test_what_is_found_was_launched(state: Launched) -> None:
    """Four objects of four pods each, all of which serve: two of small groups, one of middle ones, one of large."""
    assert [state.statuses[f"m{at:03}"]["readyReplicas"] for at in range(OBJECTS)] == [4, 4, 4, 2]
    assert Counter(one["kind"] for one in state.made) == {"Pod": PODS, "Service": 18, "PodDisruptionBudget": 4}
    assert len(state.pods()) == PODS
    gpus = Counter(see_pod(pod).gpus for pod in state.pods())
    assert gpus == {1: 8, 4: 4, 8: 4}


def test_what_does_not_fit_is_no_state_to_start_from() -> None:
    with pytest.raises(RuntimeError, match="not launched: m003"):
        launched(nodes(2), models(OBJECTS))


def test_nodes_are_as_large_as_real_ones() -> None:
    """A kubelet reports fifty images."""
    (node,) = nodes(1)
    assert len(node["status"]["images"]) == 50
    assert node["status"]["allocatable"]["nvidia.com/gpu"] == "8"


def test_an_operator_takes_over_without_a_write_and_heals(state: Launched) -> None:
    """As a process of its own, on the in-memory API over HTTP."""
    found = cluster.started(in_memory, state, events=OBJECTS)
    assert found.writes == 0
    assert [healing.pods for healing in found.healed] == [1, 1, 1, 2]
    # Two statuses, the old Service deleted, the new one looked for and applied, two Events; a pod deleted and one made.
    assert all(healing.calls >= 7 + 2 * healing.pods for healing in found.healed)
    assert all(healing.seconds > 0 for healing in found.healed)
    assert 0 < found.ready <= found.at_rest + found.cpu
    assert found.peak > 2**20


@pytest.mark.parametrize(
    ("path", "about"),
    [
        ("/api/v1/namespaces/default/pods/m001-0-1-0", True),
        ("/apis/shardwise.dev/v1alpha1/namespaces/default/shardedmodels/m001/status", True),
        ("/api/v1/namespaces/default/pods/m0011-0-1-0", False),
        ("/api/v1/namespaces/default/events", False),
    ],
)
def test_a_call_is_about_an_object_and_what_is_named_after_it(path: str, about: bool) -> None:
    assert Call(0.0, path, writes=True, ours=False).is_about("m001") == about


def test_a_pod_that_failed_reads_as_one_whose_engine_was_started_in_place() -> None:
    """Its kubelet says so of the container: the pod goes on, its group must not."""
    container = {"name": "engine", "image": "engine:1"}
    labels = {f"shardwise.dev/{name}": "0" for name in ("replica", "attempt", "index")}
    pod: Json = {"metadata": {"name": "p", "labels": labels}, "spec": {"containers": [container]}}
    assert see_pod(pod | {"status": running(pod)}).ready
    failed = see_pod(pod | {"status": running(pod, restarts=1)})
    assert (failed.ready, failed.failure) == (
        False,
        "engine exited 1 (Error): CUDA error: uncorrectable ECC error encountered",
    )


def test_both_contenders_make_groups_of_two_pods_of_eight_gpus() -> None:
    """Else there is nothing to compare."""
    (made,) = launched(nodes(2), (a_large_model("b000"),)).statuses.values()
    assert [(group["pods"], group["gpusPerPod"]) for group in made["groups"]] == [(2, 8)]
    template = LWS.make("b000", 1)["spec"]["leaderWorkerTemplate"]
    (container,) = template["workerTemplate"]["spec"]["containers"]
    assert (template["size"], container["resources"]["limits"]["nvidia.com/gpu"]) == (2, "8")
    assert [contender.make("b000", 100)["spec"]["replicas"] for contender in CONTENDERS] == [100, 100]


@pytest.mark.parametrize("contender", CONTENDERS, ids=lambda one: one.name)
def test_a_contender_knows_its_pods_and_nobody_elses(contender: Any) -> None:
    name, group, index = contender.labels
    other = LWS if contender is SHARDWISE else SHARDWISE
    pod = {"metadata": {"name": "p", "labels": {name: "b000", group: "3", index: "1"}}}
    assert contender.group(pod) == ("b000", "3")
    assert contender.is_worker(pod)
    assert other.group(pod) is None
    assert contender.group({"metadata": {"name": "p"}}) is None


def test_growth_is_told_as_a_ratio_from_one_size_to_the_next() -> None:
    one = Takeover(2.0, 3.0, 1.0, 100, 0, (Healed(0.01, 10, 1), Healed(0.01, 14, 2)))
    other = Takeover(5.0, 6.0, 4.0, 150, 0, (Healed(0.02, 10, 1), Healed(0.02, 14, 2)))
    found = {("real", (1000, 100)): one, ("real", (1000, 500)): other}
    rows = list(cluster._growth("real", ((1000, 100), (1000, 500)), found))
    assert rows == [["real", "100 → 500 objects", "×2.50", "×4.00", "×1.50", "×2.00"]]


def test_ratios_are_those_of_the_same_round() -> None:
    """One busy round may not make one side look slow in another."""
    found = {
        "Shardwise": [Turn(2.0, (0.1,)), Turn(3.0, (0.1,))],
        "LeaderWorkerSet": [Turn(4.0, (0.2,)), Turn(4.0, (0.4,))],
    }
    last = cluster._compared(found).splitlines()[-1]
    assert last == "| ratio | 0.62 (0.50 – 0.75) | 0.38 (0.25 – 0.50) |  |"


def test_a_group_that_was_not_made_again_counts_for_itself() -> None:
    """It says nothing of how long making one again takes."""
    one = Turn(2.0, (0.1, None, 0.3))
    assert (one.healing, one.missed, cluster._missed([one, Turn(2.0, (0.1,))])) == (0.2, 1, "1 of 4")
