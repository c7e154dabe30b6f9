"""Targets, demands for them and fleets with prices; and a brute-force search for the smallest plan of a target."""

from collections.abc import Iterator
from dataclasses import replace
from math import ceil, inf, sqrt

from hypothesis import strategies as st
from tests.support.fleets import GB200, H100, H200, L40S, a_fleet, a_node, priced
from tests.support.models import LLAMA_8B, LLAMA_70B, QWEN_235B_FP8, a_demand, facts

from shardwise.domain.demand import Demand, Objective
from shardwise.domain.engine import MOST_SEQUENCES
from shardwise.domain.fleet import Fleet, Node
from shardwise.domain.target import Target
from shardwise.planner.choose import Candidate, cuts_blocks
from shardwise.planner.judging import Weighed, links_of, weighed
from shardwise.planner.memory import memory_use
from shardwise.planner.placement import place
from shardwise.planner.pools import eligible
from shardwise.planner.rank_load import RankLoad
from shardwise.planner.solve import SurveyedPool, survey

targets = st.builds(
    Target,
    st.sampled_from([128, 2000, 6000]),
    st.sampled_from([1, 200, 1500]),
    first_token=st.sampled_from([None, 0.05, 0.2, 1.0, 10.0]),
    per_token=st.sampled_from([None, 0.004, 0.01, 0.03, 0.2]),
    rate=st.sampled_from([None, 0.01, 0.7, 3.0, 20.0, 150.0]),
)
targeted = st.builds(
    lambda name, kind, **changes: a_demand(facts(name, kind), **changes),
    name=st.sampled_from([LLAMA_8B, LLAMA_8B, LLAMA_70B, QWEN_235B_FP8]),
    kind=st.sampled_from(["auto", "fp8"]),
    budget=st.sampled_from([32, 16, 8, 4, 2, 1]),
    concurrency=st.sampled_from([1, 8]),
    replicas=st.sampled_from([1, 1, 1, 2]),
    objective=st.sampled_from([Objective.FEWEST_GPUS, Objective.CHEAPEST]),
    target=targets,
)


@st.composite
def priced_fleets(draw: st.DrawFn) -> Fleet:
    """Draw a small fleet of several products, partly taken, with prices."""
    free = st.sampled_from([8, 8, 8, 5, 4, 2])
    rows = draw(st.lists(st.tuples(st.sampled_from([H100, H200, L40S, GB200]), free), min_size=1, max_size=4))
    return priced(a_fleet(_drawn(index, product, count) for index, (product, count) in enumerate(rows)))


def _drawn(index: int, product: str, free: int) -> Node:
    gpus = 4 if product == GB200 else 8
    node = a_node(f"node-{index:02d}", product=product, gpus=gpus, free=min(free, gpus))
    return node._replace(domain="rack-0") if product == GB200 else node


Size = tuple[bool, float, int]
"""Whether blocks are cut, the cost (0 unless the objective is the price), and the GPUs: the smallest is best."""


def smallest(demand: Demand, fleet: Fleet) -> Size | None:
    """Try every layout on every product with every number of replicas, and every number of requests at once."""
    return min(_met(demand, fleet), default=None)


def _met(demand: Demand, fleet: Fleet) -> Iterator[Size]:
    for surveyed in survey(demand, eligible(demand, fleet)):
        for found in weighed(demand, surveyed.gpus):
            if found.law is None and found.short is None:
                yield from _sizes(demand, surveyed, found)


def _sizes(demand: Demand, surveyed: SurveyedPool, found: Weighed) -> Iterator[Size]:
    """Give the size with the fewest replicas that meet the target and have a place; more replicas are never smaller."""
    layout, pool = found.layout, surveyed.pool
    for replicas in range(demand.replicas, demand.gpu_budget // layout.world_size + 1):
        if not _meets(demand, surveyed, found, replicas):
            continue
        if place(replace(demand, replicas=replicas), pool, layout) is not None:
            candidate = Candidate(layout, pool, found.memory, found.estimate, replicas)
            cost = candidate.cost if demand.objective is Objective.CHEAPEST else 0.0
            yield cuts_blocks(demand, candidate), cost, candidate.gpus
        return


def _meets(demand: Demand, surveyed: SurveyedPool, found: Weighed, replicas: int) -> bool:
    """Tell whether any number of requests at once meets the target, trying one after the other."""
    layout, target, gpus = found.layout, demand.target, surveyed.gpus
    assert target is not None
    longest = 2 * target.input_tokens + target.output_tokens
    links = links_of(demand, gpus, layout)
    load = RankLoad(replace(demand, context_length=longest), layout, links, target.input_tokens, target.output_tokens)
    if target.rate is None:
        return _in_time(target, load, ceil(demand.concurrency / layout.data))
    share = target.rate / replicas / layout.data * (1 - 1e-9)
    counts = range(1, _most(demand, target, surveyed, found) + 1)
    return any(load.rate(count) >= share and _in_time(target, load, count) for count in counts)


def _in_time(target: Target, load: RankLoad, requests: int) -> bool:
    token, first = load.per_token(requests), load.first_token(requests)
    return token <= (target.per_token or inf) and first <= (target.first_token or inf)


def _most(demand: Demand, target: Target, surveyed: SurveyedPool, found: Weighed) -> int:
    """Give the most requests that leave two standard deviations of the cache, or of the engine's limit, free."""
    mean = target.input_tokens + ceil(target.output_tokens / 2)
    gpus = surveyed.gpus
    alone = replace(demand, concurrency=1, context_length=mean)
    each = memory_use(alone, found.layout, gpus.memory, gpus.compute_capability).kv_cache
    room = min(MOST_SEQUENCES, (found.memory.kv_cache + found.memory.slack) / each)
    return max([1, *(count for count in range(1, MOST_SEQUENCES) if count + 2 * sqrt(count) <= room)])
