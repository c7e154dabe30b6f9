"""The layouts that each engine allows: the differences between the engines, as data.

Sources: vllm 0.33.0, sglang 0.5.23 and TensorRT-LLM's main branch and 1.2, the files named at each rule.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from shardwise.domain.engine import EngineName
from shardwise.domain.model import Precision, Quantization


@dataclass(frozen=True, slots=True)
class EngineRules:
    """The limits of an engine.

    ``pads_vocabulary``: the engine pads the vocabulary to any tensor degree, so that the vocabulary never forbids a
    degree. ``uneven_experts``: the engine deals out experts whose number the degree does not divide. ``int4_block``: a
    partition of a 4-bit weight must be a multiple of these edges ``(outputs, inputs)``.
    """

    pads_vocabulary: bool
    uneven_experts: bool
    int4_block: tuple[int, int] = (1, 1)

    def block(self, quantization: Quantization, precision: Precision) -> tuple[int, int]:
        """Give the edges that divide every partition of a weight of this precision; 1 where any partition will do."""
        out, inner = precision.block or (1, 1)
        if quantization is Quantization.INT4 and precision.block is not None:
            return max(out, self.int4_block[0]), max(inner, self.int4_block[1])
        return out, inner


RULES: Final[Mapping[EngineName, EngineRules]] = {
    # ceil64(vocabulary) % tp: vocab_parallel_embedding.py; experts: expert_map_manager.py
    EngineName.VLLM: EngineRules(pads_vocabulary=False, uneven_experts=True),
    # padding × tp: vocab_parallel_embedding.py; experts: fused_moe_triton/layer.py; 64 × 128: marlin_utils.py
    EngineName.SGLANG: EngineRules(pads_vocabulary=True, uneven_experts=False, int4_block=(64, 128)),
    # ceil(vocabulary / tp): embedding.py; experts: mapping.ep_experts
    EngineName.TENSORRT_LLM: EngineRules(pads_vocabulary=True, uneven_experts=False),
}
