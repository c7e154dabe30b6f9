"""The image's recipe: locked, of two stages, not root; and what it copies is there."""

import re
from collections.abc import Iterator

import click
import pytest
from tests.support.repository import ROOT, project

from shardwise.cli.main import cli

TEXT = (ROOT / "Dockerfile").read_text()


def _steps() -> list[tuple[str, str]]:
    """Give instructions and their arguments, continued lines joined."""
    joined = re.sub(r"\\\n\s*", " ", "\n".join(line for line in TEXT.splitlines() if not line.startswith("#")))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def _copied_from_context() -> Iterator[str]:
    for word, rest in _steps():
        if word == "COPY" and "--from=" not in rest:
            yield from rest.split()[:-1]


def test_it_has_two_stages_on_one_base_and_the_last_copies_from_the_first() -> None:
    """Build tools stay behind; the interpreter is the one the environment was made with."""
    bases = [rest.split()[0] for word, rest in _steps() if word == "FROM"]
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
    installs = [part for word, rest in _steps() if word == "RUN" for part in rest.split("&&") if "pip install" in part]
    assert len(installs) == 3
    assert [part for part in installs if "--require-hashes" not in part and "--no-deps --no-index" not in part] == []
    assert [part for part in installs if "--no-deps" not in part] == []
    assert "pip wheel --no-deps --no-build-isolation" in TEXT


def test_it_does_not_run_as_root() -> None:
    """By number: Kubernetes cannot tell that a name is not root."""
    words = [word for word, _ in _steps()]
    users = [rest for word, rest in _steps() if word == "USER"]
    assert users == ["65532:65532"]
    assert words.index("USER") > len(words) - 1 - words[::-1].index("FROM")
    assert words.index("USER") > len(words) - 1 - words[::-1].index("COPY")


def test_it_runs_a_command_that_exists() -> None:
    """The chart gives arguments of its own; `docker run` takes these."""
    assert 'ENTRYPOINT ["shardwise"]' in TEXT
    command = next(rest for word, rest in _steps() if word == "CMD")
    assert re.findall(r'"([^"]*)"', command)[0] in cli.list_commands(click.Context(cli))


@pytest.mark.parametrize("path", sorted(set(_copied_from_context())))
def test_what_it_copies_is_there_and_not_ignored(path: str) -> None:
    """The ignore file lets through by name what the recipe asks for."""
    assert (ROOT / path).exists()
    assert f"!{path.removeprefix('./')}" in (ROOT / ".dockerignore").read_text().splitlines()


def test_nothing_else_reaches_the_builder() -> None:
    """The context is what the recipe copies, and no more."""
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert allowed == set(_copied_from_context())


def test_the_sandbox_and_the_tests_stay_out_of_the_image() -> None:
    """Of `operator`, the build gets only the product."""
    assert [path for path in _copied_from_context() if path.startswith(("operator", "tests"))] == ["operator/shardwise"]
