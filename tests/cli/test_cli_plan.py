"""``shardwise plan``: what it prints in each form, who gets which GPUs, and how it ends."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from syrupy.assertion import SnapshotAssertion
from tests.cli.support import H100_80GB, Json, Ran, a_list, a_model, a_pod, changed, renamed, shardwise, write, yaml_of

from shardwise_sandbox.demo import fleet_documents
from shardwise_sandbox.demo.play import EXPECTED

WIDE = a_model("llama-405b")
"""Needs both H100 nodes, whole."""

H100_NODES = ("h100-1", "h100-2")


def plan(objects: Path, fleet: Path, *more: str | Path, stdin: bytes = b"") -> Ran:
    return shardwise("plan", "-f", objects, "--fleet", fleet, *more, stdin=stdin)


def verdicts(ran: Ran) -> dict[str, bool]:
    return {answer["name"]: answer["fits"] for answer in ran.data}


def nodes(answer: Json) -> list[str]:
    return [pod["node"] for group in answer["plan"]["groups"] for pod in group["pods"]]


def on_h100(name: str, gpus: int, **changes: Any) -> Json:
    """Give an object whose tensor degree, and with it its GPUs, is pinned."""
    budget = {"total": gpus, "products": [H100_80GB]}
    pinned = {"tensor": gpus, "pipeline": 1}
    return renamed(a_model("llama-8b", spec__gpuBudget=budget, spec__parallelism=pinned, **changes), name)


def fleet_with(path: Path, *pods: Json) -> Path:
    return write(path, a_list([*fleet_documents(), *pods]))


def test_the_demos_objects_are_told_to_people(scene: Path, fleet: Path, snapshot: SnapshotAssertion) -> None:
    """All four are placed; the fleet beside them in the folder is passed over."""
    ran = plan(scene, fleet)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == snapshot


def test_the_demos_objects_are_told_to_machines(scene: Path, fleet: Path, snapshot: SnapshotAssertion) -> None:
    """Everything but the many layouts that lost, of which two stand for all."""
    ran = plan(scene, fleet, "-o", "json")
    assert (ran.status, ran.err) == (0, "")
    answers = ran.data
    for answer in answers:
        assert len(answer["plan"]["alternatives"]) <= answer["plan"]["alternativesTotal"]
        del answer["plan"]["alternatives"][2:]
    assert json.dumps(answers, indent=2) == snapshot


def test_the_demos_layouts_are_those_its_rules_give(scene: Path, fleet: Path) -> None:
    """The same four that the demo checks on a running cluster."""
    found = {
        one["name"]: (one["plan"]["tensor"], one["plan"]["pipeline"], len(set(nodes(one))))
        for one in plan(scene, fleet, "-o", "json").data
    }
    assert found == {name: (one.tensor, one.pipeline, one.nodes) for name, one in EXPECTED.items()}


def test_yaml_holds_the_same_data_as_json(scene: Path, fleet: Path) -> None:
    """Two spellings of one answer."""
    assert yaml.safe_load(plan(scene, fleet, "-o", "yaml").out) == plan(scene, fleet, "-o", "json").data


def test_text_in_a_pipe_is_neither_coloured_nor_wrapped(scene: Path, fleet: Path) -> None:
    """So that it can be searched line by line."""
    out = plan(scene, fleet).out
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) > 120
    assert out.count("\n\n") == 3, "one blank line between two answers"


@pytest.mark.parametrize("form", ["text", "json", "yaml"])
@pytest.mark.parametrize(
    ("objects", "status"),
    [
        ([a_model()], 0),
        ([WIDE], 1),
        ([a_model(), WIDE], 1),
        ([changed(a_model(), spec__gpuBudget__total=0)], 2),
        ([WIDE, changed(a_model(), spec__gpuBudget__total=0)], 2),
        ([changed(a_model(), spec__gpuBudget__total=0), WIDE, renamed(a_model(), "other")], 2),
    ],
    ids=["placed", "refused", "placed and refused", "invalid", "refused and invalid", "all three"],
)
def test_the_exit_status_is_that_of_the_worst_answer(
    tmp_path: Path, objects: list[Json], status: int, form: str
) -> None:
    """Whatever the form: 0 placed, 1 does not fit, 2 wrong."""
    l40s = [node for node in fleet_documents() if node["metadata"]["name"] == "l40s-1"]
    ran = plan(write(tmp_path / "o.yaml", *objects), write(tmp_path / "f.yaml", *l40s), "-o", form)
    assert ran.status == status


def test_a_refusal_says_why_and_what_would_help(tmp_path: Path, fleet: Path) -> None:
    """On standard output: it is an answer, no error."""
    ran = plan(write(tmp_path / "o.yaml", changed(WIDE, spec__gpuBudget__total=8)), fleet)
    assert (ran.status, ran.err) == (1, "")
    assert ran.out.startswith("× no placement for `llama-405b`: ")
    assert "hint: with `spec.gpuBudget.total: 1" in ran.out


def test_a_refusal_is_data_too(tmp_path: Path, fleet: Path) -> None:
    """With its stable reason, the layout that came closest, and hints to apply."""
    (answer,) = plan(write(tmp_path / "o.yaml", changed(WIDE, spec__gpuBudget__total=8)), fleet, "-o", "json").data
    assert answer.keys() == {"name", "namespace", "fits", "refusal"}
    assert answer["refusal"]["reason"] == "BudgetShort"
    assert answer["refusal"]["nearest"]["product"] == H100_80GB
    assert "`spec.gpuBudget.total" in answer["refusal"]["message"]


@pytest.mark.parametrize("first", ["one", "two"])
def test_objects_given_together_share_the_fleet_in_order(tmp_path: Path, fleet: Path, first: str) -> None:
    """Who stands first gets the GPUs, and the other waits for them."""
    second = {"one": "two", "two": "one"}[first]
    objects = write(tmp_path / "o.yaml", renamed(WIDE, first), renamed(WIDE, second))
    ran = plan(objects, fleet, "-o", "json")
    assert ran.status == 1
    assert verdicts(ran) == {first: True, second: False}
    assert ran.data[1]["refusal"]["reason"] == "CapacityShort"


def test_files_are_planned_in_the_order_they_are_given(tmp_path: Path, fleet: Path) -> None:
    """Not in that of their names."""
    one = write(tmp_path / "1.yaml", renamed(WIDE, "one"))
    two = write(tmp_path / "2.yaml", renamed(WIDE, "two"))
    ran = shardwise("plan", "-f", two, "-f", one, "--fleet", fleet, "-o", "json")
    assert verdicts(ran) == {"two": True, "one": False}


def test_independent_objects_do_not_share(tmp_path: Path, fleet: Path) -> None:
    """Each is planned as if it were alone."""
    objects = write(tmp_path / "o.yaml", renamed(WIDE, "one"), renamed(WIDE, "two"))
    ran = plan(objects, fleet, "--independent", "-o", "json")
    assert ran.status == 0
    assert [nodes(answer) for answer in ran.data] == [["h100-1", "h100-2"]] * 2


def test_an_object_that_does_not_fit_takes_nothing(tmp_path: Path, h100s: Path) -> None:
    """The next one gets what is there."""
    too_wide = changed(WIDE, metadata__name="wider", spec__model__contextLength=131072, spec__gpuBudget__total=8)
    ran = plan(write(tmp_path / "o.yaml", too_wide, WIDE), h100s, "-o", "json")
    assert verdicts(ran) == {"wider": False, "llama-405b": True}


@pytest.mark.parametrize(
    ("owner", "namespace", "fits"),
    [
        ("llama-405b", "default", True),
        ("another", "default", False),
        ("llama-405b", "elsewhere", False),
        (None, "default", False),
    ],
    ids=["its own", "another's", "its namesake's", "a stranger's"],
)
def test_an_object_that_runs_already_is_planned_as_if_its_pods_held_nothing(
    tmp_path: Path, owner: str | None, namespace: str, fits: bool
) -> None:
    """Its own GPUs are its own; anybody else's are taken."""
    pods = [a_pod(f"p-{node}", node, 8, owner=owner, namespace=namespace) for node in H100_NODES]
    ran = plan(write(tmp_path / "o.yaml", WIDE), fleet_with(tmp_path / "f.yaml", *pods), "-o", "json")
    assert verdicts(ran) == {"llama-405b": fits}


def test_an_object_without_namespace_is_the_one_in_default(tmp_path: Path) -> None:
    """As kubectl would apply it."""
    pods = [a_pod(f"p-{node}", node, 8, owner="llama-405b") for node in H100_NODES]
    bare = changed(WIDE, metadata__namespace=None)
    ran = plan(write(tmp_path / "o.yaml", bare), fleet_with(tmp_path / "f.yaml", *pods), "-o", "json")
    assert [(answer["namespace"], answer["fits"]) for answer in ran.data] == [("default", True)]


def test_a_running_object_counts_once_for_the_next(tmp_path: Path, h100s: Path) -> None:
    """By its plan, not by its pods and its plan: 12 of 16 GPUs are left for the two after it."""
    running = write(tmp_path / "p.yaml", a_pod("first-0-0-0", "h100-1", 4, owner="first"))
    objects = write(tmp_path / "o.yaml", on_h100("first", 4), on_h100("second", 8), on_h100("third", 4))
    ran = plan(objects, h100s, "--fleet", running, "-o", "json")
    assert ran.status == 0
    assert [nodes(answer) for answer in ran.data] == [["h100-1"], ["h100-2"], ["h100-1"]]


def test_a_running_object_that_comes_later_keeps_its_gpus(tmp_path: Path) -> None:
    """Its pods are there, whatever the order of the files."""
    pods = [a_pod("second-0-0-0", "h100-1", 8, owner="second")]
    objects = write(tmp_path / "o.yaml", on_h100("first", 8), on_h100("second", 8))
    ran = plan(objects, fleet_with(tmp_path / "f.yaml", *pods), "-o", "json")
    assert [nodes(answer) for answer in ran.data] == [["h100-2"], ["h100-1"]]


def test_objects_come_from_standard_input(fleet: Path) -> None:
    """``kustomize build | shardwise plan -f -``."""
    ran = plan(Path("-"), fleet, stdin=yaml_of(a_model()).encode())
    assert ran.status == 0
    assert ran.out.startswith("✓ `llama-8b`: TP1×PP1 on 1 NVIDIA-L40S (l40s-1)\n")


def test_the_fleet_comes_from_standard_input(scene: Path) -> None:
    """``kubectl get nodes,pods -A -o json | shardwise plan --fleet -``."""
    given = json.dumps(a_list(fleet_documents())).encode()
    assert verdicts(plan(scene, Path("-"), "-o", "json", stdin=given)) == dict.fromkeys(EXPECTED, True)


def test_objects_and_fleet_come_from_one_folder(scene: Path, fleet: Path) -> None:
    """Each reads its own kinds, and passes over the other's."""
    assert plan(scene, scene).out == plan(scene, fleet).out


def test_kinds_beside_are_passed_over(tmp_path: Path, fleet: Path) -> None:
    """As they lie in a GitOps folder, wrong or not."""
    secret = {"kind": "Secret", "metadata": [3]}
    no_kind = {"resources": ["a.yaml"]}
    ran = plan(write(tmp_path / "o.yaml", secret, a_model(), no_kind), fleet, "-o", "json")
    assert (ran.status, ran.err) == (0, "")
    assert verdicts(ran) == {"llama-8b": True}


def test_a_list_of_objects_from_kubectl_is_planned(tmp_path: Path, fleet: Path) -> None:
    """``kubectl get shardedmodels -o yaml``, whose objects have a status and what the server adds."""
    served = changed(a_model(), metadata__uid="u", metadata__generation=2, status={"message": "x", "restarts": 0})
    assert verdicts(plan(write(tmp_path / "o.yaml", a_list([served])), fleet, "-o", "json")) == {"llama-8b": True}


def test_a_terminal_that_cannot_show_every_character_shows_a_question_mark(scene: Path, fleet: Path) -> None:
    """Instead of a traceback."""
    ran = shardwise("plan", "-f", scene / "3-llama-405b.yaml", "--fleet", fleet, encoding="ascii")
    assert ran.status == 0
    assert ran.out.startswith("? `llama-405b`: TP8?PP2 on 16 NVIDIA-H100-80GB-HBM3 (h100-1, h100-2)\n")


def test_json_is_plain_ascii(scene: Path, fleet: Path) -> None:
    """No terminal or pipe can spoil it."""
    ran = plan(scene, fleet, "-o", "json")
    assert ran.out.isascii()
    assert ran.data == shardwise("plan", "-f", scene, "--fleet", fleet, "-o", "json", encoding="ascii").data
