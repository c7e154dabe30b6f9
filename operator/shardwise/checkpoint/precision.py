"""How many bytes a weight takes: the config's dtype and its quantisation."""

from dataclasses import dataclass
from typing import Final

from shardwise.checkpoint.fields import ConfigError, Fields
from shardwise.checkpoint.making import Storage
from shardwise.domain.model import Precision, Quantization

_DTYPE_BYTES: Final = {"bfloat16": 2, "float16": 2, "float32": 4, "float8_e4m3fn": 1}
_SCALE_BYTES: Final = 4
"""Block scales of DeepSeek-style fp8 are float32, one per 128×128 block."""


@dataclass(frozen=True, slots=True)
class Precisions:
    """Precision of the plain, the linear and the expert weights of one checkpoint."""

    quantization: Quantization
    plain: Precision
    linear: Precision
    expert: Precision
    notes: tuple[str, ...] = ()

    def storage(self) -> Storage:
        """Give the precision of each weight by its name."""
        return Storage(self.plain, lambda name: self.expert if ".experts." in name else self.linear)


def read_precisions(whole: Fields, text: Fields, forced: str) -> Precisions:
    """Read the precisions a config states, or force one. ``forced`` is ``auto`` or a :class:`Quantization` value.

    Raises :class:`ConfigError` for a dtype or a quantisation method that is not known.
    """
    plain = Precision(_plain_bytes(whole, text))
    if forced != "auto":
        if forced not in set(Quantization):
            raise ConfigError(f"quantization `{forced}` is not known: auto, {', '.join(Quantization)} are")
        quantised = _forced(Quantization(forced), plain)
        return Precisions(Quantization(forced), plain, quantised, quantised)
    stated = whole.section("quantization_config") or text.section("quantization_config")
    return _stated(stated, plain) if stated is not None else Precisions(Quantization.NONE, plain, plain, plain)


def _plain_bytes(whole: Fields, text: Fields) -> int:
    dtype = next(
        (found for fields in (text, whole) for key in ("torch_dtype", "dtype") if (found := fields.text(key))),
        "bfloat16",
    ).removeprefix("torch.")
    if dtype not in _DTYPE_BYTES:
        known = ", ".join(sorted(_DTYPE_BYTES))
        raise ConfigError(f"config of `{whole.name}` has `torch_dtype: {dtype}`: known are {known}")
    return _DTYPE_BYTES[dtype]


def _forced(kind: Quantization, plain: Precision) -> Precision:
    """Precision of weights quantised when they are loaded or by a checkpoint the config does not describe.

    Scales: int4 one fp16 per 128, MXFP4 one byte per 32, NVFP4 one byte per 16 elements.
    """
    return {
        Quantization.NONE: plain,
        Quantization.FP8: Precision(1.0),
        Quantization.INT4: _group(4, 128, 2),
        Quantization.MXFP4: _group(4, 32, 1),
        Quantization.NVFP4: _group(4, 16, 1),
    }[kind]


def _group(bits: int, group: int, scale_bytes: int) -> Precision:
    return Precision(bits / 8 + scale_bytes / group, (1, group))


def _stated(stated: Fields, plain: Precision) -> Precisions:
    kind, weights = _method(stated)
    spared = stated.texts("modules_to_not_convert") + stated.texts("ignore") + stated.texts("ignored_layers")
    attention_spared = any("self_attn" in pattern for pattern in spared)
    linear = plain if attention_spared else weights
    return Precisions(kind, plain, linear, weights)


def _method(stated: Fields) -> tuple[Quantization, Precision]:
    method = (stated.text("quant_method") or "").lower()
    readers = {
        "fp8": _fp8,
        "mxfp4": lambda _: (Quantization.MXFP4, _forced(Quantization.MXFP4, Precision(2))),
        "gptq": _integer_groups,
        "awq": _integer_groups,
        "compressed-tensors": _compressed_tensors,
        "modelopt": _modelopt,
    }
    if method not in readers:
        known = ", ".join(readers)
        raise ConfigError(f"config of `{stated.name}` has `quant_method: {method or None}`: known are {known}")
    return readers[method](stated)


def _fp8(stated: Fields) -> tuple[Quantization, Precision]:
    block = stated.values.get("weight_block_size")
    if not isinstance(block, list):
        return Quantization.FP8, Precision(1.0)
    edges = [edge for edge in block if isinstance(edge, int) and not isinstance(edge, bool) and edge > 0]
    if len(edges) != len(block) or len(edges) != 2:  # noqa: PLR2004 - an edge along the outputs, one along the inputs
        raise ConfigError(f"config of `{stated.name}` has `weight_block_size: {block!r}`: two whole numbers are needed")
    out_block, in_block = edges
    return Quantization.FP8, Precision(1 + _SCALE_BYTES / (out_block * in_block), (out_block, in_block))


def _integer_groups(stated: Fields) -> tuple[Quantization, Precision]:
    bits = stated.count("bits", "w_bit", default=4)
    group = stated.values.get("group_size", stated.values.get("q_group_size"))
    if bits == 8:  # noqa: PLR2004 - 8-bit GPTQ has the bytes of fp8
        return Quantization.FP8, Precision(1.0)
    if bits != 4:  # noqa: PLR2004 - the only other width engines load
        raise ConfigError(f"config of `{stated.name}` has `bits: {bits}`: 4 and 8 are known")
    return Quantization.INT4, _group(4, group, 2) if isinstance(group, int) and group > 0 else Precision(0.5)


def _compressed_tensors(stated: Fields) -> tuple[Quantization, Precision]:
    groups = stated.section("config_groups")
    first = next(iter(groups.values.values()), None) if groups is not None else None
    weights = Fields(stated.name, first).section("weights") if isinstance(first, dict) else None
    if weights is None:
        raise ConfigError(f"config of `{stated.name}` has compressed-tensors without `config_groups.*.weights`")
    if weights.count("num_bits", default=8) == 8:  # noqa: PLR2004 - fp8 and int8 take one byte
        return Quantization.FP8, Precision(1.0)
    group = weights.optional("group_size") or 128
    kind = Quantization.NVFP4 if weights.text("type") == "float" else Quantization.INT4
    return kind, _group(4, group, 1 if kind is Quantization.NVFP4 else 2)


def _modelopt(stated: Fields) -> tuple[Quantization, Precision]:
    algorithm = (stated.text("quant_algo") or "FP8").upper()
    kinds = {"FP8": Quantization.FP8, "NVFP4": Quantization.NVFP4, "W4A16_AWQ": Quantization.INT4}
    if algorithm not in kinds:
        raise ConfigError(f"config of `{stated.name}` has `quant_algo: {algorithm}`: known are {', '.join(kinds)}")
    return kinds[algorithm], _forced(kinds[algorithm], Precision(2))
