"""``python -m shardwise_sandbox pages``: the generated pages are fresh, and have every entry of the tables."""

from pathlib import Path

import pytest
from tests.cli.support import Ran, sandbox
from tests.support.repository import ROOT

from shardwise.domain.engine import EngineName
from shardwise.engines import ENGINES
from shardwise_sandbox.pages import page, pages

COMMAND = "python -m shardwise_sandbox pages"


def test_the_pages_in_the_repository_are_those_the_code_gives() -> None:
    assert sandbox("pages", "--check", "--root", ROOT) == Ran(0, "", "")


def test_a_stale_page_is_named_and_written(tmp_path: Path) -> None:
    """``--check`` names the page, and the command writes it."""
    assert sandbox("pages", "--root", tmp_path).status == 0
    stale = tmp_path / "docs" / "engines" / "vllm.md"
    stale.write_text("old\n")
    assert sandbox("pages", "--check", "--root", tmp_path) == Ran(1, "", f"{stale} is stale; run `{COMMAND}`\n")
    assert stale.read_text() == "old\n"
    sandbox("pages", "--root", tmp_path)
    assert sandbox("pages", "--check", "--root", tmp_path).status == 0


@pytest.mark.parametrize("engine", list(EngineName))
def test_a_page_says_every_option_that_is_emitted_or_refused(engine: EngineName) -> None:
    """The page also has every variable that an object may not set."""
    text = page(engine)
    reserved = ENGINES[engine].TABLE
    words = [word for option in reserved.options for word in option.spellings]
    assert [
        word for word in (*words, *(variable.name for variable in reserved.variables)) if f"`{word}`" not in text
    ] == []
    assert ENGINES[engine].DEFAULT_IMAGE in text


def test_there_is_a_page_for_every_engine() -> None:
    assert sorted(path.stem for path in pages() if path.parent.name == "engines") == sorted(EngineName)


def test_pages_hold_no_key_and_no_script() -> None:
    """The page shortens the constant texts."""
    for text in pages().values():
        assert "PRIVATE KEY" not in text
        assert "import " not in text
