"""How an engine deals layers out to pipeline stages."""

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache

from shardwise.domain.model import Layer, ModelFacts


@lru_cache(maxsize=4096)
def layers_per_stage(layers: int, pipeline: int) -> tuple[int, ...]:
    """Count the layers of each stage, as vLLM splits them.

    What does not divide goes, one layer each, to the stages counted back from the last but one, never to the last.
    Source: vllm 0.33.0, distributed/utils.py. Expects ``1 <= pipeline <= layers``.
    """
    base, left = divmod(layers, pipeline)
    counts = [base] * pipeline
    for back in range(2, left + 2):
        counts[-back] += 1
    return tuple(counts)


@lru_cache(maxsize=4096)
def stages_of(model: ModelFacts, pipeline: int) -> tuple[Mapping[Layer, int], ...]:
    """Count the layers of each of the engine's stages, by what they are made of."""
    stages, start = [], 0
    for count in layers_per_stage(len(model.layers), pipeline):
        stages.append(Counter(model.layers[start : start + count]))
        start += count
    return tuple(stages)


@lru_cache(maxsize=1024)
def kinds(model: ModelFacts) -> tuple[Layer, ...]:
    """List the different layers of a model, in order of first appearance."""
    return tuple(dict.fromkeys(model.layers))
