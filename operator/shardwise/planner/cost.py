"""A roofline estimate of speed. It ranks legal layouts; it is not a promise.

A decode step reads every weight that it uses once, at a share of the peak memory bandwidth. Tensor parallelism adds an
all-reduce after attention and another after the feed-forward. Pipeline parallelism adds a send for each stage border.
With data parallelism each data rank has a batch of its own, and the tokens of all data ranks meet at the experts.
The constants are fitted to the times of a real vLLM on one and two H200 (tests/data/vllm-h200-memory.json and
vllm-h200-speed.json).
"""

from functools import lru_cache
from typing import Final

from shardwise.domain.demand import Demand
from shardwise.domain.engine import MOST_SEQUENCES, EngineName, chunk_tokens
from shardwise.domain.hardware import GpuKind
from shardwise.domain.layout import Layout
from shardwise.domain.model import GroupedCache, Layer, ModelFacts, Quantization, SequenceCache, StateCache, Weight
from shardwise.domain.plan import Estimate, MemoryUse
from shardwise.planner.caches import on_rank, token_bytes
from shardwise.planner.data_support import spread_of
from shardwise.planner.links import Links, all_reduce_seconds, exchange_seconds, send_seconds
from shardwise.planner.stages import stages_of
from shardwise.planner.weights import bytes_on_rank, parts

HBM_SHARE: Final = 0.7
"""Achieved share of peak memory bandwidth: Llama 8B at batch 1 on an H200 took 4.84 ms where the peak allows 3.36."""

FLOPS_SHARE: Final = 0.7
"""Achieved share of the dense 16-bit peak: Llama 8B read 8 prompts of 512 tokens on an H200 in 80 ms."""

_FP8_SHARE: Final = 1.1
"""The same for 8-bit floating-point weights and activations. Their peak is twice as high, and less of it is achieved.

Llama 3.3 70B on two H100 read 5,000 tokens in 0.41 s (NVIDIA NIM LLM Benchmarking 1.0.0, NIM 1.8.0).
"""

_NVFP4_SHARE: Final = 1.6
"""The same for NVFP4 on Blackwell, whose peak is four times the 16-bit peak.

Fitted to Llama 3.3 70B on a B200 (TensorRT-LLM 1.0, docs/source/performance/perf-overview.md).
"""

_FP8_SINCE: Final = (8, 9)
_BLACKWELL: Final = (10, 0)
SECONDS_PER_SEQUENCE: Final = 40e-6
"""Time for sampling and streaming, for each sequence of a step. Measured between batch 1 and batch 64."""

MIXTURE_START: Final = 50e-6
FP8_START: Final = 42e-6
"""Seconds that a layer takes beside its reading, whatever its size: for the choice of experts and their small kernels,
and for the quantization of activations to fp8. A tensor group does not divide them. Fitted to Qwen3-30B-A3B and
Qwen3-32B-FP8 on an H200 (tests/data/vllm-h200-speed.json)."""

_ACTIVATION_BYTES: Final = 2
_MEAN_SHARE_OF_CONTEXT: Final = 0.5
"""A sequence is, on average over its life, half as long as it may get."""


def estimate(demand: Demand, layout: Layout, links: Links, use: MemoryUse) -> Estimate:
    """Estimate the time of a token for a single sequence, and the tokens per second and GPU at a serving batch.

    The batch of a data rank holds as many sequences as its KV cache has room for, up to :data:`MOST_SEQUENCES`. It is
    divided into as many micro-batches as there are stages, so that all stages work at once. The estimate counts a token
    of a prompt for each generated token.
    """
    demand = on_rank(demand, layout)
    single = step_seconds(demand, layout, links, batch=1)
    batch = max(1, _sequences(demand, use) // layout.pipeline)
    slowest = max(stage_seconds(demand, layout, links, batch=batch)) + border(demand.model, layout, links, batch=batch)
    prompt = _prompt_token_seconds(demand, layout, links)
    share = layout.data / layout.world_size
    return Estimate(single, share / (slowest / batch + prompt), share / prompt)


def achieved_flops(model: ModelFacts, kind: GpuKind) -> float:
    """Give the FLOP per second that the linear layers of a model achieve on a GPU.

    GPUs without units for the precision of the weights compute in 16 bits, as engines do for weights of 4-bit integers.
    """
    capability = kind.compute_capability or (0, 0)
    share = FLOPS_SHARE
    if capability >= _BLACKWELL and model.quantization is Quantization.NVFP4:
        share = _NVFP4_SHARE
    elif model.quantization is Quantization.FP8 and capability >= _FP8_SINCE:
        share = _FP8_SHARE
    return share * kind.flops


def _sequences(demand: Demand, use: MemoryUse) -> int:
    """Count the sequences of mean length that the KV cache can hold."""
    mean = use.kv_cache / demand.concurrency * _MEAN_SHARE_OF_CONTEXT
    return min(MOST_SEQUENCES, int((use.kv_cache + max(0, use.slack)) / mean)) if mean else MOST_SEQUENCES


def _prompt_token_seconds(demand: Demand, layout: Layout, links: Links) -> float:
    """Estimate the slowest stage's time for a prompt token. Chunks fill the pipeline; compute limits them."""
    model, chunk = demand.model, chunk_tokens(layout.data)
    layers = tuple(
        2 * touched(demand, index, layout, 1)[1] / achieved_flops(model, links.kind)
        + exchange(model, layer, layout, links, chunk) / chunk
        for index, layer in enumerate(model.kinds)
    )
    return max(stage.total(layers) for stage, _ in stages_of(model, demand.engine, layout.pipeline))


def step_seconds(demand: Demand, layout: Layout, links: Links, *, batch: float) -> float:
    """Estimate a decode step of ``batch`` sequences through all stages. Each is half as long as the context."""
    stages = zip(stage_seconds(demand, layout, links, batch=batch), _stage_counts(demand, layout), strict=True)
    borders = (layout.pipeline - 1) * border(demand.model, layout, links, batch=batch)
    return sum(seconds * count for seconds, count in stages) + borders


def _stage_counts(demand: Demand, layout: Layout) -> tuple[int, ...]:
    return tuple(count for _, count in stages_of(demand.model, demand.engine, layout.pipeline))


def stage_seconds(demand: Demand, layout: Layout, links: Links, *, batch: float) -> list[float]:
    """Estimate the time of a step in each different stage, for ``batch`` sequences."""
    model = demand.model
    layers = tuple(
        _layer_seconds(demand, layer, index, layout, links, batch) for index, layer in enumerate(model.kinds)
    )
    head = _head_bytes(model, layout.tensor) / (HBM_SHARE * links.kind.hbm) + SECONDS_PER_SEQUENCE * batch
    stages = stages_of(model, demand.engine, layout.pipeline)
    return [stage.total(layers) + head * stage.last for stage, _ in stages]


@lru_cache(maxsize=1024)
def _head_bytes(model: ModelFacts, tensor: int) -> float:
    head = bytes_on_rank(model.head, Layout(tensor, 1))
    return head + (bytes_on_rank(model.embedding, Layout(tensor, 1)) if model.tied else 0)


def _layer_seconds(demand: Demand, layer: Layer, index: int, layout: Layout, links: Links, batch: float) -> float:
    read, elements = touched(demand, index, layout, batch)
    cache = sum(_cache_read(demand, kept, layout.tensor) for kept in (layer.cache, layer.state)) * batch
    memory = (read + cache) / (HBM_SHARE * links.kind.hbm)
    compute = 2 * elements * batch / achieved_flops(demand.model, links.kind)
    start = _start(demand.model, layer, links.kind)
    return start + max(memory, compute) + exchange(demand.model, layer, layout, links, batch)


def _start(model: ModelFacts, layer: Layer, kind: GpuKind) -> float:
    """Give the seconds of a layer that do not depend on its size."""
    mixture = MIXTURE_START if _active_experts(layer) else 0.0
    in_fp8 = model.quantization is Quantization.FP8 and (kind.compute_capability or (0, 0)) >= _FP8_SINCE
    return mixture + (FP8_START if in_fp8 else 0.0)


def exchange(model: ModelFacts, layer: Layer, layout: Layout, links: Links, tokens: float) -> float:
    """Estimate the time in which the GPUs of a stage exchange their results of a layer, for a data rank's tokens."""
    reduced = all_reduce_seconds(tokens * model.hidden * _ACTIVATION_BYTES, layout.tensor, links)
    active = _active_experts(layer) if layout.data > 1 else 0
    if not active:
        return layer.reduces * reduced
    return (layer.reduces - 1) * reduced + exchange_seconds(tokens, model.hidden, active, layout, links)


def _active_experts(layer: Layer) -> int:
    return max((weight.experts.active for weight in layer.weights if weight.experts is not None), default=0)


def touched(demand: Demand, index: int, layout: Layout, batch: float) -> tuple[float, float]:
    """Give the bytes of a layer that a step reads on a rank, and the elements that each token of its batch meets."""
    return _touched_in_stage(demand.model, index, layout.of_stage, demand.engine, batch)


@lru_cache(maxsize=65536)
def _touched_in_stage(
    model: ModelFacts, index: int, layout: Layout, engine: EngineName, batch: float
) -> tuple[float, float]:
    """See :func:`touched`. A step reads the experts that any token of all data ranks picked.

    Each token uses its active experts only. The experts of a rank serve the tokens of all data ranks.
    """
    spread, read, elements = spread_of(engine, model.architecture, layout), 0.0, 0.0
    for weight in model.kinds[index].weights:
        if weight.derived:
            continue
        read += weight.size / parts(weight, layout, spread) * _read_share(weight, batch * layout.data)
        beside = layout.data if weight.experts is not None else 1
        elements += weight.elements * beside / parts(weight, layout) * _active_share(weight)
    return read, elements


def _active_share(weight: Weight) -> float:
    return weight.experts.active / weight.experts.count if weight.experts is not None else 1.0


def _read_share(weight: Weight, batch: float) -> float:
    return 1 - (1 - _active_share(weight)) ** batch if weight.experts is not None else 1.0


def _cache_read(demand: Demand, cache: SequenceCache | None, tensor: int) -> float:
    """Give the bytes of a sequence's cache that a step reads in a layer: the mean length, a window, or a state."""
    match cache:
        case StateCache():
            return cache.on_rank(demand.engine, tensor)
        case GroupedCache(window=int(window)):
            tokens: float = min(window, demand.context_length)
        case _:
            tokens = demand.context_length * _MEAN_SHARE_OF_CONTEXT
    return token_bytes(cache, tensor, demand.kv_bytes) * tokens


def border(model: ModelFacts, layout: Layout, links: Links, *, batch: float) -> float:
    """Estimate the time to send a batch from a stage to the next stage."""
    return send_seconds(batch * model.hidden * _ACTIVATION_BYTES, links) if layout.pipeline > 1 else 0.0
