"""How an engine deals layers out to pipeline stages."""

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from operator import sub

from shardwise.domain.engine import EngineName
from shardwise.domain.model import ModelFacts


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage: its number of layers of each kind, and whether it is the first or the last."""

    layers: tuple[int, ...]
    first: bool
    last: bool


@lru_cache(maxsize=8192)
def layers_per_stage(engine: EngineName, layers: int, pipeline: int) -> tuple[int, ...]:
    """Count the layers of each stage, as the engine splits the model. Expects ``1 <= pipeline <= layers``.

    Some stages get an extra layer if the layers do not divide. In vLLM these are the stages just before the last stage,
    never the last (vllm 0.33.0, distributed/utils.py); in SGLang the last stages (sglang 0.5.23, distributed/utils.py);
    in TensorRT-LLM the first stages (torch.tensor_split in mapping.py).
    """
    base, left = divmod(layers, pipeline)
    match engine:
        case EngineName.VLLM:
            longer = range(pipeline - 1 - left, pipeline - 1)
        case EngineName.SGLANG:
            longer = range(pipeline - left, pipeline)
        case EngineName.TENSORRT_LLM:
            longer = range(left)
    return tuple(base + (stage in longer) for stage in range(pipeline))


@lru_cache(maxsize=8192)
def stages_of(model: ModelFacts, engine: EngineName, pipeline: int) -> tuple[tuple[Stage, int], ...]:
    """Give the different stages of a pipeline, each with its count."""
    counted: Counter[Stage] = Counter()
    before, start = _kinds_before(model), 0
    for index, count in enumerate(layers_per_stage(engine, len(model.order), pipeline)):
        layers = tuple(map(sub, before[start + count], before[start]))
        counted[Stage(layers, index == 0, index == pipeline - 1)] += 1
        start += count
    return tuple(counted.items())


@lru_cache(maxsize=1024)
def _kinds_before(model: ModelFacts) -> tuple[tuple[int, ...], ...]:
    """Count the layers of each kind before each layer, and in all. Differences give the layers of any stage."""
    counts = [0] * len(model.kinds)
    found = [tuple(counts)]
    for kind in model.order:
        counts[kind] += 1
        found.append(tuple(counts))
    return tuple(found)
