"""Documents say what is so: links lead somewhere, commands exist, objects are valid, output is real."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner
from tests.support.repository import PACKAGE, ROOT, SANDBOX, files, project, shown

from shardwise.api import parse
from shardwise.api.configuration import configuration_schema, parse_site
from shardwise.cli.main import cli
from shardwise.domain.plan import Rule
from shardwise_sandbox.__main__ import cli as sandbox

DOCUMENTS = [path for path in files() if path.suffix == ".md"]
README = ROOT / "README.md"
PLATFORMS = sorted((ROOT / "docs" / "platforms").glob("*.md"))
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))

_LINK = re.compile(r"\[[^\]]+\]\(([^)#\s]+)(?:#[^)]*)?\)")
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_HERE = re.compile(r"<<'?(\w+)'?\n(.*?)^\s*\1$", re.MULTILINE | re.DOTALL)
_BANNED = re.compile(r"\b(?:simply|please|obviously|easily)\b", re.IGNORECASE)


def _named(path: Path) -> str:
    return shown(path)


def _blocks(path: Path, language: str) -> list[str]:
    return [text for found, text in _BLOCK.findall(path.read_text()) if found == language]


def _commands() -> Iterator[list[str]]:
    """Give every `shardwise` command line in a document."""
    for path in DOCUMENTS:
        for block in _blocks(path, "sh"):
            for line in block.splitlines():
                if line.startswith("shardwise "):
                    yield shlex.split(line, comments=True)


def _targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("path", DOCUMENTS, ids=_named)
def test_links_lead_to_files_that_are_there(path: Path) -> None:
    """Links to other sites are left alone: no test needs a network."""
    inside = [link for link in _LINK.findall(path.read_text()) if "://" not in link]
    assert [link for link in inside if not (path.parent / link).exists()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=_named)
def test_words_respect_the_reader(path: Path) -> None:
    """No word that belittles what the reader finds hard."""
    assert _BANNED.findall(path.read_text()) == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=_named)
def test_every_make_command_named_is_a_target(path: Path) -> None:
    """In code, inline and in blocks."""
    code = "\n".join([*re.findall(r"`([^`\n]+)`", path.read_text()), *_blocks(path, "sh")])
    named = re.findall(r"(?:^|[\s;&])make ([a-z-]+)", f"\n{code}")
    assert [name for name in named if name not in _targets()] == []


def test_every_make_target_says_what_it_does() -> None:
    """What `make help` prints; all that people call is there."""
    assert {"demo", "test", "setup", "fmt", "lint", "types", "contracts", "fresh", "unit", "lock", "crds"} <= _targets()
    phony = set(re.findall(r"^\.PHONY: ([a-z-]+)$", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert phony == _targets()


def test_ci_runs_the_demo_and_all_checks_with_pytests_closing_line_last() -> None:
    """In this order; a failure of any ends it."""
    text = (ROOT / ".ci" / "run").read_text()
    commands = [line.strip() for line in text.splitlines() if line.strip().startswith("make ")]
    assert "set -euo pipefail" in text
    assert commands[0] == "make demo"
    assert commands[-1] == "make test"
    makefile = (ROOT / "Makefile").read_text()
    checks = re.search(r"^test: (.*?) ##", makefile, re.MULTILINE)
    assert checks
    assert checks.group(1).split() == ["check", "unit"]


def test_hosted_ci_and_commits_call_the_same_scripts() -> None:
    """What a developer runs is what CI runs; a hosted run may read the repository, and do no more."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yaml").read_text())
    (job,) = workflow["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    assert workflow["permissions"] == {"contents": "read"}
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [hook["entry"] for repository in hooks for hook in repository["hooks"]] == ["make check"]
    assert "check" in _targets()


@pytest.mark.parametrize("command", list(_commands()), ids=shlex.join)
def test_every_shardwise_command_shown_exists_with_its_options(command: list[str]) -> None:
    """What a reader copies must run."""
    found = cli.get_command(click.Context(cli), command[1])
    assert found is not None
    options = {name for parameter in found.params for name in parameter.opts}
    assert [word for word in command[2:] if word.startswith("-") and word != "-" and word not in options] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=_named)
def test_every_object_shown_is_valid(path: Path) -> None:
    """In YAML blocks and in here-documents of shell blocks."""
    texts = [*_blocks(path, "yaml"), *(text for block in _blocks(path, "sh") for _, text in _HERE.findall(block))]
    for document in (one for text in texts for one in yaml.safe_load_all(text)):
        if isinstance(document, dict) and document.get("kind") == "ShardedModel":
            assert parse(document).spec.model.name


@pytest.mark.parametrize("path", [ROOT / "docs" / "configuration.md", *PLATFORMS], ids=_named)
def test_every_configuration_shown_is_valid(path: Path) -> None:
    """As the operator would read it: every block that is not an object."""
    for text in _blocks(path, "yaml"):
        document = yaml.safe_load(text)
        if "kind" not in document:
            parse_site(document)


def test_the_page_of_the_configuration_names_every_field_and_preset() -> None:
    """Read off the schema."""
    text = (ROOT / "docs" / "configuration.md").read_text()
    parts = configuration_schema()["properties"]
    fleet = parts["fleet"]["properties"]
    fields = [*parts, *fleet, *fleet["platform"]["enum"], *fleet["hardware"]["items"]["properties"]]
    fields += [*parts["launch"]["properties"], *parts["allow"]["properties"]]
    assert [name for name in fields if f"`{name}`" not in text] == []


def test_the_plan_shown_in_the_readme_is_what_the_command_prints(tmp_path: Path) -> None:
    """The demo's 405B on the demo's fleet, line by line up to the ellipsis."""
    shown_plan = next(block for block in _blocks(README, "") if block.startswith("✓"))
    runner = CliRunner()
    assert runner.invoke(sandbox, ["demo", "--files", str(tmp_path)]).exit_code == 0
    objects = SANDBOX / "demo" / "objects" / "3-llama-405b.yaml"
    printed = runner.invoke(cli, ["plan", "-f", str(objects), "--fleet", str(tmp_path / "fleet.yaml")])
    assert printed.exit_code == 0, printed.output
    wanted = [line for line in shown_plan.splitlines() if line.strip() != "…"]
    assert printed.output.splitlines()[: len(wanted)] == wanted


def test_the_refusal_shown_in_the_readme_is_what_the_command_prints(tmp_path: Path) -> None:
    """The same object with half its budget, to the letter."""
    shown_refusal = next(block for block in _blocks(README, "") if block.startswith("×"))
    runner = CliRunner()
    assert runner.invoke(sandbox, ["demo", "--files", str(tmp_path)]).exit_code == 0
    small = tmp_path / "small.yaml"
    small.write_text((tmp_path / "3-llama-405b.yaml").read_text().replace("total: 16", "total: 8"))
    printed = runner.invoke(cli, ["plan", "-f", str(small), "--fleet", str(tmp_path / "fleet.yaml")])
    assert (printed.exit_code, printed.output) == (1, shown_refusal)


def test_the_picture_shown_is_what_the_command_draws(tmp_path: Path) -> None:
    """The demo's objects on the demo's fleet: `shardwise plan -f try --fleet try/fleet.yaml -o svg > docs/demo.svg`."""
    runner = CliRunner()
    assert runner.invoke(sandbox, ["demo", "--files", str(tmp_path)]).exit_code == 0
    drawn = runner.invoke(cli, ["plan", "-f", str(tmp_path), "--fleet", str(tmp_path / "fleet.yaml"), "-o", "svg"])
    assert drawn.exit_code == 0, drawn.output
    assert drawn.output == (ROOT / "docs" / "demo.svg").read_text()


def test_decisions_are_numbered_once_each_and_have_their_four_parts() -> None:
    """Context, decision, consequences, alternatives: short, and all of them."""
    numbers = [path.name[:4] for path in DECISIONS]
    assert len(set(numbers)) == len(numbers)
    for path in DECISIONS:
        text = path.read_text()
        assert text.startswith(f"# {int(path.name[:4])}. "), path.name
        parts = re.findall(r"^\*\*(\w+)\.\*\*", text, re.MULTILINE)
        assert parts == ["Context", "Decision", "Consequences", "Alternatives"], path.name


def test_the_rules_page_names_every_rule_a_plan_may_cite() -> None:
    """`status.plan.rule` is read against this page."""
    text = (ROOT / "docs" / "rules.md").read_text()
    assert [rule.value for rule in Rule if f"`{rule.value}`" not in text] == []


def test_architecture_names_every_package_and_only_files_that_exist() -> None:
    """The page that says where each decision lives."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    packages = [path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()]
    assert [name for name in packages if f"`{name}`" not in text] == []
    named = re.findall(r"`([a-z_]+/[a-z_]*(?:\.py)?)`", text)
    assert [name for name in named if name != "operator/" and not (PACKAGE / name).exists()] == []


def test_the_changelog_knows_the_version() -> None:
    """Either under its own heading, or all of it is still unreleased."""
    text = (ROOT / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## \[?([^\]\n ]+)", text, re.MULTILINE)
    assert headings[0] in {"Unreleased", project()["project"]["version"]}
