"""Configs of models that keep states beside keys and values, whose caches vLLM cuts into pages of equal bytes."""

import json
from pathlib import Path
from typing import Any, Final

from shardwise.checkpoint import ConfigError, from_config
from shardwise.domain.model import GroupedCache, LatentCache, ModelFacts, StateCache

DATA: Final = Path(__file__).parents[1] / "data"

PAGED_ON: Final = ("H100", "A10")
"""A product with FlashInfer's kernel for gated delta nets, and one without it."""

DEGREES: Final = (1, 2, 4)


def hybrids() -> dict[str, dict[str, Any]]:
    """Give the default config of each class of transformers that keeps both, and the published ones, by their name."""
    found = {path.stem.replace("__", "/", 1): json.loads(path.read_text()) for path in (DATA / "models").glob("*__*")}
    for row in json.loads((DATA / "transformers-counts.json").read_text())["models"]:
        if row["class"].endswith("ForCausalLM"):
            found[row["class"]] = row["config"] | {"architectures": [row["class"]], "torch_dtype": "bfloat16"}
    return {name: config for name, config in found.items() if config.get("architectures") and _keeps_both(config)}


def _keeps_both(config: dict[str, Any]) -> bool:
    try:
        model = from_config(config, name="org/model", origin="test")
    except ConfigError:
        return False
    return any(_keeps(model, index, StateCache) for index in model.order) and any(
        _keeps(model, index, GroupedCache | LatentCache) for index in model.order
    )


def _keeps(model: ModelFacts, index: int, kind: Any) -> bool:
    layer = model.kinds[index]
    return isinstance(layer.cache, kind) or isinstance(layer.state, kind)
