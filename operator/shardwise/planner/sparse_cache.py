"""The KV cache of sparse latent attention, whose form depends on the GPU's architecture.

Sources: vllm 0.33.0, model_executor/layers/attention/mla_attention.py and v1/attention/backends/mla/*sparse*.py;
sglang 0.5.23 chooses alike. Both were run with a pretended GPU of each architecture.
"""

from dataclasses import replace
from functools import lru_cache
from typing import Final

from shardwise.domain.demand import Demand
from shardwise.domain.engine import EngineName
from shardwise.domain.hardware import HOPPER, ComputeCapability
from shardwise.domain.model import LatentCache, ModelFacts, SequenceCache

_BLACKWELL: Final = 10
_WORKSTATION: Final = 12
"""Blackwell for workstations, for which vLLM has a single form: fp8 with scales, whether it is told fp8 or nothing."""

_SCALED: Final = 128
"""Elements of the compressed head that share a float32 scale on Hopper."""

_FP8_BY_DEFAULT: Final = ("GlmMoeDsaForCausalLM",)
"""Architectures whose cache vLLM makes fp8 on Blackwell unless it is told otherwise. SGLang does so with all."""


def on_gpus(demand: Demand, capability: ComputeCapability | None) -> Demand:
    """Give the demand with the cache that its engine makes on GPUs of a compute capability.

    On Hopper an fp8 cache keeps scales, and its positions in 16 bits: 656 bytes a token instead of 576. On Blackwell it
    is plain, and is the default of some.
    """
    if capability is None or not demand.model.is_sparse:
        return demand
    if capability[0] == _WORKSTATION and demand.engine is EngineName.VLLM and not demand.asks_for_16_bit_cache:
        return replace(demand, kv_bytes=1, model=_with_scales(demand.model))
    if capability[0] == HOPPER and demand.kv_bytes == 1:
        return replace(demand, model=_with_scales(demand.model))
    if capability[0] >= _BLACKWELL and demand.kv_cache_dtype is None and _is_fp8_by_default(demand):
        return replace(demand, kv_bytes=1)
    return demand


def _is_fp8_by_default(demand: Demand) -> bool:
    return demand.engine is EngineName.SGLANG or (
        demand.engine is EngineName.VLLM and demand.model.architecture in _FP8_BY_DEFAULT
    )


@lru_cache(maxsize=64)
def _with_scales(model: ModelFacts) -> ModelFacts:
    return replace(model, kinds=tuple(replace(layer, cache=_scaled(layer.cache)) for layer in model.kinds))


def _scaled(cache: SequenceCache | None) -> SequenceCache | None:
    if not isinstance(cache, LatentCache) or not cache.rope:
        return cache
    head = cache.width - cache.rope
    return replace(cache, width=head + 4 * -(-head // _SCALED) + 2 * cache.rope)
