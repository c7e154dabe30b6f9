"""Decoders built like BERT, and the decoders of encoder-decoder models such as BART, served alone."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from shardwise.checkpoint.blocks import Block, Decoder, Reader
from shardwise.checkpoint.families import reading
from shardwise.checkpoint.families.family import Attends, Family, Feeds
from shardwise.checkpoint.families.legacy import BIASED
from shardwise.checkpoint.fields import Fields
from shardwise.checkpoint.parts import Dense, Dimensions, Matrix, Vectors
from shardwise.domain.model import HEADS, Split

_DECODER: Final = {
    "num_hidden_layers": "decoder_layers",
    "num_attention_heads": "decoder_attention_heads",
    "intermediate_size": "decoder_ffn_dim",
}


def _positions(fields: Fields, _: int) -> int:
    return fields.count(*reading.CONTEXT)


def _embeddings(fields: Fields) -> Block:
    types = fields.any("type_vocab_size", default=0)
    return (Vectors((types + 2) * _width(fields), "embedding_norm_and_types"),)


def _width(fields: Fields) -> int:
    return fields.count("embedding_size", *reading.HIDDEN)


def _head(fields: Fields) -> Block:
    hidden = reading.hidden(fields)
    return (
        Matrix("transform", hidden, hidden, plain=True),
        Vectors(3 * hidden + fields.count("vocab_size"), "lm_head"),
    )


def _untied_head(fields: Fields) -> Block:
    """Read the head of a model that transformers does not tie although its config says so."""
    entries = fields.count("vocab_size")
    return (Matrix("lm_head", entries, reading.hidden(fields), Split.VOCABULARY, entries, plain=True),)


def _bias_alone(fields: Fields) -> Block:
    return (Vectors(fields.count("vocab_size"), "lm_head.bias"),)


def _types_alone(fields: Fields) -> Block:
    return (Vectors(fields.any("type_vocab_size", default=0) * reading.hidden(fields), "token_types"),)


def _embedding_norm(fields: Fields) -> Block:
    return (Vectors(2 * reading.hidden(fields), "embedding_norm"),)


def _cross(*, bias: bool = True, key_bias: bool | None = None) -> Callable[[Fields, int], Block]:
    def more(fields: Fields, index: int) -> Block:
        attention = Attends(bias, bias, key_bias, name="encoder_attn")(fields, index)
        return (replace(attention, cached=False),)

    return more


def _factorised(key: str, *, own_positions: bool = False) -> Callable[[Fields], Block]:
    """Read an embedding narrower than the model, and the projection from it."""

    def before(fields: Fields) -> Block:
        width, hidden = fields.count(key, *reading.HIDDEN), reading.hidden(fields)
        types = fields.any("type_vocab_size", default=0)
        rows = 0 if own_positions else fields.count(*reading.CONTEXT)
        project = (Matrix("embeddings_project", hidden, width + 1, plain=True),) if width != hidden else ()
        return (Vectors((types + 2 + rows) * width, "positions_norm_and_types"), *project)

    return before


def _narrow_head(fields: Fields) -> Block:
    width, hidden = fields.count("embedding_size", *reading.HIDDEN), reading.hidden(fields)
    return (
        Matrix("transform", width, hidden, plain=True),
        Vectors(3 * width + fields.count("vocab_size"), "lm_head"),
    )


def _rembert(fields: Fields) -> Decoder:
    """Read RemBERT, whose output head is wider than the model."""
    wide, hidden = fields.count("output_embedding_size"), reading.hidden(fields)
    head = Matrix("cls.predictions.dense", wide, hidden, plain=True)
    small = Vectors(3 * wide + fields.count("vocab_size"), "lm_head")
    family = replace(BERT, positions=0, before=_factorised("input_embedding_size"), after=lambda _: (head, small))
    decoder = replace(family, tied=False)(fields)
    return replace(decoder, embedding_size=fields.count("input_embedding_size"), head_size=wide)


def _narrow(fields: Fields, family: Family) -> Decoder:
    return replace(family(fields), embedding_size=fields.count("embedding_size", *reading.HIDDEN))


def _electra(fields: Fields) -> Decoder:
    """Read Electra, whose embedding is narrower than the model."""
    before = _factorised("embedding_size")
    return _narrow(fields, replace(BERT, positions=0, before=before, after=_narrow_head))


def _roformer(fields: Fields) -> Decoder:
    """Read RoFormer, whose rotary positions are in the checkpoint."""

    def before(fields: Fields) -> Block:
        rotary = Vectors(fields.count(*reading.CONTEXT) * reading.head_dim(fields), "embed_positions")
        return (rotary, *_factorised("embedding_size", own_positions=True)(fields))

    return _narrow(fields, replace(BERT, positions=0, before=before, after=_narrow_head))


def _rocbert(fields: Fields) -> Block:
    """Read RoCBert's embeddings of how a character sounds and looks."""
    sound, look = fields.count("pronunciation_embed_dim"), fields.count("shape_embed_dim")
    hidden = reading.hidden(fields)
    wide = hidden
    found: Block = _embeddings(fields)
    if fields.flag("enable_pronunciation", default=True):
        found += (Matrix("pronunciation_embed", fields.count("pronunciation_vocab_size"), sound, plain=True),)
        wide += sound
    if fields.flag("enable_shape", default=True):
        found += (Matrix("shape_embed", fields.count("shape_vocab_size"), look, plain=True),)
        wide += look
    if fields.flag("concat_input", default=True):
        found += (Matrix("map_inputs_layer", hidden, wide + 1, plain=True),)
    return found


def _pooler(fields: Fields) -> Block:
    hidden = reading.hidden(fields)
    return (*_embeddings(fields), Matrix("pooler", hidden, hidden + 1, plain=True))


def _adapters(fields: Fields, _: int) -> Block:
    """Read XMOD's adapters: an adapter for each language."""
    hidden = reading.hidden(fields)
    narrow = max(1, hidden // fields.count("adapter_reduction_factor", default=2))
    return (Matrix("adapters", 2 * narrow * len(fields.texts("languages")) or 1, hidden + 1, plain=True),)


def _xlm_columns(fields: Fields, _: int) -> Dimensions:
    return Dense(4 * reading.hidden(fields), gated=False, bias=True)


def _xlm_before(fields: Fields) -> Block:
    languages = fields.count("n_langs", default=1)
    rows = languages if languages > 1 and fields.flag("use_lang_emb", default=True) else 0
    return (Vectors((2 + rows) * reading.hidden(fields), "norm_and_languages"),)


def _xlnet(fields: Fields, _: int) -> Block:
    """Read the weights of XLNet for attention to relative positions."""
    inner = reading.heads(fields) * reading.head_dim(fields)
    along = (Split.OUTPUTS, reading.heads(fields), HEADS)
    return (Matrix("rel_attn.r", inner, reading.hidden(fields), *along), Vectors(5 * inner, "rel_attn.biases"))


def _modernbert_norms(fields: Fields, index: int) -> int:
    return (2 if index else 1) * (2 if fields.flag("norm_bias") else 1)


def _modernbert_head(fields: Fields) -> Block:
    hidden, biased = reading.hidden(fields), fields.flag("norm_bias")
    small = (2 if biased else 1) + fields.flag("classifier_bias")
    return (Matrix("lm_head.dense", hidden, hidden, plain=True), Vectors(small * hidden, "lm_head.small"))


def _modernbert_before(fields: Fields) -> Block:
    return (Vectors(reading.hidden(fields) * (2 if fields.flag("norm_bias") else 1), "embeddings.norm"),)


def _cpmant(fields: Fields) -> Decoder:
    """Read CPM-Ant: embeddings of prompts and segments, biases by relative position, an output head of its own."""
    segments, prompts = fields.count("segment_types"), fields.count("prompt_types") * fields.count("prompt_length")
    buckets = fields.count("position_bias_num_buckets") + segments * segments
    more = Vectors(segments * reading.hidden(fields) + buckets * reading.heads(fields), "segments_and_biases")
    decoder = Family(Attends(), Feeds(), before=lambda _: (more,))(fields)
    return replace(decoder, tied=False, entries=decoder.vocabulary + prompts)


BERT: Final = Family(
    BIASED,
    Feeds(gated=False, bias=True),
    norms=4,
    final=0,
    tied=True,
    positions=_positions,
    before=_embeddings,
    after=_head,
    prefix="encoder.layer",
)
PRE_NORMED: Final = replace(BERT, final=2)
BART: Final = Family(
    BIASED,
    Feeds(gated=False, bias=True),
    norms=6,
    final=0,
    tied=True,
    more=_cross(),
    names=_DECODER,
    positions=lambda fields, _: _positions(fields, 0) + 2,
    before=_embedding_norm,
    prefix="model.decoder.layers",
)
PEGASUS: Final = replace(BART, positions=_positions, before=lambda _: (), final=2)
WHISPER: Final = replace(PEGASUS, attention=replace(BIASED, key_bias=False), more=_cross(key_bias=False))

FAMILIES: Final[Mapping[str, Reader]] = {
    "bart": BART,
    "bert": BERT,
    "bert-generation": replace(BERT, after=_bias_alone),
    "big_bird": replace(BERT, before=_pooler),
    "bigbird_pegasus": replace(
        BART, attention=Attends(), more=_cross(bias=False), positions=_positions, after=_untied_head
    ),
    "blenderbot": PEGASUS,
    "blenderbot-small": replace(BART, positions=_positions),
    "camembert": BERT,
    "cpmant": _cpmant,
    "data2vec-text": BERT,
    "electra": _electra,
    "ernie": BERT,
    "marian": replace(PEGASUS, final=0, positions=_positions, names=_DECODER | {"vocab_size": "decoder_vocab_size"}),
    "mbart": replace(BART, final=2),
    "megatron-bert": replace(BERT, before=_types_alone, final=2),
    "modernbert-decoder": Family(
        Attends("attention_bias", "attention_bias"), Feeds(bias="mlp_bias"), norms=_modernbert_norms,
        final=lambda fields, _: 2 if fields.flag("norm_bias") else 1, head_bias="!decoder_bias", tied=True,
        before=_modernbert_before, after=_modernbert_head,
    ),
    "mvp": BART,
    "pegasus": PEGASUS,
    "plbart": BART,
    "rembert": _rembert,
    "roberta": BERT,
    "roberta-prelayernorm": PRE_NORMED,
    "roc_bert": replace(BERT, before=_rocbert),
    "roformer": _roformer,
    "trocr": BART,
    "whisper": WHISPER,
    "xlm": Family(
        BIASED, _xlm_columns, norms=4, final=0, head_bias=True, tied=True, positions=_positions, before=_xlm_before,
    ),
    "xlm-roberta": BERT,
    "xlm-roberta-xl": replace(BERT, before=_types_alone, final=2),
    "xlnet": Family(
        Attends(), Feeds(gated=False, bias=True), norms=4, final=1, head_bias=True, tied=True, more=_xlnet,
    ),
    "xmod": replace(BERT, more=_adapters),
}  # fmt: skip
