"""Reading YAML and JSON documents from files, folders and standard input, with errors that name the place."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from shardwise.cli.wrong import WrongInput

Document = Mapping[str, Any]

_SUFFIXES: Final = (".yaml", ".yml", ".json")
_STDIN: Final = "-"
_MERGE: Final = "tag:yaml.org,2002:merge"
_DEEPEST: Final = 100
"""Levels a document may nest: no Kubernetes object comes near, and far deeper ones end the C parser's stack."""
_LARGEST: Final = 10_000_000
"""Values of a document with aliases, each alias counted as often as it stands: far above any Kubernetes object."""


def read_documents(names: Iterable[str]) -> Iterator[tuple[str, Document]]:
    """Give ``(file name, document)`` for every document, with Lists taken apart.

    Folders are read without their subfolders.

    Raises :class:`WrongInput` for a file that cannot be read or is neither YAML nor JSON.
    """
    for name in names:
        for path, content in _contents(name):
            for document in parsed_documents(path, content):
                yield from ((path, item) for item in _flattened(path, document))


def shown(names: Iterable[str]) -> str:
    """Say the names of files as given, and standard input by its name."""
    return ", ".join("standard input" if name == _STDIN else name for name in names)


def _contents(name: str) -> Iterator[tuple[str, bytes]]:
    """Give bytes: the parsers tell UTF-8 from the UTF-16 that PowerShell writes."""
    if name == _STDIN:
        yield shown([name]), sys.stdin.buffer.read()
        return
    try:
        for file in _files(Path(name)):
            yield str(file), file.read_bytes()
    except OSError as error:
        raise WrongInput(f"{error.filename or name} cannot be read: {error.strerror}") from error


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES and not file.is_dir())


def parsed_documents(path: str, content: bytes) -> list[object]:
    """Give the documents of a file that are not empty. Raises :class:`WrongInput` with the line that is wrong.

    Parse as JSON where it is JSON: ten times quicker, and ``kubectl -o json`` of a large cluster is long.
    """
    if content.lstrip()[:1] == b"{":
        try:
            return [json.loads(content)]
        except (ValueError, RecursionError):
            pass  # not JSON, or several documents: the YAML parser reads those, and says where it cannot
    return _parsed_yaml(path, content)


def _parsed_yaml(path: str, content: bytes) -> list[object]:
    try:
        documents = list(yaml.load_all(content, Loader=_Loader))
        _check_aliases(content, documents)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or str(error).partition("\n")[0] or type(error).__name__
        raise WrongInput(f"{path}{where}: not YAML: {problem}") from error
    return [document for document in documents if document is not None]


def _check_aliases(content: bytes, documents: list[object]) -> None:
    """Refuse aliases that make a document endless or huge. Each value is looked at once, however often it stands."""
    if b"*" in content and _count(documents, {}) > _LARGEST:
        raise yaml.YAMLError(f"aliases make more than {_LARGEST:,} values of it")


def _count(value: object, known: dict[int, int]) -> int:
    if not isinstance(value, (Mapping, list)):
        return 1
    if id(value) not in known:
        known[id(value)] = _LARGEST + 1  # stays so where the value is inside itself
        inner = value.values() if isinstance(value, Mapping) else value
        known[id(value)] = min(_LARGEST + 1, 1 + sum(_count(item, known) for item in inner))
    return known[id(value)]


class _Loader(yaml.CSafeLoader):
    """Refuses a document that nests too deeply, before the C parser recurses into it, and keys that stand twice."""

    def __init__(self, stream: bytes) -> None:
        super().__init__(stream)
        self._depth = 0

    def descend_resolver(self, current_node: yaml.Node | None, current_index: Any) -> None:  # noqa: ANN401 - PyYAML's own type
        self._depth += 1
        if self._depth > _DEEPEST:
            raise yaml.YAMLError(f"nested more than {_DEEPEST} levels deep")
        super().descend_resolver(current_node, current_index)

    def ascend_resolver(self) -> None:
        self._depth -= 1
        super().ascend_resolver()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Refuse a key that stands twice, as kubectl does; the parser would keep the last.

        A node that another node merges is flattened twice. The first time shows its own keys alone.
        """
        if "flat" not in vars(node):
            vars(node)["flat"] = True
            _check_keys(node)
        super().flatten_mapping(node)


def _check_keys(node: yaml.MappingNode) -> None:
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
            continue
        if key.value in seen:
            raise yaml.constructor.ConstructorError(None, None, f"`{key.value}` stands twice", key.start_mark)
        seen.add(key.value)


def _flattened(path: str, document: object) -> Iterator[Document]:
    if not isinstance(document, Mapping):
        raise WrongInput(f"{path}: a Kubernetes object is needed, not `{str(document)[:60]}`")
    if str(document.get("kind", "")).endswith("List") and isinstance(document.get("items"), list):
        for item in document["items"]:
            yield from _flattened(path, item)
    else:
        yield document
