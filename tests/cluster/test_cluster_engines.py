"""What the engines need beside their pods, on a real API server: rights, schemas, immutability, garbage collection."""

import base64
from typing import Any

import pytest
from tests.cluster.installed import MODELS, Running
from tests.cluster.waiting import wait_until
from tests.support.operating import a_large_model, a_model

Json = dict[str, Any]

TENSORRT_LLM: Json = {"name": "tensorrt-llm"}


def channel_template(name: str) -> Json:
    """Give the claim template that NVIDIA's controller makes for a ComputeDomain; here it asks for no device."""
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaimTemplate",
        "metadata": {"name": name, "namespace": MODELS},
        "spec": {"spec": {"devices": {"requests": []}}},
    }


@pytest.mark.parametrize("engine", ["sglang", "tensorrt-llm"])
def test_every_engine_is_launched_under_the_charts_rights(running: Running, engine: str) -> None:
    """Real scheduling, real admission; no call is refused for want of a right."""
    name = f"large-{engine}"
    running.apply(a_large_model(name, engine={"name": engine}))
    running.ready(name)
    assert len(running.pods(name)) == 2
    assert running.forbidden() == []


def test_keys_are_made_once_and_collected_with_their_object(running: Running) -> None:
    """Kept over attempts; the operator never asks to see them."""
    running.apply(a_large_model("keyed", engine=TENSORRT_LLM))
    running.ready("keyed")
    (secret,) = own(running, "secrets", "keyed")
    assert b"OPENSSH PRIVATE KEY" in base64.b64decode(secret["data"]["id"])
    running.fail("keyed-0-0-1", "CUDA error")
    running.until(lambda: running.status("keyed")["restarts"] == 1, "a restart")
    running.ready("keyed")
    assert [one["metadata"]["uid"] for one in own(running, "secrets", "keyed")] == [secret["metadata"]["uid"]]
    verbs = {call["verb"] for call in running.calls() if "/secrets" in call["requestURI"]}
    assert verbs == {"create"}
    running.plane.kubectl("delete", "shardedmodel", "keyed", "-n", MODELS, "--wait")
    wait_until(lambda: not own(running, "secrets", "keyed") and not own(running, "configmaps", "keyed"), "nothing left")


def test_files_and_keys_that_somebody_deletes_are_made_again_by_a_list(running: Running) -> None:
    """The operator may not read them: after each list it applies them again, and no pod is restarted."""
    running.apply(a_large_model("stripped", engine=TENSORRT_LLM))
    running.ready("stripped")
    pods = {pod["metadata"]["uid"] for pod in running.pods("stripped")}
    (files,) = own(running, "configmaps", "stripped")
    (keys,) = own(running, "secrets", "stripped")
    running.stop()
    for one in (f"configmap/{files['metadata']['name']}", f"secret/{keys['metadata']['name']}"):
        running.plane.kubectl("delete", one, "-n", MODELS)
    running.start()
    running.until(lambda: own(running, "configmaps", "stripped"), "the files made again")
    running.until(lambda: own(running, "secrets", "stripped"), "the keys made again")
    (again,) = own(running, "configmaps", "stripped")
    assert again["data"] == files["data"]
    assert {pod["metadata"]["uid"] for pod in running.pods("stripped")} == pods
    assert running.forbidden() == []


def test_other_options_are_another_config_map(running: Running) -> None:
    """The old one cannot be changed, and goes with the group that read it."""
    running.apply(a_model("options", engine=TENSORRT_LLM))
    running.ready("options")
    (before,) = own(running, "configmaps", "options")
    running.apply(a_model("options", engine=TENSORRT_LLM | {"options": {"print_iter_log": True}}))
    running.until(lambda: running.pod_names("options") == ["options-0-1-0"], "the second attempt")
    running.ready("options")
    running.until(lambda: len(own(running, "configmaps", "options")) == 1, "one set of files")
    (after,) = own(running, "configmaps", "options")
    assert before["immutable"] is after["immutable"] is True
    assert before["metadata"]["name"] != after["metadata"]["name"]


def test_a_compute_domain_comes_before_its_pods_and_goes_with_the_replica(running: Running) -> None:
    """Pods wait for a claim made from its template; the scheduler allocates it."""
    running.plane.kubectl("apply", "-f", "-", given=channel_template("trays-0-channel-2"))
    budget = {"products": ["NVIDIA-GB200"]}
    running.apply(a_model("trays", "deepseek-ai/DeepSeek-R1", 8, budget=budget, model_contextLength=8192))
    running.ready("trays")
    (domain,) = own(running, "computedomains", "trays")
    assert domain["spec"] == {
        "numNodes": 2,
        "channel": {"resourceClaimTemplate": {"name": "trays-0-channel-2"}, "allocationMode": "Single"},
    }
    claims = [claim for pod in running.pods("trays") for claim in pod["status"]["resourceClaimStatuses"]]
    assert len(claims) == 2
    running.plane.kubectl("scale", "shardedmodel/trays", "--replicas=0", "-n", MODELS)
    wait_until(lambda: not own(running, "computedomains", "trays"), "no ComputeDomain")


def own(running: Running, kind: str, name: str) -> list[Json]:
    """List the objects of a kind that were made for a model."""
    found: list[Json] = running.get(kind, "-l", f"shardwise.dev/model={name}")["items"]
    return found
