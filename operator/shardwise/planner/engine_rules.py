"""The layouts that each engine allows: the differences between the engines and their releases, as data.

Sources: the wheels of vllm 0.11.1 to 0.33.0 and of sglang 0.5.4 to 0.5.23, and TensorRT-LLM's main branch and 1.2, the
files named at each rule.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cache
from typing import Final

from shardwise.domain.engine import RELEASES, EngineName
from shardwise.domain.model import CheckpointMethod, Precision, Quantization
from shardwise.domain.version import Version


class MergedCheck(Enum):
    """Which parts of a merged weight (queries, keys and values; gate and up) must be whole fp8 blocks.

    The parts on a rank count. ``ALL_BUT_LAST``: the last may be cut where every rank holds the whole weight.
    """

    ALL = "all"
    ALL_BUT_LAST = "all-but-last"
    SPLIT_ONLY = "split-only"
    WAIVED = "waived"


_ATTENTION: Final = ("q_proj", "k_proj", "v_proj")
_GATED: Final = ("gate_proj", "up_proj")
_LINEAR_ATTENTION: Final = ("in_proj_qk", "in_proj_vz")
_LATENT: Final = ("q_a_proj", "kv_a_proj_with_mqa")


@dataclass(frozen=True, slots=True)
class EngineRules:
    """The limits of a release of an engine.

    ``pads_vocabulary``: the engine pads the vocabulary to any tensor degree, so that the vocabulary never forbids a
    degree. ``uneven_experts``: the engine deals out experts whose number the degree does not divide. ``int4_block``: a
    partition of a 4-bit weight must be a multiple of these edges ``(outputs, inputs)``. ``merges``: the weights that
    are merged, in their order. ``merged`` is the check of merged fp8 weights by the method of the checkpoint, and
    ``merged_else`` that of other methods. ``whole_expert_blocks``: blocks of experts must be whole even on a lone rank.
    ``finer_blocks``: methods whose experts' blocks are made finer where a partition would cut them. ``never_copies``:
    architectures whose KV heads are never copied. ``pads_shared``: architectures whose shared experts are padded to
    whole blocks.
    """

    pads_vocabulary: bool
    uneven_experts: bool
    int4_block: tuple[int, int] = (1, 1)
    merges: tuple[tuple[str, ...], ...] = ()
    merged: Mapping[str, MergedCheck] = field(default_factory=dict)
    merged_else: MergedCheck = MergedCheck.SPLIT_ONLY
    whole_expert_blocks: bool = False
    finer_blocks: frozenset[str] = frozenset()
    never_copies: frozenset[str] = frozenset()
    pads_shared: frozenset[str] = frozenset()

    def block(self, quantization: Quantization, precision: Precision) -> tuple[int, int]:
        """Give the edges that divide every partition of a weight of this precision; 1 where any partition will do."""
        out, inner = precision.block or (1, 1)
        if quantization is Quantization.INT4 and precision.block is not None:
            return max(out, self.int4_block[0]), max(inner, self.int4_block[1])
        return out, inner

    def check(self, method: CheckpointMethod | None) -> MergedCheck:
        """Give the check of merged fp8 weights of a checkpoint."""
        return self.merged.get(method.name, self.merged_else) if method is not None else self.merged_else


# ceil64(vocabulary) % tp: vocab_parallel_embedding.py; experts: expert_map_manager.py; merged weights and experts:
# validate_fp8_block_shape, fp8_utils.py; KV heads // tp: gpt_oss.py
_VLLM: Final = EngineRules(
    pads_vocabulary=False,
    uneven_experts=True,
    merges=(_ATTENTION, _GATED, _LINEAR_ATTENTION, _LATENT),
    merged_else=MergedCheck.ALL_BUT_LAST,
    whole_expert_blocks=True,
    never_copies=frozenset({"GptOssForCausalLM"}),
)
# _maybe_allow_fp8_block_shape_mismatch, linear.py
_VLLM_14: Final = replace(_VLLM, merged={"fp8": MergedCheck.WAIVED})
# DeepseekV4MLP, models/deepseek_v4/nvidia/model.py
_VLLM_24: Final = replace(_VLLM_14, pads_shared=frozenset({"DeepseekV4ForCausalLM"}))
# refine_fp8_moe_block_shape, fused_moe/oracle/fp8.py
_VLLM_29: Final = replace(_VLLM_24, finer_blocks=frozenset({"fp8"}))
# DeepseekV41MLP, models/deepseek_v41/nvidia/model.py
_VLLM_30: Final = replace(_VLLM_29, pads_shared=_VLLM_24.pads_shared | {"DeepseekV41ForCausalLM"})

# padding × tp: vocab_parallel_embedding.py; experts: fused_moe_triton/layer.py; 64 × 128: marlin_utils.py; merged
# weights: validate_block_quant_shapes, fp8.py, and validate_fp8_block_shape, fp8_utils.py
_SGLANG: Final = EngineRules(
    pads_vocabulary=True,
    uneven_experts=False,
    int4_block=(64, 128),
    merges=(_ATTENTION, _GATED),
    merged={"fp8": MergedCheck.ALL},
    merged_else=MergedCheck.ALL_BUT_LAST,
    whole_expert_blocks=True,
)

# ceil(vocabulary / tp): embedding.py; experts: mapping.ep_experts
_TENSORRT_LLM: Final = EngineRules(pads_vocabulary=True, uneven_experts=False)

_SINCE: Final[Mapping[EngineName, tuple[tuple[Version, EngineRules], ...]]] = {
    EngineName.VLLM: (
        ((0, 30, 0), _VLLM_30),
        ((0, 29, 0), _VLLM_29),
        ((0, 24, 0), _VLLM_24),
        ((0, 14, 0), _VLLM_14),
        ((0, 0, 0), _VLLM),
    ),
    EngineName.SGLANG: (((0, 0, 0), _SGLANG),),
    EngineName.TENSORRT_LLM: (((0, 0, 0), _TENSORRT_LLM),),
}
"""The rules of each engine and the release that brought them, the newest first."""


@cache
def rules_of(engine: EngineName, release: Version | None = None) -> EngineRules:
    """Give the rules of a release; ``None`` is the release that we read."""
    runs = release or RELEASES[engine]
    return next(rules for since, rules in _SINCE[engine] if runs >= since)
