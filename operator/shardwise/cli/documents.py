"""Reading YAML and JSON documents from files, folders and standard input, with errors that name the place."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

Document = Mapping[str, Any]

_SUFFIXES: Final = (".yaml", ".yml", ".json")


class WrongInput(Exception):
    """Input that cannot be worked with; each line says one thing that is wrong."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def read_documents(names: Iterable[str]) -> Iterator[tuple[str, Document]]:
    """Give ``(file name, document)`` for every document, with Lists taken apart.

    Raises :class:`WrongInput` for a file that cannot be read or is not YAML.
    """
    for name in names:
        for path, text in _texts(name):
            for document in _parsed(path, text):
                yield from ((path, one) for one in _flattened(path, document))


def _texts(name: str) -> Iterator[tuple[str, str]]:
    if name == "-":
        yield "standard input", sys.stdin.read()
        return
    path = Path(name)
    files = sorted(one for one in path.iterdir() if one.suffix in _SUFFIXES) if path.is_dir() else [path]
    for file in files:
        try:
            yield str(file), file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise WrongInput(f"{file} cannot be read: {reason}") from error


def _parsed(path: str, text: str) -> list[object]:
    try:
        return [document for document in yaml.load_all(text, Loader=yaml.CSafeLoader) if document is not None]
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or str(error) or type(error).__name__
        raise WrongInput(f"{path}{where}: not YAML: {problem}") from error


def _flattened(path: str, document: object) -> Iterator[Document]:
    if not isinstance(document, Mapping):
        raise WrongInput(f"{path}: a Kubernetes object is needed, not `{str(document)[:60]}`")
    if str(document.get("kind", "")).endswith("List") and isinstance(document.get("items"), list):
        for item in document["items"]:
            yield from _flattened(path, item)
    else:
        yield document
