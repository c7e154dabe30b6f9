"""The attention heads of vision and audio towers: engines that split a tower over a tensor group must divide them."""

from collections.abc import Iterator
from typing import Final

from shardwise.checkpoint.fields import Fields
from shardwise.domain.model import TowerHeads

_SECTIONS: Final = {"vision_config": False, "audio_config": True}
"""The section of a tower, and whether the tower is for audio."""

_HEADS: Final = ("num_attention_heads", "num_heads", "encoder_attention_heads", "attention_heads")
_ENDINGS: Final = ("_model", "_encoder", "_vision", "_audio")


def tower_heads(whole: Fields) -> tuple[TowerHeads, ...]:
    """Give the heads of the towers that state them. The type is the tower's own, or that of the whole model.

    Raises :class:`ConfigError` for heads that are not a whole number.
    """
    return tuple(_found(whole)) or tuple(_found(whole.section("thinker_config") or Fields(whole.name, {})))


def _found(whole: Fields) -> Iterator[TowerHeads]:
    for key, audio in _SECTIONS.items():
        section = whole.section(key)
        heads = section.optional(*_HEADS) if section is not None else None
        if section is not None and heads is not None:
            yield TowerHeads(_kind(section.text("model_type") or whole.text("model_type") or ""), heads, audio)


def _kind(model_type: str) -> str:
    """Leave out the endings by which newer versions of transformers tell a tower from its model."""
    for ending in _ENDINGS:
        model_type = model_type.removesuffix(ending)
    return model_type
