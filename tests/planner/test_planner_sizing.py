"""Sizing of layouts: what a data rank bears within a target, how many replicas that makes, and what binds them."""

from dataclasses import dataclass, replace
from math import ceil, sqrt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.fleets import H100, H200, cuda_bytes
from tests.support.models import LLAMA_8B, LLAMA_70B, QWEN_235B_FP8, a_demand, facts

from shardwise.domain.hardware import gpu_kind
from shardwise.domain.layout import Layout
from shardwise.domain.refusal import Cause
from shardwise.domain.target import Bound, Sizing, Target
from shardwise.domain.target_causes import FirstTokenLate, TokensSlow
from shardwise.planner.links import Links
from shardwise.planner.memory import memory_use
from shardwise.planner.rank_load import RankLoad
from shardwise.planner.sizing import Capacity, RankRoom, Sizer

ONE_GPU = Layout(1, 1)


def links(product: str = H100) -> Links:
    return Links(gpu_kind(product), tensor_on_nvlink=True, stages_in_domain=True, domain=8)


@dataclass(frozen=True)
class Sized:
    """A layout with the sizer of a demand on it."""

    sizer: Sizer
    load: RankLoad
    layout: Layout

    def capacity(self, target: Target) -> Capacity:
        found = self.sizer.capacity(target)
        assert isinstance(found, Capacity)
        return found

    def missed(self, target: Target) -> Cause:
        found = self.sizer.capacity(target)
        assert isinstance(found, Cause)
        return found

    def sizing(self, target: Target) -> Sizing:
        return self.sizer.sizing(target, self.capacity(target))


def sized(
    target: Target,
    layout: Layout = ONE_GPU,
    model: str = LLAMA_8B,
    product: str = H100,
    **changes: Any,
) -> Sized:
    demand = a_demand(facts(model), target=target, **changes)
    capability = gpu_kind(product).compute_capability
    memory = cuda_bytes(product)
    use = memory_use(demand, layout, memory, capability)
    context = 2 * target.input_tokens + target.output_tokens
    load = RankLoad(
        replace(demand, context_length=context), layout, links(product), target.input_tokens, target.output_tokens
    )
    return Sized(Sizer(demand, layout, links(product), use, (memory, capability)), load, layout)


STEADY: dict[str, tuple[float, int]] = {
    "no room for two deviations": (1, 1),
    "room for two requests": (2.9, 1),
    "room for three: one, and two deviations of one": (3, 1),
    "room for eight: four, and two deviations of two": (8, 4),
    "room for fifteen: nine, and two deviations of three": (15, 9),
    "not quite room for ten": (16.3, 9),
    "the engine's own limit": (256, 225),
    "much room": (10_200, 10_000),
}


@pytest.mark.parametrize(("room", "steady"), STEADY.values(), ids=STEADY)
def test_two_standard_deviations_of_the_requests_stay_free(room: float, steady: int) -> None:
    assert RankRoom(room, Bound.CACHE).steady == steady


@given(st.floats(3, 1e6))
def test_the_steady_number_is_the_largest_that_leaves_them(room: float) -> None:
    steady = RankRoom(room, Bound.CACHE).steady
    assert steady + 2 * sqrt(steady) <= room * (1 + 1e-9)
    assert steady + 1 + 2 * sqrt(steady + 1) >= room * (1 - 1e-9)


REPLICAS: dict[str, tuple[float | None, float, int]] = {
    "without a rate": (None, 0.5, 1),
    "far below the rate of one": (0.1, 2.5, 1),
    "just the rate of one": (2.5, 2.5, 1),
    "a little more than one": (2.6, 2.5, 2),
    "four times the rate of one": (10.0, 2.5, 4),
    "a rate that floats a little above": (0.3, 0.1, 3),
    "many": (1000.0, 2.5, 400),
}


@pytest.mark.parametrize(("rate", "each", "replicas"), REPLICAS.values(), ids=REPLICAS)
def test_replicas_are_the_rate_over_the_rate_of_one(rate: float | None, each: float, replicas: int) -> None:
    assert Capacity(8, each, Bound.CACHE).replicas(Target(1, 1, rate=rate)) == replicas


def test_a_time_per_token_bounds_the_requests_at_once() -> None:
    target = Target(2000, 200, per_token=0.02, rate=1.0)
    found = sized(target)
    capacity = found.capacity(target)
    assert capacity.binds is Bound.PER_TOKEN
    assert found.load.per_token(capacity.requests) <= 0.02 < found.load.per_token(capacity.requests + 1)
    assert capacity.rate == found.load.rate(capacity.requests)


def test_a_time_to_the_first_token_bounds_the_requests_at_once() -> None:
    target = Target(2000, 200, first_token=0.1, rate=1.0)
    found = sized(target)
    capacity = found.capacity(target)
    assert capacity.binds is Bound.FIRST_TOKEN
    assert found.load.first_token(capacity.requests) <= 0.1 < found.load.first_token(capacity.requests + 1)


def test_the_cache_bounds_long_requests() -> None:
    """70B in 16 bits leaves two H200 room for few requests of 30,000 tokens."""
    target = Target(30_000, 1000, rate=0.1)
    found = sized(target, Layout(2, 1), LLAMA_70B, H200, context=32_768)
    capacity = found.capacity(target)
    assert capacity.binds is Bound.CACHE
    each = 30_500 * 80 * 8 * 128 * 2 * 2 / 2
    room = memory_use(
        a_demand(LLAMA_70B, context=32_768), Layout(2, 1), cuda_bytes(H200), gpu_kind(H200).compute_capability
    )
    held = (room.kv_cache + room.slack) / each
    assert capacity.requests == int((sqrt(held + 1) - 1) ** 2)


def test_the_engine_bounds_short_requests() -> None:
    target = Target(100, 100, rate=1.0)
    assert sized(target).capacity(target).requests == 225
    assert sized(target).capacity(target).binds is Bound.SEQUENCES


def test_arguments_of_the_engine_set_another_bound() -> None:
    target = Target(100, 100, rate=1.0)
    assert sized(target, sequences=15).capacity(target).requests == 9
    assert sized(target, sequences=15).capacity(target).binds is Bound.SEQUENCES


def test_a_larger_concurrency_raises_the_bound_of_the_engine() -> None:
    """The engine is told as many sequences as the object wants at once."""
    target = Target(100, 100, rate=1.0)
    assert sized(target, concurrency=400, context=512).capacity(target).requests == int((sqrt(401) - 1) ** 2)


def test_each_data_rank_works_on_requests_of_its_own() -> None:
    target = Target(1000, 100, rate=1.0)
    found = sized(target, Layout(1, 1, expert=True, data=8), QWEN_235B_FP8, H200)
    capacity = found.capacity(target)
    assert capacity.rate == 8 * found.load.rate(capacity.requests)
    assert found.sizing(replace(target, rate=capacity.rate)).sequences == 8 * capacity.requests


@pytest.mark.parametrize(("concurrency", "data", "requests"), [(1, 1, 1), (8, 1, 8), (8, 8, 1), (9, 8, 2), (40, 8, 5)])
def test_without_a_rate_each_data_rank_has_its_share_of_the_concurrency(
    concurrency: int, data: int, requests: int
) -> None:
    target = Target(1000, 100, per_token=1.0)
    layout = Layout(1, 1, expert=True, data=data) if data > 1 else Layout(8, 1)
    found = sized(target, layout, QWEN_235B_FP8, H200, concurrency=concurrency)
    assert found.capacity(target).requests == requests == ceil(concurrency / data)
    assert found.sizing(target).sequences == requests * data
    assert found.sizing(target).replicas == 1


@pytest.mark.parametrize("concurrency", [1, 16])
def test_a_missed_time_is_told_with_the_requests_that_miss_it(concurrency: int) -> None:
    """Without a rate all of them; with a rate a lone request misses it already."""
    target = Target(2000, 200, per_token=0.001)
    found = sized(target, concurrency=concurrency)
    assert found.missed(target) == TokensSlow(
        gpu_kind(H100).product, found.load.per_token(concurrency), 0.001, concurrency
    )
    rated = replace(target, rate=2.0)
    assert found.missed(rated) == TokensSlow(gpu_kind(H100).product, found.load.per_token(1), 0.001, 1)


def test_of_two_missed_times_the_time_per_token_is_told() -> None:
    target = Target(2000, 200, first_token=0.001, per_token=0.001)
    assert isinstance(sized(target).missed(target), TokensSlow)
    assert isinstance(sized(target).missed(replace(target, per_token=None)), FirstTokenLate)


@given(st.floats(0.01, 500), st.sampled_from([None, 0.02, 0.05]), st.sampled_from([None, 0.2, 1.0]))
def test_replicas_at_their_planned_load_are_within_the_target(
    rate: float, per_token: float | None, first_token: float | None
) -> None:
    """Each bears its share with no more requests at once than it may have, and with one fewer it would not."""
    target = Target(1500, 150, first_token=first_token, per_token=per_token, rate=rate)
    found = sized(target)
    capacity, sizing = found.capacity(target), found.sizing(target)
    share = rate / sizing.replicas
    assert share <= capacity.rate * (1 + 1e-9)
    assert sizing.sequences <= capacity.requests
    assert found.load.rate(sizing.sequences) >= share * (1 - 1e-6)
    assert sizing.sequences == 1 or found.load.rate(sizing.sequences - 1) < share
    assert sizing.per_token == found.load.per_token(sizing.sequences) <= (per_token or 1e9)
    assert sizing.first_token == found.load.first_token(sizing.sequences) <= (first_token or 1e9)
    assert sizing.replicas == 1 or (sizing.replicas - 1) * capacity.rate < rate


@given(st.floats(0.01, 500), st.floats(1.0, 10))
def test_the_spare_rate_is_what_the_load_may_grow_by(rate: float, growth: float) -> None:
    target = Target(1500, 150, per_token=0.05, rate=rate)
    found = sized(target).sizing(target)
    spare = found.spare_rate(found.replicas)
    assert spare is not None
    assert spare >= -1e-6
    grown = sized(target).sizing(replace(target, rate=rate * growth))
    assert (grown.replicas > found.replicas) is (growth - 1 > spare * (1 + 1e-9) + 1e-9)


def test_a_capacity_is_worked_out_once_for_all_rates() -> None:
    target = Target(2000, 200, per_token=0.02, rate=1.0)
    found = sized(target)
    assert found.capacity(target) is found.capacity(replace(target, rate=77.0))
    assert found.capacity(target) is not found.capacity(replace(target, per_token=0.03))
