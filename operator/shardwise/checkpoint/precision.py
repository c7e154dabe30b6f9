"""The bytes of a weight, by the dtype and the quantisation that the config states."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from shardwise.checkpoint.fields import ConfigError, Fields
from shardwise.checkpoint.making import Storage
from shardwise.checkpoint.names import names
from shardwise.checkpoint.schemes import MXFP4, Scheme, group, read_scheme
from shardwise.domain.model import CheckpointMethod, Precision, Quantization

_DTYPE_BYTES: Final = {
    "auto": 2, "bfloat16": 2, "float16": 2, "half": 2, "float32": 4, "float": 4, "float64": 4, "float8_e4m3fn": 1,
}  # fmt: skip

_NAMED: Final = (
    (re.compile(r"[-_.](nvfp4|fp4)\b", re.IGNORECASE), Quantization.NVFP4),
    (re.compile(r"[-_.](mxfp4)\b", re.IGNORECASE), Quantization.MXFP4),
    (re.compile(r"[-_.](fp8)\b", re.IGNORECASE), Quantization.FP8),
    (re.compile(r"[-_.](awq|gptq|int4|w4a16|4bit)\b", re.IGNORECASE), Quantization.INT4),
    (re.compile(r"[-_.](w8a8|int8|8bit)\b", re.IGNORECASE), Quantization.INT8),
)
"""Quantisation by published names, for configs that state none. NVIDIA states it in hf_quant_config.json."""

_BY_MODELOPT: Final = {Quantization.NVFP4: "quant_algo: NVFP4", Quantization.FP8: "quant_algo: FP8"}
"""The variants of ModelOpt's checkpoints, the only method that engines find outside config.json."""


_LATENT: Final = ("q_a_proj", "q_b_proj", "q_proj", "kv_a_proj_with_mqa", "kv_b_proj")
"""The attention weights that NVIDIA's NVFP4 checkpoints of DeepSeek leave plain: all but the output projection."""


@dataclass(frozen=True, slots=True)
class Precisions:
    """The precision of a checkpoint's plain weights, and the scheme of the others.

    ``halved``: the checkpoint stores plain weights in 32 bits, and engines load them in 16.
    """

    quantization: Quantization
    plain: Precision
    scheme: Scheme | None = None
    notes: tuple[str, ...] = ()
    guessed: bool = False
    kv_cache_dtype: str | None = None
    halved: bool = False
    method: CheckpointMethod | None = None

    def loaded(self, stored: int) -> int:
        """Give the bytes that are loaded of a checkpoint's ``stored`` bytes. Quantised checkpoints are loaded whole."""
        return stored // 2 if self.halved and self.scheme is None else stored

    def storage(self) -> Storage:
        """Give the precision of each weight by its name."""
        if self.scheme is None:
            return Storage(self.plain, lambda _: self.plain)
        return Storage(self.plain, self._linear, self.scheme.layers(), self.scheme.size)

    def _linear(self, name: str) -> Precision:
        return self.plain if self.scheme is None else self.scheme.of(name) or self.plain


def read_precisions(whole: Fields, text: Fields, forced: str) -> Precisions:
    """Read the stated precisions, or force a quantisation. ``forced`` is ``auto`` or a :class:`Quantization` value.

    Raises :class:`ConfigError` for a dtype or a quantisation method that is not known.
    """
    if forced != "auto" and forced not in set(Quantization):
        raise ConfigError(f"quantization `{forced}` is not known: use auto, {', '.join(Quantization)}")
    size, notes = _plain_bytes(whole, text)
    plain, halved = Precision(size), bool(notes)
    stated = whole.section("quantization_config") or text.section("quantization_config")
    scheme = read_scheme(stated, text) if stated is not None else None
    if forced != "auto":
        return _forced(Quantization(forced), plain, scheme, whole.name, notes)
    if scheme is None:
        return replace(_by_name(whole.name, plain, notes, text), halved=halved)
    return Precisions(
        scheme.kind,
        plain,
        scheme,
        notes + scheme.notes,
        scheme.guessed,
        scheme.kv_cache_dtype,
        method=scheme.method,
    )


def with_quantization(config: Mapping[str, object], stated: Mapping[str, object]) -> Mapping[str, object]:
    """Add the content of ``hf_quant_config.json`` to a config that states no quantisation."""
    if config.get("quantization_config") or not {"quantization", "quant_algo"} & stated.keys():
        return config
    return {**config, "quantization_config": {"quant_method": "modelopt", **stated}}


def _forced(
    kind: Quantization, plain: Precision, scheme: Scheme | None, name: str, notes: tuple[str, ...]
) -> Precisions:
    """Give the precisions of a checkpoint that shall be loaded in another kind than its config may state."""
    if scheme is not None:
        chosen = scheme if scheme.kind is kind else _uniform(kind)
        return Precisions(kind, plain, chosen, notes, kv_cache_dtype=scheme.kv_cache_dtype, method=scheme.method)
    if kind in {named for pattern, named in _NAMED if pattern.search(name)}:
        return Precisions(kind, plain, _uniform(kind), notes, method=_method_by_name(kind))
    return Precisions(kind, plain, _uniform(kind, plain.bytes_per_element), notes)


def _method_by_name(kind: Quantization) -> CheckpointMethod:
    variant = _BY_MODELOPT.get(kind)
    return CheckpointMethod("", kind) if variant is None else CheckpointMethod("modelopt", kind, (variant,))


def _by_name(name: str, plain: Precision, notes: tuple[str, ...], text: Fields) -> Precisions:
    """Read the quantisation off the published name, if the config does not state it."""
    for pattern, kind in _NAMED:
        if found := pattern.search(name):
            said = f"the config states no quantisation; {kind.value} is assumed, since the name says `{found.group(1)}`"
            scheme = _uniform(kind)
            if kind is Quantization.NVFP4 and scheme is not None and text.has("kv_lora_rank"):
                listed = [*_LATENT, f"layers.{text.any('num_hidden_layers', default=0)}"]
                scheme = replace(scheme, spared=names(listed, name, "name"))
                said += ", except in latent attention and drafts"
            method = _method_by_name(kind)
            return Precisions(kind, plain, scheme, (*notes, said), guessed=True, method=method)
    return Precisions(Quantization.NONE, plain, None, notes)


def stated_dtype(whole: Fields, text: Fields) -> str:
    """Give the dtype of the plain weights as the config names it; ``auto`` without any."""
    stated = text.text("torch_dtype", "dtype") or whole.text("torch_dtype", "dtype") or "auto"
    return stated.removeprefix("torch.")


def _plain_bytes(whole: Fields, text: Fields) -> tuple[int, tuple[str, ...]]:
    dtype = stated_dtype(whole, text)
    if dtype not in _DTYPE_BYTES:
        known = ", ".join(sorted(_DTYPE_BYTES))
        raise ConfigError(f"config of `{whole.name}` has `torch_dtype: {dtype}`: known are {known}")
    if _DTYPE_BYTES[dtype] > 2:  # noqa: PLR2004 - engines halve wider elements (vllm 0.33.0, config/model.py)
        return 2, (f"stored in {dtype}, loaded in 16 bits",)
    return _DTYPE_BYTES[dtype], ()


def _uniform(kind: Quantization, unquantised: float | None = None) -> Scheme | None:
    """Give the scheme for weights that the engine quantises when it loads them, or that the config does not describe.

    ``unquantised`` are the bytes of an element before the engine quantises it.
    Scales: in int4 a float16 for 128 elements, in MXFP4 a byte for 32, in NVFP4 a byte for 16.
    """
    stored = {
        Quantization.NONE: None,
        Quantization.FP8: Precision(1.0),
        Quantization.INT8: Precision(1.0),
        Quantization.INT4: group(4, 128, 2),
        Quantization.MXFP4: MXFP4,
        Quantization.NVFP4: group(4, 16, 1),
    }[kind]
    return None if stored is None else Scheme(kind, ((None, replace(stored, unquantised=unquantised)),))
