"""Model facts from a Hugging Face ``config.json``, of any architecture that :mod:`families` reads.

An architecture without a known family is read by its fields, and marked as a guess. A config whose fields do not say
enough is refused, and the error names the missing field.
"""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import replace
from typing import Final

from shardwise.checkpoint.blocks import Block, Decoder
from shardwise.checkpoint.extent import check_extent
from shardwise.checkpoint.fields import ConfigError, Fields
from shardwise.checkpoint.making import ENTRIES, Maker, Storage
from shardwise.checkpoint.precision import Precisions, read_precisions, stated_dtype
from shardwise.checkpoint.recognise import Recognised, recognise
from shardwise.checkpoint.stored_size import size_notes
from shardwise.checkpoint.tower_heads import tower_heads
from shardwise.checkpoint.unread import unread_notes
from shardwise.domain.model import (
    GroupedCache,
    LatentCache,
    Layer,
    ModelFacts,
    SequenceCache,
    Split,
    StateCache,
    Weight,
    Widths,
)

MOST_STEPS: Final = 2_500_000
"""Different layers times signs of patterns. GPTQ with a rule for each projection of 94 layers has 2,000,000."""


def from_config(
    config: Mapping[str, object],
    *,
    name: str,
    origin: str,
    quantization: str = "auto",
    checkpoint_bytes: int | None = None,
) -> ModelFacts:
    """Read model facts off a config.json.

    ``quantization`` is ``auto`` (as the config says) or a forced quantisation. ``checkpoint_bytes`` is the published
    size of the weights, if it is known. It does not apply to a forced quantisation, whose weights have another size. A
    note says so if it differs from the count by more than 2 %.
    ``origin`` says where the config comes from, for people.
    Raises :class:`ConfigError` naming the field that is missing, malformed or not understood.
    """
    check_extent(config, name)
    found = recognise(Fields(name, config))
    precisions = read_precisions(found.whole, found.text, quantization)
    decoder = found.read()
    stored = precisions.loaded(checkpoint_bytes) if checkpoint_bytes and quantization == "auto" else None
    model = _facts(found, decoder, precisions, origin, stored)
    return replace(model, notes=model.notes + size_notes(model))


def _facts(
    found: Recognised, decoder: Decoder, precisions: Precisions, origin: str, checkpoint_bytes: int | None
) -> ModelFacts:
    storage = precisions.storage()
    kinds, order = _layers(found.whole.name, decoder, storage)
    hidden, vocabulary = decoder.hidden, decoder.vocabulary
    embedding = _vocabulary(
        storage, "model.embed_tokens", decoder.entries or vocabulary, decoder.embedding_size or hidden
    )
    return ModelFacts(
        name=found.whole.name,
        architecture=found.architecture,
        kinds=kinds,
        order=order,
        embedding=embedding + _weights(decoder.before, storage, hidden),
        head=_weights(decoder.after, storage, hidden)
        + (() if decoder.tied else _vocabulary(storage, "lm_head", decoder.outputs or vocabulary,
                                               decoder.head_size or hidden)),
        tied=decoder.tied,
        hidden=hidden,
        vocabulary=vocabulary,
        context_length=decoder.context_length,
        quantization=precisions.quantization,
        origin=origin,
        tower=_weights(decoder.tower, storage, hidden),
        drafts=_weights(decoder.drafts, storage, hidden, f"{decoder.prefix}.{len(order)}."),
        checkpoint_bytes=checkpoint_bytes,
        guessed=found.guessed or decoder.guessed or precisions.guessed,
        notes=found.notes + decoder.notes + unread_notes(found.text, found.family) + precisions.notes,
        kv_cache_dtype=precisions.kv_cache_dtype,
        dtype=stated_dtype(found.whole, found.text),
        method=precisions.method,
        states_architecture=found.states_architecture,
        tower_heads=tower_heads(found.whole),
    )  # fmt: skip


def _layers(name: str, decoder: Decoder, storage: Storage) -> tuple[tuple[Layer, ...], tuple[int, ...]]:
    """Build each different layer once; layers are the same if their dimensions and the storage of their weights are."""
    position: dict[tuple[Block, Hashable], int] = {}
    kinds: list[Layer] = []
    order: list[int] = []
    for index, block in enumerate(decoder.blocks):
        key = (block, storage.layer(index))
        if key not in position:
            _check_work(name, len(kinds) + 1, storage.size)
            position[key] = len(kinds)
            kinds.append(_layer(block, Maker(storage, f"{decoder.prefix}.{index}."), decoder.hidden))
        order.append(position[key])
    return _alike(kinds, order)


def _check_work(name: str, kinds: int, size: int) -> None:
    """Bound the steps in which the weights of all different layers are matched with the patterns of a checkpoint."""
    if kinds * size > MOST_STEPS:
        raise ConfigError(
            f"config of `{name}` has patterns of {size:,} signs in `quantization_config`, and more than {kinds - 1:,} "
            f"layers that differ: layers × signs must be at most {MOST_STEPS:,}; write shorter patterns, or patterns "
            "without numbers"
        )


def _alike(kinds: list[Layer], order: list[int]) -> tuple[tuple[Layer, ...], tuple[int, ...]]:
    """Merge kinds that are equal."""
    unique = tuple(dict.fromkeys(kinds))
    place = {kind: index for index, kind in enumerate(unique)}
    merged = [place[kind] for kind in kinds]
    return unique, tuple(merged[index] for index in order)


def _layer(block: Block, make: Maker, hidden: int) -> Layer:
    parts = [dimensions.part(make, hidden) for dimensions in block]
    states = [part.cache for part in parts if isinstance(part.cache, StateCache)]
    tokens = [part.cache for part in parts if isinstance(part.cache, GroupedCache | LatentCache)]
    state = _state(states)
    return Layer(
        weights=tuple(weight for part in parts for weight in part.weights),
        cache=_cache(tokens) or state,
        widths=_widths(part.widths for part in parts),
        reduces=sum(part.reduces for part in parts),
        state=state if tokens else None,
    )


def _state(states: list[StateCache]) -> StateCache | None:
    """Give the state of a layer. No known layer has two of them."""
    return states[0] if states else None


def _cache(caches: list[GroupedCache | LatentCache]) -> SequenceCache | None:
    """Give the cache of a layer. A layer with two attention blocks keeps the tokens of both (LongCat)."""
    first = caches[0] if caches else None
    if isinstance(first, LatentCache):
        both = [cache for cache in caches if isinstance(cache, LatentCache)]
        return LatentCache(
            sum(cache.width for cache in both),
            sum(cache.index_bytes for cache in both),
            sum(cache.rope for cache in both),
        )
    return first


def _widths(widths: Iterable[Widths]) -> Widths:
    found = tuple(widths)
    return Widths(
        sum(width.split for width in found), sum(width.whole for width in found), sum(width.expert for width in found)
    )


def _weights(block: Block, storage: Storage, hidden: int, prefix: str = "") -> tuple[Weight, ...]:
    return tuple(weight for dimensions in block for weight in dimensions.part(Maker(storage, prefix), hidden).weights)


def _vocabulary(storage: Storage, name: str, entries: int, hidden: int) -> tuple[Weight, ...]:
    return Maker(storage).plain(name, (entries, hidden), Split.VOCABULARY, entries, ENTRIES)
