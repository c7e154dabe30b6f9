"""The repository as its own tests see it: files, Python trees, lines that bear code."""

import ast
import io
import tokenize
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGE: Final = ROOT / "operator" / "shardwise"
SANDBOX: Final = ROOT / "operator" / "shardwise_sandbox"
TESTS: Final = ROOT / "tests"

_FOLDERS: Final = (".ci", ".github", "benchmarks", "charts", "crds", "docs", "operator", "tests")
_NO_CODE: Final = frozenset(
    {
        tokenize.COMMENT,
        tokenize.DEDENT,
        tokenize.ENCODING,
        tokenize.ENDMARKER,
        tokenize.INDENT,
        tokenize.NEWLINE,
        tokenize.NL,
    }
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


def files() -> Iterator[Path]:
    """Give every file that belongs to the project, top level and folders, in order; nothing that is built."""
    top = (path for path in ROOT.iterdir() if path.is_file() and path.name != ".git")  # a file in a worktree
    below = (path for folder in _FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file())
    yield from sorted(path for path in (*top, *below) if "__pycache__" not in path.parts)


def modules(folder: Path = PACKAGE) -> list[Path]:
    """List the Python files of a folder, in order."""
    return sorted(folder.rglob("*.py"))


def shown(path: Path) -> str:
    """Say a path as it is in the repository."""
    return path.relative_to(ROOT).as_posix()


@cache
def project() -> dict[str, Any]:
    """Read pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@cache
def tree(path: Path) -> ast.Module:
    """Parse a Python file."""
    return ast.parse(path.read_text(), filename=str(path))


def functions(path: Path) -> Iterator[Function]:
    """Give every function and method of a file."""
    return (node for node in ast.walk(tree(path)) if isinstance(node, Function))


def length(function: Function) -> int:
    """Count a function's lines, from ``def`` to its end, without its docstring."""
    return _lines(function) - _docstring_lines(function)


def code_lines(path: Path) -> int:
    """Count the lines that bear code: no docstrings, comments or blanks."""
    bearing: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type not in _NO_CODE:
            bearing.update(range(token.start[0], token.end[0] + 1))
    return len(bearing - _documented(path))


def _documented(path: Path) -> set[int]:
    """Give the lines that are docstrings, those below a constant or field included."""
    strings = (
        node
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    )
    return {line for node in strings for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)}


def _docstring_lines(function: Function) -> int:
    if ast.get_docstring(function, clean=False) is None:
        return 0
    return _lines(function.body[0])


def _lines(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1
