"""The GitHub Action, the pre-commit hook, the krew plugin and kubectl's completion: run as those tools run them."""

import hashlib
import json
import os
import re
import shlex
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.repository import ROOT, project

from shardwise_sandbox import sample_fleet
from shardwise_sandbox.demo import object_documents

CONTRIB = ROOT / "contrib"
ACTION = CONTRIB / "github-action"
KREW = CONTRIB / "krew"

Json = dict[str, Any]
Run = Callable[..., subprocess.CompletedProcess[str]]


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a command in a folder with objects and a fleet, with `shardwise` and `kubectl-shardwise` on the PATH."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("shardwise", "kubectl-shardwise"):
        program = programs / name
        code = f"import sys; sys.argv[0] = '{name}'\nfrom shardwise.cli import main\nmain()"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{code}" "$@"\n')
        program.chmod(0o755)
    (tmp_path / "models").mkdir()
    small = next(document for document in object_documents() if document["metadata"]["name"] == "llama-8b")
    (tmp_path / "models" / "llama.yaml").write_text(yaml.safe_dump(small))
    huge = {
        **small,
        "metadata": {"name": "huge"},
        "spec": {**small["spec"], "model": {"name": "meta-llama/Llama-3.1-405B"}},
    }
    (tmp_path / "huge.yaml").write_text(yaml.safe_dump(huge))
    (tmp_path / "fleet.yaml").write_text(yaml.safe_dump_all(sample_fleet()))

    def ran(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        env = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"} | environment
        return subprocess.run(  # noqa: S603 - our own scripts
            [*map(str, command)], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )

    return ran


PLANS: dict[str, tuple[dict[str, str], int, str]] = {
    "an object that fits": ({"FILES": "models/"}, 0, "llama-8b"),
    "two files, one of an object that does not fit": ({"FILES": "models/llama.yaml\nhuge.yaml\n"}, 1, "huge"),
    "a file that is not there": ({"FILES": "nowhere.yaml"}, 2, "error: "),
}


@pytest.mark.parametrize(("given", "status", "words"), PLANS.values(), ids=PLANS)
def test_the_action_plans_and_ends_as_the_command_does(
    run: Run, tmp_path: Path, given: dict[str, str], status: int, words: str
) -> None:
    """With the text in the log and in the summary, and the JSON in the output."""
    summary, output = tmp_path / "summary", tmp_path / "output"
    output.touch()
    ran = run(
        ACTION / "plan.sh",
        FLEET="fleet.yaml\n",
        GITHUB_STEP_SUMMARY=str(summary),
        GITHUB_OUTPUT=str(output),
        **given,
    )
    assert (ran.returncode, ran.stderr) == (status, "")
    assert words in ran.stdout
    assert ran.stdout.strip() in summary.read_text()
    found = re.search(r"^plan<<(\w+)\n(.*)\n\1\n", output.read_text(), re.DOTALL)
    assert (found is None) == (status == 2)
    if found is not None:
        assert [answer["fits"] for answer in json.loads(found[2])][-1] == (status == 0)


def test_the_inputs_of_the_action_reach_its_script() -> None:
    """By the environment: an input inside a script could be run as its code."""
    action = _yaml(ACTION / "action.yml")
    steps = action["runs"]["steps"]
    (plan,) = [step for step in steps if step.get("id") == "plan"]
    given = {name.removeprefix("${{ inputs.").removesuffix(" }}") for name in plan["env"].values()}
    assert given == set(action["inputs"])
    assert [step for step in steps if "${{" in step.get("run", "")] == []
    script = (ACTION / "plan.sh").read_text()
    assert [name for name in plan["env"] if f"${name}" not in script and f"${{{name}" not in script] == []
    assert action["outputs"]["plan"]["value"] == "${{ steps.plan.outputs.plan }}"


def test_the_action_installs_what_stands_beside_it() -> None:
    text = (ACTION / "action.yml").read_text()
    for path in re.findall(r"\$GITHUB_ACTION_PATH(/[\w./-]*)", text):
        assert Path(f"{ACTION}{path}").exists()
    assert "--require-hashes" in text


def _hook(*given: str) -> list[str]:
    (hook,) = _yaml(ROOT / ".pre-commit-hooks.yaml")
    return [*shlex.split(hook["entry"]), *given]


@pytest.mark.parametrize(("files", "status"), [(["models/llama.yaml"], 0), (["models/llama.yaml", "huge.yaml"], 1)])
def test_the_hook_plans_the_changed_files_with_its_options(run: Run, files: list[str], status: int) -> None:
    ran = run(*_hook("--fleet=fleet.yaml", *files))
    assert ran.returncode == status, ran.stderr
    assert "llama-8b" in ran.stdout


def test_kubectl_gets_the_words_that_complete_a_command_line(run: Run) -> None:
    ran = run(CONTRIB / "kubectl_complete-shardwise", "st")
    assert ran.stdout.splitlines() == ["status", ":4"]
    ran = run(CONTRIB / "kubectl_complete-shardwise", "completion", "z")
    assert ran.stdout.splitlines() == ["zsh", ":4"]
    assert run(CONTRIB / "kubectl_complete-shardwise", "nothing").stdout.splitlines() == [":4"]


def test_the_archive_of_the_krew_plugin_is_the_one_that_its_manifest_names(tmp_path: Path) -> None:
    """`python contrib/krew/archive.py` says the sum to write there."""
    path = tmp_path / "kubectl-shardwise.zip"
    command = [sys.executable, str(KREW / "archive.py"), str(path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603 - our own
    (platform,) = _yaml(KREW / "shardwise.yaml")["spec"]["platforms"]
    assert platform["sha256"] == said == hashlib.sha256(path.read_bytes()).hexdigest()
    with zipfile.ZipFile(path) as archive:
        modes = {entry.filename: stat.S_IMODE(entry.external_attr >> 16) for entry in archive.infolist()}
    assert modes == {platform["bin"]: 0o755, "LICENSE": 0o644}


def test_the_krew_plugin_is_of_the_version_of_the_package() -> None:
    version = project()["project"]["version"]
    manifest = _yaml(KREW / "shardwise.yaml")
    assert manifest["spec"]["version"] == f"v{version}"
    assert f"/releases/download/v{version}/" in manifest["spec"]["platforms"][0]["uri"]
    assert f"/refs/tags/v{version}.tar.gz" in (KREW / "kubectl-shardwise").read_text()
    assert set(re.findall(r"@(v[\d.]+)|rev: (v[\d.]+)", (CONTRIB / "README.md").read_text())) >= {(f"v{version}", "")}


LAUNCHERS: dict[str, tuple[str, list[str]]] = {
    "uv": ("uvx", ["--quiet", "--from"]),
    "pipx": ("pipx", ["run", "--quiet", "--spec"]),
}


@pytest.mark.parametrize(("program", "words"), LAUNCHERS.values(), ids=LAUNCHERS)
def test_the_krew_plugin_runs_the_release_with_the_words_it_was_given(
    tmp_path: Path, program: str, words: list[str]
) -> None:
    fake = tmp_path / program
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    fake.chmod(0o755)
    (tmp_path / "sh").symlink_to("/bin/sh")
    env = {"PATH": str(tmp_path)}
    command = [str(KREW / "kubectl-shardwise"), "plan", "-f", "a b.yaml"]
    ran = subprocess.run(command, env=env, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    version = project()["project"]["version"]
    source = f"https://github.com/shardwise/shardwise/archive/refs/tags/v{version}.tar.gz"
    assert ran.stdout.splitlines() == [*words, source, "kubectl-shardwise", "plan", "-f", "a b.yaml"]


def test_the_krew_plugin_says_what_it_needs(tmp_path: Path) -> None:
    command = [str(KREW / "kubectl-shardwise")]
    ran = subprocess.run(command, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    assert ran.returncode == 2
    assert ran.stderr.startswith("error: kubectl shardwise needs uv")
