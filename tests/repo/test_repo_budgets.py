"""How large things may be, how much of them is tested, and that public names say what they promise."""

import ast
import statistics
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from tests.support.repository import (
    PACKAGE,
    SANDBOX,
    TESTS,
    Function,
    code_lines,
    functions,
    length,
    modules,
    shown,
    tree,
)

LONGEST_FUNCTION = 60
NINTH_DECILE = 28
MEDIAN = 7
"""Lines of a function without its docstring: none longer, nine in ten no longer, half of them no longer."""

LONGEST_FILE = 500
CONTROLLER = 720
"""Code lines of the controller: what was seen, who waits, who is woken, the wiring, and what kopf is spared."""

TESTS_PER_CODE = 1.5
TESTS_PER_DECIDING_CODE = 2.5
"""Lines of test code for a line of code: in all, and for the packages that decide."""

DECIDING = ("planner", "reconcile")
EQUIPMENT = ("sandbox",)
"""Tests of the sandbox, which is not shipped: they are not counted."""

PURE = ("domain", "checkpoint", "planner", "explain", "engines", "api", "inventory", "render", "reconcile")


def test_functions_are_short() -> None:
    """Long functions hide decisions."""
    paths = (*modules(), *modules(SANDBOX))
    lengths = {f"{shown(path)}:{function.name}": length(function) for path in paths for function in functions(path)}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_FUNCTION} == {}
    assert statistics.quantiles(lengths.values(), n=10)[-1] <= NINTH_DECILE
    assert statistics.median(lengths.values()) <= MEDIAN


@pytest.mark.parametrize("folder", [PACKAGE, SANDBOX, TESTS], ids=["code", "sandbox", "tests"])
def test_files_are_short(folder: Path) -> None:
    """One file, one topic."""
    lengths = {shown(path): len(path.read_text().splitlines()) for path in modules(folder)}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_FILE} == {}


def test_the_controller_only_wires() -> None:
    """What grows there is a decision that belongs into reconcile."""
    assert _code("controller") <= CONTROLLER


@pytest.mark.parametrize("package", PURE)
def test_every_public_name_of_the_core_says_what_it_promises(package: str) -> None:
    """Contract, units, errors: in the docstring."""
    silent = [
        f"{shown(path)}:{node.lineno} {node.name}"
        for path in modules(PACKAGE / package)
        for node in _public(tree(path))
        if not ast.get_docstring(node)
    ]
    assert silent == []


@pytest.mark.parametrize("package", PURE)
def test_every_module_of_the_core_says_what_it_is_for(package: str) -> None:
    """A package's docstring is its charter."""
    assert [shown(path) for path in modules(PACKAGE / package) if not ast.get_docstring(tree(path))] == []


def test_there_is_more_test_than_code() -> None:
    """Over all that is shipped to users."""
    packages = [path.name for path in PACKAGE.iterdir() if path.is_dir()]
    code = sum(_code(package) for package in packages if package != "__pycache__")
    tests = sum(code_lines(path) for path in modules(TESTS)) - _tests(EQUIPMENT)
    assert tests / code >= TESTS_PER_CODE, f"{tests} lines of tests for {code} of code"


def test_there_is_far_more_test_than_code_where_decisions_are_made() -> None:
    """Planner and reconcile; the builders and oracles in tests/support exist for them."""
    code = sum(_code(package) for package in DECIDING)
    tests = _tests((*DECIDING, "support"))
    assert tests / code >= TESTS_PER_DECIDING_CODE, f"{tests} lines of tests for {code} of code"


def test_the_planner_alone_has_far_more_test_than_code() -> None:
    """Nothing but tests/planner counts: what others support and decide does not stand in for it."""
    code, tests = _code("planner"), _tests(["planner"])
    assert tests / code >= TESTS_PER_DECIDING_CODE, f"{tests} lines of tests for {code} of code"


def _code(package: str) -> int:
    return sum(code_lines(path) for path in modules(PACKAGE / package))


def _tests(folders: Iterable[str]) -> int:
    return sum(code_lines(path) for folder in folders for path in modules(TESTS / folder))


def _public(module: ast.Module) -> Iterator[Function | ast.ClassDef]:
    """Give public classes, their public methods, and public functions; not what is inside a function."""
    for node in module.body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from (one for one in node.body if isinstance(one, Function) and not one.name.startswith("_"))
