"""The bytes of the buffers of an all-to-all on a GPU, by kind: ``buffers`` of ``data/all-to-all.toml``.

Each count is that of the library's own allocation, or an upper bound where the library asks the network. Counters and
flags of some KiB are left out unless they are named here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final

_NODE: Final = 8
"""GPUs that DeepEP takes for a node (LEGACY_NUM_MAX_NVL_PEERS)."""

HALF_A_NODE: Final = _NODE // 2

_CHANNELS: Final = 10
"""Half of DeepEP's default number of multiprocessors (deep_ep/buffers/legacy.py, num_sms)."""

_BESIDE_HIDDEN: Final = 8 + 128 * (8 + 4 + 4)
"""Bytes of a token beside its hidden state: its origin, and 128 experts with weights and scales."""

_NVLINK_TOKENS: Final = ((64, 288), (96, 480), (128, 560), (160, 720))
"""Tokens that a channel receives over NVLink, by the most GPUs; 256 inside a node."""

_IN_NODE_TOKENS: Final = 256
_RDMA_TOKENS: Final = 140
"""Tokens that a channel receives by RDMA: 128, rounded up to a multiple of those sent at once."""

_ELASTIC_CHANNELS: Final = 8 * 160
"""Channels for which an elastic buffer has a spare token: kNumMaxChannels of csrc/elastic/buffer.hpp."""

_ELASTIC_STEP: Final = 2 << 20
"""An elastic buffer is a multiple of it: kNumAlignmentBytes of csrc/kernels/backend/symmetric.hpp."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """The numbers that buffers depend on.

    They are all experts, the experts that a token uses, the tokens of a GPU that are sent at once, the hidden size of
    the kernels, and the GPUs and the data ranks that share the experts.
    """

    experts: int
    busy: int
    tokens: int
    hidden: int
    gpus: int
    data: int = 1


@lru_cache(maxsize=1024)
def low_latency_bytes(experts: int, tokens: int, hidden: int) -> int:
    """Count the bytes of DeepEP's kernels of low latency: room for ``tokens`` of each GPU at every expert.

    Twice (odd and even) to send and to receive. A message holds a hidden state in 16 bits and scales of 128 channels.
    Source: deepseek-ai/DeepEP@dd758ca, csrc/legacy/config.hpp, LowLatencyLayout. NIXL's are the same but for 4 bytes
    more an expert (ai-dynamo/nixl@8770b65, examples/device/ep/csrc/config.hpp, EPLayout).
    """
    sent, scales = 16 + 2 * hidden, hidden // 128 * 4
    returned = 2 * hidden + scales
    return 2 * experts * tokens * (returned + max(sent, returned)) + 2 * _aligned(4 * experts, 128)


@lru_cache(maxsize=1024)
def normal_bytes(hidden: int, gpus: int) -> tuple[int, int]:
    """Count the bytes of DeepEP's kernels of high throughput over NVLink and by RDMA, with its default settings.

    Source: deepseek-ai/DeepEP@dd758ca, csrc/legacy/config.hpp and deep_ep/buffers/legacy.py.
    """
    token = 2 * hidden + _BESIDE_HIDDEN
    beyond = next((tokens for most, tokens in _NVLINK_TOKENS if gpus <= most), _NVLINK_TOKENS[-1][1])
    received = _IN_NODE_TOKENS if gpus <= _NODE else beyond
    nvlink = _CHANNELS * min(gpus, _NODE) * received * token
    return nvlink, 0 if gpus <= _NODE else 2 * _CHANNELS * (gpus // _NODE) * _RDMA_TOKENS * (token + 16)


def mooncake_bytes(exchange: Exchange) -> int:
    """Count the bytes of Mooncake's kernels: room for each token at every expert, four times, and as many flags.

    Source: kvcache-ai/Mooncake@3b5a594, mooncake-ep/include/mooncake_ep_buffer.h, BufferPair.
    """
    return 4 * exchange.experts * (4 + exchange.tokens * (32 + 2 * exchange.hidden))


def elastic_bytes(exchange: Exchange) -> int:
    """Count the bytes of DeepEP's elastic buffer, for the larger of sending tokens to experts and bringing them back.

    Both as if in 16 bits, and without sums on the way, as vLLM asks: other settings need less. A group within a node
    needs no room to send. Source: deepseek-ai/DeepEP@dd758ca, csrc/elastic/buffer.hpp (calculate_buffer_size) and
    deep_ep/include/deep_ep/common/layout.cuh (TokenLayout).
    """
    tokens, busy, nodes = exchange.tokens, exchange.busy, -(-exchange.gpus // _NODE)
    inside = min(exchange.gpus, _NODE)
    state = _aligned(2 * exchange.hidden, 32)
    there = state + _aligned(8 * busy + 4 * (1 + busy), 32)
    back = state + _aligned(8 * busy, 32)
    if nodes == 1:
        return _aligned(max(inside * tokens * there, busy * tokens * back), _ELASTIC_STEP)
    sent = inside * nodes * tokens + tokens + nodes * (tokens + _ELASTIC_CHANNELS)
    returned = busy * nodes * tokens + busy * tokens + busy * nodes * (tokens + _ELASTIC_CHANNELS)
    return _aligned(max(sent * there, returned * back), _ELASTIC_STEP)


def pplx_bytes(exchange: Exchange) -> int:
    """Count the bytes of pplx: room for each token at every expert in 32 bits, and across nodes also for those sent.

    Source: perplexityai/pplx-kernels@2bd6e30, csrc/all_to_all/intranode.cpp and internode.cpp.
    """
    tokens, state = exchange.tokens, 4 * exchange.hidden
    everywhere = tokens * exchange.experts * state
    if exchange.gpus <= _NODE:
        return everywhere
    received = -(-exchange.experts // exchange.gpus) * exchange.data * tokens
    message = _aligned(2 * exchange.hidden + 4, 16)
    return everywhere + received * (state + message + 5 * 4) + tokens * message


def _low_latency(exchange: Exchange) -> int:
    return low_latency_bytes(exchange.experts, exchange.tokens, exchange.hidden)


def _normal(exchange: Exchange) -> int:
    return sum(normal_bytes(exchange.hidden, exchange.gpus))


def _both(exchange: Exchange) -> int:
    nvlink, rdma = normal_bytes(exchange.hidden, exchange.gpus)
    return nvlink + max(rdma, _low_latency(exchange))


BUFFERS: Final[Mapping[str, Callable[[Exchange], int]]] = MappingProxyType(
    {
        "": lambda _: 0,
        "low-latency": _low_latency,
        "normal": _normal,
        "both": _both,
        "elastic": elastic_bytes,
        "mooncake": mooncake_bytes,
        "pplx": pplx_bytes,
    }
)
"""The count of each kind of buffers. Nothing is counted without a kind."""


def _aligned(size: int, step: int) -> int:
    return -(-size // step) * step
