"""The names of the inference engines, and the constants that planning and rendering share."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from shardwise.domain.version import Version


class EngineName(StrEnum):
    """The engines that an object may name."""

    VLLM = "vllm"
    SGLANG = "sglang"
    TENSORRT_LLM = "tensorrt-llm"


RELEASES: Final[Mapping[EngineName, Version]] = {
    EngineName.VLLM: (0, 33, 0),
    EngineName.SGLANG: (0, 5, 23),
    EngineName.TENSORRT_LLM: (1, 2, 1),
}
"""The releases whose options and limits we read. They are assumed if neither an object nor an image names a release."""

IMAGES: Final[Mapping[EngineName, str]] = {
    EngineName.VLLM: "vllm/vllm-openai:v0.33.0",
    EngineName.SGLANG: "lmsysorg/sglang:v0.5.23",
    EngineName.TENSORRT_LLM: "nvcr.io/nvidia/tensorrt-llm/release:1.2.1",
}
"""The images of these releases, as the engines publish them."""

VLLM_MEMORY_FRACTION: Final = 0.92
"""Share of a GPU's memory that vLLM may use: its own default (vllm 0.33.0, config/cache.py)."""

TENSORRT_LLM_FREE_FRACTION: Final = 0.9
"""Share of the memory free after loading that TensorRT-LLM takes for its KV cache: its default (KvCacheConfig)."""

MOST_SEQUENCES: Final = 256
"""The most sequences in a step, unless an object needs more. Sampling is sized for them."""

CHUNK_TOKENS: Final = 8192
"""Tokens of a prefill chunk. Activations are sized for them, and the engine is limited to them."""

LEAST_CHUNK: Final = 1024
"""The fewest tokens of a prefill chunk on a data rank: enough to keep the compute units of a GPU busy."""


BATCHED_CHUNK: Final = 256
"""Tokens of a step whose all-to-all reserves room for each of them (vllm 0.33.0, config/scheduler.py)."""


def chunk_tokens(data: int) -> int:
    """Give the tokens of a prefill chunk on each of ``data`` data ranks, whose experts see the tokens of all ranks."""
    return max(LEAST_CHUNK, CHUNK_TOKENS // data)
