"""The rules by which families give layers a window of the sequence, for configs that do not list the layers."""

from functools import partial

from shardwise.checkpoint.families import reading
from shardwise.checkpoint.families.family import Window
from shardwise.checkpoint.fields import Fields


def no_window(_: Fields, __: int) -> int | None:
    """Give the window of a family that has none."""
    return None


def every(period: int, *keys: str) -> Window:
    """Give the rule by which the last of each ``period`` layers has no window; ``keys``: fields with the period."""
    return partial(_every, period, keys)


def _every(period: int, keys: tuple[str, ...], fields: Fields, index: int) -> int | None:
    if fields.has("layer_types"):
        return reading.listed_window(fields, index)
    stated = next((fields.get(key) for key in keys if fields.has(key)), None)
    if isinstance(stated, str):  # EXAONE writes "LLLG"
        return None if stated[index % max(1, len(stated)) :][:1] == "G" else reading.stated_window(fields)
    period = fields.count(*keys, default=period)
    return None if (index + 1) % period == 0 else reading.stated_window(fields)


def alternating(fields: Fields, index: int) -> int | None:
    """Give the window if the first layer slides, and every second layer after it."""
    if fields.has("layer_types"):
        return reading.listed_window(fields, index)
    return reading.stated_window(fields) if index % 2 == 0 else None


def switched_on(fields: Fields, index: int) -> int | None:
    """Give Qwen's windows: only if they are switched on, and only from layer ``max_window_layers`` on."""
    if not fields.flag("use_sliding_window"):
        return None
    if fields.has("layer_types"):
        return reading.listed_window(fields, index)
    first = fields.any("max_window_layers", default=0)
    return reading.stated_window(fields) if index >= first else None


def chunked(fields: Fields, index: int) -> int | None:
    """Give the chunks of Llama 4: in all layers except every fourth, which has no rotary positions."""
    if fields.has("layer_types"):
        return reading.listed_window(fields, index)
    rotary = fields.numbers("no_rope_layers")
    in_chunks = rotary[index] if index < len(rotary) else (index + 1) % 4
    return fields.optional("attention_chunk_size") if in_chunks else None
