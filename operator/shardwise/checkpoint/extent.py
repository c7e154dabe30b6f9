"""The extent of a config.json: how deep it is nested, how many values it holds, and the length and signs of texts."""

from collections.abc import Iterable, Mapping
from typing import Final
from unicodedata import category

from shardwise.checkpoint.fields import ConfigError, short

DEEPEST: Final = 32
"""Levels of objects and lists. Published configs have at most six."""

MOST_VALUES: Final = 1_000_000
"""Values in all objects and lists. A config that states the precision of each expert has about 300,000."""

_CONTROLS: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Categories of Unicode: control characters, halves of characters, and separators of lines and paragraphs."""

LONGEST_TEXT: Final = 10_000
"""Characters of a text or of a name of a field."""


def check_extent(config: Mapping[str, object], name: str) -> None:
    """Refuse a config.json that is far larger than any model's. ``name`` is the model's name, for messages.

    Each value is looked at once. Raises :class:`ConfigError` with the extent that is exceeded.
    """
    level: list[object] = [config]
    count = 0
    for _ in range(DEEPEST + 1):
        nested = [value for value in level if isinstance(value, Mapping | list | tuple)]
        if not nested:
            return
        count += sum(len(value) for value in nested)  # before they are listed: a YAML alias repeats a value for free
        if count > MOST_VALUES:
            raise ConfigError(f"config of `{name}` has more than {MOST_VALUES:,} values: no model needs that many")
        level = [inner for outer in nested for inner in _inside(outer)]
        _check_texts(level, name)
    raise ConfigError(f"config of `{name}` is nested more than {DEEPEST} levels deep: no model needs that many")


def _inside(value: Mapping[object, object] | list[object] | tuple[object, ...]) -> Iterable[object]:
    return (*value, *value.values()) if isinstance(value, Mapping) else value


def has_control_characters(text: str, *, several_lines: bool = False) -> bool:
    """Tell whether a text has control characters. Tabs and line breaks are none if it may have ``several_lines``."""
    if text.isprintable():
        return False
    allowed = "\t\n\r" if several_lines else ""
    return any(category(sign) in _CONTROLS and sign not in allowed for sign in text)


def _check_texts(values: Iterable[object], name: str) -> None:
    for value in values:
        if not isinstance(value, str):
            continue
        if len(value) > LONGEST_TEXT:
            raise ConfigError(
                f"config of `{name}` has the text {short(value[:LONGEST_TEXT])} of {len(value):,} characters: "
                f"at most {LONGEST_TEXT:,} are supported"
            )
        if has_control_characters(value, several_lines=True):
            raise ConfigError(
                f"config of `{name}` has control characters in {short(value)}: only tabs and line breaks are allowed"
            )
