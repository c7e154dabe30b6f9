"""Whether the release of a demand's engine can load the model at all, on whatever layout.

An image that the engine does not publish, a release newer than the releases we read, and code from the checkpoint may
hold more than the tables say. Then the plan has a note instead of the refusal.
"""

from collections.abc import Iterator
from functools import lru_cache

from shardwise.domain.demand import Demand
from shardwise.domain.engine import RELEASES, EngineName
from shardwise.domain.hardware import ComputeCapability, written_capability
from shardwise.domain.model import ModelFacts
from shardwise.domain.notes import ArchitectureFromElsewhere, MethodFromImage, Note, TransformersCode
from shardwise.domain.refusal import ArchitectureUnknown, CapabilityShort, Cause, MethodUnloadable
from shardwise.domain.version import dotted
from shardwise.planner.architecture_support import ClassState, class_in
from shardwise.planner.capability_support import unsuited
from shardwise.planner.method_support import least_capability, unloadable
from shardwise.planner.pools import PoolGpus


def unsupported(demand: Demand, pool: PoolGpus) -> Cause | None:
    """Give the cause for which the engine cannot load the model on the GPUs of a pool; ``None`` if it can."""
    method = _capability(demand, pool.product, pool.compute_capability)
    return _refused(demand) or method or unsuited(demand, pool)


def refused_by(engine: EngineName, model: ModelFacts) -> Cause | None:
    """Give the cause for which the release of an engine that we read loads a model on no GPU; ``None`` if it does."""
    return _refused(Demand("", model, gpu_budget=1, context_length=1, engine=engine))


def support_notes(demand: Demand) -> Iterator[Note]:
    """Note what the tables cannot refuse: what the image must bring, and models that run by other code."""
    engine, release, architecture = demand.engine.value, dotted(demand.runs), demand.model.architecture
    method = _method(demand)
    if method is not None and not demand.published:
        yield MethodFromImage(engine, release, method.said)
    found = class_in(demand.engine, demand.runs, architecture)
    if found.state is ClassState.FALLBACK:
        yield TransformersCode(engine, release, architecture)
    elif found.state is ClassState.NONE and _architecture(demand) is None:
        yield ArchitectureFromElsewhere(engine, release, architecture)


@lru_cache(maxsize=1024)
def _refused(demand: Demand) -> Cause | None:
    return (_method(demand) if demand.published else None) or _architecture(demand)


def _method(demand: Demand) -> MethodUnloadable | None:
    method = demand.model.method
    found = unloadable(demand.engine, demand.runs, method) if method is not None else None
    if method is None or found is None:
        return None
    return MethodUnloadable(
        demand.engine.value, dotted(demand.runs), method.name, found.variant, found.since, found.before
    )


def _architecture(demand: Demand) -> ArchitectureUnknown | None:
    """Refuse a class that the config states and that neither the release nor the checkpoint can bring."""
    model = demand.model
    open_ended = demand.runs > RELEASES[demand.engine] or demand.remote_code or not model.states_architecture
    if open_ended or not demand.published:
        return None
    found = class_in(demand.engine, demand.runs, model.architecture)
    if found.state is not ClassState.NONE:
        return None
    return ArchitectureUnknown(demand.engine.value, dotted(demand.runs), model.architecture, found.since, found.before)


def _capability(demand: Demand, product: str, has: ComputeCapability | None) -> CapabilityShort | None:
    method = demand.model.method
    least = least_capability(demand.engine, method)
    if method is None or least is None or has is None or has >= least:
        return None
    return CapabilityShort(
        product, f"`{method.name}` weights on {demand.engine.value}", written_capability(has), written_capability(least)
    )
