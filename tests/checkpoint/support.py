"""Configs to read facts off, and questions to ask of the facts."""

import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from shardwise.checkpoint import from_config
from shardwise.checkpoint.making import Maker, Storage
from shardwise.checkpoint.parts import Dimensions, Part
from shardwise.domain.model import GroupedCache, Layer, ModelFacts, Precision, Split, Weight

Json = dict[str, Any]

COUNTS = Path(__file__).parent.parent / "data" / "transformers-counts.json"
BF16 = Precision(2)

BASE: Json = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 4,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "vocab_size": 32000,
    "max_position_embeddings": 4096,
    "torch_dtype": "bfloat16",
}
EXPERTS: Json = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 512}
LATENT: Json = {
    "model_type": "deepseek_v3",
    "kv_lora_rank": 512,
    "q_lora_rank": 1536,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "first_k_dense_replace": 1,
    "n_routed_experts": 8,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 512,
}


def read(*, without: Iterable[str] | str = (), name: str = "org/model", **changes: Any) -> ModelFacts:
    """Read a small Llama with some fields changed, and some left out."""
    dropped = {without} if isinstance(without, str) else set(without)
    config = {key: value for key, value in (BASE | changes).items() if key not in dropped}
    return from_config(config, name=name, origin="test")


def of(model_type: str, *, without: Iterable[str] | str = "architectures", **changes: Any) -> ModelFacts:
    """Read a small model of a family, of no architecture but its type."""
    return read(without=without, model_type=model_type, **changes)


def made(dimensions: Dimensions, hidden: int = 64, *, plain: float = 2) -> Part:
    """Make a part of these dimensions."""
    stored = Precision(plain)
    return dimensions.part(Maker(Storage(stored, lambda _: stored), "model.layers.0."), hidden)


def weight(of: ModelFacts | Layer | Part | Iterable[Weight], name: str) -> Weight:
    """Give the one weight whose name ends so; that of the last kind of layer, for a model."""
    found = {weight.name: weight for weight in _weights(of) if weight.name.removesuffix(".weight").endswith(name)}
    assert len(found) == 1, (name, sorted(found))
    return next(iter(found.values()))


def has(of: ModelFacts | Layer | Part | Iterable[Weight], name: str) -> bool:
    """Tell whether a weight's name contains this."""
    return any(name in weight.name for weight in _weights(of))


def _weights(of: ModelFacts | Layer | Part | Iterable[Weight]) -> Iterator[Weight]:
    match of:
        case ModelFacts():
            yield from of.kinds[-1].weights
            yield from (*of.embedding, *of.head, *of.tower)
        case Layer() | Part():
            yield from of.weights
        case _:
            yield from of


def layer_elements(layer: Layer | Part) -> int:
    """Count the elements a layer has in the checkpoint."""
    return sum(weight.elements for weight in layer.weights if not weight.derived)


def windows(model: ModelFacts) -> list[int | None]:
    """Give the window of each layer that keeps keys and values; ``-1`` for one that keeps none."""
    return [layer.cache.window if isinstance(layer.cache, GroupedCache) else -1 for layer in model.layers]


def sparse(model: ModelFacts) -> list[int]:
    """List the layers that have experts."""
    return [index for index, layer in enumerate(model.layers) if any(weight.experts for weight in layer.weights)]


def dealt(part: Layer | Part) -> dict[str, tuple[Split, int, str]]:
    """Give how each split weight is dealt out."""
    return {
        weight.name.removesuffix(".weight"): (weight.split, weight.units, weight.unit_name)
        for weight in part.weights
        if weight.split is not Split.WHOLE
    }


@lru_cache
def counted() -> tuple[Json, ...]:
    """Give what transformers counted: a model's class, config, parameters and variants, each."""
    models: list[Json] = json.loads(COUNTS.read_text())["models"]
    return tuple(models)
