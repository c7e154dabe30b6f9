"""Wrong input: exit status 2, one clear line for each thing that is wrong, on standard error; and the way to help."""

import json
from pathlib import Path
from typing import NoReturn

import pytest
import yaml
from tests.cli.support import Json, Ran, a_model, a_pod, changed, renamed, shardwise, write

from shardwise import __version__
from shardwise.hub import HubError
from shardwise_sandbox.demo import fleet_documents

COMMANDS = ["plan", "explain", "render", "fleet", "inspect", "crds", "run", "status", "completion"]


def plan(objects: Path, fleet: Path, *more: str, stdin: bytes = b"") -> Ran:
    return shardwise("plan", "-f", objects, "--fleet", fleet, *more, stdin=stdin)


WRONG_OBJECTS: dict[str, tuple[Json, list[str]]] = {
    "a value out of range": (
        changed(a_model(), spec__gpuBudget__total=0),
        ["default/llama-8b: spec.gpuBudget.total: `0` must be at least 1"],
    ),
    "a degree beyond the budget": (
        changed(a_model(), spec__parallelism={"tensor": 3}, metadata__namespace="team"),
        ["team/llama-8b: spec.parallelism: tensor 3 x pipeline 1 need 3 GPUs, "],
    ),
    "a release that is too old": (
        changed(a_model(), spec__engine={"name": "sglang", "version": "0.4.10"}),
        ["default/llama-8b: spec.engine.version: `0.4.10` is sglang 0.4.10: 0.5.0 or later is needed"],
    ),
    "arguments that contradict the plan": (
        changed(a_model(), spec__engine={"args": ["--port=1", "--tensor-parallel-size=2"]}),
        [
            "default/llama-8b: spec.engine.args.0: `--port=1` would contradict the plan; use `spec.service.port`",
            "default/llama-8b: spec.engine.args.1: `--tensor-parallel-size=2` would contradict the plan; use ",
        ],
    ),
    "another version of the object": (
        changed(a_model(), apiVersion="shardwise.dev/v1beta1"),
        ["default/llama-8b: apiVersion: `shardwise.dev/v1beta1` is not `shardwise.dev/v1alpha1`"],
    ),
    "nothing but a kind": (
        {"kind": "ShardedModel"},
        ["default/unnamed: apiVersion: `None` is not `shardwise.dev/v1alpha1`"],
    ),
    "a config that is none": (
        changed(a_model(), spec__model={"name": "x/y", "config": {"hidden_size": 8}}),
        ["default/llama-8b: spec.model.config: "],
    ),
}


@pytest.mark.parametrize("command", ["plan", "render"])
@pytest.mark.parametrize(("document", "problems"), WRONG_OBJECTS.values(), ids=WRONG_OBJECTS)
def test_a_wrong_object_gets_one_line_for_each_problem(
    tmp_path: Path, fleet: Path, document: Json, problems: list[str], command: str
) -> None:
    """With namespace, name, field and what would be right."""
    ran = shardwise(command, "-f", write(tmp_path / "o.yaml", document), "--fleet", fleet)
    assert (ran.status, ran.out) == (2, "")
    lines = ran.err.splitlines()
    assert len(lines) == len(problems)
    for line, problem in zip(lines, problems, strict=True):
        assert line.startswith(f"error: {problem}")


def test_every_problem_of_an_object_is_said_at_once(tmp_path: Path, fleet: Path) -> None:
    """Not one after the other, run after run."""
    wrong = changed(a_model(), spec__gpuBudget__total=0, spec__replicas=-1, spec__nonsense=3)
    lines = plan(write(tmp_path / "o.yaml", wrong), fleet).err.splitlines()
    assert sorted(line.split(": ")[2] for line in lines) == ["spec.gpuBudget.total", "spec.nonsense", "spec.replicas"]


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_data_stays_data_when_some_objects_are_wrong(tmp_path: Path, fleet: Path, form: str) -> None:
    """The wrong ones are in it too, in their places, and said on standard error."""
    wrong = changed(renamed(a_model(), "wrong"), spec__gpuBudget__total=0)
    objects = write(tmp_path / "o.yaml", a_model(), wrong, a_model("llama-70b"))
    ran = plan(objects, fleet, "-o", form)
    assert ran.status == 2
    assert ran.err == "error: default/wrong: spec.gpuBudget.total: `0` must be at least 1\n"
    answers = json.loads(ran.out) if form == "json" else yaml.safe_load(ran.out)
    assert [(answer["name"], answer["fits"]) for answer in answers] == [
        ("llama-8b", True),
        ("wrong", False),
        ("llama-70b", True),
    ]
    assert answers[1]["refusal"] == {
        "reason": "InvalidObject",
        "message": "spec.gpuBudget.total: `0` must be at least 1",
        "nearest": None,
        "hints": [],
    }


def test_text_holds_only_the_answers(tmp_path: Path, fleet: Path) -> None:
    """A wrong object leaves no gap between those of the others."""
    wrong = changed(renamed(a_model(), "wrong"), spec__gpuBudget__total=0)
    mixed = plan(write(tmp_path / "a.yaml", wrong, a_model(), wrong, a_model("llama-70b")), fleet)
    clean = plan(write(tmp_path / "b.yaml", a_model(), a_model("llama-70b")), fleet)
    assert mixed.out == clean.out
    assert len(mixed.err.splitlines()) == 2


@pytest.mark.parametrize(
    ("retryable", "message"),
    [
        (True, "no network; `spec.model.config` with the model's config.json needs no network"),
        (False, "no network; `spec.model.config` may hold the model's config.json instead"),
    ],
    ids=["not reached", "not found"],
)
def test_a_model_the_hub_does_not_give_is_said_with_the_way_around(
    tmp_path: Path, fleet: Path, monkeypatch: pytest.MonkeyPatch, retryable: bool, message: str
) -> None:
    """Offline there is nobody to retry: it is the object that can say more."""

    def fail(*_: object) -> NoReturn:
        raise HubError("no network", retryable=retryable)

    monkeypatch.setattr("shardwise.hub.fetch.fetch_config", fail)
    ran = plan(write(tmp_path / "o.yaml", changed(a_model(), spec__model={"name": "x/y"})), fleet)
    assert (ran.status, ran.out, ran.err) == (2, "", f"error: default/llama-8b: spec.model.name: {message}\n")


@pytest.mark.parametrize(
    ("documents", "found"),
    [
        ([], "nothing"),
        ([{"kind": "Service"}, {"kind": "Deployment"}, {"kind": "Service"}], "Deployment, Service"),
        ([{"spec": {}}], "an object without kind"),
        ([{"kind": "shardedmodel"}], "shardedmodel"),
    ],
    ids=["an empty file", "other kinds", "no kind", "another case"],
)
def test_a_file_without_objects_says_what_it_holds(
    tmp_path: Path, fleet: Path, documents: list[Json], found: str
) -> None:
    """The commonest slip is the wrong file."""
    objects = write(tmp_path / "o.yaml", *documents)
    assert plan(objects, fleet) == Ran(2, "", f"error: no ShardedModel in {objects}: found {found}\n")


def test_the_objects_file_is_no_fleet(scene: Path) -> None:
    """And the way to get one is said."""
    objects = scene / "1-llama-8b.yaml"
    example = "`kubectl get nodes,pods -A -o yaml` gives one"
    assert plan(objects, objects) == Ran(2, "", f"error: no Node in {objects}: {example}\n")


def test_standard_input_is_read_once(fleet: Path) -> None:
    """Objects and fleet cannot both come from it: the second finds nothing."""
    ran = plan(Path("-"), Path("-"), stdin=yaml.safe_dump(a_model()).encode())
    assert ran.status == 2
    assert ran.err.startswith("error: no Node in standard input: ")


@pytest.mark.parametrize("which", ["-f", "--fleet"])
def test_files_that_cannot_be_read_are_named(tmp_path: Path, scene: Path, fleet: Path, which: str) -> None:
    """With what the system, or the parser, says."""
    given = {"-f": scene, "--fleet": fleet}
    missing = tmp_path / "nowhere.yaml"
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: b: c")
    for path, problem in (
        (missing, f"{missing} cannot be read: No such file or directory"),
        (broken, f"{broken}, line 1: not YAML: mapping values are not allowed in this context"),
    ):
        args = [part for pair in (given | {which: path}).items() for part in pair]
        assert shardwise("plan", *args) == Ran(2, "", f"error: {problem}\n")


def test_every_problem_of_a_fleet_is_said(tmp_path: Path, scene: Path) -> None:
    """One line each, and nothing is planned on what is left."""
    node = changed(fleet_documents()[0], spec__taints=3, status__allocatable=8)
    ran = plan(scene, write(tmp_path / "f.yaml", a_pod("a", "h100-1", 1), node))
    assert (ran.status, ran.out) == (2, "")
    lines = ran.err.splitlines()
    assert [line.startswith("error: ") for line in lines] == [True, True]
    assert "Node `h100-1`: spec.taints: `3` is not a list" in lines[0]
    assert "Node `h100-1`: status.allocatable: `8` is not an object" in lines[1]


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (["plan"], "Missing option '-f' / '--file'"),
        (["explain"], "either NAME or -f is needed, and not both"),
        (["explain", "x", "-f", "y"], "either NAME or -f is needed, and not both"),
        (["render", "--fleet", "x"], "Missing option '-f' / '--file'"),
        (["plan", "--nonsense"], "No such option '--nonsense'"),
        (["plan", "-f", "x", "--fleet", "y", "-o", "xml"], "'xml' is not one of 'text', 'json', 'yaml'"),
        (["plan", "-f", "x", "--fleet", "y", "z"], "Got unexpected extra argument (z)"),
        (["nonsense"], "No such command 'nonsense'"),
        (["--nonsense"], "No such option '--nonsense'"),
        (["run", "--workers", "0"], "0 is not in the range 1<=x<=64"),
        (["run", "--relist", "0.5"], "0.5 is not in the range x>=1"),
        (["run", "--log-format", "xml"], "'xml' is not one of 'text', 'json'"),
    ],
)
def test_wrong_options_are_said_with_the_way_to_help(args: list[str], problem: str) -> None:
    """On standard error, without a traceback."""
    ran = shardwise(*args)
    assert (ran.status, ran.out) == (2, "")
    assert problem in ran.err
    assert "--help' for help.\n" in ran.err


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_names_every_command(option: str) -> None:
    """On standard output: it was asked for."""
    ran = shardwise(option)
    assert (ran.status, ran.err) == (0, "")
    listed = ran.out.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    assert sorted(line.split()[0] for line in listed) == sorted(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    """Its usage, a sentence, its options."""
    ran = shardwise(command, "--help")
    assert (ran.status, ran.err) == (0, "")
    usage, _, sentence, *_ = ran.out.splitlines()
    assert f"shardwise {command} [OPTIONS]" in usage
    assert sentence.startswith("  ")
    assert "  -h, --help " in ran.out


def test_the_version_is_that_of_the_package() -> None:
    """For reports."""
    assert shardwise("--version") == Ran(0, f"shardwise, version {__version__}\n", "")


def test_without_a_command_help_is_shown() -> None:
    """As a hint, and as wrong input."""
    ran = shardwise()
    assert ran.status == 2
    assert "shardwise [OPTIONS] COMMAND [ARGS]..." in ran.err
