"""Models and demands to plan with: facts off the real configs in tests/data/models, and demands with plain defaults."""

import json
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from shardwise.checkpoint import from_config
from shardwise.domain.demand import Demand, Objective, Pins
from shardwise.domain.model import (
    Attention,
    DenseFfn,
    Ffn,
    GroupedAttention,
    LatentAttention,
    Layer,
    ModelFacts,
    Precision,
    Quantization,
)
from shardwise.planner.memory import total_weight_bytes

DATA = Path(__file__).parent.parent / "data"
CONFIGS = DATA / "models"
LLAMA_8B = "meta-llama/Llama-3.1-8B"
LLAMA_70B = "meta-llama/Llama-3.1-70B"
LLAMA_405B = "meta-llama/Llama-3.1-405B"
R1 = "deepseek-ai/DeepSeek-R1"
QWEN_235B_FP8 = "Qwen/Qwen3-235B-A22B-FP8"
KIMI_K2 = "moonshotai/Kimi-K2-Instruct"
EIGHT_K = 8192


def config_names() -> tuple[str, ...]:
    """List the ids of all configs in the data folder, sorted."""
    return tuple(sorted(_id(path) for path in CONFIGS.glob("*__*.json")))


def config(name: str) -> dict[str, Any]:
    """Give the config.json of a model. ``Llama-3.1`` finds the files that are named ``Meta-Llama-3.1``."""
    path = CONFIGS / (name.replace("/Llama-3.1-", "/Meta-Llama-3.1-").replace("/", "__") + ".json")
    if not path.exists():
        path = CONFIGS / (name.replace("/", "__") + ".json")
    read: dict[str, Any] = json.loads(path.read_text())
    return read


@lru_cache
def facts(name: str, quantization: str = "auto") -> ModelFacts:
    """Give the facts of a model in the data folder."""
    return from_config(config(name), name=name, origin="tests/data/models", quantization=quantization)


def first_layers(model: ModelFacts, count: int) -> ModelFacts:
    """Cut a model to its first layers, as an engine does when `num_hidden_layers` is overridden."""
    return replace(model, layers=model.layers[:count])


def a_demand(model: ModelFacts | str = LLAMA_8B, *, budget: int = 8, context: int = EIGHT_K, **changes: Any) -> Demand:
    """Give a demand for a model: 8k context, one sequence, eight GPUs, vLLM, unless said."""
    named = facts(model) if isinstance(model, str) else model
    return replace(Demand(f"default/{named.name}", named, gpu_budget=budget, context_length=context), **changes)


def pinned(tensor: int | None = None, pipeline: int | None = None, *, expert: bool | None = None) -> Pins:
    """Give pins, tensor and pipeline first."""
    return Pins(tensor, pipeline, expert)


def attention(heads: int = 64, kv_heads: int = 8, head_dim: int = 128, **changes: Any) -> GroupedAttention:
    """Give grouped-query attention."""
    return replace(GroupedAttention(heads, kv_heads, head_dim), **changes)


def a_model(
    layers: int = 32,
    *,
    attends: Attention | None = None,
    ffn: Ffn | None = None,
    hidden: int = 4096,
    precision: Precision | None = None,
    **changes: Any,
) -> ModelFacts:
    """Give a made-up model of equal layers: 64 heads, 8 KV heads, a gated feed-forward of 14336, bf16."""
    plain = Precision(2.0)
    stored = precision or plain
    layer = Layer(attends or attention(), ffn or DenseFfn(14336))
    made = ModelFacts(
        name="test/made-up",
        architecture="LlamaForCausalLM",
        layers=(layer,) * layers,
        hidden=hidden,
        vocabulary=128256,
        tied_embeddings=False,
        context_length=131072,
        quantization=Quantization.NONE,
        linear=stored,
        expert=stored,
        plain=plain,
        origin="tests",
    )
    return replace(made, **changes)


def parameters(model: ModelFacts) -> float:
    """Count the parameters the planner sees: its bytes at one byte each, less vLLM's copies for latent attention."""
    one = Precision(1.0)
    absorbed = sum(
        layer.attention.kv_rank * layer.attention.heads * (layer.attention.nope_dim + layer.attention.value_dim)
        for layer in model.layers
        if isinstance(layer.attention, LatentAttention)
    )
    return total_weight_bytes(replace(model, plain=one, linear=one, expert=one)) - absorbed


def _id(path: Path) -> str:
    return path.stem.replace("__", "/", 1)


__all__ = [
    "CONFIGS",
    "DATA",
    "EIGHT_K",
    "KIMI_K2",
    "LLAMA_8B",
    "LLAMA_70B",
    "LLAMA_405B",
    "QWEN_235B_FP8",
    "R1",
    "Objective",
    "Pins",
    "a_demand",
    "a_model",
    "attention",
    "config",
    "config_names",
    "facts",
    "first_layers",
    "parameters",
    "pinned",
]
