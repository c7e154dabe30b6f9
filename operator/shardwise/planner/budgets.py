"""How much of a GPU's memory an engine may use, and how much the engine keeps back, by each engine's own rule.

``activations + reserve`` is all memory beside weights and KV cache; the rest of the budget is slack. :class:`MemoryUse`
therefore means the same for all engines: vLLM takes a share of the GPU, SGLang keeps a reserve, and TensorRT-LLM leaves
a tenth of the memory that is free after loading.
"""

from typing import Final

from shardwise.domain.demand import Demand
from shardwise.domain.engine import (
    TENSORRT_LLM_FREE_FRACTION,
    VLLM_MEMORY_FRACTION,
    EngineName,
    chunk_tokens,
)
from shardwise.domain.layout import Layout
from shardwise.domain.model import LatentCache, ModelFacts
from shardwise.domain.plan import MemoryUse
from shardwise.domain.units import GIB, MIB

RESERVE_ONE_GPU: Final = int(0.6 * GIB)
"""Runtime overhead of a lone rank: 0.22 GiB outside PyTorch and up to 0.4 GiB of CUDA graphs, measured on an H200."""

COMMUNICATOR_OF_ALL: Final = 558 * MIB
COMMUNICATOR_OF_TENSOR: Final = 486 * MIB
COMMUNICATOR_OF_PIPELINE: Final = 578 * MIB
"""Device memory of NCCL's communicators: of all ranks, of a tensor group, of a pipeline (the receiving side). Measured
on two H100 over NVLink, PyTorch 2.11, by benchmarks/communicators.py."""

_GROUPS_OF_DATA: Final = 2
"""The communicators that data parallelism adds: of the data ranks, and of the ranks that share experts (vllm 0.33.0,
distributed/parallel_state.py). Each is taken to be as large as that of a tensor group."""

CUDA_CONTEXT: Final = 619 * MIB
"""Memory of a GPU that CUDA itself takes, measured as above. It counts where an engine's budget is the whole GPU."""

_SGLANG_META: Final = 512
_SGLANG_PER_CHUNK_TOKEN: Final = 1.5
_SGLANG_LEAST_CHUNK: Final = 2048
_SGLANG_PER_GPU: Final = 1024 / 8
_SGLANG_DECODE_GRAPHS: Final = 2
_SGLANG_LATENT_PREFILL_GRAPHS: Final = 1536
_SGLANG_PREFILL_GRAPHS: Final = 8 * 8
"""sglang 0.5.23, arg_groups/memory_hook.py, in MiB: the memory its default of mem_fraction_static keeps back."""


def memory_use(
    demand: Demand, layout: Layout, gpu_memory: int, *, weights: int, kv_cache: int, activations: int
) -> MemoryUse:
    """Compare the memory that a rank needs with the memory that the demand's engine may use. All sizes are bytes.

    Of a stated reserve, the runtime takes its part; the rest is left free, and the engine is told so.
    """
    own = _runtime(layout)
    runtime = own if demand.reserve is None else min(own, demand.reserve)
    left_free = 0 if demand.reserve is None else demand.reserve - runtime
    match demand.engine:
        case EngineName.VLLM:
            budget, reserve = int(gpu_memory * VLLM_MEMORY_FRACTION) - left_free, runtime
        case EngineName.SGLANG:
            kept = _sglang_keeps(demand.model, layout) if demand.reserve is None else 0
            budget, reserve = gpu_memory, max(runtime + CUDA_CONTEXT + left_free, kept - activations)
        case EngineName.TENSORRT_LLM:
            loaded = weights + activations + runtime + CUDA_CONTEXT + left_free
            tenth = int((gpu_memory - loaded) * (1 - TENSORRT_LLM_FREE_FRACTION))
            budget, reserve = gpu_memory, runtime + CUDA_CONTEXT + left_free + max(0, tenth)
    return MemoryUse(weights, kv_cache, activations, reserve, max(0, budget), left_free)


def loading_budget(layout: Layout, gpu_memory: int) -> int:
    """Give the bytes that weights may take while they are read: the GPU without CUDA's own and the communicators'."""
    return gpu_memory - CUDA_CONTEXT - (_runtime(layout) - RESERVE_ONE_GPU)


def _runtime(layout: Layout) -> int:
    """Count the runtime's bytes: graphs and, where ranks talk, a communicator for each group of a rank."""
    if layout.world_size == 1:
        return RESERVE_ONE_GPU
    tensor = COMMUNICATOR_OF_TENSOR if layout.tensor > 1 else 0
    pipeline = COMMUNICATOR_OF_PIPELINE if layout.pipeline > 1 else 0
    data = _GROUPS_OF_DATA * COMMUNICATOR_OF_TENSOR if layout.data > 1 else 0
    return RESERVE_ONE_GPU + COMMUNICATOR_OF_ALL + tensor + pipeline + data


def _sglang_keeps(model: ModelFacts, layout: Layout) -> int:
    """Count bytes by SGLang's own rule: metadata, a prefill chunk, a share per GPU, CUDA graphs.

    SGLang keeps at least 10 GiB of a large GPU; the chunk alone is more.
    """
    largest_batch = 256 if layout.stage_gpus < 4 else 512  # noqa: PLR2004 - SGLang's own threshold
    latent = any(isinstance(layer.cache, LatentCache) for layer in model.kinds)
    prefill = _SGLANG_LATENT_PREFILL_GRAPHS if latent else _SGLANG_PREFILL_GRAPHS
    kept = _SGLANG_META + _SGLANG_PER_CHUNK_TOKEN * max(chunk_tokens(layout.data), _SGLANG_LEAST_CHUNK)
    kept += _SGLANG_PER_GPU * layout.world_size
    kept += _SGLANG_DECODE_GRAPHS * largest_batch + prefill
    return int(kept * MIB)
