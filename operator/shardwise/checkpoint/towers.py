"""The number of elements of vision and audio towers, and of the projectors from them into a language model.

The planner assumes that every rank holds the whole tower: towers are small, and each engine splits them differently.
Dimensions are those of transformers 5. A tower of an unknown kind is estimated from its width and depth, with a note.
"""

from collections.abc import Callable, Mapping
from typing import Final

from shardwise.checkpoint.fields import ConfigError, Fields, short

_HIDDEN: Final = ("hidden_size", "embed_dim", "d_model", "width")
_DEPTH: Final = ("num_hidden_layers", "depth", "encoder_layers", "layers", "num_layers")
_COLUMNS: Final = ("intermediate_size", "encoder_ffn_dim", "mlp_dim")
_MOST_LAYERS: Final = 4096
_LARGEST_RATIO: Final = 1000
_SMALLEST_RATIO: Final = 0.001


def _linear(outputs: int, inputs: int, *, bias: bool = True) -> int:
    return outputs * (inputs + bias)


def _hidden(fields: Fields) -> int:
    return fields.count(*_HIDDEN)


def _depth(fields: Fields) -> int:
    return min(fields.count(*_DEPTH), _MOST_LAYERS)


def _columns(fields: Fields) -> int:
    ratio = fields.get("mlp_ratio", 4)
    if not isinstance(ratio, int | float) or isinstance(ratio, bool) or not 0 < ratio < _LARGEST_RATIO:
        raise ConfigError(f"config of `{fields.name}` has `mlp_ratio: {short(ratio)}`: a positive number is needed")
    return fields.optional(*_COLUMNS) or int(ratio * _hidden(fields))


def _edge(fields: Fields, key: str, default: int) -> int:
    """Read the edge of a square; the config states a number, or a list of two."""
    value = fields.get(key)
    return (
        fields.numbers(key)[0] or default if isinstance(value, list) and value else fields.count(key, default=default)
    )


def _patches(fields: Fields) -> int:
    return (_edge(fields, "image_size", 224) // _edge(fields, "patch_size", 14)) ** 2


def _patch(fields: Fields, *, bias: bool, frames: int = 1) -> int:
    """Count the projection from a patch of an image to a vector."""
    channels = fields.count("num_channels", "in_channels", default=3)
    return _linear(_hidden(fields), channels * frames * _edge(fields, "patch_size", 14) ** 2, bias=bias)


def _encoder(fields: Fields, *, biases: bool = True, gated: bool = False, norms: int = 4) -> int:
    """Count plain transformer layers."""
    hidden, columns = _hidden(fields), _columns(fields)
    attention = 4 * _linear(hidden, hidden, bias=biases)
    wide = (2 if gated else 1) * _linear(columns, hidden, bias=biases) + _linear(hidden, columns, bias=biases)
    return _depth(fields) * (attention + wide + norms * hidden)


def _siglip(fields: Fields) -> int:
    hidden, columns = _hidden(fields), _columns(fields)
    pooled = 0
    if fields.flag("vision_use_head", default=True):
        mlp = _linear(columns, hidden) + _linear(hidden, columns)
        pooled = hidden + 4 * _linear(hidden, hidden) + 2 * hidden + mlp
    return _patch(fields, bias=True) + _patches(fields) * hidden + _encoder(fields) + 2 * hidden + pooled


def _headless(fields: Fields) -> int:
    return _siglip(fields.with_values({"vision_use_head": False}))


def _clip(fields: Fields) -> int:
    hidden = _hidden(fields)
    return _patch(fields, bias=False) + (_patches(fields) + 2) * hidden + _encoder(fields) + 4 * hidden


def _merger(fields: Fields, outputs: int, norm: int) -> int:
    """Count Qwen's projection of neighbouring patches, taken together."""
    wide = _hidden(fields) * fields.count("spatial_merge_size", default=2) ** 2
    return norm + _linear(wide, wide) + _linear(outputs, wide)


def _qwen2(fields: Fields) -> int:
    width = fields.count("embed_dim")
    inner = fields.with_values({"hidden_size": width})
    frames = fields.count("temporal_patch_size", default=2)
    return (
        _patch(inner, bias=False, frames=frames) + _encoder(inner)
        + _merger(inner, fields.count("hidden_size"), 2 * width)
    )  # fmt: skip


def _qwen2_5(fields: Fields) -> int:
    hidden, frames = _hidden(fields), fields.count("temporal_patch_size", default=2)
    merger = _merger(fields, fields.count("out_hidden_size"), hidden)
    return _patch(fields, bias=False, frames=frames) + _encoder(fields, gated=True, norms=2) + merger


def _qwen3(fields: Fields) -> int:
    hidden, frames = _hidden(fields), fields.count("temporal_patch_size", default=2)
    outputs, positions = fields.count("out_hidden_size"), fields.count("num_position_embeddings", default=2304)
    deep = _merger(fields, outputs, 8 * hidden) * len(fields.items("deepstack_visual_indexes"))
    own = _patch(fields, bias=True, frames=frames) + positions * hidden
    return own + _encoder(fields) + _merger(fields, outputs, 2 * hidden) + deep


def _pixtral(fields: Fields) -> int:
    return _patch(fields, bias=False) + _hidden(fields) + _encoder(fields, biases=False, gated=True, norms=2)


def _internvl(fields: Fields) -> int:
    hidden, depth = _hidden(fields), _depth(fields)
    unbiased = 0 if fields.flag("attention_bias") else 3 * hidden * depth
    qk_norms = 2 * hidden * depth if fields.flag("use_qk_norm") else 0
    own = _patch(fields, bias=True) + (_patches(fields) + 2) * hidden
    return own + _encoder(fields, norms=6) - unbiased + qk_norms


def _llama4(fields: Fields) -> int:
    hidden, wide = _hidden(fields), _columns(fields)
    narrowed = fields.count("projector_input_dim", default=4096)
    adapter = _linear(narrowed, wide, bias=False) + _linear(fields.count("projector_output_dim"), narrowed, bias=False)
    return _patch(fields, bias=False) + (_patches(fields) + 2) * hidden + _encoder(fields) + 4 * hidden + adapter


def _mllama(fields: Fields) -> int:
    """Count Llama 3.2's vision model: global layers after the local ones, and embeddings for tiles of an image."""
    hidden, tiles = _hidden(fields), fields.count("max_num_tiles", default=4)
    ratios = len(fields.items("supported_aspect_ratios")) or tiles * 2
    whole = fields.count("num_global_layers", default=8)
    depth = fields.with_values({"num_hidden_layers": _depth(fields) + whole})
    layers = _encoder(depth) - 4 * hidden * _depth(depth) + 2 * whole
    patches = _patches(fields) + 1
    positions = patches * hidden + (ratios + 1) * tiles * hidden * (patches + 2) + 3
    return _patch(fields, bias=False) + hidden + positions + layers + 4 * hidden


def _kimi(fields: Fields) -> int:
    hidden = _hidden(fields)
    positions = fields.count("pos_emb_height", "init_pos_emb_height") * fields.count(
        "pos_emb_width", "init_pos_emb_width"
    )
    return _patch(fields, bias=True) + positions * hidden + _encoder(fields) + 2 * hidden


def _glm4v(fields: Fields) -> int:
    hidden, out, columns = _hidden(fields), fields.count("out_hidden_size"), fields.count("intermediate_size")
    merge, frames = fields.count("spatial_merge_size", default=2), fields.count("temporal_patch_size", default=2)
    inner = fields.with_values({"intermediate_size": out})
    own = _patch(fields, bias=True, frames=frames) + _patches(fields) * hidden + 2 * hidden
    down = _linear(out, hidden * merge**2)
    merger = out * out + 2 * out + 3 * columns * out
    return own + _encoder(inner, biases=False, gated=True, norms=2) + down + merger


def _gemma4(fields: Fields) -> int:
    hidden, width = _hidden(fields), fields.count("head_dim", default=64)
    positions = 2 * fields.count("position_embedding_size", default=10240) * hidden
    layers = _encoder(fields, biases=False, gated=True) + _depth(fields) * 2 * width
    return _patch(fields, bias=False) + positions + layers


def _sam(fields: Fields) -> int:
    """Count SAM's encoder: relative positions within windows, and a neck of two convolutions."""
    hidden, out, heads = (
        _hidden(fields),
        fields.count("output_channels", default=256),
        fields.count("num_attention_heads"),
    )
    whole, window = len(fields.items("global_attn_indexes")), fields.count("window_size", default=14)
    edge = _edge(fields, "image_size", 1024) // _edge(fields, "patch_size", 16)
    rows = whole * (2 * edge - 1) + max(0, _depth(fields) - whole) * (2 * window - 1)
    neck = out * hidden + 2 * out + 9 * out * out + 2 * out
    return _patch(fields, bias=True) + edge**2 * hidden + _encoder(fields) + 2 * rows * (hidden // heads) + neck


def _whisper(fields: Fields) -> int:
    """Count Whisper's encoder: two convolutions over the spectrum, then layers whose keys have no bias."""
    hidden, bins = _hidden(fields), fields.count("num_mel_bins", default=80)
    convolutions = _linear(hidden, 3 * bins) + _linear(hidden, 3 * hidden)
    positions = fields.count("max_source_positions", default=1500) * hidden
    return convolutions + positions + _encoder(fields) - _depth(fields) * hidden + 2 * hidden


TOWERS: Final[Mapping[str, Callable[[Fields], int]]] = {
    "clip_vision_model": _clip,
    "gemma4_vision": _gemma4,
    "glm4v_moe_vision": _glm4v,
    "glm4v_vision": _glm4v,
    "got_ocr2_vision": _sam,
    "idefics3_vision": _headless,
    "internvl_vision": _internvl,
    "kimi_k25_vision": _kimi,
    "llama4_vision_model": _llama4,
    "mllama_vision_model": _mllama,
    "moss_transcribe_diarize_audio": _whisper,
    "pixtral": _pixtral,
    "pp_chart2table_vision": _sam,
    "qwen2_5_vl_vision": _qwen2_5,
    "qwen2_audio_encoder": _whisper,
    "qwen2_vl_vision": _qwen2,
    "qwen3_5_moe_vision": _qwen3,
    "qwen3_5_vision": _qwen3,
    "qwen3_vl_moe_vision": _qwen3,
    "qwen3_vl_vision": _qwen3,
    "siglip_vision_model": _siglip,
    "smolvlm_vision": _headless,
    "voxtral_encoder": _whisper,
}
"""``model_type`` of a tower -> its elements."""


def _two_linear(whole: Fields, tower: Fields, hidden: int) -> int:
    bias = whole.flag("multimodal_projector_bias", default=True)
    return _linear(hidden, _hidden(tower), bias=bias) + _linear(hidden, hidden, bias=bias)


def _with_newline(whole: Fields, tower: Fields, hidden: int) -> int:
    return _two_linear(whole, tower, hidden) + hidden


def _mistral3(whole: Fields, tower: Fields, hidden: int) -> int:
    width, merge = _hidden(tower), whole.count("spatial_merge_size", default=2)
    merged = width + width * width * merge**2
    bias = whole.flag("multimodal_projector_bias")
    return merged + _linear(hidden, width, bias=bias) + _linear(hidden, hidden, bias=bias)


def _gemma3_projector(_: Fields, tower: Fields, hidden: int) -> int:
    return _hidden(tower) * (hidden + 1)


def _one_linear(_: Fields, tower: Fields, hidden: int) -> int:
    return _linear(hidden, _hidden(tower))


def _gemma4_projector(_: Fields, tower: Fields, hidden: int) -> int:
    return _linear(hidden, _hidden(tower), bias=False)


def _idefics3(whole: Fields, tower: Fields, hidden: int) -> int:
    return hidden * _hidden(tower) * whole.count("scale_factor", default=2) ** 2


def _internvl_projector(whole: Fields, tower: Fields, hidden: int) -> int:
    ratio = whole.get("downsample_ratio", 0.5)
    if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not _SMALLEST_RATIO < ratio <= 1:
        raise ConfigError(
            f"config of `{whole.name}` has `downsample_ratio: {short(ratio)}`: a number from 0.001 to 1 is needed"
        )
    wide = int(_hidden(tower) / ratio**2)
    return 2 * wide + _linear(hidden, wide) + _linear(hidden, hidden)


def _cohere2(whole: Fields, tower: Fields, hidden: int) -> int:
    wide = _hidden(tower) * whole.count("downsample_factor", default=2) ** 2
    aligned = whole.count("alignment_intermediate_size", default=36864)
    return _linear(aligned, wide) + _linear(hidden, aligned // 2)


def _llama4_projector(_: Fields, tower: Fields, hidden: int) -> int:
    return hidden * tower.count("vision_output_dim", default=7680)


def _mllama_projector(_: Fields, tower: Fields, hidden: int) -> int:
    return _linear(hidden, tower.count("vision_output_dim", default=7680))


def _kimi_projector(_: Fields, tower: Fields, hidden: int) -> int:
    wide = 4 * _hidden(tower)
    return 2 * _hidden(tower) + _linear(wide, wide) + _linear(hidden, wide)


def _got(_: Fields, tower: Fields, hidden: int) -> int:
    out = tower.count("output_channels", default=256)
    return 9 * out * 2 * out + 9 * 2 * out * 4 * out + _linear(hidden, 4 * out)


def _moss(whole: Fields, tower: Fields, hidden: int) -> int:
    wide, bias = _hidden(tower) * whole.count("audio_merge_size", default=4), whole.flag("projector_bias", default=True)
    return _linear(hidden, wide, bias=bias) + _linear(hidden, hidden, bias=bias) + 2 * hidden


def _voxtral(_: Fields, tower: Fields, hidden: int) -> int:
    return hidden * tower.count("intermediate_size") + hidden * hidden


def _none(_: Fields, __: Fields, ___: int) -> int:
    return 0


PROJECTORS: Final[Mapping[str, Callable[[Fields, Fields, int], int]]] = {
    "cohere2_vision": _cohere2,
    "gemma3": _gemma3_projector,
    "gemma4": _gemma4_projector,
    "glm46v": _none,
    "glm4v": _none,
    "glm4v_moe": _none,
    "glmga": _none,
    "got_ocr2": _got,
    "idefics3": _idefics3,
    "internvl": _internvl_projector,
    "kimi_k25": _kimi_projector,
    "llama4": _llama4_projector,
    "llava": _two_linear,
    "llava_next": _with_newline,
    "llava_next_video": _with_newline,
    "llava_onevision": _with_newline,
    "mistral3": _mistral3,
    "mllama": _mllama_projector,
    "moss_transcribe_diarize": _moss,
    "paligemma": _one_linear,
    "pp_chart2table": _got,
    "qwen2_5_vl": _none,
    "qwen2_audio": _one_linear,
    "qwen2_vl": _none,
    "qwen3_5": _none,
    "qwen3_5_moe": _none,
    "qwen3_vl": _none,
    "qwen3_vl_moe": _none,
    "shieldgemma2": _gemma3_projector,
    "smolvlm": _idefics3,
    "vipllava": _none,
    "voxtral": _voxtral,
}
"""``model_type`` of a whole model -> the elements between tower and language model."""


_OTHER_PARTS: Final = frozenset(
    {"vision_config", "audio_config", "text_config", "quantization_config", "generation_config", "llm_config"}
    | {"language_config", "thinker_config", "language_model_config", "linear_attn_config", "attn_config", "ffn_config"}
)
"""Nested objects that are counted, or that do not describe a part of the model."""


def _uncounted(whole: Fields) -> tuple[str, ...]:
    """List the nested models that no function here counts."""
    found = []
    for key, value in whole.values.items():
        if key.endswith("_config") and key not in _OTHER_PARTS and isinstance(value, Mapping):
            section = Fields(whole.name, value)
            if section.text("model_type") or any(section.has(name) for name in _HIDDEN):
                found.append(key)
    return tuple(sorted(found))


def tower(whole: Fields, hidden: int) -> tuple[int, tuple[str, ...]]:
    """Count the elements of a model's towers and projectors, and note which were estimated.

    ``hidden`` is the hidden size of the language model. Raises :class:`ConfigError` for wrong fields of a tower.
    """
    total = 0
    notes = [f"the model of `{key}` is not counted" for key in _uncounted(whole)]
    for key in ("vision_config", "audio_config"):
        section = whole.section(key)
        if section is None or not section.values:
            continue
        kind, outer = section.text("model_type") or "", whole.text("model_type") or ""
        count, project = TOWERS.get(kind), PROJECTORS.get(outer)
        if count is not None and project is not None:
            total += count(section) + project(whole, section, hidden)
        else:
            total += _estimate(section, hidden)
            notes.append(f"the tower of `{key}` (`{kind or 'unnamed'}`) is estimated from its width and depth")
    return total, tuple(notes)


def _estimate(section: Fields, hidden: int) -> int:
    if section.optional(*_HIDDEN) is None or section.optional(*_DEPTH) is None:
        return 0
    return _encoder(section) + _patch(section, bias=True) + _linear(hidden, _hidden(section)) + hidden * hidden
