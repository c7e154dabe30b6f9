"""Every regular expression of the product is listed here, and reads any text in linear time."""

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from pydantic import BaseModel
from tests.support.ambiguity import ambiguity
from tests.support.repository import PACKAGE, modules, shown, tree

from shardwise.api.base import Reported, Wire

WHOLE: Final = frozenset({"match", "fullmatch"})
ANYWHERE: Final = frozenset({"search", "sub", "split", "findall", "finditer"})

KNOWN: Final[dict[str, dict[str, str]]] = {
    "api/launch_configuration.py": {
        "^[A-Za-z_][A-Za-z0-9_]*$": "fullmatch",
    },
    "api/rules.py": {
        "-?[0-9]{1,18}": "fullmatch",
    },
    "checkpoint/model_types.py": {
        "[-_]": "split",
    },
    "checkpoint/names.py": {
        r"(?<=\blayers\.)\d+|(?<=\bh\.)\d+|(?<=\bblocks\.)\d+|(?<=\blayer\.)\d+": "search, sub",
        r"(?<!\\)\d+|\\d(?![+*])": "findall",
        r"\\\.(?:(\d+)|\((?:\?:)?([\d|]+)\))(?=\\\.)": "findall",
        r"\bexperts\.\d+\b": "sub",
    },
    "checkpoint/precision.py": {
        r"[-_.](nvfp4|fp4)\b": "elsewhere",
        r"[-_.](mxfp4)\b": "elsewhere",
        r"[-_.](fp8)\b": "elsewhere",
        r"[-_.](awq|gptq|int4|w4a16|4bit)\b": "elsewhere",
        r"[-_.](w8a8|int8|8bit)\b": "elsewhere",
    },
    "checkpoint/recognise.py": {
        "[^a-z0-9]": "sub",
    },
    "cli/running.py": {
        "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?": "fullmatch",
    },
    "cli/logs.py": {
        r"\bhf_[A-Za-z0-9]{8,}|(?<=[Bb]earer )[^\s\"',;]{8,}|\beyJ[\w.-]{16,}": "sub",
    },
    "cluster/nesting.py": {
        r'["\\{}\[\]]': "finditer",
    },
    "controller/watch_log.py": {
        "group='([^']*)', version='([^']*)', any_name='([^']*)'": "findall",
    },
    "domain/units.py": {
        r"([0-9]+(?:\.[0-9]+)?)([A-Za-z]*)": "fullmatch",
        r"([0-9]{1,24}(?:\.[0-9]{0,12})?)(?:([eE][+-]?[0-9]{1,2})|([A-Za-z]{0,2}))": "fullmatch",
        "^([0-9]+h)?([0-9]+m)?([0-9]+s)?$": "fullmatch",
        r"^(0*[1-9][0-9]*(\.[0-9]{1,3})?|0+\.[0-9]{0,2}[1-9][0-9]{0,2})(ms|s)$": "fullmatch",
    },
    "domain/version.py": {
        r"v?([0-9]+)\.([0-9]+)(?:\.([0-9]+))?": "match",
        r"^v?[0-9]+\.[0-9]+(\.[0-9]+)?([.+-]?[A-Za-z][0-9A-Za-z.+-]*)?$": "fullmatch",
    },
    "inventory/exclusions.py": {
        r"Gpu\w+Watch|SysLogs\w+": "fullmatch",
    },
    "inventory/selectors.py": {
        r"""\s*(?:("[^"\\]*"|'[^'\\]*')|(-?[0-9]+)|([A-Za-z_][A-Za-z_0-9]*)"""
        r"""|(&&|\|\||[=!<>]=|[<>!().,\[\]])|(\S))""": "match",
    },
    "reconcile/exits.py": {
        r"(?<![\w.:/-])40[13](?![\w/-]|[.:]\d)": "search",
        "client error|unauthorized|forbidden|http|status": "search",
        r"error|exception|fail|denied|refused|forbidden|unauthori[sz]ed|not found|no such|has no|cannot|can't|could not"
        r"|unable|unrecogni[sz]ed|invalid|out of memory|killed|abort|fault|no space|timed? ?out|missing|not support"
        r"|unsupported|needs|must|too (?:large|long|many)|permission|\b40[13]\b": "search",
        r"\b(?:INFO|DEBUG|WARN|WARNING)\b|UserWarning|warnings\.warn|\b200 OK\b"
        r"|[Rr]oot cause above|[Ss]ee above|During handling of|\bFile \"|\braise \w": "search",
    },
    "render/companions.py": {
        r"-(files-[0-9a-f]{8}|gpus-[0-9a-f]{8}|\d+-nvlink-\d+)$": "search",
    },
    "render/names.py": {
        r"-\d+-\d+$": "search",
    },
}
"""File -> expression -> ways in which it is used. ``match`` and ``fullmatch`` begin at the beginning of the text."""


def _calls(path: Path) -> Iterator[tuple[str, str]]:
    """Give each use of a regular expression in a file: the expression and the method."""
    compiled, used = dict(_compiled(path)), set[str]()
    for node in ast.walk(tree(path)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        method, base = node.func.attr, node.func.value
        name = base.id if isinstance(base, ast.Name) else None
        if name == "re" and method in WHOLE | ANYWHERE:
            yield _text(path, node.args[0]), method
        elif name in compiled and method in WHOLE | ANYWHERE:
            used.add(name)
            yield compiled[name], method
    yield from ((text, "elsewhere") for name, text in compiled.items() if name not in used)


def _compiled(path: Path) -> Iterator[tuple[str, str]]:
    """Give the expressions that a file compiles, by the constants that hold them, or by their text."""
    named = {
        id(node.value): node.target.id
        for node in ast.walk(tree(path))
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None
    }
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "re.compile":
            text = _text(path, node.args[0])
            yield named.get(id(node), text), text


def _text(path: Path, node: ast.expr) -> str:
    """Give a literal, or the value of a constant of the module."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
        return node.value if isinstance(node.value, str) else node.value.decode()
    module = importlib.import_module(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))
    assert isinstance(node, ast.Name), ast.unparse(node)
    return str(getattr(module, node.id))


def _found() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for path in modules():
        for text, method in _calls(path):
            uses = found.setdefault(shown(path).removeprefix("operator/shardwise/"), {})
            uses[text] = ", ".join(sorted({*filter(None, uses.get(text, "").split(", ")), method}))
    return found


def test_every_regular_expression_is_listed() -> None:
    """A new one is added here when it is known to be linear."""
    assert _found() == KNOWN


USES = {f"{file}: {text}": (text, uses) for file, found in KNOWN.items() for text, uses in found.items()}


@pytest.mark.parametrize(("text", "uses"), USES.values(), ids=USES)
def test_every_regular_expression_reads_any_text_in_linear_time(text: str, uses: str) -> None:
    assert ambiguity(text, anywhere=not set(uses.split(", ")) <= WHOLE) is None


SLOW = {
    "two repeats of the same signs": (r"[a-z]+\w+!", False),
    "repeats that meet behind a sign that both take": (r"\w*a\w*!", False),
    "a repeat before an end, searched for": (r"a+$", True),
    "a word and its end, searched for": (r"For\w+$", True),
}


@pytest.mark.parametrize(("text", "anywhere"), SLOW.values(), ids=SLOW)
def test_expressions_that_try_every_place_are_found(text: str, anywhere: bool) -> None:
    """Else the test above would prove nothing. All of these are quadratic: harmless for a text of a few signs."""
    assert ambiguity(text, anywhere=anywhere) is not None


FAST = {
    "repeats with a sign between them": (r"[a-z]+-[a-z]+!", False),
    "a repeat that ends the match": (r"\d+", True),
    "repeats of different signs": (r"\d+[a-z]+$", False),
}


@pytest.mark.parametrize(("text", "anywhere"), FAST.values(), ids=FAST)
def test_expressions_that_know_their_place_are_not(text: str, anywhere: bool) -> None:
    assert ambiguity(text, anywhere=anywhere) is None


def test_no_module_takes_expressions_or_globs_from_elsewhere() -> None:
    """The matchers of other modules are those of ``re``."""
    importing = [
        f"{shown(path)}: {name}"
        for path in modules()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
        if name.partition(".")[0] in {"fnmatch", "glob", "regex", "sre_compile", "sre_parse"}
    ]
    assert importing == []


def _models(base: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield base
    for model in base.__subclasses__():
        yield from _models(model)


def test_patterns_of_the_object_are_matched_by_an_engine_of_linear_time() -> None:
    """Pydantic's default is Rust's regex crate, which has no backtracking."""
    models = [model for base in (Wire, Reported) for model in _models(base)]
    assert len(models) > 20
    assert {model.model_config.get("regex_engine", "rust-regex") for model in models} == {"rust-regex"}
