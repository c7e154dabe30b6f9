"""Drift in words: which field of which object differs, and which field manager changed it."""

import json
from collections.abc import Sequence
from typing import Final

from shardwise.domain.drift import Drift, FieldPath
from shardwise.explain.layouts import LISTED, others

_MOST_VALUE: Final = 80
"""Characters of a value that a message shows: a selector with two labels."""


def drift_message(kind: str, name: str, drifts: Sequence[Drift]) -> str:
    """Say which fields of an object differ, their values now and as wanted, and who owns them now."""
    fields = "; ".join(_field(drift) for drift in drifts[:LISTED]) + others(max(0, len(drifts) - LISTED))
    return f"{kind} `{name}`: {fields}"


def field_words(path: FieldPath) -> str:
    """Write a path as people do: ``spec.ports[port=80,protocol=TCP].name``."""
    words = ""
    for step in path:
        sort, _, said = step.partition(":")
        if sort == "k":
            keys = ",".join(f"{key}={value}" for key, value in json.loads(said).items())
            words += f"[{keys}]"
        else:
            words += f"[{said}]" if "." in said or "/" in said else f".{said}"
    return words.lstrip(".")


def _field(drift: Drift) -> str:
    present = "is absent" if drift.present is None else f"is {_value(drift.present)}"
    return f"`{field_words(drift.path)}` {present}, not {_value(drift.wanted)}{_changer(drift)}"


def _value(value: object) -> str:
    text = json.dumps(value, sort_keys=True)
    return f"`{text if len(text) <= _MOST_VALUE else text[:_MOST_VALUE] + '…'}`"


def _changer(drift: Drift) -> str:
    """Name the managers. No manager owns a field that was removed, or that a webhook changed inside our own write."""
    if drift.managers:
        return f" (changed by {', '.join(f'`{manager}`' for manager in drift.managers)})"
    return "" if drift.present is None else " (no other manager owns it: an admission webhook or policy may change it)"
