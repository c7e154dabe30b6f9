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

CHUNK_TOKENS: Final = 8192
"""Tokens of one prefill chunk that activations are sized for, and that the engine is told to hold to."""
