"""Sizing: how many replicas of a layout meet a target, and how these replicas serve.

Without a rate, each data rank works on its share of the demand's concurrency. With a rate, it works on as many requests
at once as the times of the target, the KV cache and the engine allow. The number of requests that are there varies as
random arrivals do: two standard deviations of it (twice the square root) stay free in the cache.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil, inf, sqrt
from typing import Final

from shardwise.domain.demand import Demand
from shardwise.domain.engine import MOST_SEQUENCES
from shardwise.domain.hardware import ComputeCapability
from shardwise.domain.layout import Layout
from shardwise.domain.plan import MemoryUse
from shardwise.domain.refusal import Cause
from shardwise.domain.target import Bound, Sizing, Target
from shardwise.domain.target_causes import FirstTokenLate, TokensSlow
from shardwise.planner.largest import largest_that_fits
from shardwise.planner.links import Links
from shardwise.planner.memory import memory_use
from shardwise.planner.rank_load import DecodeLoad, RankLoad

ROUNDING: Final = 1e-9
"""The share by which a rate may exceed another rate and count as equal, because both are floating-point numbers."""


@dataclass(frozen=True, slots=True)
class RankRoom:
    """The requests that a data rank can work on at once, and whether the cache or the engine sets this limit."""

    requests: float
    bound: Bound

    @property
    def steady(self) -> int:
        """The mean number of requests for which the limit leaves two standard deviations; at least 1."""
        return max(1, int((sqrt(self.requests + 1) - 1) ** 2))


@dataclass(frozen=True, slots=True)
class Capacity:
    """The most ``requests`` that a data rank works on at once within a target, and the reason why not more.

    ``rate`` is the requests per second of a replica with so many.
    """

    requests: int
    rate: float
    binds: Bound

    def replicas(self, target: Target) -> int:
        """Give the least number of replicas that meet a target; 1 without a rate."""
        return 1 if target.rate is None else max(1, ceil(target.rate / self.rate * (1 - ROUNDING)))


def load_of(kind: type[RankLoad], demand: Demand, target: Target, layout: Layout, links: Links) -> RankLoad:
    """Give the load of a data rank under the requests of a target. A cache is full of a prompt and half an answer."""
    sent, got = target.input_tokens, target.output_tokens
    context = ceil((2 * sent + got) / layout.context)
    return kind(replace(demand, context_length=context), layout, links, sent, got)


def cached_requests(
    demand: Demand, layout: Layout, tokens: int, use: MemoryUse, gpu: tuple[int, ComputeCapability | None]
) -> float:
    """Give the requests of so many tokens that the KV cache of a data rank has room for; infinite if it keeps nothing.

    ``use`` and ``gpu`` are as of :class:`Sizer`.
    """
    each = memory_use(replace(demand, concurrency=1, context_length=tokens), layout, *gpu).kv_cache
    return (use.kv_cache + use.slack) / each if each else inf


class Sizer:
    """Sizes a layout that fits the memory, for every target with requests of the same length.

    The groups work on both parts of a request, or on its answer (decode).
    ``demand`` has such a target. ``use`` is the memory of the layout; ``gpu`` is the memory and the compute capability
    of a GPU, as of :func:`memory_use`.
    """

    def __init__(
        self, demand: Demand, layout: Layout, links: Links, use: MemoryUse, gpu: tuple[int, ComputeCapability | None]
    ) -> None:
        assert demand.target is not None  # noqa: S101 - called only with a target
        load = RankLoad if demand.half is None else DecodeLoad
        self._load = load_of(load, demand, demand.target, layout, links)
        self._demand = demand
        self._layout = layout
        self._product = links.kind.product
        self._use = use
        self._gpu = gpu
        self._known: dict[Target, Capacity | Cause] = {}

    def capacity(self, target: Target) -> Capacity | Cause:
        """Give the capacity within a target, or say which time a data rank misses with the fewest requests."""
        timed = replace(target, rate=None if target.rate is None else 1.0)
        found = self._known.get(timed)
        if found is None:
            found = self._known[timed] = self._capacity(timed)
        return found

    def _capacity(self, target: Target) -> Capacity | Cause:
        fewest = ceil(self._demand.concurrency / self._layout.data) if target.rate is None else 1
        missed = self._missed(target, fewest)
        if missed is not None:
            return missed
        if target.rate is None:
            return self._with(fewest, self._tightest(target, fewest))
        steady = self._room.steady
        most = largest_that_fits(range(1, steady + 1), lambda requests: self._missed(target, requests) is None) or 1
        missed = self._missed(target, most + 1) if most < steady else None
        if missed is None:
            return self._with(most, self._room.bound)
        return self._with(most, Bound.PER_TOKEN if isinstance(missed, TokensSlow) else Bound.FIRST_TOKEN)

    def _with(self, requests: int, binds: Bound) -> Capacity:
        return Capacity(requests, self._layout.data * self._load.rate(requests), binds)

    def _missed(self, target: Target, requests: int) -> Cause | None:
        """Give the time that a data rank with so many requests misses."""
        token, first = self._load.per_token(requests), self._load.first_token(requests)
        if target.per_token is not None and token > target.per_token:
            return TokensSlow(self._product, token, target.per_token, requests)
        if target.first_token is not None and first > target.first_token:
            return FirstTokenLate(self._product, first, target.first_token, requests)
        return None

    def _tightest(self, target: Target, requests: int) -> Bound:
        """Name the time of a target that leaves the least."""
        token = self._load.per_token(requests) / (target.per_token or inf)
        first = self._load.first_token(requests) / (target.first_token or inf)
        return Bound.PER_TOKEN if token >= first else Bound.FIRST_TOKEN

    @cached_property
    def _room(self) -> RankRoom:
        """The requests of mean length that the KV cache of a data rank has room for, or those the engine takes."""
        demand, layout, use = self._demand, self._layout, self._use
        assert demand.target is not None  # noqa: S101 - called only with a target
        mean = demand.target.input_tokens + ceil(demand.target.output_tokens / 2)
        cached = cached_requests(demand, layout, mean, use, self._gpu)
        taken = demand.sequences or max(MOST_SEQUENCES, ceil(demand.concurrency / layout.data))
        return RankRoom(cached, Bound.CACHE) if cached < taken else RankRoom(taken, Bound.SEQUENCES)

    def sizing(self, target: Target, found: Capacity) -> Sizing:
        """Say how the least number of replicas serves a target, with its capacity as :meth:`capacity` gives it."""
        replicas, requests = found.replicas(target), found.requests
        if target.rate is not None:
            share = target.rate / replicas / self._layout.data * (1 - ROUNDING)
            slower = largest_that_fits(range(1, requests), lambda fewer: self._load.rate(fewer) < share)
            requests = min(requests, (slower or 0) + 1)
        first = self._load.first_token(requests)
        alone = self._demand.half is None
        return Sizing(
            target=target,
            replicas=replicas,
            first_token=first if alone else None,
            of_first_token=None if alone else first,
            per_token=self._load.per_token(requests),
            sequences=requests * self._layout.data,
            most_rate=found.rate,
            binds=found.binds,
        )
