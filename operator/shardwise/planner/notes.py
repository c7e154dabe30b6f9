"""Notes on a plan beside its numbers: the layout it was compared with, and what a plan without data ranks costs."""

from collections.abc import Iterable, Iterator
from typing import Final

from shardwise.domain.demand import Demand, Objective
from shardwise.domain.engine import MOST_SEQUENCES, EngineName
from shardwise.domain.estimate_errors import Measure, estimate_error
from shardwise.domain.layout import Layout
from shardwise.domain.notes import (
    CacheOnEachGpu,
    CheckedAgainst,
    DataWouldServe,
    DomainUnlabelled,
    EstimatesTrusted,
    ExpertsAcrossDomains,
    ExpertsInsideGroup,
    NotCounted,
    Note,
    Remark,
    StatesBoundSequences,
    TensorAcrossNodes,
    TransferCounted,
    UnknownProduct,
)
from shardwise.domain.plan import GroupPlacement
from shardwise.domain.roles import RoleName
from shardwise.planner.all_to_all import exchange_argument, exchange_row
from shardwise.planner.choose import Candidate, preference
from shardwise.planner.engine_support import support_notes
from shardwise.planner.legality import has_experts
from shardwise.planner.memory import states, wanted_slack
from shardwise.planner.merged import cut_by_waiver
from shardwise.planner.pools import Pool
from shardwise.planner.transfer_time import cache_bytes, transfer_seconds

_FAR_MORE: Final = 1.5
"""How many times as many tokens data ranks must serve to be worth a note."""


def notes(demand: Demand, chosen: Candidate, pool: Pool, rivals: Iterable[Candidate]) -> Iterator[Note]:
    """Give the notes of a plan: of the model, the hardware, the links, and of what a plan without data ranks costs.

    ``pool`` has the nodes of the chosen layout.
    """
    yield from map(Remark, demand.model.notes)
    yield from support_notes(demand)
    if not chosen.pool.kind.proven:
        yield UnknownProduct(chosen.pool.product)
    if chosen.pool.joined:
        yield TensorAcrossNodes(chosen.layout.tensor)
    cut = cut_by_waiver(demand.model, demand.engine, demand.release, chosen.layout.tensor)
    if cut is not None:
        yield cut
    yield from _no_clique(pool)
    yield from (NotCounted(word, chosen.memory.slack) for word in demand.uncounted)
    yield from _uncounted_buffers(demand, chosen)
    yield from _trusted(demand, chosen)
    yield from _transfer(demand, chosen)
    yield from _states_bound(demand, chosen)
    yield from _checked(demand, chosen, rivals)
    yield from _beside_data(demand, chosen, rivals)


def _uncounted_buffers(demand: Demand, chosen: Candidate) -> Iterator[Note]:
    """Name the all-to-all of the object's arguments if the sizes of its buffers are not known."""
    row = exchange_row(demand.engine, demand.all_to_all)
    if demand.all_to_all is not None and (row is None or not row.has_known_buffers):
        yield NotCounted(exchange_argument(demand), chosen.memory.slack)


def _trusted(demand: Demand, chosen: Candidate) -> Iterator[Note]:
    """Say how far the estimates that met the target are from measurements."""
    target = demand.target
    if target is None:
        return
    product, mixture = chosen.pool.product, has_experts(demand.model)
    asked = {
        Measure.RATE: target.rate,
        Measure.PER_TOKEN: None if _is(demand, RoleName.PREFILL) else target.per_token,
        Measure.FIRST_TOKEN: None if _is(demand, RoleName.DECODE) else target.first_token,
    }
    measures = [measure for measure, wanted in asked.items() if wanted is not None]
    errors = tuple((measure, estimate_error(measure, product, mixture=mixture)) for measure in measures)
    yield EstimatesTrusted(product, mixture, errors, apart=demand.half is not None)


def _is(demand: Demand, role: RoleName) -> bool:
    return demand.half is not None and demand.half.role.name is role


def _transfer(demand: Demand, chosen: Candidate) -> Iterator[Note]:
    """Say how much of the time to the first token passes outside prefill: in the transfer, and in decode."""
    seconds = transfer_seconds(demand, chosen.layout) if _is(demand, RoleName.PREFILL) else None
    if seconds is not None and demand.target is not None and demand.half is not None:
        read = cache_bytes(demand, demand.target.input_tokens, demand.half.other or chosen.layout)
        yield TransferCounted(read, seconds, demand.half.elsewhere, by_rdma=demand.has_rdma)


def _states_bound(demand: Demand, chosen: Candidate) -> Iterator[Note]:
    """Say how many sequences vLLM is told to work on, where its blocks are fewer than the usual sequences."""
    if demand.engine is not EngineName.VLLM:
        return
    count = states(demand, chosen.layout, chosen.memory, chosen.pool.compute_capability)
    if count is not None and count < max(MOST_SEQUENCES, demand.concurrency):
        yield StatesBoundSequences(count)


def _no_clique(pool: Pool) -> Iterator[Note]:
    """Name the nodes of a rack product that no label puts into an NVLink domain."""
    if pool.kind.rack and pool.members.alone:
        alone, first = pool.unlabelled
        yield DomainUnlabelled(pool.product, alone, pool.size, first)


def _checked(demand: Demand, chosen: Candidate, rivals: Iterable[Candidate]) -> Iterator[Note]:
    """Name the runner-up without NVLink, where neither tensor parallelism nor stages always win."""
    layout = chosen.layout
    if chosen.pool.kind.nvlink is not None or layout.world_size == 1:
        return
    alike = (
        rival
        for rival in rivals
        if rival.pool is chosen.pool and rival.layout.world_size == layout.world_size and rival != chosen
    )
    other = min(alike, key=lambda rival: preference(demand, rival), default=None)
    if other is not None:
        speed, other_speed = _speed(demand, chosen), _speed(demand, other)
        throughput = demand.objective is Objective.THROUGHPUT
        yield CheckedAgainst(layout, other.layout, speed, other_speed, throughput)


def _speed(demand: Demand, candidate: Candidate) -> float:
    guess = candidate.estimate
    return guess.tokens_per_second_per_gpu if demand.objective is Objective.THROUGHPUT else guess.seconds_per_token


def _beside_data(demand: Demand, chosen: Candidate, rivals: Iterable[Candidate]) -> Iterator[Note]:
    """Say what a plan without data ranks costs."""
    layout, use = chosen.layout, chosen.memory
    if layout.data > 1:
        return
    better = None if demand.objective is Objective.LATENCY else _best_with_data(chosen, rivals)
    if better is not None:
        yield DataWouldServe(
            better.layout, better.estimate.tokens_per_second_per_gpu, chosen.estimate.tokens_per_second_per_gpu
        )
    elif demand.model.is_latent and layout.tensor > layout.context and use.kv_cache > wanted_slack(use):
        yield CacheOnEachGpu(layout.tensor)
    across = layout.pipeline > 1 and layout.world_size > max(chosen.pool.node_sizes)
    if has_experts(demand.model) and layout.tensor > 1 and across and not demand.has_rdma:
        yield ExpertsInsideGroup(layout.tensor, layout.world_size)


def _best_with_data(chosen: Candidate, rivals: Iterable[Candidate]) -> Candidate | None:
    """Find the layout with data ranks, on no more of the same GPUs, that would serve by far the most tokens."""
    speed = chosen.estimate.tokens_per_second_per_gpu
    found = (
        rival
        for rival in rivals
        if rival.pool == chosen.pool
        and rival.layout.data > 1
        and rival.layout.world_size <= chosen.layout.world_size
        and rival.estimate.tokens_per_second_per_gpu >= _FAR_MORE * speed
    )
    return max(found, key=lambda rival: (rival.estimate.tokens_per_second_per_gpu, rival.layout), default=None)


def across_domains(demand: Demand, layout: Layout, groups: tuple[GroupPlacement, ...]) -> Iterator[Note]:
    """Say that the data ranks of a group lie in several NVLink domains, and what their exchange needs there."""
    domains = max((len({pod.domain for pod in group.pods}) for group in groups), default=1)
    if layout.data > 1 and domains > 1:
        yield ExpertsAcrossDomains(layout.stage_gpus, domains, demand.has_rdma, demand.all_to_all)
