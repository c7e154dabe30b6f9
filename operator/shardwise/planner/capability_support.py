"""The features that an engine has for some compute capabilities only: ``data/capabilities.toml``."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from shardwise.data import table
from shardwise.domain.demand import Demand
from shardwise.domain.hardware import ComputeCapability, parse_capability, written_capability
from shardwise.domain.layout import Layout
from shardwise.domain.model import Quantization, Split, Weight
from shardwise.domain.refusal import CapabilityUnsupported, Cause, KernelSplit
from shardwise.domain.version import Version, dotted, listed_version
from shardwise.planner.expert_blocks import needs_finer_blocks
from shardwise.planner.pools import PoolGpus

_FILE: Final = "capabilities.toml"


@dataclass(frozen=True, slots=True)
class CapabilityRow:
    """An entry of ``capabilities.toml``, which explains the fields."""

    source: str
    what: str
    takes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    multiple: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


_WEIGHTS_ONLY: Final = frozenset({"quant_algo: W4A16_NVFP4", "input_activations: null"})
"""Variants of NVFP4 whose inputs stay in 16 bits: other kernels compute them."""


@cache
def _rows() -> Mapping[str, CapabilityRow]:
    return table(_FILE, CapabilityRow)


@cache
def _lacking(name: str, release: Version, has: ComputeCapability) -> tuple[str, ...] | None:
    row = _rows().get(name)
    return takes(row, release, has) if row is not None else None


def takes(row: CapabilityRow, release: Version, has: ComputeCapability) -> tuple[str, ...] | None:
    """Give the capabilities that a release takes, if ``has`` is none of them; ``None`` if it is, or if no row says."""
    listed = _in_force(row.takes, release)
    return None if listed is None or any(_is_taken(entry, has) for entry in listed) else listed


def unsuited(demand: Demand, pool: PoolGpus) -> Cause | None:
    """Give the cause for which the engine cannot serve the model on the GPUs of a pool, in whatever layout."""
    has = pool.compute_capability
    if has is None:
        return None
    return next((cause for name in _needed(demand) if (cause := _unsupported(demand, pool, has, name))), None)


def unsuited_layout(demand: Demand, pool: PoolGpus, layout: Layout) -> Cause | None:
    """Give the cause for which the engine's kernels cannot compute a layout on the GPUs of a pool."""
    has = pool.compute_capability
    if has is None:
        return None
    if needs_finer_blocks(demand.model, demand.engine, demand.release, layout.of_stage):
        finer = _unsupported(demand, pool, has, "finer-fp8-blocks")
        if finer is not None:
            return finer
    return _kernel_split(demand, pool, has, layout)


def _needed(demand: Demand) -> Iterator[str]:
    """Name the features that a demand needs on whatever GPUs. An image of another name may hold other kernels."""
    yield "start"
    if demand.published:
        yield "kernels"
    if demand.model.is_sparse:
        yield "sparse-latent-attention"
        if demand.asks_for_16_bit_cache:
            yield "16-bit-sparse-cache"
    elif demand.model.is_latent and demand.kv_bytes == 1:
        yield "fp8-latent-cache"


def _unsupported(demand: Demand, pool: PoolGpus, has: ComputeCapability, name: str) -> CapabilityUnsupported | None:
    entry = f"{demand.engine.value} {name}"
    taken = _lacking(entry, demand.runs, has)
    if taken is None:
        return None
    said = tuple(f"{least[:-1]} or more" if least.endswith("+") else least for least in taken)
    return CapabilityUnsupported(
        pool.product, demand.engine.value, dotted(demand.runs), _rows()[entry].what, written_capability(has), said
    )


def _kernel_split(demand: Demand, pool: PoolGpus, has: ComputeCapability, layout: Layout) -> KernelSplit | None:
    """Check the columns of NVFP4 experts; the kernels compute a gate and its columns together."""
    if not _computes_in_fp4(demand):
        return None
    row = _rows().get(f"{demand.engine.value} nvfp4-experts")
    pairs = _in_force(row.multiple, demand.runs) if row is not None else None
    if row is None or pairs is None:
        return None
    multiple = next((int(n) for entry, n in zip(pairs[::2], pairs[1::2], strict=True) if _is_taken(entry, has)), 1)
    for weight in _gated_experts(demand):
        partition = weight.outputs // (1 if layout.expert else layout.stage_gpus)
        if partition % multiple:
            return KernelSplit(
                pool.product, demand.engine.value, written_capability(has), row.what, partition, multiple, layout.tensor
            )
    return None


def _computes_in_fp4(demand: Demand) -> bool:
    method = demand.model.method
    stored = demand.model.quantization is Quantization.NVFP4
    return stored and (method is None or not _WEIGHTS_ONLY & set(method.variants))


def _gated_experts(demand: Demand) -> Iterator[Weight]:
    for layer in demand.model.kinds:
        for weight in layer.weights:
            if weight.experts is not None and weight.split is Split.OUTPUTS and ".gate_proj." in f"{weight.name}.":
                yield weight


def _in_force(listed: Mapping[str, tuple[str, ...]], release: Version) -> tuple[str, ...] | None:
    """Give the entry of the newest release that is not later than this one."""
    found = [entry for since, entry in listed.items() if release >= listed_version(since, _FILE)]
    return found[-1] if found else None


def _is_taken(entry: str, has: ComputeCapability) -> bool:
    least = parse_capability(entry.removesuffix("+"))
    if least is None:
        raise ValueError(f"capabilities.toml: `{entry}` is no compute capability")
    return has >= least and (entry.endswith("+") or has[0] == least[0])
