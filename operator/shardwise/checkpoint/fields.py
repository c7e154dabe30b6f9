"""Reading single fields of a config.json, with errors that name the field and the value."""

from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar, cast

_MOST: Final = 10**9
"""Far above any dimension of a model. A larger number is a mistake, and products of it would overflow."""

_SHOWN: Final = 60

Read = TypeVar("Read")


class ConfigError(ValueError):
    """A config.json that gives no model facts. The message names the field, its value and a right value."""


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of a config.json. ``name`` is the name of the model, for messages.

    ``known`` keeps the lists and the nested objects that were read: each layer asks for the same ones, and a list may
    be as long as the layers are many. ``asked`` collects the names of the fields that a reader asked for.
    """

    name: str
    values: Mapping[str, object]
    known: dict[tuple[str, ...], object] = field(default_factory=dict, compare=False, repr=False)
    asked: set[str] = field(default_factory=set, compare=False, repr=False)

    def with_values(self, changes: Mapping[str, object]) -> "Fields":
        """Give the fields with some values changed. The cost depends on the changes, not on the number of fields."""
        kept = {asked: found for asked, found in self.known.items() if changes.keys().isdisjoint(asked[1:])}
        values = cast("dict[str, object]", self.values)  # a ChainMap only reads the maps behind its first
        return Fields(self.name, ChainMap(dict(changes), values), kept, self.asked)

    def with_only(self, values: Mapping[str, object]) -> "Fields":
        """Give other values for the same reader, which go on collecting the names that are asked for."""
        return Fields(self.name, values, asked=self.asked)

    def get(self, key: str, default: object = None) -> object:
        """Give a value as it stands in the config."""
        self.asked.add(key)
        return self.values.get(key, default)

    def count(self, *keys: str, default: int | None = None) -> int:
        """Give the first of ``keys`` that is set, a whole number of at least 1; else ``default``.

        Raises :class:`ConfigError` if none is set and there is no default, or if the value is not a whole number.
        """
        found = self.optional(*keys)
        if found is not None:
            return found
        if default is not None:
            return default
        key = next((key for key in keys if self.values.get(key) is not None), None)
        said = f"lacks `{keys[0]}`" if key is None else f"has `{key}: {short(self.values[key])}`"
        raise ConfigError(f"config of `{self.name}` {said}: a whole number of at least 1 is needed")

    def optional(self, *keys: str) -> int | None:
        """Give the first of ``keys`` that is set to something other than null or 0, else ``None``."""
        self.asked.update(keys)
        for key in keys:
            value = self.values.get(key)
            if value is None or value is False or (not isinstance(value, bool) and value == 0):
                continue
            return self._whole(key, value)
        return None

    def any(self, *keys: str, default: int) -> int:
        """Give the first of ``keys`` that is set, 0 included, else ``default``."""
        self.asked.update(keys)
        for key in keys:
            value = self.values.get(key)
            if value is not None:
                return 0 if value == 0 and value is not False else self._whole(key, value)
        return default

    def flag(self, key: str, *, default: bool = False) -> bool:
        """Give a boolean field. The numbers 0 and 1 count as false and true."""
        value = self.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or (isinstance(value, int) and value in {0, 1}):
            return bool(value)
        raise ConfigError(f"config of `{self.name}` has `{key}: {short(value)}`: true or false is needed")

    def text(self, *keys: str) -> str | None:
        """Give the first of ``keys`` that is set, a string, or ``None``."""
        self.asked.update(keys)
        for key in keys:
            value = self.values.get(key)
            if value is None:
                continue
            if not isinstance(value, str):
                raise ConfigError(f"config of `{self.name}` has `{key}: {short(value)}`: a string is needed")
            return value
        return None

    def texts(self, *keys: str) -> tuple[str, ...]:
        """Give the first of ``keys`` that is set, a list of strings; empty if none is set."""
        return self._once("texts", keys, lambda: self._texts(keys))

    def _texts(self, keys: tuple[str, ...]) -> tuple[str, ...]:
        found = self.items(*keys)
        for item in found:
            if not isinstance(item, str):
                raise ConfigError(f"config of `{self.name}` has {short(item)} in `{keys[0]}`: strings are needed")
        return tuple(str(item) for item in found)

    def numbers(self, *keys: str) -> tuple[int, ...]:
        """Give the first of ``keys`` that is set, a list of whole numbers of at least 0; empty if none is set."""
        return self._once("numbers", keys, lambda: self._numbers(keys))

    def among(self, *keys: str) -> frozenset[int]:
        """Give :meth:`numbers` as a set, in which a layer is found at once."""
        return self._once("among", keys, lambda: frozenset(self.numbers(*keys)))

    def _numbers(self, keys: tuple[str, ...]) -> tuple[int, ...]:
        found = self.items(*keys)
        for item in found:
            if not isinstance(item, int) or not 0 <= item <= _MOST:
                raise ConfigError(f"config of `{self.name}` has {short(item)} in `{keys[0]}`: whole numbers are needed")
        return tuple(int(str(int(item))) for item in found if isinstance(item, int))

    def items(self, *keys: str) -> tuple[object, ...]:
        """Give the first of ``keys`` that is set, a list; empty if none is set."""
        self.asked.update(keys)
        for key in keys:
            value = self.values.get(key)
            if value is None:
                continue
            if isinstance(value, str) or not isinstance(value, Sequence):
                raise ConfigError(f"config of `{self.name}` has `{key}: {short(value)}`: a list is needed")
            return tuple(value)
        return ()

    def section(self, *keys: str) -> "Fields | None":
        """Give the first of ``keys`` that is set, a nested object, or ``None``."""
        self.asked.update(keys)
        return self._once("section", keys, lambda: self._section(keys))

    def _section(self, keys: tuple[str, ...]) -> "Fields | None":
        for key in keys:
            value = self.values.get(key)
            if value is None:
                continue
            if not isinstance(value, Mapping):
                raise ConfigError(f"config of `{self.name}` has `{key}: {short(value)}`: an object is needed")
            return Fields(self.name, value)
        return None

    def _once(self, kind: str, keys: tuple[str, ...], read: Callable[[], Read]) -> Read:
        """Read a list or a nested object once for all layers."""
        asked = (kind, *keys)
        if asked not in self.known:
            self.known[asked] = read()
        return cast("Read", self.known[asked])

    def has(self, key: str) -> bool:
        """Tell whether a field is set to something other than null."""
        return self.get(key) is not None

    def _whole(self, key: str, value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigError(
                f"config of `{self.name}` has `{key}: {short(value)}`: a whole number of at least 1 is needed"
            )
        if value > _MOST:
            raise ConfigError(f"config of `{self.name}` has `{key}` above {_MOST:,}: no model is that large")
        return value


def short(value: object) -> str:
    """Print a value for a message, cut to the length of a line."""
    try:
        printed = repr(value)
    except (ValueError, RecursionError):  # a number of more digits than Python prints; a value nested without end
        printed = f"a {type(value).__name__} too large to print"
    return printed if len(printed) <= _SHOWN else printed[:_SHOWN] + "…"
