"""The quantisation methods of checkpoints: the weights they quantise, the bytes of each, and the plain weights."""

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from shardwise.checkpoint.fields import ConfigError, Fields, short
from shardwise.checkpoint.names import Names, check_counts, flattened, layer_keys, names
from shardwise.domain.model import CheckpointMethod, Precision, Quantization

Rule = tuple[Names | None, Precision | None]
"""The weights that a rule applies to, ``None`` for all, and their precision, ``None`` for plain."""

Stored = tuple[Quantization, Precision]

_PLAIN_BITS: Final = 16
_MXFP4_GROUP: Final = 32
_EXPERTS: Final = Names(frozenset({"experts"}))
_SCALE_BYTES: Final = 4
"""Block scales of DeepSeek-style fp8 are float32, a scale for each block of 128×128."""

_SPARED_KEYS: Final = (
    "modules_to_not_convert", "ignore", "ignored_layers", "exclude_modules", "exclude", "llm_int8_skip_modules",
)  # fmt: skip


_FIELD: Final = "quantization_config"

WEIGHTS_ONLY: Final = "input_activations: null"
"""The variant of compressed-tensors in which no group quantises its inputs."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """The quantisation of a checkpoint. The first rule that applies to a weight gives its precision."""

    kind: Quantization
    rules: tuple[Rule, ...]
    spared: Names = field(default_factory=Names)
    kv_cache_dtype: str | None = None
    notes: tuple[str, ...] = ()
    guessed: bool = False
    method: CheckpointMethod | None = None

    def of(self, name: str) -> Precision | None:
        """Give the precision of a weight by its name, or ``None`` if it stays plain."""
        if self.spared.match(name):
            return None
        return next((stored for targets, stored in self.rules if targets is None or targets.match(name)), None)

    @property
    def size(self) -> int:
        """Count the steps in which the precision of a weight is found."""
        return sum(listed.size for listed in self._lists())

    def layers(self) -> Callable[[int], Hashable]:
        """Give a function from a layer to a key: layers with the same key store weights of the same names alike."""
        return layer_keys(self._lists())

    def _lists(self) -> tuple[Names, ...]:
        return (self.spared, *(targets for targets, _ in self.rules if targets is not None))


def group(bits: int, size: int, scale_bytes: int, *, zeros: bool = False) -> Precision:
    """Give the precision of elements with a scale, and a zero point, for each group of inputs."""
    return Precision(bits / 8 + (scale_bytes + (bits / 8 if zeros else 0)) / size, (1, size))


MXFP4: Final = replace(group(4, 32, 1), padded=True)
"""A byte of scale for 32 elements. Experts are split by whole blocks (vllm 0.33.0 and sglang 0.5.23, gpt_oss.py)."""


def read_scheme(stated: Fields, text: Fields) -> Scheme | None:
    """Read a ``quantization_config``; ``None`` if it quantises no weights. ``text`` is the language model's config.

    Raises :class:`ConfigError` naming a method, a number or a pattern that is not known.
    """
    inner = stated.section("quantization")  # modelopt nests the content of hf_quant_config.json
    if inner is not None:
        stated = stated.with_values(inner.values)
    method = (stated.text("quant_method") or ("modelopt" if stated.has("quant_algo") else "")).lower()
    method = "modelopt" if method.startswith("modelopt") else method
    if method not in _METHODS:
        raise ConfigError(
            f"config of `{stated.name}` has `quant_method: {method or None}`: known are {', '.join(_METHODS)}"
        )
    scheme = _METHODS[method](stated)
    if scheme is None:
        return None
    scheme = replace(scheme, method=CheckpointMethod(method, scheme.kind, tuple(_variants(stated, method))))
    for key in _SPARED_KEYS:
        if stated.has(key):
            listed = names(flattened(stated.values.get(key)), stated.name, f"{_FIELD}.{key}")
            scheme = replace(scheme, spared=scheme.spared.with_others(listed))
    scheme = replace(scheme, kv_cache_dtype=_cache_dtype(stated))
    if text.text("expert_dtype") == "fp4":  # DeepSeek V4 stores experts in 4 bits beside an fp8 rest
        scheme = replace(scheme, rules=((_EXPERTS, group(4, 32, 1)), *scheme.rules))
    return scheme


def _variants(stated: Fields, method: str) -> Iterator[str]:
    """Give the entries of the config by which an engine may refuse a checkpoint of a method that it knows.

    The order of activations matters only inside groups (vllm 0.33.0, auto_gptq.py).
    """
    if method == "modelopt" and (algorithm := stated.text("quant_algo")):
        yield f"quant_algo: {algorithm.upper()}"
    if method == "fp8" and not stated.has("weight_block_size") and stated.text("activation_scheme") != "static":
        yield "activation_scheme: dynamic"
    if method in ("gptq", "awq"):
        yield f"bits: {stated.count('bits', 'w_bit', default=4)}"
    if method == "gptq":
        if not stated.flag("sym", default=True):
            yield "sym: false"
        if stated.flag("desc_act") and stated.values.get("group_size") != -1:
            yield "desc_act: true"
    if method == "compressed-tensors" and not _quantises_inputs(stated):
        yield WEIGHTS_ONLY


def _quantises_inputs(stated: Fields) -> bool:
    groups = stated.section("config_groups")
    listed = groups.values.values() if groups is not None else ()
    return any(isinstance(own, Mapping) and own.get("input_activations") is not None for own in listed)


def _cache_dtype(stated: Fields) -> str | None:
    """Read the dtype in which keys and values should be kept."""
    scheme = stated.values.get("kv_cache_scheme")
    if isinstance(scheme, Mapping):
        bits = Fields(stated.name, scheme).count("num_bits", default=8)
        return "fp8" if bits == 8 else f"{bits}-bit"  # noqa: PLR2004 - a byte
    algorithm = stated.values.get("kv_cache_quant_algo", scheme)
    return str(algorithm).lower() if isinstance(algorithm, str) and algorithm else None


def _fp8(stated: Fields) -> Scheme:
    block = stated.items("weight_block_size")
    if not block:
        return Scheme(Quantization.FP8, ((None, Precision(1.0)),))
    edges = [edge for edge in block if isinstance(edge, int) and not isinstance(edge, bool) and 0 < edge < 10**6]
    if len(edges) != len(block) or len(edges) != 2:  # noqa: PLR2004 - an edge along the outputs and an edge along the inputs
        raise ConfigError(
            f"config of `{stated.name}` has `weight_block_size: {short(list(block))}`: two whole numbers are needed"
        )
    return Scheme(Quantization.FP8, ((None, _block(edges[0], edges[1])),))


def _block(outputs: int, inputs: int) -> Precision:
    return Precision(1 + _SCALE_BYTES / (outputs * inputs), (outputs, inputs))


def _mxfp4(_: Fields) -> Scheme:
    """Read MXFP4 as gpt-oss has it: experts only (vllm 0.33.0, quantization/mxfp4.py)."""
    return Scheme(Quantization.MXFP4, ((_EXPERTS, MXFP4),))


def _integers(stated: Fields, *, zeros: bool) -> Precision:
    bits = stated.count("bits", "w_bit", default=4)
    size = stated.values.get("group_size", stated.values.get("q_group_size"))
    if bits not in {2, 3, 4, 8}:
        raise ConfigError(f"config of `{stated.name}` has `bits: {bits}`: 2, 3, 4 and 8 are known")
    if isinstance(size, int) and not isinstance(size, bool) and 0 < size < 10**6:
        return group(bits, size, 2, zeros=zeros)
    return Precision(bits / 8)


def _kind(precision: Precision) -> Quantization:
    return Quantization.INT8 if precision.bytes_per_element >= 1 else Quantization.INT4


def _gptq(stated: Fields) -> Scheme:
    """Read GPTQ: scales and zero points a group; ``dynamic`` lists exceptions for single modules (GPTQModel)."""
    stored = _integers(stated, zeros=True)
    dynamic = stated.section("dynamic")
    rules: list[Rule] = []
    listed = dynamic.values if dynamic else {}
    check_counts([f"re:{pattern}" for pattern in listed], stated.name, f"{_FIELD}.dynamic")
    for pattern, changes in listed.items():
        own: Precision | None = None
        if not pattern.startswith("-"):
            other = changes if isinstance(changes, Mapping) else {}
            own = _integers(stated.with_values(other), zeros=True)
        regex = f"re:{pattern.removeprefix('-:').removeprefix('+:')}"
        rules.append((names([regex], stated.name, f"{_FIELD}.dynamic"), own))
    inside = tuple(flattened(stated.values.get("modules_in_block_to_quantize")))
    targets = names(inside, stated.name, f"{_FIELD}.modules_in_block_to_quantize") if inside else None
    return Scheme(_kind(stored), (*rules, (targets, stored)))


def _awq(stated: Fields) -> Scheme:
    stored = _integers(stated, zeros=stated.flag("zero_point", default=True))
    return Scheme(_kind(stored), ((None, stored),))


def _auto_round(stated: Fields) -> Scheme:
    """Read AutoRound, whose ``extra_config`` lists modules with other bits; 16 bits mean plain."""
    stored = _integers(stated, zeros=True)
    extra = stated.section("extra_config")
    plain = [
        name for name, own in (extra.values if extra else {}).items()
        if isinstance(own, Mapping) and Fields(stated.name, own).count("bits", default=4) >= _PLAIN_BITS
    ]  # fmt: skip
    return Scheme(_kind(stored), ((None, stored),), names(plain, stated.name, f"{_FIELD}.extra_config"))


def _bitsandbytes(stated: Fields) -> Scheme:
    """Read bitsandbytes: a float32 scale per 64 elements, or a byte if the scales are quantised as well."""
    if stated.flag("load_in_8bit") or stated.flag("_load_in_8bit"):
        return Scheme(Quantization.INT8, ((None, Precision(1.0)),))
    scale = 1 + 4 / 256 if stated.flag("bnb_4bit_use_double_quant") else 4
    return Scheme(Quantization.INT4, ((None, Precision(0.5 + scale / 64)),))


def _compressed_tensors(stated: Fields) -> Scheme | None:
    """Read compressed-tensors: groups of weights, each with its targets."""
    groups = stated.section("config_groups")
    found: list[tuple[Names | None, Stored]] = []
    for own in (groups.values if groups else {}).values():
        if not isinstance(own, Mapping):
            raise ConfigError(f"config of `{stated.name}` has `{short(own)}` in `config_groups`: objects are needed")
        fields = Fields(stated.name, own)
        weights = fields.section("weights")
        if weights is not None:
            found.append((_targets(fields), _compressed(weights)))
    if not found:
        if stated.has("kv_cache_scheme"):
            return None
        raise ConfigError(f"config of `{stated.name}` has compressed-tensors but lacks `config_groups.*.weights`")
    sparse = stated.section("sparsity_config")
    packed = sparse is not None and (sparse.text("format") or "dense") != "dense"
    notes = ("sparse weights are counted as if they were stored in full",) if packed else ()
    found.sort(key=lambda rule: rule[0] is None)  # rules for names come before rules for classes
    return replace(_several(found), notes=notes, guessed=packed)


def _several(found: list[tuple[Names | None, Stored]]) -> Scheme:
    """Give a scheme of several rules. Its kind is that of its smallest weights, which are the majority."""
    kind, _ = min((stored for _, stored in found), key=lambda stored: stored[1].bytes_per_element)
    return Scheme(kind, tuple((targets, precision) for targets, (_, precision) in found))


def _targets(fields: Fields) -> Names | None:
    """Read the targets of a group. ``Linear`` and other names of classes mean all weights."""
    listed = tuple(flattened(fields.values.get("targets")))
    named = [target for target in listed if target.startswith("re:") or "." in target or target[:1].islower()]
    return names(named, fields.name, f"{_FIELD}.config_groups.*.targets") if named else None


def _compressed(weights: Fields) -> Stored:
    bits, floats = weights.count("num_bits", default=8), weights.text("type") == "float"
    size = weights.optional("group_size")
    if bits == 8:  # noqa: PLR2004 - fp8 and int8 take a byte
        block = weights.numbers("block_structure")
        kind = Quantization.FP8 if floats or block else Quantization.INT8
        if len(block) == 2 and all(block):  # noqa: PLR2004 - an edge along the outputs and an edge along the inputs
            return kind, _block(block[0], block[1])
        return kind, group(8, size, 2) if size else Precision(1.0)
    if bits not in {2, 3, 4}:
        raise ConfigError(f"config of `{weights.name}` has `num_bits: {bits}`: 2, 3, 4 and 8 are known")
    if floats:
        return (Quantization.MXFP4, MXFP4) if size == _MXFP4_GROUP else (Quantization.NVFP4, group(bits, size or 16, 1))
    symmetric = weights.flag("symmetric", default=True)
    return Quantization.INT4, group(bits, size, 2, zeros=not symmetric) if size else Precision(bits / 8)


_ALGORITHMS: Final[Mapping[str, Stored]] = {
    "FP8": (Quantization.FP8, Precision(1.0)),
    "FP8_PER_CHANNEL_PER_TOKEN": (Quantization.FP8, Precision(1.0)),
    "FP8_PB_WO": (Quantization.FP8, _block(128, 128)),
    "MXFP8": (Quantization.FP8, group(8, 32, 1)),
    "NVFP4": (Quantization.NVFP4, group(4, 16, 1)),
    "NVFP4_AWQ": (Quantization.NVFP4, group(4, 16, 1)),
    "W4A16_NVFP4": (Quantization.NVFP4, group(4, 16, 1)),
    "MXFP4": (Quantization.MXFP4, MXFP4),
    "W4A16_AWQ": (Quantization.INT4, group(4, 128, 2)),
    "W4A8_AWQ": (Quantization.INT4, group(4, 128, 2)),
    "INT4_AWQ": (Quantization.INT4, group(4, 128, 2)),
    "W8A8_SQ_PER_CHANNEL": (Quantization.INT8, Precision(1.0)),
    "INT8": (Quantization.INT8, Precision(1.0)),
}
"""Algorithms by their names in modelopt (NVIDIA Model Optimizer, hf_quant_config.json)."""


def _modelopt(stated: Fields) -> Scheme | None:
    algorithm = stated.text("quant_algo")
    if algorithm is None and not stated.has("config_groups"):
        return None if stated.has("kv_cache_quant_algo") or stated.has("kv_cache_scheme") else _algorithm(stated, "FP8")
    if algorithm is None:
        return _compressed_tensors(stated)
    if algorithm.upper() == "MIXED_PRECISION":
        return _mixed(stated)
    return _algorithm(stated, algorithm)


def _algorithm(stated: Fields, algorithm: str) -> Scheme:
    kind, stored = _known(stated, algorithm)
    return Scheme(kind, ((None, stored),))


def _known(stated: Fields, algorithm: str) -> Stored:
    if algorithm.upper() not in _ALGORITHMS:
        known = ", ".join(_ALGORITHMS)
        raise ConfigError(f"config of `{stated.name}` has `quant_algo: {short(algorithm)}`: known are {known}")
    return _ALGORITHMS[algorithm.upper()]


def _mixed(stated: Fields) -> Scheme:
    """Read modelopt's mixed precision: every quantised layer is listed with its algorithm."""
    listed = stated.section("quantized_layers")
    by_algorithm: dict[str, list[str]] = {}
    for name, own in (listed.values if listed else {}).items():
        algorithm = Fields(stated.name, own).text("quant_algo") if isinstance(own, Mapping) else None
        by_algorithm.setdefault(algorithm or "FP8", []).append(name)
    if not by_algorithm:
        raise ConfigError(f"config of `{stated.name}` has `quant_algo: MIXED_PRECISION` but lacks `quantized_layers`")
    return _several(
        [
            (names(listed, stated.name, f"{_FIELD}.quantized_layers"), _known(stated, algorithm))
            for algorithm, listed in by_algorithm.items()
        ]
    )


_QUARK: Final[Mapping[str, Stored]] = {
    "fp8_e4m3": (Quantization.FP8, Precision(1.0)),
    "fp4": (Quantization.MXFP4, MXFP4),
    "int8": (Quantization.INT8, Precision(1.0)),
    "int4": (Quantization.INT4, group(4, 128, 2)),
    "uint4": (Quantization.INT4, group(4, 128, 2)),
}


def _quark(stated: Fields) -> Scheme:
    """Read AMD Quark by its global configuration."""
    whole = stated.section("global_quant_config")
    weight = whole.section("weight") if whole is not None else None
    dtype = weight.text("dtype") if weight is not None else None
    if dtype is None or dtype not in _QUARK:
        raise ConfigError(
            f"config of `{stated.name}` has Quark's `weight.dtype: {short(dtype)}`: known are {', '.join(_QUARK)}"
        )
    kind, stored = _QUARK[dtype]
    return Scheme(kind, ((None, stored),))


_METHODS: Final[Mapping[str, Callable[[Fields], Scheme | None]]] = {
    "fp8": _fp8,
    "mxfp4": _mxfp4,
    "gptq": _gptq,
    "awq": _awq,
    "auto-round": _auto_round,
    "bitsandbytes": _bitsandbytes,
    "compressed-tensors": _compressed_tensors,
    "fbgemm_fp8": _fp8,
    "modelopt": _modelopt,
    "quark": _quark,
}
