"""A decoder as the parts of its layers, each with its dimensions: every family of models reads its configs into it."""

from collections.abc import Callable
from dataclasses import dataclass

from shardwise.checkpoint.fields import Fields
from shardwise.checkpoint.parts import Dimensions

Block = tuple[Dimensions, ...]
"""The parts of a layer."""


@dataclass(frozen=True, slots=True)
class Decoder:
    """A language model: the blocks of its layers, first to last, and the parts before and after the layers.

    ``prefix`` is the path of the layers in the checkpoint. ``before`` belongs to the embedding (positions, norms),
    ``after`` to the output head (final norm, biases). ``drafts`` predict further tokens. ``embedding_size`` and
    ``head_size`` are the widths of the embedding and of the head's input, if they differ from the hidden size.
    ``entries`` and ``outputs`` count the vocabulary entries of embedding and head, if they differ from ``vocabulary``.
    """

    hidden: int
    vocabulary: int
    context_length: int
    blocks: tuple[Block, ...]
    tied: bool = False
    prefix: str = "model.layers"
    before: Block = ()
    after: Block = ()
    drafts: Block = ()
    tower: Block = ()
    embedding_size: int | None = None
    head_size: int | None = None
    entries: int | None = None
    outputs: int | None = None
    notes: tuple[str, ...] = ()
    guessed: bool = False


Reader = Callable[[Fields], Decoder]
"""Reads the config of a family's models. Raises :class:`ConfigError` naming a field that is missing or wrong."""
