"""How an engine deals layers out to pipeline stages."""

from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from itertools import accumulate, pairwise
from operator import mul, sub
from typing import NamedTuple

from shardwise.domain.engine import EngineName
from shardwise.domain.model import ModelFacts


class Stage(NamedTuple):
    """A stage: its number of layers of each kind, and whether it is the first or the last."""

    layers: tuple[int, ...]
    first: bool
    last: bool

    def total(self, each: Iterable[float]) -> float:
        """Add up a figure over the stage's layers, given the figure of a layer of each kind."""
        total: float = sum(map(mul, self.layers, each))
        return total


@lru_cache(maxsize=8192)
def layers_per_stage(engine: EngineName, layers: int, pipeline: int) -> tuple[int, ...]:
    """Count the layers of each stage, as the engine splits the model. Expects ``1 <= pipeline <= layers``.

    Some stages get an extra layer if the layers do not divide. In vLLM these are the stages just before the last stage,
    never the last (vllm 0.33.0, distributed/utils.py); in SGLang the last stages (sglang 0.5.23, distributed/utils.py);
    in TensorRT-LLM the first stages (torch.tensor_split in mapping.py).
    """
    base, left = divmod(layers, pipeline)
    even = pipeline - left
    after = {EngineName.VLLM: 1, EngineName.SGLANG: 0, EngineName.TENSORRT_LLM: even}[engine]
    return (base,) * (even - after) + (base + 1,) * left + (base,) * after


@lru_cache(maxsize=8192)
def stages_of(model: ModelFacts, engine: EngineName, pipeline: int) -> tuple[tuple[Stage, int], ...]:
    """Give the different stages of a pipeline, each with its count."""
    first, *others = _layers(model, layers_per_stage(engine, len(model.order), pipeline))
    if not others:
        return ((Stage(first, first=True, last=True), 1),)
    *middle, last = others
    between = ((Stage(layers, first=False, last=False), count) for layers, count in Counter(middle).items())
    return (Stage(first, first=True, last=False), 1), *between, (Stage(last, first=False, last=True), 1)


def _layers(model: ModelFacts, counts: Iterable[int]) -> Iterable[tuple[int, ...]]:
    """Count the layers of each kind on each stage, of which the number of layers is given."""
    if len(model.kinds) == 1:
        return zip(counts)
    before = map(_kinds_before(model).__getitem__, accumulate(counts, initial=0))
    return (tuple(map(sub, end, start)) for start, end in pairwise(before))


@lru_cache(maxsize=1024)
def _kinds_before(model: ModelFacts) -> tuple[tuple[int, ...], ...]:
    """Count the layers of each kind before each layer, and in all. Differences give the layers of any stage."""
    counts = [0] * len(model.kinds)
    found = [tuple(counts)]
    for kind in model.order:
        counts[kind] += 1
        found.append(tuple(counts))
    return tuple(found)
