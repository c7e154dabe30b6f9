"""Reading single fields of a config.json, with errors that name the field and the value."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_MOST: Final = 10**9
"""No dimension of a model comes near; a number beyond is a mistake, and would overflow what is counted with it."""

_SHOWN: Final = 60


class ConfigError(ValueError):
    """A config.json that gives no model facts. The message names the field, the value, and what would be right."""


@dataclass(frozen=True, slots=True)
class Fields:
    """A config.json, asked field by field. ``name`` is the model's, for messages."""

    name: str
    values: Mapping[str, object]

    def count(self, *keys: str, default: int | None = None) -> int:
        """Give the first of ``keys`` that is set, a whole number of at least 1; else ``default``.

        Raises :class:`ConfigError` when none is set and there is no default, or when the value is no such number.
        """
        found = self.optional(*keys)
        if found is not None:
            return found
        if default is not None:
            return default
        raise ConfigError(f"config of `{self.name}` lacks `{keys[0]}`: a whole number of at least 1 is needed")

    def optional(self, *keys: str) -> int | None:
        """Give the first of ``keys`` that is set to something other than null or 0, else ``None``."""
        for key in keys:
            value = self.values.get(key)
            if value is None or value is False or value == 0:
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ConfigError(
                    f"config of `{self.name}` has `{key}: {_short(value)}`: a whole number of at least 1 is needed"
                )
            if value > _MOST:
                raise ConfigError(f"config of `{self.name}` has `{key}` above {_MOST:,}: no model is that large")
            return value
        return None

    def flag(self, key: str, *, default: bool) -> bool:
        """Give a boolean field."""
        value = self.values.get(key)
        return default if value is None else bool(value)

    def text(self, key: str) -> str | None:
        """Give a string field, or ``None``."""
        value = self.values.get(key)
        return value if isinstance(value, str) else None

    def texts(self, key: str) -> tuple[str, ...]:
        """Give a list of strings; anything else is empty."""
        value = self.values.get(key)
        return tuple(str(item) for item in value) if isinstance(value, list | tuple) else ()

    def section(self, key: str) -> "Fields | None":
        """Give a nested object, or ``None``."""
        value = self.values.get(key)
        return Fields(self.name, value) if isinstance(value, Mapping) else None


def _short(value: object) -> str:
    """Print a value for a message, cut to what a line holds."""
    printed = repr(value)
    return printed if len(printed) <= _SHOWN else printed[:_SHOWN] + "…"
