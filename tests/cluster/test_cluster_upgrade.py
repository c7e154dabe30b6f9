"""From the version before, as commit c287abe left it on a cluster: what serves goes on serving, under the new CRD."""

from collections.abc import Iterator
from typing import Any, Final

import pytest
import yaml
from tests.cluster.installed import MODELS, Running
from tests.cluster.waiting import wait_until
from tests.support.operating import a_model
from tests.support.repository import ROOT

from shardwise.api import crd

Json = dict[str, Any]

BEFORE: Final = ROOT / "tests" / "data" / "upgrade"


@pytest.fixture
def before(running: Running) -> Iterator[dict[str, set[str]]]:
    """Give a cluster as the version before left it, with its own CRD and no operator; by model, its pods' uids."""
    running.stop()
    put(running, yaml.safe_load((BEFORE / "crd.yaml").read_text()))
    try:
        recreate(running, list(yaml.safe_load_all((BEFORE / "objects.yaml").read_text())))
        running.until(lambda: all(served(pod) for name in ("two", "large") for pod in running.pods(name)), "all serve")
        yield {name: uids(running, name) for name in ("two", "large", "waits")}
    finally:
        put(running, crd.definition())
        if not running.alive():
            running.start()


def put(running: Running, definition: Json) -> None:
    """Apply a CRD as an upgrade does, and wait until its schema is served."""
    running.plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", given=definition)
    told = "gpusPerPod" in str(definition)
    explain = ("explain", "shardedmodel.status.groups.gpusPerPod")
    wait_until(lambda: ("FIELD:" in running.plane.kubectl(*explain, check=False)) is told, "the CRD served")


def recreate(running: Running, objects: list[Json]) -> None:
    """Make recorded objects again: what they own is theirs by their new uids."""
    models = [obj for obj in objects if obj["kind"] == "ShardedModel"]
    kubectl = running.plane.kubectl
    for model in models:
        kubectl("create", "-f", "-", given={key: value for key, value in model.items() if key != "status"})
    made = {name: running.get("shardedmodel", name) for name in (model["metadata"]["name"] for model in models)}
    for obj in objects:
        for owner in obj["metadata"].get("ownerReferences", ()):
            owner["uid"] = made[owner["name"]]["metadata"]["uid"]
    running.apply(*(obj for obj in objects if obj["kind"] != "ShardedModel"))
    for model in models:
        kubectl(
            "replace",
            "--subresource=status",
            "-f",
            "-",
            given=made[model["metadata"]["name"]] | {"status": model["status"]},
        )


def served(pod: Json) -> bool:
    conditions = {condition["type"]: condition["status"] for condition in pod["status"].get("conditions", ())}
    return conditions.get("Ready") == "True"


def reached(running: Running, name: str) -> list[str]:
    """Name the pods that the Service for clients selects. The previous version selected all leaders."""
    selector = ",".join(f"{key}={value}" for key, value in running.get("service", name)["spec"]["selector"].items())
    assert "shardwise.dev/serves=true" in selector
    return [pod["metadata"]["name"] for pod in running.get("pods", "-l", selector)["items"]]


def uids(running: Running, name: str) -> set[str]:
    return {pod["metadata"]["uid"] for pod in running.pods(name)}


def test_what_serves_is_taken_over_and_what_waits_waits_on(running: Running, before: dict[str, set[str]]) -> None:
    """No pod is another than before, no GPU is asked for twice, and from then on all is as with any other object."""
    put(running, crd.definition())
    running.start()
    running.until(lambda: "gpusPerPod" in str(running.status("two")), "two taken over")
    running.until(lambda: "gpusPerPod" in str(running.status("large")), "large taken over")
    running.until(lambda: "waitingSince" in running.status("waits"), "waits looked at")
    for name in ("two", "large"):
        status = running.ready(name)
        assert status["restarts"] == 0
        assert [group["attempt"] for group in status["groups"]] == [0] * len(status["groups"])
    assert {name: uids(running, name) for name in before} == before
    assert [reached(running, name) for name in ("two", "large")] == [["two-0-0-0", "two-1-0-0"], ["large-0-0-0"]]
    assert [pod["metadata"]["name"] for pod in running.pods("large")] == ["large-0-0-0", "large-0-0-1"]
    assert {event["reason"] for event in running.events("large")} & {"GroupRestarted", "GroupRemoved"} == set()


def test_after_the_upgrade_an_edit_rolls_and_room_is_used(running: Running, before: dict[str, set[str]]) -> None:
    put(running, crd.definition())
    running.start()
    running.until(lambda: "gpusPerPod" in str(running.status("two")), "two taken over")
    running.apply(a_model("two", gpus=4, replicas=2, engine={"args": ["--seed=8"]}))
    running.plane.kubectl("delete", "shardedmodel", "large", "-n", MODELS, "--wait")
    running.ready("waits")
    running.ready("two")
    assert not uids(running, "two") & before["two"]
    assert all("--seed=8" in pod["spec"]["containers"][0]["args"] for pod in running.pods("two"))


def test_an_edit_between_the_two_is_carried_out_one_after_the_other(
    running: Running, before: dict[str, set[str]]
) -> None:
    """Nobody has acted on it yet: what runs is of old content, holds its GPUs, and rolls."""
    put(running, crd.definition())
    running.apply(a_model("two", gpus=4, replicas=2, engine={"args": ["--seed=8"]}))
    running.start()
    running.ready("two")
    assert not uids(running, "two") & before["two"]
    assert all("--seed=8" in pod["spec"]["containers"][0]["args"] for pod in running.pods("two"))
    assert uids(running, "large") == before["large"]
