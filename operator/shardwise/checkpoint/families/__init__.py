"""How the config of each ``model_type`` is read: a table of families, each a few lines composed from parts."""

from collections.abc import Mapping
from typing import Final

from shardwise.checkpoint.blocks import Reader
from shardwise.checkpoint.families import (
    compressed,
    dense,
    experts,
    gemma,
    latent,
    legacy,
    masked,
    memories,
    nested,
    recurrent,
    remote,
    special,
    zamba,
)

FAMILIES: Final[Mapping[str, Reader]] = {
    **compressed.FAMILIES,
    **dense.FAMILIES,
    **experts.FAMILIES,
    **gemma.FAMILIES,
    **latent.FAMILIES,
    **legacy.FAMILIES,
    **masked.FAMILIES,
    **memories.FAMILIES,
    **nested.FAMILIES,
    **recurrent.FAMILIES,
    **remote.FAMILIES,
    **special.FAMILIES,
    **zamba.FAMILIES,
}
"""``model_type`` -> how its config is read. Each was counted against transformers' own models."""
