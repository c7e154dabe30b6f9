"""A roofline estimate of speed. It ranks legal layouts; it is not a promise.

A decode step reads every weight that it uses once, at a share of the peak memory bandwidth. Tensor parallelism adds an
all-reduce after attention and another after the feed-forward. Pipeline parallelism adds a send for each stage border.
The constants are fitted to the times of a real vLLM on an H200 (tests/data/vllm-h200-memory.json).
"""

from functools import lru_cache
from typing import Final

from shardwise.domain.demand import Demand
from shardwise.domain.engine import CHUNK_TOKENS, MOST_SEQUENCES
from shardwise.domain.layout import Layout
from shardwise.domain.model import GroupedCache, Layer, ModelFacts, SequenceCache, StateCache, Weight
from shardwise.domain.plan import Estimate, MemoryUse
from shardwise.planner.caches import token_bytes
from shardwise.planner.links import Links, all_reduce_seconds, send_seconds
from shardwise.planner.stages import stages_of
from shardwise.planner.weights import bytes_on_rank, parts

HBM_SHARE: Final = 0.7
"""Achieved share of peak memory bandwidth: Llama 8B at batch 1 on an H200 took 4.84 ms where the peak allows 3.36."""

FLOPS_SHARE: Final = 0.7
SECONDS_PER_SEQUENCE: Final = 40e-6
"""Time for sampling and streaming, for each sequence of a step. Measured between batch 1 and batch 64."""

_ACTIVATION_BYTES: Final = 2
_MEAN_SHARE_OF_CONTEXT: Final = 0.5
"""A sequence is, on average over its life, half as long as it may get."""


def estimate(demand: Demand, layout: Layout, links: Links, use: MemoryUse) -> Estimate:
    """Estimate the time of a token for a single sequence, and the tokens per second and GPU at a serving batch.

    The batch holds as many sequences as the KV cache has room for, up to :data:`MOST_SEQUENCES`. It is divided into as
    many micro-batches as there are stages, so that all stages work at once. The estimate counts a token of a prompt for
    each generated token.
    """
    single = step_seconds(demand, layout, links, batch=1)
    batch = max(1, _sequences(demand, use) // layout.pipeline)
    slowest = max(_stage_seconds(demand, layout, links, batch=batch)) + _border(
        demand.model, layout, links, batch=batch
    )
    token = slowest / batch + _prompt_token_seconds(demand, layout, links)
    return Estimate(seconds_per_token=single, tokens_per_second_per_gpu=1 / token / layout.world_size)


def _sequences(demand: Demand, use: MemoryUse) -> int:
    """Count the sequences of mean length that the KV cache can hold."""
    mean = use.kv_cache / demand.concurrency * _MEAN_SHARE_OF_CONTEXT
    return min(MOST_SEQUENCES, int((use.kv_cache + max(0, use.slack)) / mean)) if mean else MOST_SEQUENCES


def _prompt_token_seconds(demand: Demand, layout: Layout, links: Links) -> float:
    """Estimate the slowest stage's time for a prompt token. Chunks fill the pipeline; compute limits them."""
    model = demand.model
    message = CHUNK_TOKENS * model.hidden * _ACTIVATION_BYTES
    reduced = all_reduce_seconds(message, layout.tensor, links) / CHUNK_TOKENS
    layers = tuple(
        2 * _touched(model, index, layout.tensor, layout.expert, 1)[1] / (FLOPS_SHARE * links.kind.flops)
        + layer.reduces * reduced
        for index, layer in enumerate(model.kinds)
    )
    return max(
        sum(count * seconds for count, seconds in zip(stage.layers, layers, strict=True))
        for stage, _ in stages_of(model, demand.engine, layout.pipeline)
    )


def step_seconds(demand: Demand, layout: Layout, links: Links, *, batch: int) -> float:
    """Estimate a decode step of ``batch`` sequences through all stages. Each is half as long as the context."""
    stages = zip(_stage_seconds(demand, layout, links, batch=batch), _stage_counts(demand, layout), strict=True)
    borders = (layout.pipeline - 1) * _border(demand.model, layout, links, batch=batch)
    return sum(seconds * count for seconds, count in stages) + borders


def _stage_counts(demand: Demand, layout: Layout) -> tuple[int, ...]:
    return tuple(count for _, count in stages_of(demand.model, demand.engine, layout.pipeline))


def _stage_seconds(demand: Demand, layout: Layout, links: Links, *, batch: int) -> list[float]:
    model = demand.model
    layers = tuple(
        _layer_seconds(demand, layer, index, layout, links, batch) for index, layer in enumerate(model.kinds)
    )
    head = _head_bytes(model, layout.tensor) / (HBM_SHARE * links.kind.hbm) + SECONDS_PER_SEQUENCE * batch
    return [
        sum(count * seconds for count, seconds in zip(stage.layers, layers, strict=True)) + head * stage.last
        for stage, _ in stages_of(model, demand.engine, layout.pipeline)
    ]


@lru_cache(maxsize=1024)
def _head_bytes(model: ModelFacts, tensor: int) -> float:
    head = bytes_on_rank(model.head, Layout(tensor, 1))
    return head + (bytes_on_rank(model.embedding, Layout(tensor, 1)) if model.tied else 0)


def _layer_seconds(demand: Demand, layer: Layer, index: int, layout: Layout, links: Links, batch: int) -> float:
    touched, elements = _touched(demand.model, index, layout.tensor, layout.expert, batch)
    cache = sum(_cache_read(demand, kept, layout.tensor) for kept in (layer.cache, layer.state)) * batch
    memory = (touched + cache) / (HBM_SHARE * links.kind.hbm)
    compute = 2 * elements * batch / (FLOPS_SHARE * links.kind.flops)
    message = batch * demand.model.hidden * _ACTIVATION_BYTES
    return max(memory, compute) + layer.reduces * all_reduce_seconds(message, layout.tensor, links)


@lru_cache(maxsize=65536)
def _touched(model: ModelFacts, index: int, tensor: int, expert: bool, batch: int) -> tuple[float, float]:  # noqa: FBT001 - a cache key
    """Give the bytes of a layer that a step reads on a rank, and the elements that each token meets.

    A step reads the experts that any token of the batch picked. Each token uses its active experts only.
    """
    layout, touched, elements = Layout(tensor, 1, expert), 0.0, 0.0
    for weight in model.kinds[index].weights:
        if weight.derived:
            continue
        share = 1 / parts(weight, layout)
        touched += weight.size * share * _read_share(weight, batch)
        elements += weight.elements * share * _active_share(weight)
    return touched, elements


def _active_share(weight: Weight) -> float:
    return weight.experts.active / weight.experts.count if weight.experts is not None else 1.0


def _read_share(weight: Weight, batch: int) -> float:
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


def _border(model: ModelFacts, layout: Layout, links: Links, *, batch: int) -> float:
    """Estimate the time to send a batch from a stage to the next stage."""
    return send_seconds(batch * model.hidden * _ACTIVATION_BYTES, links) if layout.pipeline > 1 else 0.0
