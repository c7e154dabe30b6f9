"""Help that teaches: each command shows examples that run, and shells complete the words."""

import re
import shlex
import subprocess

import click
import pytest
from tests.cli.support import completed, shardwise

from shardwise.cli.main import _COMMANDS, cli

_EXAMPLE = re.compile(r"^    (# .+)\n((?:    \S.*\n?)+)", re.MULTILINE)


def examples_of(name: str) -> list[tuple[str, str]]:
    """Give the comments and the command lines at the end of a command's help."""
    text = shardwise(name, "--help").out.partition("Examples:\n")[2] + "\n"
    return [(says, command.strip()) for says, command in _EXAMPLE.findall(text)]


@pytest.mark.parametrize("name", _COMMANDS)
def test_the_help_of_a_command_ends_with_examples_that_its_options_allow(name: str) -> None:
    found = examples_of(name)
    assert len(found) >= 2
    for says, line in found:
        assert re.match(r"# [A-Z]", says)
        ours = next(part for part in re.split(r"[|>]|\$\(|\)", line.replace('"', " ")) if " shardwise " in f" {part}")
        words = shlex.split(ours)[1:] if ours.startswith("shardwise") else shlex.split(ours)
        words = words[words.index("shardwise") + 1 :] if "shardwise" in words else words
        command = cli.get_command(click.Context(cli), words[0])
        assert command is not None
        assert command.name == name
        command.make_context(name, words[1:], resilient_parsing=False)


def test_the_overview_leads_a_newcomer_from_a_plan_to_an_object_that_serves() -> None:
    text = shardwise("--help").out.partition("Examples:\n")[2]
    shown = re.findall(r"\bshardwise (\w+)", text)
    assert shown == ["plan", "status", "explain"]


COMPLETED: dict[str, tuple[str, int, set[str]]] = {
    "a command": ("shardwise st", 1, {"status"}),
    "several commands": ("shardwise ", 1, set(_COMMANDS)),
    "an option": ("shardwise status --wa", 2, {"--watch"}),
    "a choice": ("shardwise plan -o s", 3, {"svg"}),
    "a shell": ("shardwise completion ", 2, {"bash", "zsh", "fish"}),
}


@pytest.mark.parametrize(("words", "position", "expected"), COMPLETED.values(), ids=COMPLETED)
def test_a_shell_completes(words: str, position: int, expected: set[str]) -> None:
    assert set(completed(words, position)) == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_asks_the_command_that_is_installed(shell: str) -> None:
    ran = shardwise("completion", shell)
    assert ran.status == 0
    assert "_SHARDWISE_COMPLETE=" in ran.out
    assert re.search(r"\bshardwise\b", ran.out)


def test_the_script_of_bash_is_bash() -> None:
    ran = subprocess.run(["bash", "-n"], input=shardwise("completion", "bash").out, text=True, check=False)  # noqa: S607 - any bash
    assert ran.returncode == 0
