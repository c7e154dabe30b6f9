"""Fields of a config.json that look like sizes, although the reader of its family never asks for them.

A new field may change the size of a model: Kimi K3 states the width of its routed experts in a field of its own, and
without that field the model counts twice its size. Such a field is noted.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from shardwise.checkpoint.families.reading import SYNONYMS
from shardwise.checkpoint.fields import Fields

_SIZES: Final = frozenset({
    "d", "dim", "dims", "size", "sizes", "rank", "ranks", "heads", "experts", "layers", "blocks", "width", "widths",
    "depth", "channels", "groups", "copies", "kernel", "inner", "embd", "hidden", "intermediate", "state", "expand",
    "mult",
})  # fmt: skip
"""Words of the names of fields that state sizes. A name that begins with ``num_`` or ``n_`` states a number."""

_HARMLESS: Final = frozenset({
    # of routing, parallelism and kernels
    "n_group", "num_expert_group", "ep_size", "chunk_size", "mamba_chunk_size", "block_size", "keep_window_size",
    "attention_chunk_size",
    "max_window_layers", "no_rope_layers",
    "num_random_blocks", "index_block_size", "index_topk_blocks", "index_local_blocks",
    # of layers that draft tokens, which are not loaded to serve
    "num_nextn_predict_layers", "num_mtp_layers", "num_mtp_modules", "mtp_num_hidden_layers", "mtp_transformer_layers",
    "multi_token_pred_depth",
    # of inputs and outputs; every config of older transformers states how to generate
    "num_beams", "num_beam_groups", "num_return_sequences", "num_labels", "no_repeat_ngram_size",
    "chunk_size_feed_forward", "num_media_embeds", "org_vocab_size",
    "num_logits_to_keep", "num_image_tokens", "num_mel_bins", "encoder_no_repeat_ngram_size",
    # of encoders, of which decoders have no weights
    "encoder_layers", "encoder_ffn_dim", "encoder_attention_heads", "classifier_proj_size", "median_filter_width",
    "prompt_mid_dim", "task_type_vocab_size", "num_codebooks",
    # that latent attention, or another field, makes unnecessary
    "num_key_value_heads", "head_dim", "qk_head_dim", "rotary_dim", "dim_model_base", "time_step_rank",
    "num_query_groups", "kv_channels",
})  # fmt: skip
"""Fields that change no size where no reader asks for them: tests read every published and counted config."""

_HARMLESS_IN: Final[Mapping[str, frozenset[str]]] = {
    "bailing_hybrid": frozenset({"layer_group_size", "short_conv_kernel_size"}),
    "bamba": frozenset({"num_attention_heads"}),
    "deepseek_v4": frozenset({"qk_rope_head_dim", "num_hash_layers"}),
    "doge": frozenset({"num_experts", "num_experts_per_tok"}),
    "falcon_h1": frozenset({"mamba_expand"}),
    "gemma4_text": frozenset({"vocab_size_per_layer_input", "num_global_key_value_heads"}),
    "granitemoehybrid": frozenset({"num_attention_heads"}),
    "jetmoe": frozenset({"num_attention_heads"}),
    "llama4_text": frozenset({"intermediate_size_mlp"}),
    "minimax_m3_vl_text": frozenset({"dense_intermediate_size", "index_n_heads", "index_head_dim"}),
    "nemotron_h": frozenset({"n_shared_experts", "intermediate_size"}),
    "dots3_note_text": frozenset({"n_shared_experts"}),
    "afmoe": frozenset({"global_attn_every_n_layers"}),
    "xlstm": frozenset({"embedding_dim"}),
}
"""The same for a single family, where the name states a size in other families."""


def unread_notes(text: Fields, family: str) -> tuple[str, ...]:
    """Note the fields that look like sizes and that no reader asked for. Call it when the config is read.

    ``family`` is the type under which the config was read, or empty.
    """
    found = sorted(_unread(text, _HARMLESS | _HARMLESS_IN.get(family, frozenset())))
    if not found:
        return ()
    named = ", ".join(f"`{key}`" for key in found)
    known = "is not a field that" if len(found) == 1 else "are not fields that"
    return (f"{named} {known} Shardwise knows; sizes may differ",)


def _unread(text: Fields, harmless: frozenset[str]) -> Iterator[str]:
    known = text.asked.union(*(names for names in SYNONYMS if not text.asked.isdisjoint(names)))
    for key, value in text.values.items():
        if key not in known and key not in harmless and _is_count(value) and _names_size(key):
            yield key


def _names_size(key: str) -> bool:
    words = key.lower().split("_")
    return words[0] in {"num", "n"} or not _SIZES.isdisjoint(words)


def _is_count(value: object) -> bool:
    """Tell whether a value may be a size: a whole number above 0, or a list of whole numbers."""
    if isinstance(value, list | tuple):
        return bool(value) and all(_is_count(item) or item == 0 for item in value)
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
