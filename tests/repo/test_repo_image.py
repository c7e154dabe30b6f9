"""The image's recipe: locked, of two stages, not root; and what it copies is there."""

import re

import click
import pytest
from tests.support import dockerfile
from tests.support.repository import ROOT, project

from shardwise.cli.main import cli

TEXT = dockerfile.text()


def test_it_has_two_stages_on_one_base_and_the_last_copies_from_the_first() -> None:
    """Build tools stay behind; the interpreter is the one the environment was made with."""
    bases = [rest.split()[0] for word, rest in dockerfile.instructions() if word == "FROM"]
    assert len(bases) == 2
    assert len(set(bases)) == 1
    assert "COPY --from=build /venv /venv" in TEXT


def test_its_python_is_one_the_package_supports() -> None:
    """As the classifiers list them."""
    found = re.search(r"FROM python:(3\.\d+)-slim", TEXT)
    assert found
    assert f"Programming Language :: Python :: {found.group(1)}" in project()["project"]["classifiers"]


def test_it_installs_nothing_that_is_not_locked() -> None:
    """Every pip install is by hash, or of the wheel built here, without an index; none resolves anything anew."""
    installs = [
        part
        for word, rest in dockerfile.instructions()
        if word == "RUN"
        for part in rest.split("&&")
        if "pip install" in part
    ]
    assert len(installs) == 3
    assert [part for part in installs if "--require-hashes" not in part and "--no-deps --no-index" not in part] == []
    assert [part for part in installs if "--no-deps" not in part] == []
    assert "pip wheel --no-deps --no-build-isolation" in TEXT


def test_it_does_not_run_as_root() -> None:
    """By number: Kubernetes cannot tell that a name is not root."""
    words = [word for word, _ in dockerfile.instructions()]
    users = [rest for word, rest in dockerfile.instructions() if word == "USER"]
    assert users == ["65532:65532"]
    assert words.index("USER") > len(words) - 1 - words[::-1].index("FROM")
    assert words.index("USER") > len(words) - 1 - words[::-1].index("COPY")


def test_it_runs_a_command_that_exists_with_options_that_it_has() -> None:
    """The chart gives arguments of its own; `docker run` takes these."""
    assert 'ENTRYPOINT ["shardwise"]' in TEXT
    name, *words = re.findall(r'"([^"]*)"', next(rest for word, rest in dockerfile.instructions() if word == "CMD"))
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


@pytest.mark.parametrize("path", sorted(set(dockerfile.copied())))
def test_what_it_copies_is_there_and_not_ignored(path: str) -> None:
    """The ignore file lets through by name what the recipe asks for."""
    assert (ROOT / path).exists()
    assert f"!{path.removeprefix('./')}" in (ROOT / ".dockerignore").read_text().splitlines()


def test_nothing_else_reaches_the_builder() -> None:
    """The context is what the recipe copies, and no more."""
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert allowed == set(dockerfile.copied())


def test_the_sandbox_and_the_tests_stay_out_of_the_image() -> None:
    """Of `operator`, the build gets only the product."""
    assert [path for path in dockerfile.copied() if path.startswith(("operator", "tests"))] == ["operator/shardwise"]
