"""The main job on a real API server, with real scheduling, under exactly the chart's rights."""

import signal
from collections import Counter
from functools import partial
from typing import Any

import trustme
from tests.cluster.installed import ACCOUNT, MODELS, Installed, Running, relaxed
from tests.cluster.plane import ControlPlane
from tests.cluster.test_cluster_engines import channel_template
from tests.cluster.waiting import wait_until
from tests.support.operating import a_large_model, a_model

from shardwise.api import crd
from shardwise_sandbox.demo import object_documents

Json = dict[str, Any]


def nodes(pods: list[Json]) -> list[str]:
    return [pod["spec"]["nodeName"] for pod in pods]


def stalled_by_spec(running: Running, name: str) -> Json:
    condition = running.condition(name, "Stalled")
    return condition if condition.get("reason") == "InvalidSpec" else {}


def test_the_objects_of_the_demo_are_launched_where_they_were_planned(running: Running) -> None:
    """By the real scheduler; and no node is given more GPUs than it has."""
    objects = [
        document | {"metadata": {**document["metadata"], "namespace": MODELS}} for document in object_documents()
    ]
    running.plane.kubectl("apply", "-f", "-", given=channel_template("deepseek-r1-0-channel-2"))
    running.apply(*objects)
    held: Counter[str] = Counter()
    for obj in objects:
        name = obj["metadata"]["name"]
        status = running.ready(name)
        planned = [node for group in status["groups"] for node in group["nodes"]]
        pods = running.pods(name)
        assert nodes(pods) == planned
        for pod in pods:
            held[pod["spec"]["nodeName"]] += int(
                pod["spec"]["containers"][0]["resources"]["requests"]["nvidia.com/gpu"]
            )
    capacity = {
        node["metadata"]["name"]: int(node["status"]["allocatable"]["nvidia.com/gpu"])
        for node in running.get("nodes")["items"]
    }
    assert all(gpus <= capacity[node] for node, gpus in held.items())


def test_people_see_what_they_need(running: Running) -> None:
    """Kubectl get, describe, explain, wait, scale: nothing else is needed."""
    running.apply(a_model("people", gpus=2))
    running.ready("people")
    kubectl = running.plane.kubectl
    table = kubectl("get", "shardedmodels", "-n", MODELS)
    assert table.split("\n")[0].split()[:2] == ["NAME", "READY"]
    assert "True" in table
    assert "Planned" in kubectl("describe", "shardedmodel", "people", "-n", MODELS)
    assert "gpuBudget" in kubectl("explain", "shardedmodel.spec")
    kubectl("scale", "shardedmodel/people", "--replicas=2", "-n", MODELS)
    status = running.until(lambda: running.status("people").get("readyReplicas") == 2 and running.status("people"), "2")
    assert status["replicas"] == 2
    assert {"Planned", "GroupReady"} <= {event["reason"] for event in running.events("people")}


def test_a_rank_that_dies_takes_its_group_along_and_all_come_back(running: Running) -> None:
    running.apply(a_large_model("healed"))
    running.ready("healed")
    before = {pod["metadata"]["uid"] for pod in running.pods("healed")}
    running.fail("healed-0-0-1", "CUDA error")
    running.until(lambda: running.status("healed")["restarts"] == 1, "a restart")
    status = running.ready("healed")
    assert running.pod_names("healed") == ["healed-0-1-0", "healed-0-1-1"]
    assert not before & {pod["metadata"]["uid"] for pod in running.pods("healed")}
    assert status["groups"][0]["attempt"] == 1


def test_a_pod_somebody_deletes_takes_its_group_along_and_all_come_back(running: Running) -> None:
    running.apply(a_large_model("deleted"))
    running.ready("deleted")
    running.plane.kubectl("delete", "pod", "deleted-0-0-0", "-n", MODELS)
    running.until(lambda: running.pod_names("deleted") == ["deleted-0-1-0", "deleted-0-1-1"], "the second attempt")
    running.ready("deleted")


def test_an_operator_killed_in_the_middle_is_followed_by_one_that_finishes(running: Running) -> None:
    """Killed, not asked to end; what it made is found again, nothing twice."""
    running.apply(a_large_model("cut"))
    running.until(lambda: running.status("cut").get("plan"), "a plan")
    running.stop(signal.SIGKILL)
    running.start()
    running.apply(a_model("after"))
    running.ready("after")
    running.ready("cut")
    assert running.pod_names("cut") == ["cut-0-0-0", "cut-0-0-1"]
    before = {pod["metadata"]["uid"] for pod in running.pods("cut")}
    assert running.stop() == 0
    running.start()
    running.apply(a_model("later"))
    running.ready("later")
    assert {pod["metadata"]["uid"] for pod in running.pods("cut")} == before


def test_an_edit_is_carried_out_and_a_deletion_leaves_nothing(running: Running) -> None:
    running.apply(a_model("edited"))
    running.ready("edited")
    change = a_model("edited")
    change["spec"]["engine"] = {"args": ["--seed=7"]}
    running.apply(change)
    running.until(lambda: running.pod_names("edited") == ["edited-0-1-0"], "the second attempt")
    running.ready("edited")
    (pod,) = running.pods("edited")
    assert "--seed=7" in pod["spec"]["containers"][0]["args"]
    running.plane.kubectl("delete", "shardedmodel", "edited", "-n", MODELS, "--wait")
    wait_until(lambda: running.pods("edited") == [], "no pods")
    left = running.plane.kubectl("get", "services", "-n", MODELS, "-l", "shardwise.dev/model=edited", "-o", "name")
    wait_until(lambda: left == "" or running.get("services", "-l", "shardwise.dev/model=edited")["items"] == [], "none")


def test_a_strange_object_of_an_older_crd_is_told_and_others_are_served(running: Running) -> None:
    """It got past a schema that allowed everything; its status says what is wrong, or an Event where none can."""
    kubectl = running.plane.kubectl
    definition = crd.definition()
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", given=relaxed(definition))
    stranger = a_model("stranger") | {"spec": {"model": "llama", "gpuBudget": ["many"], "replicas": 1}}
    wrong_type = a_model("wrong-type", engine={"args": "--seed=7"})
    out_of_range = a_model("out-of-range", gpus=0)
    try:
        for one in (stranger, wrong_type, out_of_range):
            wait_until(partial(kubectl, "create", "-f", "-", given=one), "a strange object let in")
    finally:
        kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", given=definition)
    for name, field in (("wrong-type", "spec.engine.args"), ("out-of-range", "spec.gpuBudget.total")):
        stalled = running.until(partial(stalled_by_spec, running, name), f"{name} Stalled")
        assert field in stalled["message"]
    (event,) = running.until(lambda: running.events("stranger"), "an Event")
    assert (event["reason"], event["type"]) == ("InvalidSpec", "Warning")
    assert "spec.gpuBudget" in event["message"]
    running.apply(a_model("sane"))
    running.ready("sane")


def test_a_token_that_is_rotated_is_read_again(running: Running, installed: Installed) -> None:
    """The old one is refused from then on; nothing is restarted."""
    running.apply(a_model("old"))
    running.ready("old")
    installed.rotate()
    running.apply(a_model("new"))
    running.ready("new")
    assert running.alive()


def test_a_certificate_that_is_rotated_is_read_again(installed: Installed, own_plane: ControlPlane) -> None:
    """The authority of the old one is no longer taken, also on connections that are open; nothing is restarted."""
    keys, first, second = own_plane.keys, trustme.CA(), trustme.CA()
    keys.trust(first)
    old = own_plane.kubeconfig_for("old", keys.issue("old", ACCOUNT, by=first))
    whoami = (f"--kubeconfig={old}", "auth", "whoami")
    wait_until(lambda: ACCOUNT in own_plane.kubectl(*whoami), "the first authority taken")
    with installed.running(keys.issue("operator", ACCOUNT, by=first)) as running:
        running.apply(a_model("old"))
        running.ready("old")
        keys.issue("operator", ACCOUNT, by=second)
        keys.trust(second)
        wait_until(lambda: "Unauthorized" in own_plane.kubectl(*whoami, check=False), "the first authority refused")
        running.apply(a_model("new"))
        running.ready("new")
        assert running.alive()


def test_a_wrong_object_is_refused_by_the_api_server_with_the_field(running: Running) -> None:
    """CEL rules and bounds: before the operator ever sees it."""
    wrong = a_model("wrong")
    wrong["spec"]["gpuBudget"]["total"] = 0
    said = running.plane.kubectl("create", "-f", "-", given=wrong, check=False)
    assert "spec.gpuBudget.total" in said
    assert "greater than or equal to 1" in said
