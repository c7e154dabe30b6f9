"""The bytes that a layer's cache takes on a rank: of a token, and of a demand's sequences."""

from dataclasses import replace

from shardwise.domain.demand import Demand
from shardwise.domain.engine import CHUNK_TOKENS
from shardwise.domain.layout import Layout
from shardwise.domain.model import GroupedCache, LatentCache, ModelFacts, SequenceCache, StateCache


def on_rank(demand: Demand, layout: Layout) -> Demand:
    """Give the sequences and the tokens of each sequence that the fullest GPU of a layout caches, as a demand.

    Each data rank caches sequences of its own, and context parallelism divides their tokens over a tensor group.
    """
    if layout.data == 1 and layout.context == 1:
        return demand
    sequences, tokens = -(-demand.concurrency // layout.data), -(-demand.context_length // layout.context)
    return replace(demand, concurrency=sequences, context_length=tokens)


def token_bytes(cache: SequenceCache | None, tensor: int, element: float) -> float:
    """Give the bytes that a token adds to a layer's cache on a rank, at ``element`` bytes each. A state does not grow.

    Latent attention keeps a whole compressed head on every rank. Source: vllm 0.33.0, v1/kv_cache_interface.py.
    """
    match cache:
        case LatentCache(width, index_bytes):
            return width * element + index_bytes
        case GroupedCache(kv_heads, key_dim, value_dim):
            return max(1, -(-kv_heads // tensor)) * (key_dim + value_dim) * element
        case _:
            return 0


def kv_bytes(demand: Demand, cache: SequenceCache | None, tensor: int) -> float:
    """Give the bytes of a layer's KV cache on a rank, for all of the demand's sequences at full length.

    A sliding layer keeps its window and a chunk. The size of a state does not depend on the length.
    """
    tokens = demand.context_length
    match cache:
        case StateCache():
            return cache.on_rank(demand.engine, tensor) * demand.concurrency
        case GroupedCache(window=int(window)):
            tokens = min(tokens, window + CHUNK_TOKENS)
        case _:
            pass
    return token_bytes(cache, tensor, demand.kv_bytes) * tokens * demand.concurrency


def kv_bytes_per_token(model: ModelFacts, kv_bytes: float = 2) -> float:
    """Give the bytes of a token's KV cache over all layers, unsplit. Sliding layers count in full."""
    return sum(token_bytes(model.kinds[kind].cache, 1, kv_bytes) for kind in model.order)
