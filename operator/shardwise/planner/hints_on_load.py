"""Hints on how much is served, in which precision, and by which engine."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final

from shardwise.domain.demand import Demand
from shardwise.domain.engine import EngineName
from shardwise.domain.model import ModelFacts, Precision, Quantization, Weight
from shardwise.domain.refusal import Change
from shardwise.planner.all_to_all import exchange_argument
from shardwise.planner.architecture_support import ClassState, class_in, lists_classes
from shardwise.planner.largest import largest_that_fits
from shardwise.planner.on_load import quantises_to
from shardwise.planner.trials import Trial, TrialFleet

_SHORTEST_CONTEXT: Final = 2048
"""Tokens below which a shorter context is not worth a hint."""


def replicas(demand: Demand, tried_on: TrialFleet) -> Iterator[Trial]:
    """Try the most replicas that fit."""
    fewer = _largest(range(1, demand.replicas), lambda count: replace(demand, replicas=count), tried_on)
    if fewer is not None:
        yield Trial(replace(demand, replicas=fewer), "spec.replicas", fewer)


def cache_in_fp8(demand: Demand, _: TrialFleet) -> Iterator[Trial]:
    """Try a KV cache with a byte for each element."""
    if demand.kv_bytes > 1:
        yield Trial(replace(demand, kv_bytes=1, kv_cache_dtype="fp8"), "spec.model.kvCacheDtype", "fp8")


def cache_as_stored(demand: Demand, _: TrialFleet) -> Iterator[Trial]:
    """Try the engine's own KV cache where the object asks for a byte for each element, or else 16 bits."""
    if demand.kv_bytes == 1:
        word = "bfloat16" if demand.model.kv_cache_dtype == "fp8" else "auto"
        told = None if word == "auto" else word
        yield Trial(replace(demand, kv_bytes=2, kv_cache_dtype=told), "spec.model.kvCacheDtype", word)


def reserve(demand: Demand, _: TrialFleet) -> Iterator[Trial]:
    """Try to drop the reserve that the object asks for."""
    if demand.reserve is not None:
        yield Trial(replace(demand, reserve=None), "spec.model.gpuMemoryReserve", None, Change.UNSET)


def concurrency(demand: Demand, tried_on: TrialFleet) -> Iterator[Trial]:
    """Try the most sequences that fit."""
    fewer = _largest(range(1, demand.concurrency), lambda count: replace(demand, concurrency=count), tried_on)
    if fewer is not None:
        yield Trial(replace(demand, concurrency=fewer), "spec.model.concurrency", fewer)


def context(demand: Demand, tried_on: TrialFleet) -> Iterator[Trial]:
    """Try the longest context that fits."""
    if demand.least_context is not None:
        return
    shorter = _largest(_lengths(demand.context_length), lambda tokens: replace(demand, context_length=tokens), tried_on)
    if shorter is not None:
        yield Trial(replace(demand, context_length=shorter), "spec.model.contextLength", shorter)


def least_context(demand: Demand, tried_on: TrialFleet) -> Iterator[Trial]:
    """Try a lower least context, where the object states a least context: even that is too long."""
    if demand.least_context is None:
        return
    lower = _largest(_lengths(demand.least_context), lambda tokens: replace(demand, least_context=tokens), tried_on)
    if lower is not None:
        yield Trial(replace(demand, least_context=lower), "spec.model.minContextLength", lower)


def _lengths(asked: int) -> list[int]:
    """Give the usual lengths below the wanted length: powers of two, and the lengths halfway between."""
    powers = [_SHORTEST_CONTEXT << step for step in range(max(1, asked).bit_length())]
    return sorted(length for power in powers for length in (power, power * 3 // 2) if length < asked)


def exchange(demand: Demand, _: TrialFleet) -> Iterator[Trial]:
    """Try the engine's own exchange of tokens instead of the all-to-all that the arguments name."""
    if demand.all_to_all is not None:
        yield Trial(replace(demand, all_to_all=None), "spec.engine.args", exchange_argument(demand), Change.REMOVE)


def weights_in_fp8(demand: Demand, _: TrialFleet) -> Iterator[Trial]:
    """Try to quantise unquantised weights to fp8, if the engine can."""
    if demand.model.quantization is Quantization.NONE and quantises_to(demand.engine, Quantization.FP8):
        yield Trial(replace(demand, model=_in_fp8(demand.model)), "spec.model.quantization", "fp8")


@lru_cache(maxsize=256)
def _in_fp8(model: ModelFacts) -> ModelFacts:
    """Give the model as the engine loads it when it quantises to fp8: a scale for each tensor, no blocks.

    Remembered, so that the caches of the planner find the same value again.
    """
    kinds = tuple(replace(layer, weights=tuple(map(_stored_in_fp8, layer.weights))) for layer in model.kinds)
    return replace(model, quantization=Quantization.FP8, kinds=kinds, checkpoint_bytes=None)


def _stored_in_fp8(weight: Weight) -> Weight:
    stored = weight.precision.bytes_per_element
    return replace(weight, precision=Precision(1.0, unquantised=stored)) if weight.linear else weight


def engine(demand: Demand, _: TrialFleet) -> Iterator[Trial]:
    """Try each other engine; for a class that the demand's engine lacks, only engines whose classes are known.

    Arguments that name an all-to-all suit one engine alone.
    """
    if demand.all_to_all is not None:
        return
    lacks_class = class_in(demand.engine, demand.runs, demand.model.architecture).state is ClassState.NONE
    for engine in EngineName:
        if engine is not demand.engine and (lists_classes(engine) or not lacks_class):
            yield Trial(replace(demand, engine=engine, release=None), "spec.engine.name", engine.value)


def _largest(values: Sequence[int], changed: Callable[[int], Demand], tried_on: TrialFleet) -> int | None:
    return largest_that_fits(values, lambda value: tried_on.fits(changed(value)))
