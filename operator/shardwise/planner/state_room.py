"""The caches of models that keep states beside keys and values, as vLLM and SGLang lay them out.

vLLM cuts all caches into blocks of equal bytes: a block holds some tokens of a layer, or a state, padded. The layers
form groups of equal size, and a block of a group holds its layers side by side. Sources: vllm 0.33.0,
platforms/interface.py (``_align_hybrid_block_size``), v1/core/kv_cache_planning.py and v1/kv_cache_interface.py.

SGLang divides the memory between a pool of states and a pool of tokens. Source: sglang 0.5.23,
mem_cache/kv_cache_configurator.py.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, lcm
from typing import Final

from shardwise.domain.demand import Demand
from shardwise.domain.engine import CHUNK_TOKENS, EngineName
from shardwise.domain.hardware import ComputeCapability
from shardwise.domain.model import GroupedCache, LatentCache, Layer, ModelFacts, StateCache
from shardwise.domain.version import Version
from shardwise.planner.caches import kv_bytes, token_bytes
from shardwise.planner.stages import Stage

_PREFIX_CACHING: Final[Version] = (0, 26, 0)
"""The first vLLM that caches prefixes of hybrid models by default (config/model.py): two states for a sequence."""

_CHECKS_BLOCKS: Final[Version] = (0, 20, 0)
"""The first vLLM that does not start with more sequences than blocks (config/compilation.py); older releases do."""

_BLOCK_TOKENS: Final = 16
_LATENT_BLOCK_TOKENS: Final = 128
"""A block of vLLM holds a multiple of these tokens, and with latent attention of the second number."""

_GROUPS_NEARLY_EQUAL: Final = 1.5
"""If the largest kind of layers is less than so many times the smallest, vLLM makes the groups as large as it."""

_SURE: Final = 0.9
"""The share of the counted blocks that vLLM surely has: what activations and the runtime take is an estimate."""

_FLASHINFER: Final = frozenset({9, 10, 12})
"""Major compute capabilities on which vLLM takes FlashInfer's kernel for gated delta nets (qwen_gdn_linear_attn.py)."""

_CHUNKED_BLOCKS: Final[Version] = (0, 33, 0)
"""The first vLLM whose blocks are multiples of that kernel's chunks."""

_SLOTS: Final = 5
"""States that SGLang's radix cache holds for a running sequence: 3, and 2 to track the sequence's own prefix."""

_SHARE_OF_STATES: Final = 0.9 / 1.9
"""SGLang's default ``mamba_full_memory_ratio`` of 0.9, as a share of both pools."""

_STATE: Final = "state"
_TOKENS: Final = "tokens"
_Kind = str | int
"""What a layer keeps: a state, all tokens, or a window of so many tokens."""


@dataclass(frozen=True, slots=True)
class _Blocks:
    """vLLM's blocks on a stage: the bytes of a block of a group, and the blocks of a sequence, and of no sequence."""

    size: float
    per_sequence: int
    spare: int


def lays_out_states(demand: Demand) -> bool:
    """Tell whether the model keeps states, and the engine lays them out by the rules of this module."""
    return demand.engine is not EngineName.TENSORRT_LLM and _STATE in _counts(demand.model)


def cached_bytes(demand: Demand, tensor: int, stage: Stage, capability: ComputeCapability | None) -> float:
    """Count the bytes of the demand's sequences, with their states, on a rank of a stage."""
    if demand.engine is EngineName.VLLM:
        blocks = _blocks(demand, tensor, stage, capability)
        return blocks.size * max(blocks.per_sequence * demand.concurrency, _asked_blocks(demand))
    return _token_bytes(demand, tensor, stage) + _slots(demand) * _slot_bytes(demand, tensor, stage)


def spare_bytes(demand: Demand, tensor: int, stage: Stage, capability: ComputeCapability | None) -> int:
    """Count the bytes of blocks that vLLM keeps for no sequence: an empty block, and a checkpoint inside a prefill."""
    if demand.engine is not EngineName.VLLM or not lays_out_states(demand):
        return 0
    blocks = _blocks(demand, tensor, stage, capability)
    return int(blocks.size * blocks.spare)


def states_in(demand: Demand, tensor: int, stage: Stage, room: int, capability: ComputeCapability | None) -> int | None:
    """Count the states for which a rank of a stage has room in ``room`` bytes of cache; ``None`` if it keeps none.

    With vLLM this is the number of sequences in a step: vLLM does not start with more sequences than blocks. With
    SGLang it is the size of the pool of states, as SGLang chooses it, but with room for all tokens of the demand.
    """
    if demand.engine is EngineName.VLLM:
        size = _blocks(demand, tensor, stage, capability).size
        return max(demand.concurrency, demand.sequences or 0, int(_SURE * room / size)) if size else None
    size = _slot_bytes(demand, tensor, stage)
    if not size:
        return None
    most = int((room - _token_bytes(demand, tensor, stage)) / size) - 1
    return max(_slots(demand) - 1, min(int(_SHARE_OF_STATES * room / size) - 1, most))


def _blocks(demand: Demand, tensor: int, stage: Stage, capability: ComputeCapability | None) -> _Blocks:
    counts = _counts(demand.model)
    group = _group_size(counts)
    groups = {kind: ceil(count / group) for kind, count in counts.items()}
    here = _counts_of(demand.model, stage.layers)
    tokens, size = page(demand, tensor, capability)
    return _Blocks(
        size=size * max((ceil(count / groups[kind]) for kind, count in here.items()), default=0),
        per_sequence=sum(number * _blocks_of(demand, kind, tokens) for kind, number in groups.items()),
        spare=1 + (groups[_STATE] if _caches_prefixes(demand) else 0),
    )


def _group_size(counts: Mapping[_Kind, int]) -> int:
    least, most = min(counts.values()), max(counts.values())
    return most if most < least * _GROUPS_NEARLY_EQUAL else least


def _asked_blocks(demand: Demand) -> int:
    """Count the blocks without which vLLM does not start with the sequences that the object's arguments state."""
    return ceil((demand.sequences or 0) / _SURE) if demand.runs >= _CHECKS_BLOCKS else 0


def _step(demand: Demand, capability: ComputeCapability | None) -> int:
    """Give the tokens whose multiple a block must hold."""
    step = _LATENT_BLOCK_TOKENS if _is_latent(demand.model) else _BLOCK_TOKENS
    if capability is None or capability[0] not in _FLASHINFER or demand.runs < _CHUNKED_BLOCKS:
        return step
    return lcm(step, *(layer.cache.chunk for layer in demand.model.kinds if isinstance(layer.cache, StateCache)))


def page(demand: Demand, tensor: int, capability: ComputeCapability | None) -> tuple[int, float]:
    """Give the tokens and the bytes of a layer in a block. Without attention, a layer's part is a state as it is."""
    kinds = demand.model.kinds
    a_token = max(token_bytes(layer.cache, tensor, demand.kv_bytes) for layer in kinds)
    state = max(_state_bytes(layer, demand.engine, tensor) for layer in kinds)
    if not a_token:
        return 1, state
    step = _step(demand, capability)
    tokens = step * max(1, ceil(state / (step * a_token)))
    return tokens, tokens * a_token


def _blocks_of(demand: Demand, kind: _Kind, tokens: int) -> int:
    """Count the blocks that a sequence takes of a group."""
    if kind == _STATE:
        return 2 if _caches_prefixes(demand) else 1
    if kind == _TOKENS:
        return ceil(demand.context_length / tokens)
    return ceil(min(demand.context_length, int(kind) - 1 + CHUNK_TOKENS) / tokens) + 1


def _caches_prefixes(demand: Demand) -> bool:
    """Tell whether vLLM caches the prefixes of the model by default: not without attention."""
    return demand.runs >= _PREFIX_CACHING and len(_counts(demand.model)) > 1


def _slots(demand: Demand) -> int:
    """Count the states of SGLang's pool for the demand's sequences, the pool's own empty slot included."""
    return _SLOTS * demand.concurrency + 1


def _slot_bytes(demand: Demand, tensor: int, stage: Stage) -> float:
    return sum(
        count * _state_bytes(layer, demand.engine, tensor)
        for count, layer in zip(stage.layers, demand.model.kinds, strict=True)
    )


def _token_bytes(demand: Demand, tensor: int, stage: Stage) -> float:
    """Count the bytes of all tokens of the demand's sequences on a rank of a stage, without states."""
    return sum(
        count * kv_bytes(demand, layer.cache, tensor)
        for count, layer in zip(stage.layers, demand.model.kinds, strict=True)
        if not isinstance(layer.cache, StateCache)
    )


def _state_bytes(layer: Layer, engine: EngineName, tensor: int) -> float:
    state = layer.cache if isinstance(layer.cache, StateCache) else layer.state
    return state.on_rank(engine, tensor) if state is not None else 0


@lru_cache(maxsize=1024)
def _counts(model: ModelFacts) -> Mapping[_Kind, int]:
    """Count the layers that keep each kind."""
    whole = Counter(model.order)
    return _counts_of(model, tuple(whole[index] for index in range(len(model.kinds))))


def _counts_of(model: ModelFacts, layers: tuple[int, ...]) -> Mapping[_Kind, int]:
    found: Counter[_Kind] = Counter()
    for count, layer in zip(layers, model.kinds, strict=True):
        for kind in _kept(layer):
            found[kind] += count
    return +found


def _kept(layer: Layer) -> tuple[_Kind, ...]:
    state = (_STATE,) if isinstance(layer.cache, StateCache) or layer.state is not None else ()
    match layer.cache:
        case GroupedCache(window=int(window)):
            return (window, *state)
        case GroupedCache() | LatentCache():
            return (_TOKENS, *state)
        case _:
            return state


def _is_latent(model: ModelFacts) -> bool:
    return any(isinstance(layer.cache, LatentCache) for layer in model.kinds)
