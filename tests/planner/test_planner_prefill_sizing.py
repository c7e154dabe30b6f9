"""Sizing of prefill: a queue of prompts, the rate at which the first token is just in time, and what binds."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.fleets import H100, cuda_bytes
from tests.support.models import LLAMA_8B, LLAMA_70B, a_demand, facts

from shardwise.domain.hardware import gpu_kind
from shardwise.domain.layout import Layout
from shardwise.domain.plan import MemoryUse
from shardwise.domain.refusal import Cause
from shardwise.domain.roles import Half, Role, RoleName
from shardwise.domain.target import Bound, Sizing, Target
from shardwise.domain.target_causes import FirstTokenLate
from shardwise.planner import prefill_sizing
from shardwise.planner.links import Links
from shardwise.planner.memory import memory_use
from shardwise.planner.prefill_sizing import PrefillSizer, most_share, queued
from shardwise.planner.rank_load import REQUEST_START, DecodeLoad, RankLoad
from shardwise.planner.sizing import Capacity, Sizer, load_of

ONE_GPU = Layout(1, 1)
TARGET = Target(2000, 200, first_token=0.5, rate=10.0)
LINKS = Links(gpu_kind(H100), tensor_on_nvlink=True, stages_in_domain=True, domain=8)
GPU = cuda_bytes(H100), gpu_kind(H100).compute_capability


@pytest.fixture(autouse=True, scope="module")
def caches_travel_at_once() -> Iterator[None]:
    """Leave out the transfer of the KV cache, so that the times are those of the queue alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prefill_sizing, "transfer_seconds", lambda *_: None)
        yield


@dataclass(frozen=True)
class Sized:
    """A layout with the sizer of prefill on it, and the load of its data ranks."""

    sizer: PrefillSizer
    load: RankLoad

    def capacity(self, target: Target) -> Capacity:
        found = self.sizer.capacity(target)
        assert isinstance(found, Capacity)
        return found

    def late(self, target: Target) -> FirstTokenLate:
        found = self.sizer.capacity(target)
        assert isinstance(found, FirstTokenLate)
        return found

    def sizing(self, target: Target) -> Sizing:
        return self.sizer.sizing(target, self.capacity(target))

    def first_token(self, target: Target) -> float:
        found = self.sizing(target).first_token
        assert found is not None
        return found


def sized(
    target: Target = TARGET,
    layout: Layout = ONE_GPU,
    model: str = LLAMA_8B,
    *,
    elsewhere: float = 0.0,
    use: MemoryUse | None = None,
    **changes: Any,
) -> Sized:
    half = Half(Role(RoleName.PREFILL), elsewhere=elsewhere)
    demand = replace(a_demand(facts(model), target=target, **changes), half=half)
    memory = use or memory_use(demand, layout, *GPU)
    load = load_of(RankLoad, demand, target, layout, LINKS)
    return Sized(PrefillSizer(demand, layout, LINKS, memory, GPU), load)


def mean_in_queue(share: float, prompts: int = 60_000) -> float:
    """Let prompts of a second each come at random to a single rank, and count those that wait or are read."""
    random, now, free, stayed = Random(7), 0.0, 0.0, 0.0  # noqa: S311 - no secret
    for _ in range(prompts):
        now += random.expovariate(share)
        free = max(free, now) + 1.0
        stayed += free - now
    return stayed / now


@pytest.mark.parametrize("share", [0.2, 0.5, 0.7, 0.85])
def test_the_queue_is_that_of_random_arrivals(share: float) -> None:
    """A simulation of 60,000 prompts is within 6 % of the formula."""
    assert mean_in_queue(share) == pytest.approx(queued(share), rel=0.06)


@given(st.floats(0.0, 0.99))
def test_the_share_of_time_follows_from_the_queue(share: float) -> None:
    assert most_share(queued(share)) == pytest.approx(share, abs=1e-6)


def test_an_idle_rank_takes_the_start_and_the_prompt() -> None:
    found = sized()
    alone = replace(TARGET, rate=1e-6)
    assert found.first_token(alone) == pytest.approx(REQUEST_START + found.load.through, rel=1e-4)


def test_a_short_prompt_takes_a_step_all_the_same() -> None:
    """Every step reads the weights, however few tokens there are."""
    short = Target(10, 200, rate=1e-6)
    found = sized(short)
    assert found.first_token(short) == pytest.approx(REQUEST_START + found.load.step(1), rel=1e-4)
    assert found.load.prompt < found.load.step(1)


@pytest.mark.parametrize("first", [0.12, 0.2, 0.5, 2.0])
def test_at_the_most_rate_the_first_token_is_just_in_time(first: float) -> None:
    target = replace(TARGET, first_token=first)
    found = sized(target)
    most = found.capacity(target)
    assert most.binds is Bound.FIRST_TOKEN
    assert found.first_token(replace(target, rate=most.rate)) == pytest.approx(first)
    assert found.first_token(replace(target, rate=most.rate / 2)) < first


@given(st.floats(0.12, 10), st.floats(0.12, 10))
def test_a_longer_time_never_lowers_the_rate(first: float, second: float) -> None:
    found = sized()
    shorter, longer = (found.capacity(replace(TARGET, first_token=at)) for at in sorted((first, second)))
    assert shorter.rate <= longer.rate <= found.capacity(replace(TARGET, first_token=None)).rate


@given(st.floats(0.1, 500.0))
def test_the_least_number_of_replicas_meets_the_time(rate: float) -> None:
    target, found = replace(TARGET, rate=rate), sized()
    sizing = found.sizing(target)
    assert sizing.replicas == ceil(rate / sizing.most_rate * (1 - 1e-9))
    assert found.first_token(target) <= 0.5 * (1 + 1e-6)
    assert sizing.per_token is sizing.of_first_token is None


def test_without_a_time_the_queue_has_the_sequences_of_the_engine() -> None:
    """225 requests, and two deviations of 15, are 255: the rank works 99.8 % of the time."""
    target = replace(TARGET, first_token=None)
    found = sized(target)
    most = found.capacity(target)
    assert (most.binds, most.requests) == (Bound.PROMPTS, 225)
    assert most.rate * found.load.prompt == pytest.approx(most_share(225)) == pytest.approx(0.99778, abs=1e-5)


def test_fewer_sequences_of_the_engine_make_a_shorter_queue() -> None:
    target = replace(TARGET, first_token=None)
    few = sized(target, sequences=8).capacity(target)
    assert few.requests == 4
    assert few.rate < sized(target).capacity(target).rate


def test_prompts_stay_in_the_cache_until_decode_has_read_them() -> None:
    """Of a cache for four prompts, a single prompt is there on average; four stages hold several."""
    target = replace(TARGET, first_token=None)
    demand = a_demand(facts(LLAMA_8B), target=target)
    use = memory_use(replace(demand, context_length=2000), Layout(1, 4), *GPU)
    little = replace(use, kv_cache=4 * use.kv_cache, budget=use.needed + 3 * use.kv_cache)
    assert little.slack == 0
    found = sized(target, Layout(1, 4), use=little)
    most = found.capacity(target)
    assert most.binds is Bound.CACHE
    assert most.rate == pytest.approx(1 / found.load.through)


def test_data_ranks_take_prompts_side_by_side() -> None:
    """Each has a queue of its own."""
    target = replace(TARGET, first_token=2.0)
    both = sized(target, Layout(1, 1, data=2))
    assert both.capacity(target).rate == pytest.approx(2 * _share(both, target) / both.load.prompt)
    assert both.sizing(target).sequences % 2 == 0


def _share(found: Sized, target: Target) -> float:
    """Solve the wait for the share of time, by halving."""
    low, high, wait = 0.0, 1.0, (target.first_token or 0.0) - REQUEST_START - found.load.through
    for _ in range(60):
        middle = (low + high) / 2
        fits = found.load.prompt * middle / (2 * (1 - middle)) <= wait
        low, high = (middle, high) if fits else (low, middle)
    return low


def test_stages_work_on_several_prompts() -> None:
    """The slowest stage sets the rate, all stages the time of a prompt."""
    target = replace(TARGET, first_token=5.0)
    one, four = sized(target, Layout(4, 1), LLAMA_70B), sized(target, Layout(4, 4), LLAMA_70B)
    assert four.capacity(target).rate > 3 * one.capacity(target).rate
    assert four.load.prompt < one.load.prompt / 3
    assert four.load.through > four.load.prompt


def test_a_late_prompt_is_refused_with_its_time() -> None:
    target = replace(TARGET, first_token=0.05)
    found = sized(target)
    late = found.late(target)
    assert late == FirstTokenLate(gpu_kind(H100).product, pytest.approx(REQUEST_START + found.load.through), 0.05, 1)  # type: ignore[arg-type]
    assert isinstance(late, Cause)


@pytest.mark.parametrize("elsewhere", [0.0, 0.04, 0.2])
def test_the_time_in_decode_is_taken_from_the_wait(elsewhere: float) -> None:
    found = sized(elsewhere=elsewhere)
    same = sized(replace(TARGET, first_token=0.5 - elsewhere))
    assert found.capacity(TARGET).rate == pytest.approx(
        same.capacity(replace(TARGET, first_token=0.5 - elsewhere)).rate
    )
    assert found.first_token(TARGET) == pytest.approx(same.first_token(TARGET) + elsewhere)
    assert isinstance(sized(elsewhere=0.5).sizer.capacity(TARGET), FirstTokenLate)


def test_decode_has_no_prompts_between_its_steps() -> None:
    target = Target(2000, 200, per_token=0.02, rate=1.0)
    demand = a_demand(facts(LLAMA_8B), target=target)
    both = load_of(RankLoad, demand, target, ONE_GPU, LINKS)
    alone = load_of(DecodeLoad, demand, target, ONE_GPU, LINKS)
    for requests in (1, 8, 64):
        assert alone.per_token(requests) == both.step(requests) < both.per_token(requests)
        assert alone.rate(requests) == pytest.approx(requests / (200 * both.step(requests)))
        assert alone.first_token(requests) == REQUEST_START + 1.5 * both.step(requests)


def test_decode_works_on_as_many_requests_as_its_steps_allow() -> None:
    target = Target(2000, 200, per_token=0.012, rate=1.0)
    demand = replace(a_demand(facts(LLAMA_8B), target=target), half=Half(Role(RoleName.DECODE)))
    sizer = Sizer(demand, ONE_GPU, LINKS, memory_use(demand, ONE_GPU, *GPU), GPU)
    load = load_of(DecodeLoad, demand, target, ONE_GPU, LINKS)
    most = sizer.capacity(target)
    assert isinstance(most, Capacity)
    assert most.binds is Bound.PER_TOKEN
    assert load.per_token(most.requests) <= 0.012 < load.per_token(most.requests + 1)
    sizing = sizer.sizing(target, most)
    assert (sizing.first_token, sizing.of_first_token) == (None, load.first_token(sizing.sequences))
