"""Parts that keep a state of constant size instead of keys and values: Mamba, linear attention, convolutions.

Shapes are those of the checkpoints' tensors (transformers 5); splits and states are those of the engines
(vllm 0.33.0, model_executor/layers/mamba: mamba_mixer.py, mamba_mixer2.py, mamba_utils.py; sglang 0.5.23,
configs/mamba_utils.py).
"""

from dataclasses import dataclass
from typing import Final

from shardwise.checkpoint.making import CHANNELS, LINEAR_HEADS, LINEAR_KEY_HEADS, STATE_GROUPS, STATE_HEADS, Maker
from shardwise.checkpoint.parts import Part
from shardwise.domain.engine import EngineName
from shardwise.domain.model import Split, StateCache, Weight, Widths

FLOAT32: Final = 4

DELTA_CHUNK: Final = 64
"""vllm 0.33.0, v1/attention/backends/gdn_attn.py: FLASHINFER_GDN_CHECKPOINT_ALIGNMENT."""


@dataclass(frozen=True, slots=True)
class Recurrence:
    """Bytes of an element of the recurrent part of a state, in each engine; ``None`` means as the plain weights.

    SGLang keeps float32 unless the config states ``mamba_ssm_dtype``, whatever the dtype of the model.
    """

    vllm: int | None = None
    sglang: int | None = FLOAT32
    tensorrt_llm: int | None = None


PLAIN: Final = Recurrence()
WIDE: Final = Recurrence(FLOAT32, FLOAT32, FLOAT32)


def _state(
    make: Maker, convolved: int, recurrent: int, kept: Recurrence = PLAIN, *, whole: int = 0, chunk: int = 1
) -> StateCache:
    """Size a state: the inputs that a convolution keeps, and the recurrence, which may have another dtype.

    Every rank keeps ``whole`` of the convolved elements.
    """
    plain = make.storage.plain.bytes_per_element
    size = int(convolved * plain + recurrent * (kept.vllm or plain))
    others = {EngineName.SGLANG: kept.sglang, EngineName.TENSORRT_LLM: kept.tensorrt_llm}
    more = {engine: int(recurrent * ((element or plain) - (kept.vllm or plain))) for engine, element in others.items()}
    extras = tuple((engine, extra) for engine, extra in more.items() if extra)
    return StateCache(size, int(whole * plain), extras, chunk)


@dataclass(frozen=True, slots=True)
class Mamba:
    """Dimensions of a first-generation Mamba mixer.

    ``norm_size`` counts the elements of its norms. ``parts``: Zamba splits its inner projections in as many.
    """

    inner: int
    state: int
    kernel: int
    rank: int
    bias: bool = False
    conv_bias: bool = True
    norm_size: int = 0
    parts: int = 1
    name: str = "mixer"

    def part(self, make: Maker, hidden: int, /) -> Part:
        """Make the part."""
        inner, name = self.inner, self.name
        along = (Split.OUTPUTS, inner, CHANNELS)
        wide = self.rank + 2 * self.state
        weights = (
            make.linear(f"{name}.in_proj", (2 * inner, hidden), *along, bias=self.bias)
            + make.linear(f"{name}.x_proj", (wide * self.parts, inner // self.parts), Split.INPUTS, inner, CHANNELS)
            + make.linear(f"{name}.dt_proj", (inner, self.rank), *along, bias=True)
            + make.plain(f"{name}.A", (inner, self.state + 1), *along)
            + make.plain(f"{name}.conv1d", (inner, self.kernel + self.conv_bias), *along)
            + make.linear(f"{name}.out_proj", (hidden, inner), Split.INPUTS, inner, CHANNELS, bias=self.bias)
            + (make.vector(f"{name}.norms", self.norm_size) if self.norm_size else ())
        )
        cache = _state(make, inner * (self.kernel - 1), inner * self.state)
        return Part(weights, cache, Widths(split=3 * inner), reduces=2)


@dataclass(frozen=True, slots=True)
class Mamba2:
    """Dimensions of a second-generation Mamba mixer.

    ``kept`` is the precision of the state.
    """

    heads: int
    head_dim: int
    groups: int
    state: int
    kernel: int
    bias: bool = False
    conv_bias: bool = True
    norm: bool = True
    kept: Recurrence = PLAIN
    name: str = "mixer"

    def part(self, make: Maker, hidden: int, /) -> Part:
        """Make the part."""
        heads, name, inner = self.heads, self.name, self.heads * self.head_dim
        convolved = inner + 2 * self.groups * self.state
        along = (Split.OUTPUTS, heads, STATE_HEADS)
        grouped, taps = 2 * self.groups * self.state, self.kernel + self.conv_bias
        weights = (
            make.linear(f"{name}.in_proj", (2 * inner + heads, hidden), *along, bias=self.bias)
            + make.linear(f"{name}.in_proj_groups", (grouped, hidden), *self._by_group(), bias=self.bias)
            + make.plain(f"{name}.conv1d", (inner, taps), *along)
            + make.plain(f"{name}.conv1d_groups", (grouped, taps), *self._by_group())
            + make.vector(f"{name}.heads", 3 * heads, *along)
            + (make.vector(f"{name}.norm", inner, *along) if self.norm else ())
            + make.linear(f"{name}.out_proj", (hidden, inner), Split.INPUTS, heads, STATE_HEADS, bias=self.bias)
        )
        looks_back = self.kernel - 1
        whole = grouped * looks_back if self.groups == 1 else 0
        cache = _state(make, convolved * looks_back, inner * self.state, self.kept, whole=whole)
        return Part(weights, cache, Widths(split=inner + convolved), reduces=1)

    def _by_group(self) -> tuple[Split, int, str]:
        """Give how ranks share the groups: whole groups, or copies of a single group (mamba_mixer2.py)."""
        return (Split.OUTPUTS if self.groups > 1 else Split.COPIED, self.groups, STATE_GROUPS)


@dataclass(frozen=True, slots=True)
class GatedDelta:
    """Dimensions of a gated delta net (Qwen3-Next). ``gated``: it has an output gate. ``kept`` as in Mamba2.

    ``chunk`` as in :class:`StateCache`: FlashInfer computes the nets of Qwen, and not those of OLMo.
    """

    key_heads: int
    value_heads: int
    key_dim: int
    value_dim: int
    kernel: int
    gated: bool = True
    kept: Recurrence = PLAIN
    chunk: int = DELTA_CHUNK
    name: str = "linear_attn"

    def part(self, make: Maker, hidden: int, /) -> Part:
        """Make the part."""
        name, heads = self.name, self.value_heads
        keys, values = self.key_heads * self.key_dim, heads * self.value_dim
        by_key, by_value = (Split.OUTPUTS, self.key_heads, LINEAR_KEY_HEADS), (Split.OUTPUTS, heads, LINEAR_HEADS)
        convolved = 2 * keys + values
        weights = (
            make.linear(f"{name}.in_proj_qk", (2 * keys, hidden), *by_key)
            + make.linear(f"{name}.in_proj_vz", (values * (2 if self.gated else 1), hidden), *by_value)
            + make.linear(f"{name}.in_proj_ba", (2 * heads, hidden), *by_value)
            + make.plain(f"{name}.conv1d", (convolved, self.kernel), *by_key)
            + make.vector(f"{name}.heads", 2 * heads, *by_value)
            + make.vector(f"{name}.norm", self.value_dim)
            + make.linear(f"{name}.out_proj", (hidden, values), Split.INPUTS, heads, LINEAR_HEADS)
        )
        looks_back, recurrent = self.kernel - 1, heads * self.key_dim * self.value_dim
        cache = _state(make, convolved * looks_back, recurrent, self.kept, chunk=self.chunk)
        return Part(weights, cache, Widths(split=convolved + values), reduces=1)


@dataclass(frozen=True, slots=True)
class DeltaAttention:
    """Dimensions of Kimi's delta attention.

    ``forget_rank`` and ``gate_rank`` are the ranks of its low-rank gates; a gate without a rank has the full size.
    """

    heads: int
    head_dim: int
    kernel: int
    forget_rank: int | None
    gate_rank: int | None
    name: str = "self_attn"

    def part(self, make: Maker, hidden: int, /) -> Part:
        """Make the part. Its recurrence is kept in float32 (vllm 0.33.0, kda_state_dtype)."""
        name, heads, inner = self.name, self.heads, self.heads * self.head_dim
        along = (Split.OUTPUTS, heads, LINEAR_HEADS)
        weights = (
            make.linear(f"{name}.qkv_proj", (3 * inner, hidden), *along)
            + make.plain(f"{name}.conv1d", (3 * inner, self.kernel), *along)
            + self._gate(make, hidden, "f", self.forget_rank)
            + self._gate(make, hidden, "g", self.gate_rank)
            + make.linear(f"{name}.b_proj", (heads, hidden), *along)
            + make.vector(f"{name}.heads", heads + inner, *along)
            + make.vector(f"{name}.o_norm", self.head_dim)
            + make.linear(f"{name}.o_proj", (hidden, inner), Split.INPUTS, heads, LINEAR_HEADS)
        )
        cache = _state(make, 3 * inner * (self.kernel - 1), inner * self.head_dim, WIDE)
        return Part(weights, cache, Widths(split=5 * inner), reduces=1)

    def _gate(self, make: Maker, hidden: int, letter: str, rank: int | None) -> tuple[Weight, ...]:
        inner, along = self.heads * self.head_dim, (Split.OUTPUTS, self.heads, LINEAR_HEADS)
        if rank is None:
            return make.linear(f"{self.name}.{letter}_proj", (inner, hidden), *along)
        return make.linear(f"{self.name}.{letter}_a_proj", (rank, hidden)) + make.linear(
            f"{self.name}.{letter}_b_proj", (inner, rank), *along
        )


@dataclass(frozen=True, slots=True)
class Lightning:
    """Dimensions of lightning attention (MiniMax-Text-01): a state of ``head_dim`` squared for each head."""

    heads: int
    head_dim: int
    name: str = "self_attn"

    def part(self, make: Maker, hidden: int, /) -> Part:
        """Make the part."""
        name, heads, inner = self.name, self.heads, self.heads * self.head_dim
        along = (Split.OUTPUTS, heads, LINEAR_HEADS)
        weights = (
            make.linear(f"{name}.qkv_proj", (3 * inner, hidden), *along)
            + make.linear(f"{name}.output_gate", (inner, hidden), *along)
            + make.vector(f"{name}.norm", inner, *along)
            + make.linear(f"{name}.out_proj", (hidden, inner), Split.INPUTS, heads, LINEAR_HEADS)
        )
        return Part(weights, _state(make, 0, inner * self.head_dim), Widths(split=4 * inner), reduces=1)


@dataclass(frozen=True, slots=True)
class ShortConvolution:
    """Dimensions of a gated short convolution (LFM2)."""

    kernel: int
    bias: bool = False
    name: str = "conv"

    def part(self, make: Maker, hidden: int, /) -> Part:
        """Make the part."""
        name, along = self.name, (Split.OUTPUTS, hidden, CHANNELS)
        weights = (
            make.linear(f"{name}.in_proj", (3 * hidden, hidden), *along, bias=self.bias)
            + make.plain(f"{name}.conv", (hidden, self.kernel + self.bias), *along)
            + make.linear(f"{name}.out_proj", (hidden, hidden), Split.INPUTS, hidden, CHANNELS, bias=self.bias)
        )
        cache = _state(make, hidden * (self.kernel - 1), 0)
        return Part(weights, cache, Widths(split=3 * hidden), reduces=1)
