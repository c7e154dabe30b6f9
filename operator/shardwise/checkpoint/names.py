"""Matching the names of weights with the patterns of a checkpoint: unquantised modules, and the targets of a group.

A pattern is an exact name, a prefix or a stretch of a module path (``lm_head``, ``mlp.gate``), a glob, or ``re:`` and a
regular expression, which is matched from the beginning of a name as in compressed-tensors. A checkpoint may name a
fused weight for its parts, or a single expert for all; both match.
"""

import re
import warnings
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import translate
from functools import lru_cache
from typing import Final

from shardwise.checkpoint.fields import ConfigError, short

_LAYER: Final = re.compile(r"(?<=\blayers\.)\d+|(?<=\bh\.)\d+|(?<=\bblocks\.)\d+|(?<=\blayer\.)\d+")
_EXPERT: Final = re.compile(r"\bexperts\.\d+\b")
_OUTER: Final = re.compile(r"^(?:(?:model|language_model|text_model|transformer|backbone)\.)+")
_PREFIXES: Final = ("", "model.")
_WRAPPED: Final = (*_PREFIXES, "language_model.model.", "model.language_model.")
_NUMBER: Final = re.compile(r"(?<!\\)\d+")
_WHOLE_NUMBERS: Final = re.compile(r"(?<=\\\.)(?:(\d+)|\((\d+(?:\|\d+)*)\))(?=\\\.)")
"""Numbers in a pattern that can only mean themselves: ``0`` or ``(0|1)`` between two dots."""
_LONGEST: Final = 300
_MOST_REPEATS: Final = 6
_NESTED_REPEAT: Final = re.compile(r"\([^()]*[+*}][^()]*\)\s*[+*{]")

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

    ``told`` are the layers that regular expressions name by number. ``indexed``: the expressions use numbers in other
    ways, so each layer may match differently.
    """

    general: frozenset[str] = frozenset()
    layers: Mapping[int, frozenset[str]] = field(default_factory=dict)
    regexes: tuple[re.Pattern[str], ...] = ()
    told: frozenset[str] = frozenset()
    indexed: bool = False

    def __bool__(self) -> bool:
        """Tell whether there is any pattern."""
        return bool(self.general or self.layers or self.regexes)

    def match(self, name: str) -> bool:
        """Tell whether any pattern matches a weight's name, given with its whole path."""
        plain, index = _unlayered(name)
        patterns = self.general | self.layers.get(index, frozenset())
        if patterns and any(_found(patterns, called) for called in _called(plain)):
            return True
        return any(_matches(regex, called) for regex in self.regexes for called in _called(_OUTER.sub("", name)))

    def layer(self, index: int) -> Hashable:
        """Give a key: layers with the same key match the same patterns."""
        return (index if self.indexed or str(index) in self.told else None, self.layers.get(index, frozenset()))

    def with_others(self, other: "Names") -> "Names":
        """Give the patterns of both."""
        layers = {
            index: self.layers.get(index, frozenset()) | other.layers.get(index, frozenset())
            for index in {*self.layers, *other.layers}
        }
        return Names(
            self.general | other.general,
            layers,
            self.regexes + other.regexes,
            self.told | other.told,
            self.indexed or other.indexed,
        )


def names(listed: Iterable[str], where: str) -> Names:
    """Read patterns. ``where`` is the model's name, for messages.

    Raises :class:`ConfigError` for a ``re:`` pattern that is not a regular expression or can take unbounded time.
    """
    general: set[str] = set()
    layers: dict[int, set[str]] = {}
    regexes: list[re.Pattern[str]] = []
    for pattern in dict.fromkeys(listed):
        if pattern.startswith("re:"):
            regexes.append(_regex(pattern[3:], where))
            continue
        plain, index = _unlayered(pattern)
        if index < 0:
            general.add(plain)
        else:
            layers.setdefault(index, set()).add(plain)
    numbers = [number for regex in regexes for number in _NUMBER.findall(regex.pattern)]
    found = [single or several for regex in regexes for single, several in _WHOLE_NUMBERS.findall(regex.pattern)]
    told = [number for listed in found for number in listed.split("|")]
    frozen = {index: frozenset(patterns) for index, patterns in layers.items()}
    return Names(frozenset(general), frozen, tuple(regexes), frozenset(told), len(told) < len(numbers))


def _matches(regex: re.Pattern[str], name: str) -> bool:
    """Match a name under the roots it may have in the checkpoint."""
    prefixes = _WRAPPED if "language_model" in regex.pattern else _PREFIXES
    return any(regex.match(prefix + name) for prefix in prefixes)


def _regex(pattern: str, where: str) -> re.Pattern[str]:
    if (
        len(pattern) > _LONGEST
        or pattern.count("*") + pattern.count("+") > _MOST_REPEATS
        or _NESTED_REPEAT.search(pattern)
    ):
        raise ConfigError(
            f"config of `{where}` has the pattern {short(pattern)}, which can take unbounded time to match"
        )
    try:
        with warnings.catch_warnings(action="error"):
            return re.compile(pattern)
    except (re.error, OverflowError, RecursionError, Warning) as error:
        raise ConfigError(
            f"config of `{where}` has the pattern {short(pattern)}, which is not a regex: {error}"
        ) from error


@lru_cache(maxsize=4096)
def _unlayered(name: str) -> tuple[str, int]:
    """Give a name without the numbers of layer and expert and without wrappers, and the layer's index or -1."""
    found = _LAYER.search(name)
    plain = _LAYER.sub("N", name, count=1) if found else name
    index = int(found.group()) if found and len(found.group()) < 6 else -1  # noqa: PLR2004 - far beyond any layer
    return _OUTER.sub("", _EXPERT.sub("experts", plain)), index


@lru_cache(maxsize=4096)
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


def _found(patterns: frozenset[str], name: str) -> bool:
    if not patterns.isdisjoint(_stretches(name)):
        return True
    return any(_glob(pattern).match(name) for pattern in patterns if "*" in pattern or "?" in pattern)


@lru_cache(maxsize=4096)
def _stretches(name: str) -> frozenset[str]:
    """List every stretch of a path. A pattern equal to a stretch names the weight, or a module around it."""
    parts = name.split(".")
    return frozenset(
        ".".join(parts[first:last]) for first in range(len(parts)) for last in range(first + 1, len(parts) + 1)
    )


@lru_cache(maxsize=4096)
def _glob(pattern: str) -> re.Pattern[str]:
    """Translate a glob. It may match a module around the weight, and may leave out the path before the layers."""
    inner = translate(_OUTER.sub("", pattern)).removesuffix(r"\Z")
    return re.compile(rf"(?:.*\.)?{inner}(?:\..*)?\Z", re.DOTALL)


def flattened(value: object) -> Iterator[str]:
    """Give the texts of a list, and of lists in it."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from (
                flattened(item) if not isinstance(item, list | tuple) else (x for x in item if isinstance(x, str))
            )
