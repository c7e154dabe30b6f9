"""The order of preference among layouts that fit: the sharding guide's rules, then the objective, as a sort key.

The rules (docs/rules.md): 1 a model that fits a single GPU is not sharded; 2 a model that fits a single node is
tensor-parallel over the node's links; 3 a model that needs several nodes is tensor-parallel inside an NVLink domain and
pipeline-parallel across domains; 4 inside a multi-node NVLink domain, tensor parallelism may cross nodes; 5 data ×
tensor × pipeline is the number of GPUs; 6 the data ranks of a mixture of experts serve many sequences at once, and lie
inside an NVLink domain where they can.
"""

from dataclasses import dataclass
from typing import Final

from shardwise.domain.demand import Demand, Objective
from shardwise.domain.layout import Layout
from shardwise.domain.plan import Estimate, GroupPlacement, MemoryUse, Rule
from shardwise.domain.refusal import Cause, Merit, MoreGpus, Preferred, Slower, Tight
from shardwise.domain.target_causes import Dearer
from shardwise.planner.expert_blocks import needs_finer_blocks
from shardwise.planner.memory import is_tight, wanted_slack
from shardwise.planner.merged import cut_by_waiver
from shardwise.planner.pools import PoolGpus

_FINER: Final = 2
"""Blocks that the engine makes finer leave it the fewest kernels (vllm 0.33.0, fused_moe/oracle/fp8.py)."""

SortKey = tuple[float | int | str, ...]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A legal layout on a GPU product. Its memory fits, and enough GPUs are free for it.

    ``replicas`` is the number of replicas that the target needs, and 1 without a target. ``rate`` is the most requests
    per second that they serve within the target; 0 if no rate is asked for.
    """

    layout: Layout
    pool: PoolGpus
    memory: MemoryUse
    estimate: Estimate
    replicas: int = 1
    rate: float = 0.0

    @property
    def gpus(self) -> int:
        """The GPUs of all replicas that the target needs; of a single replica without a target."""
        return self.layout.world_size * self.replicas

    @property
    def cost(self) -> float:
        """The money that these GPUs cost in an hour; 0 where the price is not known."""
        return self.gpus * (self.pool.kind.price or 0.0)

    @property
    def tight(self) -> bool:
        """Whether the slack is under the wanted share."""
        return is_tight(self.memory)


def preference(demand: Demand, candidate: Candidate) -> SortKey:
    """Give the sort key of a candidate; the smallest is chosen. Total: no two candidates share a key."""
    layout, estimate = candidate.layout, candidate.estimate
    expert = expert_rank(demand, layout)
    last = (candidate.pool.memory, candidate.pool.product, layout.pipeline, layout.tensor, expert, layout.data)
    match demand.objective:
        case Objective.FEWEST_GPUS | Objective.CHEAPEST:
            linked = candidate.pool.kind.nvlink is not None
            by_links = (-layout.tensor, expert) if linked else (expert, estimate.seconds_per_token)
            first: SortKey = (candidate.pool.memory, -candidate.rate, layout.data, *by_links)
        case Objective.LATENCY:
            first = (layout.data > 1, estimate.seconds_per_token, layout.world_size)
        case Objective.THROUGHPUT:
            first = (-estimate.tokens_per_second_per_gpu, layout.world_size)
    return (cuts_blocks(demand, candidate), *_by_size(demand, candidate), *first, *last)


def _by_size(demand: Demand, candidate: Candidate) -> SortKey:
    """Order by evenness, slack and size. With a target, size comes first: the target says how much slack is enough.

    So a larger budget never makes a plan for a target larger.
    """
    if not is_for_size(demand):
        return candidate.tight, candidate.pool.joined
    size = (candidate.cost if demand.objective is Objective.CHEAPEST else 0, candidate.gpus)
    uneven, tight, joined = is_uneven(candidate), candidate.tight, candidate.pool.joined
    return (uneven, tight, joined, *size) if demand.target is None else (joined, *size, uneven, tight)


def is_for_size(demand: Demand) -> bool:
    """Tell whether the objective is a small number of GPUs or a low price, and not speed."""
    return demand.objective in (Objective.FEWEST_GPUS, Objective.CHEAPEST)


def expert_rank(demand: Demand, layout: Layout) -> int:
    """Rank how experts are dealt out: split, whole, or split by blocks that the engine must make finer."""
    if needs_finer_blocks(demand.model, demand.engine, demand.release, layout):
        return _FINER
    if layout.data > 1:
        return int(not layout.expert and demand.pins.expert is not False)
    return int(layout.expert and demand.pins.expert is not True)


def cuts_blocks(demand: Demand, candidate: Candidate) -> bool:
    """Tell whether a layout cuts blocks of merged weights that the engine does not check, and may fail to load."""
    return cut_by_waiver(demand.model, demand.engine, demand.release, candidate.layout.tensor) is not None


def is_uneven(candidate: Candidate) -> bool:
    """Tell whether the stages would divide nodes unevenly.

    A power of two divides nodes evenly. Any number of stages divides them evenly if each stage is a whole node. Other
    counts leave GPUs that no tensor group can use. Such layouts are chosen only if no even layout fits.
    """
    layout = candidate.layout
    if layout.tensor in candidate.pool.node_sizes:
        return False
    return not (_power_of_two(layout.tensor_groups) and _power_of_two(layout.tensor))


def _power_of_two(number: int) -> bool:
    return number & (number - 1) == 0


def lost_because(demand: Demand, chosen: Candidate, loser: Candidate) -> Cause:
    """Give the cause why a fitting candidate lost: the first part of the preference in which it is worse."""
    if cuts_blocks(demand, loser) and not cuts_blocks(demand, chosen):
        return Preferred(Merit.WHOLE_BLOCKS, chosen.pool.product)
    larger = _larger(demand, chosen, loser) if demand.target is not None and is_for_size(demand) else None
    first = larger or _lost_first(demand, chosen, loser)
    if first is not None:
        return first
    if demand.objective is Objective.LATENCY:
        if loser.layout.data > 1 and chosen.layout.data == 1:
            return Preferred(Merit.ONE_DATA_RANK, chosen.pool.product)
        return Slower("time per token", loser.estimate.seconds_per_token / chosen.estimate.seconds_per_token)
    if demand.objective is Objective.THROUGHPUT:
        mine, theirs = chosen.estimate.tokens_per_second_per_gpu, loser.estimate.tokens_per_second_per_gpu
        return Slower("GPU time per token", mine / theirs)
    return _lost_by_rules(demand, chosen, loser)


def _lost_first(demand: Demand, chosen: Candidate, loser: Candidate) -> Cause | None:
    """Give the cause where it is one of those that come before every objective, but the cutting of blocks."""
    if is_for_size(demand) and is_uneven(loser) and not is_uneven(chosen):
        return Preferred(Merit.NODES_USED_EVENLY, chosen.pool.product)
    if loser.tight and not chosen.tight:
        return Tight(loser.memory.slack, wanted_slack(loser.memory))
    if loser.pool.joined and not chosen.pool.joined:
        return Preferred(Merit.NVLINK_IN_TENSOR_GROUPS, chosen.pool.product)
    return None


def _larger(demand: Demand, chosen: Candidate, loser: Candidate) -> Cause | None:
    """Give the cause where a layout costs more, or needs more GPUs."""
    if demand.objective is Objective.CHEAPEST and loser.cost > chosen.cost:
        return Dearer(loser.cost, chosen.cost)
    return MoreGpus(loser.gpus, chosen.gpus) if loser.gpus > chosen.gpus else None


def _of_larger_gpus(chosen: Candidate, loser: Candidate) -> Cause | None:
    """Give the cause where as many GPUs are of another product, or serve fewer requests of the target."""
    if loser.pool.product != chosen.pool.product:
        return Preferred(Merit.SMALLER_GPUS, chosen.pool.product)
    return Slower("GPU time per request", chosen.rate / loser.rate) if loser.rate < chosen.rate else None


def _lost_by_rules(demand: Demand, chosen: Candidate, loser: Candidate) -> Cause:
    size = _larger(demand, chosen, loser) or _of_larger_gpus(chosen, loser)
    if size is not None:
        return size
    linked = chosen.pool.kind.nvlink is not None
    if loser.layout.data > chosen.layout.data or (linked and loser.layout.tensor < chosen.layout.tensor):
        fewer = loser.layout.data > chosen.layout.data
        return Preferred(Merit.ONE_DATA_RANK if fewer else Merit.TENSOR_FIRST, chosen.pool.product)
    mine, theirs = expert_rank(demand, chosen.layout), expert_rank(demand, loser.layout)
    if theirs > mine:
        return Preferred(Merit.BLOCKS_KEPT if theirs == _FINER else Merit.EXPERTS_SPLIT, chosen.pool.product)
    if not linked:
        return Slower("time per token", loser.estimate.seconds_per_token / chosen.estimate.seconds_per_token)
    return Preferred(Merit.TENSOR_FIRST, chosen.pool.product)


def rule_of(demand: Demand, pool: PoolGpus, layout: Layout, groups: tuple[GroupPlacement, ...]) -> Rule:
    """Name the rule that decided: the pins if there are any, else the rule that the placement follows."""
    pins = demand.pins
    if any(pin is not None for pin in (pins.tensor, pins.pipeline, pins.data, pins.context)):
        return Rule.PINNED
    if layout.world_size == 1:
        return Rule.ONE_GPU
    return _rule_of_place(demand, pool, layout, groups)


def _rule_of_place(demand: Demand, pool: PoolGpus, layout: Layout, groups: tuple[GroupPlacement, ...]) -> Rule:
    domains = max(len({pod.domain for pod in group.pods}) for group in groups) if groups else 1
    if layout.data > 1:
        return Rule.DATA_IN_DOMAIN if domains == 1 else Rule.DATA_ACROSS
    if any(pod.gpus < layout.tensor for group in groups for pod in group.pods):
        return Rule.MULTI_NODE_NVLINK if domains == 1 else Rule.MULTI_NODE_NVLINK_PIPELINE_ACROSS
    if all(len({pod.node for pod in group.pods}) <= 1 for group in groups):
        return _rule_in_node(pool, layout)
    return _rule_of_stages(demand, pool, domains)


def _rule_of_stages(demand: Demand, pool: PoolGpus, domains: int) -> Rule:
    if pool.kind.nvlink is None:
        return Rule.PIPELINE_ACROSS_NODES
    if domains > 1:
        return Rule.TENSOR_IN_NODE_PIPELINE_ACROSS
    return Rule.STAGES_BETWEEN_NODES if demand.needs.channels else Rule.STAGES_IN_DOMAIN


def _rule_in_node(pool: PoolGpus, layout: Layout) -> Rule:
    if pool.kind.nvlink is None:
        return Rule.PIPELINE_ON_PCIE if layout.pipeline > 1 else Rule.TENSOR_ON_PCIE
    return Rule.STAGES_IN_NODE if layout.pipeline > 1 else Rule.ONE_NODE
