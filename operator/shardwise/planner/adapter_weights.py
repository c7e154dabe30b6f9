"""The bytes of LoRA adapters that an engine makes room for on a rank, whether or not it loads any."""

from functools import lru_cache

from shardwise.domain.adapters import Adapters
from shardwise.domain.layout import Layout
from shardwise.domain.model import ModelFacts, Split, Weight
from shardwise.planner.weights import parts

_ELEMENT_BYTES = 2


@lru_cache(maxsize=8192)
def adapter_bytes(model: ModelFacts, layout: Layout, adapters: Adapters | None) -> tuple[float, ...]:
    """Give the bytes of all adapters for a layer of each kind on a rank; 0 without adapters.

    Each linear weight gets a pair of matrices: A from its inputs to the rank, B from the rank to its outputs. A tensor
    group shares the side that it shares of the weight, and holds the other side whole (vllm 0.33.0, lora/layers).
    """
    if adapters is None:
        return (0.0,) * len(model.kinds)
    each = adapters.count * adapters.rank * _ELEMENT_BYTES
    return tuple(
        each * sum(_sides(weight, layout) for weight in layer.weights if _is_adapted(weight)) for layer in model.kinds
    )


def _is_adapted(weight: Weight) -> bool:
    return weight.linear and not weight.derived and weight.inputs > 1


def _sides(weight: Weight, layout: Layout) -> float:
    """Give the sum of a weight's inputs and outputs on a rank, of all experts that the rank holds."""
    count = parts(weight, layout)
    if weight.experts is not None and layout.expert:
        return (weight.inputs + weight.outputs) * weight.experts.count / count
    many = weight.experts.count if weight.experts is not None else 1
    if weight.split is Split.INPUTS:
        return many * (weight.inputs / count + weight.outputs)
    return many * (weight.inputs + weight.outputs / count)
