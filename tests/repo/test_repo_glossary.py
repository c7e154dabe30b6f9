"""The glossary of ARCHITECTURE.md holds the words of the planner and of the reconcile core, each with its module."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest
from tests.support.repository import PACKAGE, ROOT

_GLOSSARY = (ROOT / "ARCHITECTURE.md").read_text().partition("\n## Glossary\n")[2].partition("\n## ")[0]
_CODE = re.compile(r"`([^`]+)`")
ROWS = [
    tuple(cell.strip() for cell in line.strip("|").split(" | "))
    for line in _GLOSSARY.splitlines()
    if line.startswith("|") and line.endswith(".py` |")
]


def _names(module: Path) -> set[str]:
    """Give the classes and the other names that a module defines at its top level."""
    tree = ast.parse(module.read_text())
    targets = [node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None) for node in tree.body]
    return {node.name for node in tree.body if isinstance(node, ast.ClassDef)} | {
        target.id for target in targets if isinstance(target, ast.Name)
    }


def _classes(folder: str) -> set[str]:
    return {
        name.name
        for path in (PACKAGE / folder).glob("*.py")
        for name in ast.parse(path.read_text()).body
        if isinstance(name, ast.ClassDef) and not name.name.startswith("_")
    }


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_word_is_defined_in_the_module_that_its_row_names(row: tuple[str, ...]) -> None:
    """Names with a capital letter are classes or types."""
    word, meaning, place = row
    (module,) = _CODE.findall(place)
    assert meaning
    assert {name for name in _CODE.findall(word) if name[0].isupper()} <= _names(PACKAGE / module)


@pytest.mark.parametrize("folder", ["planner", "reconcile"])
def test_every_public_class_of_the_core_has_a_row(folder: str) -> None:
    assert sorted(_classes(folder) - set(_CODE.findall(_GLOSSARY))) == []


def test_no_word_has_two_rows() -> None:
    words = Counter(word for row in ROWS for word in (_CODE.findall(row[0]) or row[0].split(", ")))
    assert [word for word, count in words.items() if count > 1] == []
