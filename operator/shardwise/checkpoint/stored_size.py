"""The bytes of a checkpoint, as its index states them, against the bytes that the config's sizes add up to."""

from collections.abc import Mapping
from typing import Final

from shardwise.domain.model import ModelFacts
from shardwise.domain.units import gib

NEAR: Final = 0.02
"""The count is within this share of the index for every published checkpoint in the tests."""

INDEX_FILE: Final = "model.safetensors.index.json"
"""The file that lists the tensors of a checkpoint of several files. A checkpoint in a single file has none."""


def index_bytes(index: object) -> int | None:
    """Read the bytes of all tensors off the content of :data:`INDEX_FILE`; ``None`` if it does not state them."""
    metadata = index.get("metadata") if isinstance(index, Mapping) else None
    size = metadata.get("total_size") if isinstance(metadata, Mapping) else None
    if isinstance(size, bool) or not isinstance(size, int | float) or not 0 < size < float("inf"):
        return None
    return int(size)


def size_notes(model: ModelFacts) -> tuple[str, ...]:
    """Note a checkpoint whose bytes differ from the count by more than :data:`NEAR`. Drafts are in both."""
    stated = model.checkpoint_bytes
    weights = (*(weight for weight in model.loaded() if not weight.derived), *model.drafts)
    counted = sum(weight.size for weight in weights)
    if stated is None or abs(counted / stated - 1) <= NEAR:
        return ()
    said = f"the checkpoint has {gib(stated)}, but the sizes in its config add up to {gib(counted)}"
    return (
        f"{said} ({counted / stated - 1:+.1%}): all weights are scaled to the checkpoint, and a part may be misjudged",
    )
