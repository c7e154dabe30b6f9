"""``shardwise fleet`` and ``plan -o svg``: the fleet as the operator sees it, in words, as data, as a picture."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml
from syrupy.assertion import SnapshotAssertion
from tests.cli.support import Json, a_list, a_model, a_pod, changed, renamed, shardwise, write

from shardwise_sandbox.demo import fleet_documents

SVG = "{http://www.w3.org/2000/svg}"


def node(name: str) -> Json:
    return next(document for document in fleet_documents() if document["metadata"]["name"] == name)


@pytest.fixture
def lived_in(tmp_path: Path) -> Path:
    """Give the demo's fleet with pods of two models and of a stranger, a cordoned node and a faulty tray."""
    cordoned = changed(node("h100-2"), spec__unschedulable=True)
    faulty = node("gb200-r1-t3")
    faulty["status"]["conditions"].append({"type": "GpuMemWatch", "status": "True"})
    changes = {one["metadata"]["name"]: one for one in (cordoned, faulty)}
    nodes = [changes.get(document["metadata"]["name"], document) for document in fleet_documents()]
    cpu = {"kind": "Node", "metadata": {"name": "cpu-1"}}
    planned = {
        "kind": "ShardedModel",
        "metadata": {"name": "waiting", "namespace": "default"},
        "status": {
            "groups": [{"replica": 0, "attempt": 0, "state": "Pending", "nodes": ["gb200-r1-t4"], "gpusPerPod": 4}]
        },
    }
    pods = [a_pod("a", "h100-1", 4, owner="llama"), a_pod("b", "h100-1", 1), a_pod("c", "l40s-1", 2, owner="qwen")]
    return write(tmp_path / "fleet.yaml", a_list([*nodes, cpu, *pods, planned]))


def test_the_fleet_is_told_to_people(lived_in: Path, snapshot: SnapshotAssertion) -> None:
    ran = shardwise("fleet", "--fleet", lived_in)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == snapshot


def test_the_fleet_is_told_to_machines(lived_in: Path, snapshot: SnapshotAssertion) -> None:
    ran = shardwise("fleet", "--fleet", lived_in, "-o", "json")
    assert (ran.status, ran.err) == (0, "")
    assert json.dumps(ran.data, indent=2) == snapshot
    assert yaml.safe_load(shardwise("fleet", "--fleet", lived_in, "-o", "yaml").out) == ran.data


def test_the_fleet_is_drawn(lived_in: Path, snapshot: SnapshotAssertion) -> None:
    """To the letter: look at it before you accept another."""
    ran = shardwise("fleet", "--fleet", lived_in, "-o", "svg")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.replace("><", ">\n<") == snapshot


def test_what_nodes_alone_say_is_shown(tmp_path: Path) -> None:
    """All is free then."""
    ran = shardwise("fleet", "--fleet", write(tmp_path / "f.yaml", node("l40s-1")))
    assert ran.out.splitlines()[0] == "1 node, 4 GPUs: 4 free"


def test_the_configuration_says_how_the_fleet_is_read(tmp_path: Path) -> None:
    labelled = node("l40s-1")
    labelled["metadata"]["labels"]["example.com/rack"] = "r7"
    fleet = write(tmp_path / "f.yaml", labelled)
    levels = [{"name": "rack", "labels": ["example.com/rack"]}]
    config = write(tmp_path / "c.yaml", {"fleet": {"levels": levels, "faultConditions": ["Ready=True"]}})
    out = shardwise("fleet", "--fleet", fleet, "--config", config).out
    assert "reports a GPU fault (Ready)   in rack r7" in out


def test_a_plan_is_drawn_on_the_fleet(lived_in: Path, tmp_path: Path) -> None:
    """With its ranks, those of two replicas alike, and all that others hold."""
    model = write(tmp_path / "m.yaml", a_model("llama-8b", spec__replicas=2, spec__gpuBudget={"total": 2}))
    ran = shardwise("plan", "-f", model, "--fleet", lived_in, "-o", "svg")
    assert (ran.status, ran.err) == (0, "")
    picture = ET.fromstring(ran.out)  # noqa: S314 - our own document
    titles = [element.text or "" for element in picture.iter(f"{SVG}title")]
    assert sum("default/llama-8b, replica" in title for title in titles) == 2
    assert sum(title.endswith(": default/llama") for title in titles) == 4
    assert next(element.text for element in picture.iter(f"{SVG}text")) == "llama-8b: TP1×PP1"


def test_a_picture_of_many_plans_names_the_first(tmp_path: Path) -> None:
    models = [renamed(a_model("llama-8b"), f"m{index}") for index in range(6)]
    fleet = write(tmp_path / "f.yaml", a_list(fleet_documents()))
    ran = shardwise("plan", "-f", write(tmp_path / "m.yaml", *models), "--fleet", fleet, "-o", "svg")
    title = next(element.text for element in ET.fromstring(ran.out).iter(f"{SVG}text"))  # noqa: S314 - our own document
    assert title == "m0: TP1×PP1; m1: TP1×PP1; m2: TP1×PP1; m3: TP1×PP1; 2 others"


def test_an_object_that_runs_is_drawn_where_it_would_be_now(lived_in: Path, tmp_path: Path) -> None:
    """Not twice: its pods make room for its plan."""
    mine = a_model("llama-8b")
    mine["metadata"]["name"] = "llama"
    ran = shardwise("plan", "-f", write(tmp_path / "m.yaml", mine), "--fleet", lived_in, "-o", "svg")
    titles = [element.text or "" for element in ET.fromstring(ran.out).iter(f"{SVG}title")]  # noqa: S314 - our own document
    assert sum("default/llama" in title for title in titles) == 1


def test_what_does_not_fit_is_said_beside_the_picture(lived_in: Path, tmp_path: Path) -> None:
    wide = a_model("llama-405b", spec__gpuBudget={"total": 1})
    ran = shardwise("plan", "-f", write(tmp_path / "m.yaml", wide), "--fleet", lived_in, "-o", "svg")
    assert ran.status == 1
    assert "Nothing placed" in ran.out
    assert "no placement for `llama-405b`" in ran.err or ran.err.startswith("×")


def test_a_fleet_without_nodes_is_wrong_input(tmp_path: Path) -> None:
    ran = shardwise("fleet", "--fleet", write(tmp_path / "f.yaml", {"kind": "ConfigMap"}))
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("error: no Node in ")


def test_a_plan_in_a_dump_that_is_none_is_wrong_input(tmp_path: Path) -> None:
    wrong = {
        "kind": "ShardedModel",
        "metadata": {"name": "m"},
        "status": {"groups": [{"gpusPerPod": "8"}]},
    }
    ran = shardwise("fleet", "--fleet", write(tmp_path / "f.yaml", a_list([node("l40s-1"), wrong])))
    assert ran.status == 2
    assert "status.groups.0.gpusPerPod: `8` is not a whole number" in ran.err
