"""Dependencies: each has its reason, each is used, each is locked by hash; and so has every silenced rule."""

import ast
import contextlib
import re
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from hatchling.build import build_wheel
from tests.support.repository import PACKAGE, ROOT, SANDBOX, modules, project, shown, tree

_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*")
_PINNED = re.compile(r"^([a-z0-9][a-z0-9._-]*)(?:\[[^\]]*\])?==([^ ;\\]+)", re.MULTILINE)
_QUOTED = re.compile(r'^\s*"')
_LOCKS = {
    "requirements.lock": ("dependencies",),
    "requirements-dev.lock": ("dependencies", "build", "sandbox", "dev"),
    "requirements-build.lock": ("build",),
    "requirements-site.lock": ("site",),
}


def _wanted(group: str) -> list[str]:
    listed = project()["project"]["dependencies"] if group == "dependencies" else project()["dependency-groups"][group]
    return [_normal(one) for one in listed if isinstance(one, str)]


def _normal(requirement: str) -> str:
    match = _NAME.match(requirement)
    assert match, requirement
    return re.sub(r"[-_.]+", "-", match.group()).lower()


def _pinned(lock: str) -> dict[str, str]:
    return {_normal(name): version for name, version in _PINNED.findall((ROOT / lock).read_text())}


def _blocks(*heads: str) -> Iterator[str]:
    """Give the lines of pyproject.toml's lists that open with one of these heads."""
    inside = False
    for line in (ROOT / "pyproject.toml").read_text().splitlines():
        if any(line.startswith(f"{head} = [") for head in heads):
            inside = True
        elif line.startswith("]"):
            inside = False
        elif inside:
            yield line


def _imported(package: Path) -> set[str]:
    """Collect the names of all top-level modules a package imports."""
    found: set[str] = set()
    for path in modules(package):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found


def _distributions(package: Path) -> set[str]:
    """Give the distributions that a package's imports come from."""
    known = packages_distributions()
    found = (known.get(name, ()) for name in _imported(package))
    return {_normal(name) for names in found for name in names} - {"shardwise"}


@pytest.mark.parametrize(
    "heads", [("dependencies", "dev", "build", "sandbox"), ("ignore", '"tests/**"')], ids=["needs", "lint"]
)
def test_every_dependency_and_every_silenced_rule_has_its_reason(heads: tuple[str, ...]) -> None:
    """In a comment on its own line."""
    lines = [line for line in _blocks(*heads) if _QUOTED.match(line)]
    assert len(lines) > len(heads)
    assert [line for line in lines if not re.search(r"# .{8,}", line)] == []


def test_every_dependency_is_imported_and_everything_imported_is_a_dependency() -> None:
    """Neither ballast, nor something that is there by another's grace."""
    assert sorted(_distributions(PACKAGE)) == sorted(_wanted("dependencies"))


def test_the_sandbox_needs_its_own_group_and_no_more_than_the_product_besides() -> None:
    """Its libraries are in the developer's environment. The product asks for none of them (kopf brings jsonpatch)."""
    own = _wanted("sandbox")
    assert sorted(_distributions(SANDBOX) - set(_wanted("dependencies"))) == sorted(own)
    assert [name for name in own if name in _wanted("dependencies")] == []


def test_the_wheel_holds_the_product_alone(tmp_path: Path) -> None:
    """Neither the in-memory API server, nor the demo, nor the writer of pages is installed on a cluster."""
    with contextlib.chdir(ROOT):
        wheel = tmp_path / build_wheel(str(tmp_path))
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"shardwise"}
    assert [name for name in names if "sandbox" in name or "demo" in name or name.endswith("pages.py")] == []
    data = {f"shardwise/data/{path.name}" for path in (PACKAGE / "data").iterdir() if path.is_file()}
    assert data - set(names) == set()


def test_no_private_module_of_a_library_is_imported() -> None:
    """A private module may change or go in any release."""
    imports = [
        f"{shown(path)}: {node.module}"
        for path in modules(PACKAGE)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ImportFrom) and node.module and not node.module.startswith(("_", "shardwise"))
        if any(part.startswith("_") for part in [*node.module.split("."), *(alias.name for alias in node.names)])
    ]
    assert imports == []


@pytest.mark.parametrize("lock", _LOCKS)
def test_the_lock_pins_every_dependency(lock: str) -> None:
    """`make lock` was run after the last change of a dependency."""
    pinned = _pinned(lock)
    assert [name for group in _LOCKS[lock] for name in _wanted(group) if name not in pinned] == []


@pytest.mark.parametrize("lock", _LOCKS)
def test_the_lock_holds_a_hash_for_every_pin_and_says_no_more(lock: str) -> None:
    """Pip refuses a lock of which one line has no hash; an option in it would change where packages come from."""
    text = (ROOT / lock).read_text()
    entries = re.split(r"\n(?=[a-z0-9])", text)
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert [line for line in text.splitlines() if line.startswith("-")] == []


def test_the_locks_agree_with_one_another() -> None:
    """What is tested is what is shipped."""
    tested = _pinned("requirements-dev.lock")
    shipped = _pinned("requirements.lock")
    assert {name: (version, tested.get(name)) for name, version in shipped.items() if tested.get(name) != version} == {}


def test_the_lock_pins_at_least_the_lowest_version_asked_for() -> None:
    """A raised bound without `make lock` would install what pyproject.toml forbids."""
    pinned = _pinned("requirements-dev.lock")
    listed = project()["project"]["dependencies"] + project()["dependency-groups"]["dev"]
    for requirement in (one for one in listed if isinstance(one, str)):
        low = requirement.partition(">=")[2]
        assert _numbers(pinned[_normal(requirement)]) >= _numbers(low), requirement


def test_the_version_stands_in_one_place_and_is_the_installed_one() -> None:
    """An environment made before the version changed would report the old one."""
    from shardwise import __version__  # noqa: PLC0415 - reads the installed distribution's metadata

    assert __version__ == project()["project"]["version"]


def test_every_file_the_build_includes_is_there() -> None:
    """Hatchling leaves a missing one out, and says nothing."""
    included = project()["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert [path for path in included if not (ROOT / path.lstrip("/")).exists()] == []


def test_every_silenced_line_says_which_rule_and_why() -> None:
    """``# noqa: RULE - reason``; ``# type: ignore[code]`` with its reason in the comment above."""
    assert [where for path in modules(PACKAGE) for where in _unexplained(path)] == []


def _unexplained(path: Path) -> Iterator[str]:
    above = ""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        where = f"{shown(path)}:{number}: {line.strip()}"
        if "# noqa" in line and not re.search(r"# noqa: [A-Z0-9, ]+ - \S.{5,}", line):
            yield where
        if "# type: ignore" in line and not (re.search(r"ignore\[[a-z-]+\]", line) and above.startswith("#")):
            yield where
        above = line.strip()


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def test_the_project_file_is_toml_that_a_strict_reader_reads() -> None:
    """Duplicate keys and stray commas end here."""
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["name"] == "shardwise"
