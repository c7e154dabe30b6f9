"""Models and demands to plan with: facts off the real configs in tests/data/models, and demands with plain defaults."""

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from shardwise.checkpoint import from_config
from shardwise.checkpoint.making import ENTRIES, Maker, Storage
from shardwise.checkpoint.parts import (
    Dense as FeedForward,
)
from shardwise.checkpoint.parts import (
    Grouped,
    Latent,
    Mixture,
    Part,
)
from shardwise.domain.demand import Demand, Objective, Pins
from shardwise.domain.model import Experts, Layer, ModelFacts, Precision, Quantization, SequenceCache, Split, Widths

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
    return replace(model, order=model.order[:count])


def a_demand(model: ModelFacts | str = LLAMA_8B, *, budget: int = 8, context: int = EIGHT_K, **changes: Any) -> Demand:
    """Give a demand for a model: 8k context, one sequence, eight GPUs, vLLM, unless said."""
    named = facts(model) if isinstance(model, str) else model
    return replace(Demand(f"default/{named.name}", named, gpu_budget=budget, context_length=context), **changes)


def pinned(tensor: int | None = None, pipeline: int | None = None, *, expert: bool | None = None) -> Pins:
    """Give pins, tensor and pipeline first."""
    return Pins(tensor, pipeline, expert)


Attends = Grouped | Latent


@dataclass(frozen=True)
class Dense:
    """A feed-forward block of a made-up model."""

    intermediate: int = 14336
    gated: bool = True


@dataclass(frozen=True)
class Mixed:
    """A mixture of experts of a made-up model."""

    experts: int
    active: int
    intermediate: int
    shared: int = 0


def attention(heads: int = 64, kv_heads: int = 8, head_dim: int = 128, **changes: Any) -> Grouped:
    """Give grouped-query attention."""
    return replace(Grouped(heads, kv_heads, head_dim), **changes)


def a_layer(
    make: Maker,
    hidden: int,
    attends: Attends | None = None,
    ffn: Dense | Mixed | None = None,
    cache: SequenceCache | None = None,
) -> Layer:
    """Give one layer of a made-up model; ``cache`` replaces that of its attention."""
    attended = (attends or attention()).part(make, hidden)
    fed = _fed(make, hidden, ffn or Dense())
    norms = make.vector("input_layernorm.weight", hidden) + make.vector("post_attention_layernorm.weight", hidden)
    widths = Widths(attended.widths.split + fed.widths.split, fed.widths.whole, fed.widths.expert)
    return Layer(norms + attended.weights + fed.weights, cache or attended.cache, widths)


def a_model(
    layers: int = 32,
    *,
    attends: Attends | None = None,
    ffn: Dense | Mixed | None = None,
    hidden: int = 4096,
    vocabulary: int = 128256,
    precision: Precision | None = None,
    cache: SequenceCache | None = None,
    **changes: Any,
) -> ModelFacts:
    """Give a made-up model of equal layers: 64 heads, 8 KV heads, a gated feed-forward of 14336, bf16."""
    plain = Precision(2.0)
    make = Maker(Storage(plain, lambda _: precision or plain), "model.layers.0.")
    ends = Maker(make.storage)
    tied = bool(changes.get("tied"))
    embedding = ends.plain("model.embed_tokens", (vocabulary, hidden), Split.VOCABULARY, vocabulary, ENTRIES)
    head = () if tied else ends.plain("lm_head", (vocabulary, hidden), Split.VOCABULARY, vocabulary, ENTRIES)
    made = ModelFacts(
        name="test/made-up",
        architecture="LlamaForCausalLM",
        kinds=(a_layer(make, hidden, attends, ffn, cache),),
        order=(0,) * layers,
        embedding=embedding,
        head=ends.vector("model.norm.weight", hidden) + head,
        tied=tied,
        hidden=hidden,
        vocabulary=vocabulary,
        context_length=131072,
        quantization=Quantization.NONE,
        origin="tests",
    )
    return replace(made, **changes)


def parameters(model: ModelFacts) -> int:
    """Count the parameters an engine loads from the checkpoint."""
    return sum(weight.elements for weight in model.loaded() if not weight.derived)


def _fed(make: Maker, hidden: int, ffn: Dense | Mixed) -> Part:
    if isinstance(ffn, Dense):
        return FeedForward(ffn.intermediate, ffn.gated).part(make, hidden)
    experts = Experts(ffn.experts, ffn.active)
    return Mixture(experts, ffn.intermediate, shared=ffn.shared).part(make, hidden)


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
    "Attends",
    "Dense",
    "Grouped",
    "Latent",
    "Mixed",
    "Objective",
    "Pins",
    "a_demand",
    "a_layer",
    "a_model",
    "attention",
    "config",
    "config_names",
    "facts",
    "first_layers",
    "parameters",
    "pinned",
]
