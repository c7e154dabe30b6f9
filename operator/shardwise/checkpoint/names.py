"""Matching the names of weights with the patterns of a checkpoint: unquantised modules, and the targets of a group.

A pattern is an exact name, a prefix or a stretch of a module path (``lm_head``, ``mlp.gate``), a glob, or ``re:`` and a
regular expression, which is matched from the beginning of a name as in compressed-tensors. A checkpoint may name a
fused weight for its parts, or a single expert for all; both match. :mod:`patterns` says why no match takes long.
"""

import re
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final

from shardwise.checkpoint.fields import ConfigError, short
from shardwise.checkpoint.pattern_syntax import PatternError, expression, glob
from shardwise.checkpoint.patterns import Pattern, Row, row

MOST_PATTERNS: Final = 10_000
"""Globs and regular expressions of a list. Lists of each projection of each layer have about 1,000."""

MOST_NAMES: Final = 200_000
"""Names of a list. Mixed precision lists each expert of each layer: 45,000 names for DeepSeek R1."""

_LAYER: Final = re.compile(r"(?<=\blayers\.)\d+|(?<=\bh\.)\d+|(?<=\bblocks\.)\d+|(?<=\blayer\.)\d+")
_EXPERT: Final = re.compile(r"\bexperts\.\d+\b")
_WRAPPERS: Final = frozenset({"model", "language_model", "text_model", "transformer", "backbone"})
_PREFIXES: Final = ("", "model.")
_WRAPPED: Final = (*_PREFIXES, "language_model.model.", "model.language_model.")
_WRAPPER: Final = "language_model"
_NUMBER: Final = re.compile(r"(?<!\\)\d+|\\d(?![+*])")
"""A number in a pattern, or a digit that stands for some numbers and not for others."""

_WHOLE_NUMBERS: Final = re.compile(r"\\\.(?:(\d+)|\((?:\?:)?([\d|]+)\))(?=\\\.)")
"""Numbers in a pattern that can only mean themselves: ``0`` or ``(0|1)`` between two dots."""

_FUSED: Final[Mapping[str, tuple[str, ...]]] = {
    "q_proj": ("qkv_proj", "query_key_value", "c_attn", "W_pack"),
    "k_proj": ("qkv_proj", "query_key_value", "c_attn", "W_pack"),
    "v_proj": ("qkv_proj", "query_key_value", "c_attn", "W_pack"),
    "o_proj": ("out_proj", "dense", "wo"),
    "gate_proj": ("gate_up_proj", "w1", "gate_up_proj_blocks"),
    "up_proj": ("gate_up_proj", "w3", "fc1", "c_fc", "dense_h_to_4h"),
    "down_proj": ("w2", "fc2", "c_proj", "dense_4h_to_h"),
    "in_proj_qk": ("in_proj_qkvz", "in_proj_qkv"),
    "in_proj_vz": ("in_proj_qkvz", "in_proj_z"),
    "in_proj_ba": ("in_proj_b", "in_proj_a"),
    "in_proj_groups": ("in_proj",),
    "q_a_proj": ("fused_qkv_a_proj", "fused_qkv_a_proj_with_mqa"),
    "kv_a_proj_with_mqa": ("fused_qkv_a_proj", "fused_qkv_a_proj_with_mqa"),
}
"""The last part of a weight's name here -> other names of it, and of weights that it is fused into."""


@dataclass(frozen=True, slots=True)
class Names:
    """A set of patterns. ``general`` apply to all layers; ``layers`` maps an index to patterns for that layer only.

    ``globs`` are the globs among both, by their layer or by ``None``. ``told`` are the layers that regular expressions
    name by number. ``indexed``: the expressions use numbers in other ways, so each layer may match differently.
    ``size`` counts the steps of a match with a weight's name.
    """

    general: frozenset[str] = frozenset()
    layers: Mapping[int, frozenset[str]] = field(default_factory=dict)
    globs: Mapping[int | None, tuple[Pattern, ...]] = field(default_factory=dict)
    regexes: tuple[Pattern, ...] = ()
    told: frozenset[str] = frozenset()
    indexed: bool = False
    size: int = 1

    def __bool__(self) -> bool:
        """Tell whether there is any pattern."""
        return bool(self.general or self.layers or self.regexes)

    def match(self, name: str) -> bool:
        """Tell whether any pattern matches a weight's name, given with its whole path."""
        plain, index = _split_weight(name)
        stretches = _stretches(plain)
        if not stretches.isdisjoint(self.general) or not stretches.isdisjoint(self.layers.get(index, ())):
            return True
        if any(found.match(_plain_row(plain)) for key in (None, index) for found in self.globs.get(key, ())):
            return True
        return any(found.match(_row(name, wrapped=_WRAPPER in found.text)) for found in self.regexes)

    def with_others(self, other: "Names") -> "Names":
        """Give the patterns of both."""
        layers = {
            index: self.layers.get(index, frozenset()) | other.layers.get(index, frozenset())
            for index in {*self.layers, *other.layers}
        }
        globs = {
            index: tuple(dict.fromkeys(self.globs.get(index, ()) + other.globs.get(index, ())))
            for index in {*self.globs, *other.globs}
        }
        return _sized(
            Names(
                self.general | other.general,
                layers,
                globs,
                tuple(dict.fromkeys(self.regexes + other.regexes)),
                self.told | other.told,
                self.indexed or other.indexed,
            )
        )


def layer_keys(lists: Sequence[Names]) -> Callable[[int], Hashable]:
    """Give a function from a layer's index to a key: layers with the same key match the same patterns of all lists."""
    indexed = any(listed.indexed for listed in lists)
    told = frozenset(number for listed in lists for number in listed.told)
    own: dict[int, list[Hashable]] = {}
    for position, listed in enumerate(lists):
        for index, patterns in listed.layers.items():
            own.setdefault(index, []).append((position, patterns))
    return lambda index: (index if indexed or str(index) in told else None, *own.get(index, ()))


def names(listed: Iterable[str], where: str, field: str) -> Names:
    """Read patterns. ``where`` is the model's name and ``field`` the field of its config, for messages.

    Raises :class:`ConfigError` for a pattern that cannot be matched in linear time, and for too many patterns or names.
    """
    general: set[str] = set()
    layers: dict[int, set[str]] = {}
    globs: dict[int | None, list[Pattern]] = {}
    regexes: list[Pattern] = []
    unique = dict.fromkeys(listed)
    check_counts(unique, where, field)
    for pattern in unique:
        if pattern.startswith("re:"):
            regexes.append(_read(pattern, where, field))
            continue
        plain, index = _split(pattern)
        (general if index < 0 else layers.setdefault(index, set())).add(plain)
        if _is_glob(plain):
            globs.setdefault(None if index < 0 else index, []).append(_read(plain, where, field))
    numbers = [number for regex in regexes for number in _NUMBER.findall(regex.text)]
    found = [single or several for regex in regexes for single, several in _WHOLE_NUMBERS.findall(regex.text)]
    told = [number for listed in found for number in listed.split("|") if number]
    frozen = {index: frozenset(patterns) for index, patterns in layers.items()}
    compiled = {index: tuple(dict.fromkeys(patterns)) for index, patterns in globs.items()}
    return _sized(
        Names(frozenset(general), frozen, compiled, tuple(regexes), frozenset(told), len(told) < len(numbers))
    )


def _sized(made: Names) -> Names:
    patterns = (*made.regexes, *(pattern for listed in made.globs.values() for pattern in listed))
    return replace(made, size=1 + sum(pattern.size for pattern in patterns))


def check_counts(listed: Collection[str], where: str, field: str) -> None:
    """Refuse lists of more patterns or names than any checkpoint has. Raises :class:`ConfigError`."""
    patterns = sum(pattern.startswith("re:") or _is_glob(pattern) for pattern in listed)
    for count, most, what in ((patterns, MOST_PATTERNS, "patterns"), (len(listed), MOST_NAMES, "names")):
        if count > most:
            raise ConfigError(f"config of `{where}` has {count:,} {what} in `{field}`: at most {most:,} are supported")


def _is_glob(pattern: str) -> bool:
    return "*" in pattern or "?" in pattern


def _read(pattern: str, where: str, field: str) -> Pattern:
    regex = pattern.startswith("re:")
    try:
        return expression(pattern[3:]) if regex else glob(_unwrapped(pattern))
    except PatternError as error:
        raise ConfigError(
            f"config of `{where}` has the pattern {short(pattern)} in `{field}`, which {error}"
        ) from error


def _split(name: str) -> tuple[str, int]:
    """Give a name without the numbers of layer and expert and without wrappers, and the layer's index or -1."""
    found = _LAYER.search(name)
    plain = _LAYER.sub("N", name, count=1) if found else name
    index = int(found.group()) if found and len(found.group()) < 6 else -1  # noqa: PLR2004 - far beyond any layer
    return _unwrapped(_EXPERT.sub("experts", plain)), index


def _unwrapped(name: str) -> str:
    """Leave out the modules around a language model: ``layers.0`` for ``model.language_model.layers.0``."""
    start = 0
    while (end := name.find(".", start)) >= 0 and name[start:end] in _WRAPPERS:
        start = end + 1
    return name[start:]


@lru_cache(maxsize=256)
def _split_weight(name: str) -> tuple[str, int]:
    """Split the name of a weight, which every list of a config is asked for in turn."""
    return _split(name)


@lru_cache(maxsize=256)
def _row(name: str, *, wrapped: bool) -> Row:
    """Give all names of a weight, with the layer's number, under the roots that they may have in the checkpoint."""
    called = _called(_unwrapped(name))
    return row(prefix + other for prefix in (_WRAPPED if wrapped else _PREFIXES) for other in called)


@lru_cache(maxsize=4096)
def _plain_row(plain: str) -> Row:
    """Give all names of a weight in any layer. No config adds names, so the caches of plain names stay small."""
    return row(_called(plain))


def _called(name: str) -> tuple[str, ...]:
    """List all names that a weight may have in a checkpoint."""
    path, _, last = name.rpartition(".")
    found = [name, *(f"{path}.{other}" for other in _FUSED.get(last, ()))]
    if ".experts." in name:
        found += [called.replace(".experts.", ".experts.0.") for called in found]
    if ".shared_experts." in name:
        found += [called.replace(".shared_experts.", ".shared_expert.") for called in found]
    if ".mlp." in name:
        found += [called.replace(".mlp.", ".ffn.") for called in found]
    if ".self_attn." in name:
        found += [called.replace(".self_attn.", ".attn.") for called in found]
    return tuple(found)


@lru_cache(maxsize=4096)
def _stretches(plain: str) -> frozenset[str]:
    """List every stretch of a weight's paths. A pattern equal to it names the weight, or a module around it."""
    return frozenset(
        ".".join(parts[first:last])
        for parts in (name.split(".") for name in _called(plain))
        for first in range(len(parts))
        for last in range(first + 1, len(parts) + 1)
    )


def flattened(value: object) -> Iterator[str]:
    """Give the texts of a list, and of lists in it."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from (
                flattened(item) if not isinstance(item, list | tuple) else (x for x in item if isinstance(x, str))
            )
