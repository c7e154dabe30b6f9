"""Notes on a plan beside its numbers: the layout it was compared with, and parallelism that is not planned."""

from collections.abc import Iterable, Iterator
from typing import Final

from shardwise.domain.demand import Demand, Objective
from shardwise.domain.model import LatentCache
from shardwise.domain.platforms import CLIQUE
from shardwise.planner.choose import Candidate, preference
from shardwise.planner.legality import has_experts
from shardwise.planner.memory import wanted_slack

WITHOUT_NVLINK: Final = "cross nodes without NVLink, as pinned"
"""The note of a plan whose pin is wider than any NVLink domain."""


def notes(demand: Demand, chosen: Candidate, rivals: Iterable[Candidate]) -> Iterator[str]:
    """Give the notes of a plan: of the model, the hardware, the links, and of parallelism that is not planned."""
    yield from demand.model.notes
    if not chosen.pool.kind.proven:
        yield f"{chosen.pool.product} is not a product Shardwise knows: no NVLink is assumed"
    if chosen.pool.joined:
        yield (f"tensor groups of {chosen.layout.tensor} {WITHOUT_NVLINK}: every layer waits for the network twice")
    yield from _no_clique(chosen)
    yield from _checked(demand, chosen, rivals)
    yield from _not_planned(demand, chosen)


def _no_clique(chosen: Candidate) -> Iterator[str]:
    """Name the nodes of a rack product that no label puts into an NVLink domain."""
    nodes = chosen.pool.nodes
    alone = [node.name for node in nodes if node.domain == node.name]
    if chosen.pool.kind.rack and alone:
        yield (
            f"{len(alone)} of {len(nodes)} nodes with {chosen.pool.product}, such as {alone[0]}, have no label of an "
            f"NVLink domain, such as {CLIQUE}: each counts as a domain of its own"
        )


def _checked(demand: Demand, chosen: Candidate, rivals: Iterable[Candidate]) -> Iterator[str]:
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
        yield (
            f"without NVLink, {layout} was checked against {other.layout}: an estimated {_speed(demand, chosen)} "
            f"against {_speed(demand, other)}"
        )


def _speed(demand: Demand, candidate: Candidate) -> str:
    guess = candidate.estimate
    if demand.objective is Objective.THROUGHPUT:
        return f"{guess.tokens_per_second_per_gpu:.0f} tokens a second and GPU"
    return f"{guess.seconds_per_token * 1000:.1f} ms a token"


def _not_planned(demand: Demand, chosen: Candidate) -> Iterator[str]:
    layout, use = chosen.layout, chosen.memory
    latent = any(isinstance(layer.cache, LatentCache) for layer in demand.model.kinds)
    if latent and layout.tensor > 1 and use.kv_cache > wanted_slack(use):
        yield (
            f"latent attention keeps its whole KV cache on each of the {layout.tensor} GPUs of a tensor group; "
            "attention data parallelism, which would divide it, is not planned"
        )
    across = layout.pipeline > 1 and layout.world_size > max(chosen.pool.node_sizes)
    if has_experts(demand.model) and layout.tensor > 1 and across:
        yield (
            f"experts are shared inside a tensor group of {layout.tensor}; "
            f"wide expert parallelism over all {layout.world_size} GPUs is not planned"
        )
