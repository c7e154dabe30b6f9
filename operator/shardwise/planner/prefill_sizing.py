"""Sizing of prefill: how many replicas of a layout meet the time to the first token, and how they serve.

A data rank of prefill is a queue of prompts, of random arrivals and equal service times (Pollaczek and Khinchine): a
prompt waits the longer, the larger the share of time is in which the rank works. The largest share for which the first
token comes in time follows from the time that is left to wait. The time to the first token is the start of the request,
the wait, the prompt through all stages, the transfer of its KV cache as far as its time is estimated, and the part that
passes in decode.
"""

from math import ceil, inf, sqrt

from shardwise.domain.demand import Demand
from shardwise.domain.engine import MOST_SEQUENCES
from shardwise.domain.hardware import ComputeCapability
from shardwise.domain.layout import Layout
from shardwise.domain.plan import MemoryUse
from shardwise.domain.refusal import Cause
from shardwise.domain.target import Bound, Sizing, Target
from shardwise.domain.target_causes import FirstTokenLate
from shardwise.planner.links import Links
from shardwise.planner.rank_load import REQUEST_START, RankLoad
from shardwise.planner.sizing import ROUNDING, Capacity, RankRoom, cached_requests, load_of
from shardwise.planner.transfer_time import transfer_seconds


class PrefillSizer:
    """Sizes a layout of prefill that fits the memory, for every target with requests of the same length.

    Arguments as of ``Sizer``; ``demand`` has the role of prefill.
    """

    def __init__(
        self, demand: Demand, layout: Layout, links: Links, use: MemoryUse, gpu: tuple[int, ComputeCapability | None]
    ) -> None:
        assert demand.target is not None  # noqa: S101 - called only with a target
        assert demand.half is not None  # noqa: S101 - called only for prefill
        load = load_of(RankLoad, demand, demand.target, layout, links)
        self._product = links.kind.product
        self._data = layout.data
        self._prompt = load.prompt
        self._served = max(load.prompt, load.step(1))
        transfer = transfer_seconds(demand, layout) or 0.0
        self._by_tcp = 0.0 if demand.has_rdma else transfer
        self._away = max(load.through, load.step(1)) + transfer
        self._least = REQUEST_START + self._away + demand.half.elsewhere
        room = cached_requests(demand, layout, demand.target.input_tokens, use, gpu)
        # Prefill keeps a prompt in its cache until decode has fetched it.
        cached = RankRoom(MOST_SEQUENCES if room == inf else room, Bound.CACHE)
        self._limits = {
            Bound.CACHE: cached.steady * self._prompt / self._away,
            Bound.PROMPTS: most_share(RankRoom(demand.sequences or MOST_SEQUENCES, Bound.PROMPTS).steady),
        }

    def capacity(self, target: Target) -> Capacity | Cause:
        """Give the capacity within a target, or say that the first token comes too late even without a queue."""
        left = inf if target.first_token is None else target.first_token - self._least
        if left <= 0:
            return FirstTokenLate(self._product, self._least, target.first_token or inf, 1, self._by_tcp)
        in_time = 1.0 if left == inf else 2 * left / (self._served + 2 * left)
        shares = {Bound.FIRST_TOKEN: in_time} | self._limits
        binds = min(shares, key=lambda bound: shares[bound])
        share = shares[binds]
        return Capacity(_requests(share), self._data * share / self._prompt, binds)

    def sizing(self, target: Target, found: Capacity) -> Sizing:
        """Say how the least number of replicas serves a target, with its capacity as :meth:`capacity` gives it."""
        replicas = found.replicas(target)
        rate = found.rate if target.rate is None else min(found.rate, target.rate / replicas)
        share = rate / self._data * self._prompt
        return Sizing(
            target=target,
            replicas=replicas,
            first_token=self._least + self._served * share / (2 * (1 - share)),
            per_token=None,
            sequences=_requests(share) * self._data,
            most_rate=found.rate,
            binds=found.binds,
        )


def queued(share: float) -> float:
    """Give the mean number of prompts that wait or are read where a data rank works a share of the time, below 1."""
    return share + share**2 / (2 * (1 - share))


def _requests(share: float) -> int:
    """Give the mean number of prompts as requests at once; at least 1."""
    return max(1, ceil(queued(share) * (1 - ROUNDING)))


def most_share(prompts: float) -> float:
    """Give the share of time for which so many prompts wait or are read, on average: :func:`queued`, solved."""
    return 1 + prompts - sqrt(prompts**2 + 1)
