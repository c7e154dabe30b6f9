"""The names of the inference engines, and the constants that planning and rendering share."""

from enum import StrEnum
from typing import Final


class EngineName(StrEnum):
    """The engines that an object may name."""

    VLLM = "vllm"
    SGLANG = "sglang"
    TENSORRT_LLM = "tensorrt-llm"


VLLM_MEMORY_FRACTION: Final = 0.92
"""Share of a GPU's memory that vLLM may use: its own default (vllm 0.33.0, config/cache.py)."""

TENSORRT_LLM_FREE_FRACTION: Final = 0.9
"""Share of the memory free after loading that TensorRT-LLM takes for its KV cache: its default (KvCacheConfig)."""

MOST_SEQUENCES: Final = 256
"""The most sequences in a step, unless an object needs more. Sampling is sized for them."""

CHUNK_TOKENS: Final = 8192
"""Tokens of a prefill chunk. Activations are sized for them, and the engine is limited to them."""
