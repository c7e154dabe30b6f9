"""The numbers of a plan as data: read back with everything that decides."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from tests.support.fleets import a_fleet, h100s
from tests.support.models import LLAMA_8B, a_demand
from tests.support.plans import planned
from tests.support.strategies import demands, fleets

from shardwise.domain.demand import Demand
from shardwise.domain.fleet import Fleet
from shardwise.domain.plan import Estimate, Plan
from shardwise.domain.plan_data import plan_data, read_plan
from shardwise.planner import plan


@given(demands, fleets())
def test_a_plan_is_read_back_without_notes_places_and_alternatives(demand: Demand, fleet: Fleet) -> None:
    """The estimate is in whole microseconds and tokens."""
    made = plan(demand, fleet)
    if isinstance(made, Plan):
        guess = made.estimate
        coarse = Estimate(round(guess.seconds_per_token * 1e6) / 1e6, round(guess.tokens_per_second_per_gpu))
        read = read_plan(json.loads(json.dumps(plan_data(made))))
        assert read == replace(made, groups=(), alternatives=(), notes=(), estimate=coarse)
        assert plan_data(read) == plan_data(made)


@pytest.mark.parametrize("missing", ["tensor", "memory", "rule", "product", "estimate"])
def test_data_that_lacks_a_number_that_decides_is_refused(missing: str) -> None:
    """Another version wrote it."""
    data = plan_data(planned(a_demand(LLAMA_8B), a_fleet(h100s(1))))
    del data[missing]
    with pytest.raises(KeyError):
        read_plan(data)


@pytest.mark.parametrize("field", ["ipv6", "joined"])
def test_a_field_that_hardly_any_plan_has_is_written_only_if_it_holds(field: str) -> None:
    made = planned(a_demand(LLAMA_8B), a_fleet(h100s(1)))
    assert field not in plan_data(made)
    unusual = replace(made, ipv6=field == "ipv6", joined=field == "joined")
    read = read_plan(plan_data(unusual))
    assert (read.ipv6, read.joined) == (unusual.ipv6, unusual.joined)


def test_the_resource_is_written_only_if_it_is_not_nvidias() -> None:
    made = planned(a_demand(LLAMA_8B), a_fleet(h100s(1)))
    assert "resource" not in plan_data(made)
    assert read_plan(plan_data(replace(made, resource="amd.com/gpu"))).resource == "amd.com/gpu"
