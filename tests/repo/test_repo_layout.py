"""What must hold of the tree as a whole: names, places, and nothing of the machine it was written on."""

import re
from collections import Counter

from tests.support.repository import PACKAGE, ROOT, SANDBOX, TESTS, files, modules, project, shown

_MACHINE = re.compile(r"(?<![\w.{}$-])/(?:work|root|home|Users)/")
_INDEX = re.compile(r"pypi\.|pythonhosted|--(?:extra-)?index-url|--find-links", re.IGNORECASE)
_TEXT_LIMIT = 2**22


def _lines_with(pattern: re.Pattern[str]) -> list[str]:
    found = []
    for path in files():
        if path.parent == TESTS / "repo" or path.stat().st_size > _TEXT_LIMIT:
            continue
        lines = path.read_text(encoding="utf-8").splitlines()
        found += [f"{shown(path)}:{number}" for number, line in enumerate(lines, 1) if pattern.search(line)]
    return found


def test_the_source_root_is_no_package_since_it_would_shadow_the_standard_library() -> None:
    """With operator/__init__.py, ``import operator`` from the root would find us, and Python would not start."""
    assert not (ROOT / "operator" / "__init__.py").exists()
    found = sorted(path.name for path in (ROOT / "operator").iterdir() if path.name != "__pycache__")
    assert found == ["shardwise", "shardwise_sandbox"]


def test_every_folder_of_the_package_with_code_is_a_package() -> None:
    """A folder without __init__.py would be left out of type checks and contracts."""
    folders = {path.parent for path in (*modules(), *modules(SANDBOX))}
    assert [shown(folder) for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


def test_the_package_is_typed_for_those_who_import_it() -> None:
    """PEP 561's marker."""
    assert (PACKAGE / "py.typed").is_file()


def test_test_folders_are_no_packages() -> None:
    """Tests are imported by path (importlib mode)."""
    assert [shown(path) for path in TESTS.rglob("__init__.py")] == []


def test_a_test_file_is_found_by_its_name_alone() -> None:
    """tests/planner/test_planner_memory.py: the package, then the topic; no name twice."""
    names = Counter(path.name for path in TESTS.rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []
    wrong = [
        shown(path)
        for path in TESTS.rglob("test_*.py")
        if not path.name.startswith(f"test_{path.relative_to(TESTS).parts[0]}_")
    ]
    assert wrong == []


def test_no_file_names_a_folder_of_the_machine_it_was_written_on() -> None:
    """A checkout may lie anywhere."""
    assert _lines_with(_MACHINE) == []


def test_no_file_names_a_package_index() -> None:
    """Where packages come from is pip's configuration, on every machine its own."""
    assert _lines_with(_INDEX) == []


def test_every_package_stands_in_the_layers() -> None:
    """A new package that is not in the contract would be free to import anything."""
    contracts = project()["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    layered = {name.strip() for layer in layers for name in layer.split("|")}
    packages = {f"shardwise.{path.name}" for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert layered == packages


def test_every_contract_that_names_one_exception_covers_all_other_packages() -> None:
    """Contracts called "Only ..." forbid a library to every package but one."""
    packages = {f"shardwise.{path.name}" for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    for contract in project()["tool"]["importlinter"]["contracts"]:
        if contract["name"].startswith("Only"):
            assert len(packages - set(contract["source_modules"])) == 1, contract["name"]
