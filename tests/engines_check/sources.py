"""Facts read from the sources of a release without installing it: model classes, methods, stages, stage ends.

Nothing is imported: the files are parsed. So every release can be read in one environment.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

_STAGE_GUARDS: Final = ("is_first_rank", "is_last_rank", "is_first_pp_rank", "is_last_pp_rank")
"""Names by which a model asks whether its stage is at an end of the model."""

_ENDS: Final = {"embed_tokens", "embeddings", "wte", "tok_embeddings", "word_embeddings", "embed_in", "lm_head"}
"""Attributes that hold the embedding or the output head."""

_ENTRIES: Final = re.compile(r"^EntryClass\b[^=]*=\s*(\[[^\]]*\]|\w+)", re.MULTILINE)

_END_CLASSES: Final = {"VocabParallelEmbedding", "ParallelLMHead"}


@dataclass(frozen=True, slots=True)
class Release:
    """The classes of a release's registry and its methods of quantisation, with the deprecated methods among them."""

    engine: str
    release: str
    architectures: tuple[str, ...]
    methods: tuple[str, ...]
    deprecated: tuple[str, ...] = ()


def read_release(engine: str, folder: Path) -> Release:
    """Read the sources of a release: ``folder`` holds the package and its metadata."""
    release = next(folder.glob(f"{engine}-*.dist-info")).name.removeprefix(f"{engine}-").removesuffix(".dist-info")
    read = {"vllm": _vllm, "sglang": _sglang}[engine]
    return read(release, folder / engine)


def sglang_stages(package: Path) -> dict[str, bool]:
    """Tell of each class of SGLang's registry whether it can be split: its forward takes ``pp_proxy_tensors``.

    The class is looked for as SGLang's model_runner.py looks: in the signature of the forward that it inherits.
    """
    models = package / "srt" / "models"
    classes = _Classes(models)
    return {name: classes.takes(name, "forward", "pp_proxy_tensors") for name in _sglang_entries(models)}


def vllm_stage_ends(package: Path) -> dict[str, tuple[str, ...]]:
    """Give the modules of vLLM's models that hold the embedding or the head on every stage."""
    return dict(_unguarded_ends(package / "model_executor" / "models"))


def _vllm(release: str, package: Path) -> Release:
    listed = _tree(package / "model_executor" / "layers" / "quantization" / "__init__.py")
    return Release(
        engine="vllm",
        release=release,
        architectures=tuple(sorted(_registry(package / "model_executor" / "models" / "registry.py"))),
        methods=tuple(sorted(_texts(_assigned(listed, "QuantizationMethods")))),
        deprecated=tuple(sorted(_texts(_assigned(listed, "DEPRECATED_QUANTIZATION_METHODS")))),
    )


def _sglang(release: str, package: Path) -> Release:
    listed = _tree(package / "srt" / "layers" / "quantization" / "__init__.py")
    return Release(
        engine="sglang",
        release=release,
        architectures=_sglang_entries(package / "srt" / "models"),
        methods=tuple(sorted(set(_sglang_methods(listed)))),
    )


def _sglang_entries(models: Path) -> tuple[str, ...]:
    return tuple(sorted({name for path in models.glob("*.py") for name in _entry_classes(path)}))


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8-sig")) if path.exists() else ast.Module([], [])


def _assigned(tree: ast.Module, name: str) -> ast.expr | None:
    """Give the value that a module last assigns to a name."""
    found = None
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            found = node.value  # type: ignore[attr-defined]  # both kinds have one
    return found


def _texts(node: ast.expr | None) -> Iterator[str]:
    """Give every text inside an expression."""
    for inner in ast.walk(node) if node is not None else ():
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            yield inner.value


def _registry(path: Path) -> dict[str, tuple[str, str]]:
    """Read the tables of vLLM's registry: architecture -> module and class."""
    found: dict[str, tuple[str, str]] = {}
    for node in ast.walk(_tree(path)):
        if not isinstance(node, ast.Dict):
            continue
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(value, ast.Tuple) and len(value.elts) >= 2:
                texts = [text.value for text in value.elts[:2] if isinstance(text, ast.Constant)]
                if len(texts) == 2 and all(isinstance(text, str) for text in texts):
                    found[str(key.value)] = str(texts[0]), str(texts[1])
    return found


def _entry_classes(path: Path) -> Iterator[str]:
    """Give the classes that a module of SGLang offers. Only the statement that lists them is parsed: files are long."""
    listed = _ENTRIES.findall(path.read_text(encoding="utf-8-sig"))
    for node in ast.walk(ast.parse(listed[-1])) if listed else ():
        if isinstance(node, ast.Name):
            yield node.id


def _sglang_methods(tree: ast.Module) -> Iterator[str]:
    """Give the methods of SGLang on CUDA: those of the tables, and of updates that CUDA gets too."""
    for name in ("BASE_QUANTIZATION_METHODS", "VLLM_QUANTIZATION_METHODS"):
        value = _assigned(tree, name)
        if isinstance(value, ast.Dict):
            yield from (str(key.value) for key in value.keys if isinstance(key, ast.Constant))
    for node in tree.body:
        if isinstance(node, ast.If) and "is_cuda()" in ast.unparse(node.test):
            for inner in (found for statement in node.body for found in ast.walk(statement)):
                if isinstance(inner, ast.Dict):
                    yield from (str(key.value) for key in inner.keys if isinstance(key, ast.Constant))


class _Classes:
    """The classes of a folder of modules, and what they inherit from one another, by name."""

    def __init__(self, folder: Path) -> None:
        self._found: dict[str, ast.ClassDef] = {}
        for path in sorted(folder.rglob("*.py")):
            for node in _tree(path).body:
                if isinstance(node, ast.ClassDef):
                    self._found.setdefault(node.name, node)

    def _bases(self, name: str) -> Iterator[str]:
        node = self._found.get(name)
        for base in node.bases if node is not None else ():
            plain = base.value if isinstance(base, ast.Subscript) else base
            yield plain.attr if isinstance(plain, ast.Attribute) else getattr(plain, "id", "")

    def _line(self, name: str, seen: frozenset[str] = frozenset()) -> Iterator[str]:
        if name in seen:
            return
        yield name
        for base in self._bases(name):
            yield from self._line(base, seen | {name})

    def takes(self, name: str, method: str, argument: str) -> bool:
        """Tell whether the first method of that name in a class or its ancestors takes an argument."""
        for ancestor in self._line(name):
            node = self._found.get(ancestor)
            for member in node.body if node is not None else ():
                if isinstance(member, ast.FunctionDef) and member.name == method:
                    arguments = member.args
                    return argument in {given.arg for given in (*arguments.args, *arguments.kwonlyargs)}
        return False


def _unguarded_ends(folder: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Give the modules that build an embedding or a head without asking whether their stage is at an end."""
    for path in sorted(folder.glob("*.py")):
        built: dict[str, bool] = {}
        for node in _tree(path).body:
            if isinstance(node, ast.ClassDef):
                for name, guarded in _built_ends(node):
                    built[name] = built.get(name, True) and guarded
        unguarded = tuple(sorted(name for name, guarded in built.items() if not guarded))
        if unguarded:
            yield path.stem, unguarded


def _built_ends(node: ast.AST, *, guarded: bool = False) -> Iterator[tuple[str, bool]]:
    """Give each end that is built in a class, and whether a condition on the stage stands around it."""
    for child in ast.iter_child_nodes(node):
        inside = guarded or (
            isinstance(child, ast.If) and any(word in ast.unparse(child.test) for word in _STAGE_GUARDS)
        )
        if isinstance(child, ast.Assign) and _is_end(child):
            yield child.targets[0].attr, inside  # type: ignore[attr-defined]  # _is_end looked
        yield from _built_ends(child, guarded=inside)


def _is_end(node: ast.Assign) -> bool:
    target, value = node.targets[0], node.value
    if not (isinstance(target, ast.Attribute) and target.attr in _ENDS and isinstance(value, ast.Call)):
        return False
    called: Any = value.func
    return getattr(called, "id", getattr(called, "attr", "")) in _END_CLASSES
