"""What each gang scheduler needs on pods and in its own object, and what it says of them."""

from typing import Any

import pytest
from kubernetes.aio.client import V1beta1PodGroup

from shardwise.domain.launch import GangSystem
from shardwise.queues import GANGS, GangEntry, Phase, gang_of, waits_for_gang

Json = dict[str, Any]

REQUESTS = (("cpu", "32"), ("nvidia.com/gpu", "16"))
ENTRY = GangEntry("m-0-1", 2, REQUESTS, priority_class="high")
QUEUED = GangEntry("m-0-1", 2, REQUESTS, queue="team")
NAMED = GangEntry("m-0-1", 2, REQUESTS, scheduler="mine")


def a_pod(**spec: Any) -> Json:
    return {"metadata": {"name": "m-0-1-0", "labels": {"a": "b"}, "annotations": {"c": "d"}}, "spec": {"x": 1, **spec}}


NATIVE, VOLCANO, KAI, PLUGIN = (
    GangSystem.NATIVE,
    GangSystem.VOLCANO,
    GangSystem.KAI,
    GangSystem.COSCHEDULING,
)
V1ALPHA2, V1BETA1 = "scheduling.k8s.io/v1alpha2", "scheduling.k8s.io/v1beta1"
GANG = {"schedulingPolicy": {"gang": {"minCount": 2}}}
TOTAL = {"cpu": "32", "nvidia.com/gpu": "16"}

PODS = {
    "native": (NATIVE, ENTRY, {}, {}, {"schedulingGroup": {"podGroupName": "m-0-1"}}),
    "native, another scheduler": (
        NATIVE,
        NAMED,
        {},
        {},
        {"schedulingGroup": {"podGroupName": "m-0-1"}, "schedulerName": "mine"},
    ),
    "Volcano": (VOLCANO, QUEUED, {}, {"scheduling.k8s.io/group-name": "m-0-1"}, {"schedulerName": "volcano"}),
    "Volcano by another name": (
        VOLCANO,
        NAMED,
        {},
        {"scheduling.k8s.io/group-name": "m-0-1"},
        {"schedulerName": "mine"},
    ),
    "KAI": (
        KAI,
        QUEUED,
        {"kai.scheduler/queue": "team"},
        {"pod-group-name": "m-0-1", "kai.scheduler/skip-podgrouper": "true"},
        {"schedulerName": "kai-scheduler"},
    ),
    "coscheduling": (
        PLUGIN,
        ENTRY,
        {"scheduling.x-k8s.io/pod-group": "m-0-1"},
        {},
        {"schedulerName": "scheduler-plugins-scheduler"},
    ),
}


@pytest.mark.parametrize(("system", "entry", "labels", "annotations", "spec"), PODS.values(), ids=PODS)
def test_a_pod_says_to_which_gang_it_belongs(
    system: GangSystem, entry: GangEntry, labels: Json, annotations: Json, spec: Json
) -> None:
    pod = a_pod()
    made = GANGS[system].ganged(pod, entry)
    assert made["metadata"] == {
        "name": "m-0-1-0",
        "labels": {"a": "b", **labels},
        "annotations": {"c": "d", **annotations},
    }
    assert made["spec"] == {"x": 1, **spec}
    assert pod == a_pod(), "the manifest that was given is not changed"


@pytest.mark.parametrize("system", [VOLCANO, KAI, PLUGIN])
def test_a_scheduler_that_the_object_names_stays(system: GangSystem) -> None:
    """Any of them may run under another name."""
    assert GANGS[system].ganged(a_pod(schedulerName="own"), ENTRY)["spec"]["schedulerName"] == "own"


SPECS = {
    "native, 1.36": (NATIVE, ENTRY, V1ALPHA2, {**GANG, "disruptionMode": "PodGroup", "priorityClassName": "high"}),
    "native, 1.37": (NATIVE, ENTRY, V1BETA1, {**GANG, "disruptionMode": {"all": {}}, "priorityClassName": "high"}),
    "native, without a class": (NATIVE, QUEUED, V1ALPHA2, {**GANG, "disruptionMode": "PodGroup"}),
    "native, inside a domain": (
        NATIVE,
        GangEntry("m-0-1", 2, topology="nvidia.com/gpu.clique"),
        V1ALPHA2,
        {
            **GANG,
            "disruptionMode": "PodGroup",
            "schedulingConstraints": {"topology": [{"key": "nvidia.com/gpu.clique"}]},
        },
    ),
    "Volcano": (VOLCANO, QUEUED, "", {"minMember": 2, "minResources": TOTAL, "queue": "team"}),
    "Volcano, its own queue": (
        VOLCANO,
        ENTRY,
        "",
        {"minMember": 2, "minResources": TOTAL, "priorityClassName": "high"},
    ),
    "KAI": (KAI, QUEUED, "", {"minMember": 2, "queue": "team"}),
    "KAI, with a class": (KAI, ENTRY, "", {"minMember": 2, "priorityClassName": "high"}),
    "coscheduling": (PLUGIN, QUEUED, "", {"minMember": 2}),
}


@pytest.mark.parametrize(("system", "entry", "version", "spec"), SPECS.values(), ids=SPECS)
def test_a_gang_is_all_pods_of_a_replica(system: GangSystem, entry: GangEntry, version: str, spec: Json) -> None:
    assert GANGS[system].group_spec(entry, version) == spec


def test_the_group_of_1_37_is_what_the_client_of_its_release_reads() -> None:
    """No server of 1.37 runs in the tests: the types of its own client stand for it."""
    spec = GANGS[NATIVE].group_spec(ENTRY, V1BETA1)
    read = V1beta1PodGroup.from_dict({"metadata": {"name": "m-0-1"}, "spec": spec})
    assert read is not None
    found = read.to_dict()["spec"]
    assert found["scheduling_policy"]["gang"] == {"min_count": 2}
    assert (found["disruption_mode"], found["priority_class_name"]) == ({"all": {}, "single": None}, "high")


def told(kind: str, status: str, message: str = "") -> Json:
    return {"conditions": [{"type": kind, "status": status, "reason": "R", "message": message}]}


SAID = {
    "native waits": (NATIVE, told("PodGroupScheduled", "False", "no room"), Phase.WAITING, "no room"),
    "native is bound": (NATIVE, told("PodGroupScheduled", "True"), Phase.ADMITTED, "R"),
    "native is bound, 1.37": (NATIVE, told("PodGroupInitiallyScheduled", "True"), Phase.ADMITTED, "R"),
    "native says nothing": (NATIVE, {}, Phase.WAITING, ""),
    "Volcano waits": (VOLCANO, told("Unschedulable", "True", "1/2 tasks"), Phase.WAITING, "1/2 tasks"),
    "Volcano runs": (VOLCANO, {"phase": "Running"}, Phase.ADMITTED, ""),
    "KAI waits": (KAI, {"schedulingConditions": [{"message": "no GPUs"}]}, Phase.WAITING, "no GPUs"),
    "KAI runs": (KAI, {"running": 2}, Phase.ADMITTED, ""),
    "coscheduling waits": (PLUGIN, {"phase": "Pending"}, Phase.WAITING, ""),
    "coscheduling runs": (PLUGIN, {"phase": "Running"}, Phase.ADMITTED, ""),
}


@pytest.mark.parametrize(("system", "status", "phase", "words"), SAID.values(), ids=SAID)
def test_what_a_scheduler_says_of_a_group(system: GangSystem, status: Json, phase: Phase, words: str) -> None:
    group = GANGS[system].read_group({"metadata": {"uid": "u"}, "status": status})
    assert (group.phase, group.words, group.uid) == (phase, words, "u")


WAITS = {
    "native: others": ({"message": "waiting for minCount pods from a gang to be scheduled"}, True),
    "native: its own node": ({"message": "0/4 nodes are available: Insufficient nvidia.com/gpu"}, False),
    "Volcano: others": ({"reason": "Schedulable", "message": "3/3 tasks in gang unschedulable"}, True),
    "Volcano: its own node": ({"reason": "Unschedulable", "message": "node is full"}, False),
    "coscheduling: others": ({"message": "rejected: optimistic rejection in PostFilter"}, True),
    "coscheduling: its own node": ({"message": "Insufficient cpu, PodGroup x gets rejected due to Pod y"}, False),
    "nothing": ({}, False),
}


@pytest.mark.parametrize(("scheduled", "waits"), WAITS.values(), ids=WAITS)
def test_a_pod_that_only_waits_for_its_gang_is_told_from_one_without_a_node(scheduled: Json, *, waits: bool) -> None:
    """No node is to blame for it."""
    assert waits_for_gang(scheduled) is waits


def test_a_gate_that_is_off_is_noticed_on_both_halves_of_the_cluster() -> None:
    """Neither the API server nor the scheduler complains."""
    native = GANGS[NATIVE]
    silent = native.read_group({"metadata": {}})
    bound = native.read_group({"metadata": {}, "status": told("PodGroupScheduled", "True")})
    assert "API server" in native.ignored(silent, kept=False, bound=False)
    assert "scheduler" in native.ignored(silent, kept=True, bound=True)
    assert native.ignored(silent, kept=True, bound=False) == ""
    assert native.ignored(bound, kept=True, bound=True) == ""
    assert native.ignored(None, kept=True, bound=True) == "", "the group is being made again"


def test_an_api_version_names_its_system() -> None:
    for system, module in GANGS.items():
        assert {gang_of(version) for version in module.SERVED_BY} == {system}
    with pytest.raises(LookupError, match="no gang scheduler has groups of `v1`"):
        gang_of("v1")
