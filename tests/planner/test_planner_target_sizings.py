"""Published sizings: the GPUs on which somebody measured a load, beside the fewest GPUs that the planner wants for it.

The load is what the published system served: its requests per second, with its mean times as the target where they are
published. One step is a factor of two in GPUs: the next tensor degree, or another replica. The plans differ from the
measured systems for these reasons: they keep room for random arrivals, they let an engine work on at most 256 requests
at once (the measured TensorRT-LLM worked on all), and they may use layouts that nobody measured.
"""

from typing import Any

import pytest
from tests.support.fleets import B200, H100, H200, a_fleet, a_node
from tests.support.models import LLAMA_8B, LLAMA_405B, QWEN_235B_FP8, a_demand, facts
from tests.support.plans import planned

from shardwise.domain.target import Target

NIM = "https://docs.nvidia.com/nim/benchmarking/llm/1.0.0/performance, read 2026-11-30"
TENSORRT_LLM = "NVIDIA/TensorRT-LLM@00f37686aa85 (release 1.0, 2025), docs/source/performance/perf-overview.md"
LAMBDA = "https://lambda.ai/inference-models/minimaxai/minimax-m2.5, read 2026-11-30"
GPUSTACK = "gpustack/gpustack@7b50d5067ddb (vLLM 0.11.0, 2025), docs/performance-lab/gpt-oss-20b/h100.md"
VULTR = "https://docs.vultr.com/inference-cookbook/cuda/optimization/concurrency-tuning, 2026-03-11"

LLAMA_70B_FP8 = ("nvidia/Llama-3.1-70B-Instruct-FP8", "auto", 1)
LLAMA_405B_FP8 = (LLAMA_405B, "fp8", 1)
LLAMA_8B_FP8 = (LLAMA_8B, "fp8", 1)
QWEN_235B = (QWEN_235B_FP8, "auto", 1)
MINIMAX = ("MiniMaxAI/MiniMax-M2", "fp8", 2)
"""MiniMax-M2.5 has the layers of M2, and Llama 3.3 70B those of 3.1. The number is the bytes of a cached element."""
GPT_OSS = ("openai/gpt-oss-20b", "auto", 2)

Model = tuple[str, str, float]


def timed(sent: int, got: int, tokens_per_second: float, **times: float) -> Target:
    """Give the load of a system that gave so many output tokens per second, with its times in milliseconds."""
    seconds: dict[str, Any] = {name: value / 1000 for name, value in times.items()}
    return Target(sent, got, rate=tokens_per_second / got, **seconds)


PUBLISHED: dict[str, tuple[Model, str, int, Target, str]] = {
    "70B, 25 at once, NIM 1.8": (
        LLAMA_70B_FP8,
        H100,
        2,
        timed(5000, 500, 623.4, first_token=688.69, per_token=38.75),
        NIM,
    ),
    "70B, 50 at once, NIM 1.8": (
        LLAMA_70B_FP8,
        H100,
        2,
        timed(5000, 500, 814.37, first_token=834.51, per_token=59.73),
        NIM,
    ),
    "70B, 25 at once, NIM 1.5": (
        LLAMA_70B_FP8,
        H100,
        2,
        timed(5000, 500, 564.5, first_token=751.74, per_token=42.12),
        NIM,
    ),
    "70B on H200": (LLAMA_70B_FP8, H200, 1, timed(1000, 1000, 2909), TENSORRT_LLM),
    "70B on H100": (LLAMA_70B_FP8, H100, 2, timed(1000, 1000, 4205), TENSORRT_LLM),
    "70B on H100, long prompts": (LLAMA_70B_FP8, H100, 2, timed(5000, 500, 898), TENSORRT_LLM),
    "405B on H200": (LLAMA_405B_FP8, H200, 8, timed(1000, 1000, 3330), TENSORRT_LLM),
    "405B on H100": (LLAMA_405B_FP8, H100, 8, timed(1000, 1000, 2919), TENSORRT_LLM),
    "405B on H200, very long prompts": (LLAMA_405B_FP8, H200, 8, timed(20000, 2000, 505), TENSORRT_LLM),
    "8B on H100, long prompts": (LLAMA_8B_FP8, H100, 1, timed(2048, 128, 3450), TENSORRT_LLM),
    "8B on H200, long prompts": (LLAMA_8B_FP8, H200, 1, timed(5000, 500, 3902), TENSORRT_LLM),
    "235B mixture on H200": (QWEN_235B, H200, 8, timed(1000, 1000, 23789), TENSORRT_LLM),
    "235B mixture on H200, long prompts": (QWEN_235B, H200, 8, timed(5000, 500, 3623), TENSORRT_LLM),
    "229B mixture on H100, 32 at once": (MINIMAX, H100, 4, timed(8192, 1024, 849, per_token=27), LAMBDA),
    "229B mixture on B200, 16 at once": (MINIMAX, B200, 4, timed(2048, 512, 1057, per_token=15.01), VULTR),
    "20B mixture on H100": (GPT_OSS, H100, 1, Target(1998, 94, rate=15.35), GPUSTACK),
    "20B mixture on H100, long prompts": (GPT_OSS, H100, 1, Target(3998, 105, rate=8.10), GPUSTACK),
}


@pytest.mark.parametrize(("model", "product", "gpus", "target", "source"), PUBLISHED.values(), ids=PUBLISHED)
def test_the_fewest_gpus_are_within_a_step_of_the_published(
    model: Model, product: str, gpus: int, target: Target, source: str
) -> None:
    name, quantization, cache = model
    demand = a_demand(facts(name, quantization), budget=32, context=32768, kv_bytes=cache, target=target, concurrency=1)
    fleet = a_fleet(a_node(f"node-{index}", product=product) for index in range(4))
    made = planned(demand, fleet)
    assert gpus / 2 <= made.gpus <= 2 * gpus, source
