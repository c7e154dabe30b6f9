"""The inference engines, by name, and what planning and rendering must agree on about them."""

from enum import StrEnum
from typing import Final


class EngineName(StrEnum):
    """The engines an object may name."""

    VLLM = "vllm"
    SGLANG = "sglang"
    TENSORRT_LLM = "tensorrt-llm"


VLLM_MEMORY_FRACTION: Final = 0.92
"""Share of a GPU's memory vLLM may use: its own default (vllm 0.33.0, config/cache.py)."""

TENSORRT_LLM_FREE_FRACTION: Final = 0.9
"""Share TensorRT-LLM takes for its KV cache of what is free after loading: its own default (llmapi, KvCacheConfig)."""

MOST_SEQUENCES: Final = 256
"""Sequences a step may hold, unless more are asked: what sampling is sized for, and what the engine is held to."""

CHUNK_TOKENS: Final = 8192
"""Tokens of one prefill chunk that activations are sized for, and that the engine is told to hold to."""
