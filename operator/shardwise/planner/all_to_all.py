"""The exchange of tokens between data ranks by a backend that an object's arguments name: ``data/all-to-all.toml``.

Which backend is fastest depends on libraries in the image and on drivers of the nodes. So the object names it, and this
module says what it needs and what buffers it makes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import ceil
from typing import Final

from shardwise.data import table
from shardwise.domain.adapters import ALL_TO_ALL
from shardwise.domain.data_causes import (
    ExchangeNeedsData,
    ExchangeNeedsWhole,
    HiddenUnsupported,
    RanksUnsupported,
)
from shardwise.domain.demand import Demand
from shardwise.domain.engine import BATCHED_CHUNK, MOST_SEQUENCES, EngineName, chunk_tokens
from shardwise.domain.layout import Layout
from shardwise.domain.model import ModelFacts, busy_experts, expert_count
from shardwise.domain.refusal import Cause, NotDivisible
from shardwise.domain.units import MIB
from shardwise.planner.exchange_buffers import BUFFERS, HALF_A_NODE, Exchange

_FILE: Final = "all-to-all.toml"


@dataclass(frozen=True, slots=True)
class AllToAllRow:
    """An entry of ``all-to-all.toml``, which explains the fields."""

    source: str
    network: str
    even: bool = False
    alone: bool = False
    whole: bool = False
    hidden: tuple[str, ...] = ()
    ranks: tuple[str, ...] = ()
    buffers: str = ""
    nvlink_mib: float = 0
    rdma_mib: float = 0
    batched: bool = False

    @property
    def has_known_buffers(self) -> bool:
        """Whether all its buffers are counted: those of any network are the engine's own activations."""
        return bool(self.buffers or self.nvlink_mib) or self.network == "any"


@cache
def _rows() -> Mapping[str, AllToAllRow]:
    return table(_FILE, AllToAllRow)


def exchange_row(engine: EngineName, backend: str | None) -> AllToAllRow | None:
    """Give the entry of an engine's backend; ``None`` without a backend, or where it is left to the engine."""
    return None if backend is None else _rows().get(f"{engine.value} {backend}")


def exchange_argument(demand: Demand) -> str:
    """Give the argument that names the backend, as an object writes it. The demand must name a backend."""
    return f"{ALL_TO_ALL[demand.engine]} {(demand.all_to_all or '').split()[0]}"


def backend_for(engine: EngineName, backend: str | None, layout: Layout) -> AllToAllRow | None:
    """Give the entry of a backend if the GPUs of a layout use it: vLLM's data ranks, and all of SGLang's experts."""
    row = exchange_row(engine, backend)
    used = layout.expert and (layout.data > 1 if engine is EngineName.VLLM else layout.stage_gpus > 1)
    return row if row is not None and (used or row.whole) else None


def exchange_cause(
    model: ModelFacts, engine: EngineName, layout: Layout, backend: str | None, redundant: int
) -> Cause | None:
    """Give the first need of the backend that a layout does not meet, wherever its GPUs lie."""
    row = backend_for(engine, backend, layout)
    if row is None or backend is None or not expert_count(model):
        return None
    experts, gpus = expert_count(model) + redundant, layout.stage_gpus
    if row.whole and not layout.expert and gpus > 1:
        return ExchangeNeedsWhole(backend)
    if row.alone and layout.tensor > 1:
        return ExchangeNeedsData(backend, layout.tensor, layout.data)
    if row.hidden and model.hidden > max(map(int, row.hidden)):
        return HiddenUnsupported(backend, model.hidden, max(map(int, row.hidden)))
    if row.ranks and gpus > 1 and str(gpus) not in row.ranks:
        return RanksUnsupported(backend, gpus, tuple(map(int, row.ranks)))
    return NotDivisible(f"experts of `{backend}`", experts, gpus) if row.even and experts % gpus else None


def step_tokens(demand: Demand, layout: Layout) -> int | None:
    """Give the most tokens of a step on a GPU whose backend reserves room for them; ``None`` for other backends.

    Low latency is for decoding, and every token costs room for every expert. vLLM's own default is 256 tokens, and it
    refuses fewer tokens than sequences.
    """
    row = backend_for(demand.engine, demand.all_to_all, layout)
    if row is None or not row.batched or not expert_count(demand.model):
        return None
    return _sequences(demand, layout, BATCHED_CHUNK)


def _sequences(demand: Demand, layout: Layout, usual: int) -> int:
    """Give the most sequences of a step on a GPU: the usual number, those of the arguments, or more for the object."""
    return max(demand.sequences or usual, usual, ceil(demand.concurrency / layout.data))


def dispatch_tokens(demand: Demand, layout: Layout) -> int:
    """Give the tokens of a GPU for which the backend has room: a prefill's chunk, or a short step's, or sequences."""
    row = backend_for(demand.engine, demand.all_to_all, layout)
    needed = _sequences(demand, layout, MOST_SEQUENCES)
    if row is None or row.buffers != "elastic":
        return needed
    return max(chunk_tokens(layout.data), needed)


def buffer_bytes(demand: Demand, layout: Layout) -> int:
    """Count the bytes of the exchange's buffers on a GPU, as far as their sizes are known."""
    row = backend_for(demand.engine, demand.all_to_all, layout)
    if row is None or not expert_count(demand.model):
        return 0
    exchange = Exchange(
        experts=expert_count(demand.model) + demand.redundant_experts,
        busy=busy_experts(demand.model),
        tokens=dispatch_tokens(demand, layout),
        hidden=_rounded(demand.model.hidden, row),
        gpus=layout.stage_gpus,
        data=layout.data,
    )
    fixed = row.nvlink_mib + (row.rdma_mib if layout.stage_gpus > HALF_A_NODE else 0)
    return int(fixed * MIB) + BUFFERS[row.buffers](exchange)


def _rounded(hidden: int, row: AllToAllRow) -> int:
    return next((size for size in map(int, row.hidden) if size >= hidden), hidden)
