"""Finding the family of a config, and the part of the config that describes the language model."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Final

from shardwise.checkpoint import model_types
from shardwise.checkpoint.blocks import Decoder, Reader
from shardwise.checkpoint.families import kinds, reader_of, reading
from shardwise.checkpoint.families.generic import generic
from shardwise.checkpoint.fields import Fields
from shardwise.checkpoint.parts import Vectors
from shardwise.checkpoint.towers import tower

_NESTS: Final = ("text_config", "llm_config", "language_config", "thinker_config", "language_model_config")
_DEEPEST: Final = 3

_PUBLISHED: Final[tuple[tuple[str, str, Mapping[str, object]], ...]] = (
    ("glm-4.5", "glm4_moe", {"head_dim": 128}),
    ("glm-4.6", "glm4_moe", {"head_dim": 128}),
    ("minimax-m2", "minimax_m2", {}),
    ("qwen3-next", "qwen3_next", {}),
    ("gemma-2", "gemma2", {}),
    ("gemma-", "gemma", {}),
    ("llama-2", "llama", {}),
    ("llama-3", "llama", {}),
    ("phi-3.5-moe", "phimoe", {}),
    ("mixtral", "mixtral", {}),
    ("mistral", "mistral", {}),
    ("gpt-j", "gptj", {}),
    ("gpt-neox", "gpt_neox", {}),
    ("gpt2", "gpt2", {}),
)
"""Parts of published names, the family, and fields that all its published models share; for configs without a type."""

_REQUIRED: Final = frozenset(
    {"hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size", "intermediate_size"}
)
"""Dimensions that only a nested config may leave to the defaults of its type; a whole config must state them."""


@dataclass(frozen=True, slots=True)
class Recognised:
    """A config and its reader. ``text`` is the part that describes the language model, or the whole config.

    ``family`` is the type under which it is read; empty without a known family.
    """

    whole: Fields
    text: Fields
    reader: Reader
    architecture: str
    family: str = ""
    states_architecture: bool = True
    guessed: bool = False
    notes: tuple[str, ...] = ()

    def read(self) -> Decoder:
        """Read the decoder, with its towers."""
        decoder = self.reader(self.text)
        elements, notes = tower(self.whole, decoder.hidden)
        held = (Vectors(elements, "tower"),) if elements else ()
        return replace(decoder, tower=held, notes=decoder.notes + notes, guessed=decoder.guessed or bool(notes))


def recognise(whole: Fields) -> Recognised:
    """Find the language model in a config, and its family by ``model_type``, architecture or published name."""
    text = _nested(whole)
    named = whole.texts("architectures") or text.texts("architectures")
    stated = text.text("model_type") or whole.text("model_type")
    found = _family(whole, text, stated, named)
    filled = {
        key: value
        for key, value in {**_defaults(found.kind, nested=text is not whole), **found.fixed}.items()
        if not any(name in text.values for name in _same(key))
    }
    values = {**filled, **text.values}
    if text is not whole and whole.has("tie_word_embeddings"):
        values["tie_word_embeddings"] = whole.values["tie_word_embeddings"]
    return Recognised(
        whole=whole,
        text=text.with_only(values),
        reader=reader_of(found.kind) or generic,
        family=found.kind,
        architecture=named[0] if named else model_types.architecture(found.kind or stated or "unknown"),
        states_architecture=bool(named),
        guessed=found.guessed,
        notes=found.notes + _filled(found.kind, filled),
    )


def _nested(whole: Fields) -> Fields:
    found = whole
    for _ in range(_DEEPEST):
        inner = found.section(*_NESTS)
        if inner is None:
            break
        found = inner
    return found


@dataclass(frozen=True, slots=True)
class _Family:
    """A family that was found, the fields that all its published models share, and notes for people."""

    kind: str = ""
    fixed: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    guessed: bool = False


def _family(whole: Fields, text: Fields, stated: str | None, named: tuple[str, ...]) -> _Family:
    for kind in (text.text("model_type"), whole.text("model_type")):
        if kind and (found := _lookup(kind)):
            return _Family(found)
    unknown = f"Shardwise does not know the model type `{stated}`: " if stated else "no `model_type`: "
    if named and (found := _lookup(_stem(named[0]))):
        said = f"read as `{found}`, by the architecture `{named[0]}`"
        return _Family(found, notes=(unknown + said,), guessed=stated is not None)
    if stated is None and not named and (by_name := _by_name(whole.name)):
        return by_name
    return _Family(notes=(unknown + "the sizes are a guess",), guessed=True)


def _stem(architecture: str) -> str:
    """Leave out the task of an architecture: ``Qwen3`` for ``Qwen3ForCausalLM``, ``GPT2`` for ``GPT2LMHeadModel``."""
    stem, _, task = architecture.partition("For")
    return stem if task.isidentifier() else architecture.removesuffix("Model").removesuffix("LMHead")


def _by_name(name: str) -> _Family | None:
    for part, kind, fixed in _PUBLISHED:
        if part in name.lower():
            return _Family(kind, fixed, (f"no `model_type`: read as `{kind}`, by the name `{name}`",))
    return None


def _lookup(kind: str) -> str | None:
    kind = model_types.canonical(kind)
    if reader_of(kind):
        return kind
    if reader_of(f"{kind}_text"):
        return f"{kind}_text"
    letters, known = _letters(kind), _by_letters()
    return known.get(letters) or known.get(f"{letters}text")


def _letters(kind: str) -> str:
    return re.sub(r"[^a-z0-9]", "", kind.lower())


@cache
def _by_letters() -> Mapping[str, str]:
    return {_letters(kind): kind for kind in kinds()}


def _defaults(kind: str, *, nested: bool) -> Mapping[str, object]:
    found = model_types.defaults(kind)
    return found if nested else {key: value for key, value in found.items() if key not in _REQUIRED}


def _same(key: str) -> tuple[str, ...]:
    """List all names of a field. A default is filled in only if no name is set."""
    return next((names for names in reading.SYNONYMS if key in names), (key,))


def _filled(kind: str, filled: Mapping[str, object]) -> tuple[str, ...]:
    """Note which dimensions the config leaves to the defaults of its type."""
    shown = ", ".join(f"`{key}: {value}`" for key, value in filled.items())
    return (f"not in the config; these defaults of `{kind}` apply: {shown}",) if shown else ()
