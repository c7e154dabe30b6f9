"""Tensor groups wider than any NVLink domain: never planned unasked, placed as pinned, and said to be slow."""

import pytest
from tests.support.fleets import a_fleet, gb200_rack, h100s, l40s, priced
from tests.support.models import LLAMA_8B, LLAMA_70B, LLAMA_405B, R1, Objective, a_demand, pinned
from tests.support.plans import check_capacity, check_invariants, planned, pods, refused

from shardwise.domain.fleet import Fleet
from shardwise.domain.notes import TensorAcrossNodes
from shardwise.domain.refusal import DomainTooSmall, Merit, NoRoom, Preferred

PLACED: dict[str, tuple[str, Fleet, tuple[int, int], list[int]]] = {
    "TP16 on two nodes": (LLAMA_405B, a_fleet(h100s(2)), (16, 1), [8, 8]),
    "TP16 on 8 + 4 + 4": (LLAMA_405B, a_fleet(h100s(3, free=(8, 4, 4))), (16, 1), [4, 4, 4, 4]),
    "TP16 × PP2 on four nodes": (LLAMA_405B, a_fleet(h100s(4)), (16, 2), [8, 8, 8, 8]),
    "TP16 without any NVLink": (LLAMA_70B, a_fleet(l40s(2)), (16, 1), [8, 8]),
}


@pytest.mark.parametrize(("name", "fleet", "degrees", "gpus"), PLACED.values(), ids=PLACED)
def test_a_pinned_tensor_group_may_cross_nodes(
    name: str, fleet: Fleet, degrees: tuple[int, int], gpus: list[int]
) -> None:
    """As published for clusters without multi-node NVLink; in equal shares, as engines launch."""
    made = planned(a_demand(name, budget=32, pins=pinned(*degrees)), fleet)
    assert [count for _, count in pods(made)] == gpus
    check_invariants(made, across=True)
    check_capacity(made, fleet)
    assert TensorAcrossNodes(made.layout.tensor) in made.notes


@pytest.mark.parametrize("objective", Objective)
@pytest.mark.parametrize("name", [LLAMA_8B, LLAMA_70B, LLAMA_405B, R1])
def test_no_tensor_group_crosses_nodes_unasked(name: str, objective: Objective) -> None:
    made = planned(a_demand(name, budget=32, objective=objective), priced(a_fleet(h100s(4))))
    assert made.layout.tensor <= 8
    check_invariants(made)


def test_inside_an_nvlink_rack_nothing_is_joined() -> None:
    made = planned(a_demand(R1, budget=16, pins=pinned(16)), a_fleet(gb200_rack(18)))
    check_invariants(made)
    assert not any(isinstance(noted, TensorAcrossNodes) for noted in made.notes)


def test_a_product_whose_nvlink_holds_the_group_comes_first() -> None:
    """Although its GPUs are the larger ones, which are otherwise left free."""
    made = planned(a_demand(LLAMA_405B, budget=16, pins=pinned(16)), a_fleet(h100s(2), gb200_rack(4)))
    assert made.product == "NVIDIA-GB200"
    assert made.alternatives[0].cause == Preferred(Merit.NVLINK_IN_TENSOR_GROUPS, "NVIDIA-GB200")


def test_it_is_estimated_over_the_network() -> None:
    """Slower for a token than a tensor group half as wide, inside a node, with two stages."""
    fleet = a_fleet(h100s(2))
    across = planned(a_demand(LLAMA_8B, budget=16, pins=pinned(16)), fleet)
    inside = planned(a_demand(LLAMA_8B, budget=16, pins=pinned(8, 2)), fleet)
    assert across.estimate.seconds_per_token > 2 * inside.estimate.seconds_per_token


def test_a_group_wider_than_all_nodes_is_refused_with_their_gpus() -> None:
    cause = refused(a_demand(LLAMA_405B, budget=32, pins=pinned(32)), a_fleet(h100s(2))).rejected[0].cause
    assert isinstance(cause, DomainTooSmall)
    assert (cause.tensor, cause.largest) == (32, 16)


def test_a_group_waits_where_too_few_are_free() -> None:
    refusal = refused(a_demand(LLAMA_405B, budget=16, pins=pinned(16)), a_fleet(h100s(2, free=(8, 4))))
    assert refusal.waits
    assert isinstance(refusal.rejected[0].cause, NoRoom)
