"""Why a candidate that fits loses, which of two goes first where rules leave them equal, and the rule a plan names."""

from dataclasses import replace

import pytest
from tests.support.fleets import (
    GB200,
    H100,
    H200,
    L40S,
    PRICES,
    UNKNOWN,
    a_fleet,
    a_node,
    gb200_rack,
    h100s,
    h200s,
    l40s,
    priced,
)
from tests.support.models import LLAMA_8B, LLAMA_70B, QWEN_235B_FP8, R1, Objective, a_demand, facts, pinned
from tests.support.plans import fate, planned

from shardwise.domain.demand import Demand, Pins
from shardwise.domain.layout import Layout
from shardwise.domain.model import GroupedCache
from shardwise.domain.needs import A_CHANNEL, PodNeeds
from shardwise.domain.plan import Estimate, GroupPlacement, MemoryUse, PodPlacement, Rule
from shardwise.domain.refusal import Cause, Merit, MoreGpus, Preferred, Slower, Tight
from shardwise.domain.target_causes import Dearer
from shardwise.explain.notes import note
from shardwise.planner.choose import Candidate, is_uneven, lost_because, preference, rule_of
from shardwise.planner.notes import notes
from shardwise.planner.pools import Pool, eligible

FEWEST, LATENCY, THROUGHPUT, CHEAPEST = Objective
ROOMY = MemoryUse(10, 0, 0, 0, 100)
TIGHT = MemoryUse(97, 0, 0, 0, 100)


def pool(*nodes: object, joined: bool = False) -> Pool:
    (found,) = eligible(a_demand(), a_fleet(*nodes)).pools  # type: ignore[arg-type]
    return replace(found, joined=joined)


H100_POOL, H200_POOL, L40S_POOL = pool(h100s(2)), pool(h200s(2)), pool(l40s(2))
RACK = pool(gb200_rack(4))
JOINED = pool(h100s(2), joined=True)
MIXED = pool(h100s(1), a_node("half", gpus=4))


def candidate(
    tensor: int, pipeline: int = 1, *, expert: bool = False, of: Pool = H100_POOL, tight: bool = False, **guess: float
) -> Candidate:
    speed = Estimate(guess.get("seconds", 0.01), guess.get("rate", 100.0))
    return Candidate(Layout(tensor, pipeline, expert), of, TIGHT if tight else ROOMY, speed)


FIRST: dict[str, tuple[Objective, Candidate, Candidate]] = {
    "room before NVLink": (FEWEST, candidate(16, of=JOINED), candidate(16, of=RACK, tight=True)),
    "NVLink before fewer GPUs": (FEWEST, candidate(8, 4), candidate(16, of=JOINED)),
    "even stages before fewer GPUs": (FEWEST, candidate(4, 4), candidate(4, 3)),
    "fewer GPUs before split experts": (FEWEST, candidate(2, expert=True), candidate(4)),
    "smaller GPUs before split experts": (FEWEST, candidate(4, expert=True), candidate(4, of=H200_POOL)),
    "the wider group before split experts": (FEWEST, candidate(8, expert=True), candidate(4, 2)),
    "split experts in groups of one width": (FEWEST, candidate(4, 2), candidate(4, 2, expert=True)),
    "without NVLink split experts before the faster": (
        FEWEST,
        candidate(2, 2, of=L40S_POOL, seconds=0.05),
        candidate(4, of=L40S_POOL, expert=True, seconds=0.02),
    ),
    "smaller GPUs before the wider group": (FEWEST, candidate(2, 2), candidate(4, of=H200_POOL)),
    "smaller GPUs before the faster": (
        FEWEST,
        candidate(4, of=L40S_POOL, seconds=0.02),
        candidate(4, seconds=0.01),
    ),
    "NVLink does not ask for the estimate": (FEWEST, candidate(4, seconds=0.02), candidate(2, 2, seconds=0.01)),
    "latency: smaller GPUs where all else is equal, whatever their name": (
        LATENCY,
        candidate(4, of=L40S_POOL),
        candidate(4),
    ),
    "latency: fewer stages where all else is equal": (LATENCY, candidate(4), candidate(2, 2)),
    "throughput: fewer stages where all else is equal": (THROUGHPUT, candidate(4), candidate(2, 2)),
    "throughput: room before the rate": (THROUGHPUT, candidate(4, rate=1.0), candidate(4, tight=True, rate=2.0)),
}


@pytest.mark.parametrize(("objective", "better", "worse"), FIRST.values(), ids=FIRST)
def test_a_candidate_goes_first(objective: Objective, better: Candidate, worse: Candidate) -> None:
    """docs/rules.md: room, links, even stages, GPUs, products, then what the links make fast, and experts."""
    demand = a_demand(objective=objective)
    assert preference(demand, better) < preference(demand, worse)


@pytest.mark.parametrize(
    ("layout", "of", "uneven"),
    [
        ((8, 3), MIXED, False),
        ((4, 3), MIXED, False),
        ((2, 3), MIXED, True),
        ((4, 3), H100_POOL, True),
        ((8, 6), H100_POOL, False),
        ((3, 4), H100_POOL, True),
        ((2, 4), L40S_POOL, False),
        ((4, 5), RACK, False),
        ((8, 5), RACK, True),
    ],
)
def test_stages_are_even_in_powers_of_two_and_as_whole_nodes(layout: tuple[int, int], of: Pool, uneven: bool) -> None:
    """Nodes of every size the pool has count."""
    assert is_uneven(candidate(*layout, of=of)) is uneven


CROSSING = Preferred(Merit.NVLINK_IN_TENSOR_GROUPS, GB200)
UNEVEN = Preferred(Merit.NODES_USED_EVENLY, H100)
WHOLE_EXPERTS = Preferred(Merit.EXPERTS_SPLIT, H100)
WIDER = Preferred(Merit.TENSOR_FIRST, H100)

LOST: dict[str, tuple[Objective, Candidate, Candidate, Cause]] = {
    "tight": (FEWEST, candidate(4), candidate(2, tight=True), Tight(slack=3, wanted=5)),
    "both tight: the next difference": (
        FEWEST,
        candidate(2, tight=True),
        candidate(4, tight=True),
        MoreGpus(gpus=4, chosen=2),
    ),
    "across nodes": (FEWEST, candidate(16, of=RACK), candidate(16, of=JOINED), CROSSING),
    "both across nodes": (FEWEST, candidate(16, of=JOINED), candidate(16, 2, of=JOINED), MoreGpus(32, 16)),
    "latency: three times as long": (
        LATENCY,
        candidate(8, seconds=0.01),
        candidate(4, seconds=0.03),
        Slower("time per token", 3.0),
    ),
    "throughput: half as many": (
        THROUGHPUT,
        candidate(4, 2, rate=200.0),
        candidate(8, rate=100.0),
        Slower("GPU time per token", 2.0),
    ),
    "uneven, with fewer GPUs": (FEWEST, candidate(4, 4), candidate(4, 3), UNEVEN),
    "both uneven": (FEWEST, candidate(4, 3), candidate(4, 5), MoreGpus(20, 12)),
    "more GPUs": (FEWEST, candidate(4), candidate(8), MoreGpus(gpus=8, chosen=4)),
    "experts dealt out whole": (FEWEST, candidate(4), candidate(4, expert=True), WHOLE_EXPERTS),
    "narrower, with split experts": (FEWEST, candidate(4, expert=True), candidate(2, 2), WIDER),
    "both deal experts out": (FEWEST, candidate(4, expert=True), candidate(2, 2, expert=True), WIDER),
    "the larger product": (
        FEWEST,
        candidate(4),
        candidate(4, of=H200_POOL),
        Preferred(Merit.SMALLER_GPUS, H100),
    ),
    "without NVLink the slower": (
        FEWEST,
        candidate(4, of=L40S_POOL, seconds=0.02),
        candidate(2, 2, of=L40S_POOL, seconds=0.05),
        Slower("time per token", 2.5),
    ),
    "over NVLink the narrower": (FEWEST, candidate(4), candidate(2, 2), WIDER),
}


@pytest.mark.parametrize(("objective", "chosen", "loser", "cause"), LOST.values(), ids=LOST)
def test_a_candidate_that_fits_lost_by_the_first_difference(
    objective: Objective, chosen: Candidate, loser: Candidate, cause: Cause
) -> None:
    demand = a_demand(objective=objective)
    assert preference(demand, chosen) < preference(demand, loser)
    found = lost_because(demand, chosen, loser)
    if isinstance(cause, Slower):
        assert isinstance(found, Slower)
        assert found.measure == cause.measure
        assert found.ratio == pytest.approx(cause.ratio)
    else:
        assert found == cause


@pytest.mark.parametrize("objective", Objective)
@pytest.mark.parametrize("name", [LLAMA_70B, QWEN_235B_FP8, R1])
def test_no_loser_is_told_to_be_better_than_the_chosen(objective: Objective, name: str) -> None:
    """Ratios above 1, more GPUs, less slack than wanted."""
    fleet = priced(a_fleet(h100s(1), h200s(2), l40s(2)))
    made = planned(a_demand(name, budget=16, objective=objective), fleet)
    for lost in made.alternatives:
        match lost.cause:
            case Slower(ratio=ratio):
                assert ratio >= 1
            case MoreGpus(gpus=gpus, chosen=chosen):
                assert gpus == lost.layout.world_size > chosen == made.layout.world_size
            case Dearer(cost=cost, chosen=least):
                assert cost > least == made.layout.world_size * PRICES[made.product]
            case Tight(slack=slack, wanted=wanted):
                assert 0 <= slack < wanted
            case _:
                pass


def group(*pods: tuple[str, str, int]) -> tuple[GroupPlacement, ...]:
    placed = (PodPlacement(index, node, domain, gpus, ()) for index, (node, domain, gpus) in enumerate(pods))
    return (GroupPlacement(0, tuple(placed)),)


RULES: dict[str, tuple[Pins, Pool, Layout, tuple[GroupPlacement, ...], Rule]] = {
    "one GPU": (Pins(), H100_POOL, Layout(1, 1), group(("a", "a", 1)), Rule.ONE_GPU),
    "one GPU, pinned": (pinned(1), H100_POOL, Layout(1, 1), group(("a", "a", 1)), Rule.PINNED),
    "stages pinned": (pinned(None, 2), H100_POOL, Layout(4, 2), group(("a", "a", 8)), Rule.PINNED),
    "a pinned expert split leaves the rules": (
        pinned(expert=True),
        H100_POOL,
        Layout(4, 1, expert=True),
        group(("a", "a", 4)),
        Rule.ONE_NODE,
    ),
    "one node": (Pins(), H100_POOL, Layout(8, 1), group(("a", "a", 8)), Rule.ONE_NODE),
    "stages in one node": (Pins(), H100_POOL, Layout(4, 2), group(("a", "a", 8)), Rule.STAGES_IN_NODE),
    "two pods of one node": (Pins(), H100_POOL, Layout(4, 2), group(("a", "a", 4), ("a", "a", 4)), Rule.STAGES_IN_NODE),
    "stages on two nodes": (
        Pins(),
        H100_POOL,
        Layout(8, 2),
        group(("a", "a", 8), ("b", "b", 8)),
        Rule.TENSOR_IN_NODE_PIPELINE_ACROSS,
    ),
    "stages on the trays of two racks": (
        Pins(),
        RACK,
        Layout(4, 2),
        group(("a", "rack-0", 4), ("b", "rack-1", 4)),
        Rule.TENSOR_IN_NODE_PIPELINE_ACROSS,
    ),
    "tensor groups over trays, stages over racks": (
        Pins(),
        RACK,
        Layout(8, 2),
        group(("a", "rack-0", 4), ("b", "rack-0", 4), ("c", "rack-1", 4), ("d", "rack-1", 4)),
        Rule.MULTI_NODE_NVLINK_PIPELINE_ACROSS,
    ),
    "stages on nodes without NVLink": (
        Pins(),
        L40S_POOL,
        Layout(2, 8),
        group(("a", "a", 8), ("b", "b", 8)),
        Rule.PIPELINE_ACROSS_NODES,
    ),
    "stages on two trays of a rack": (
        Pins(),
        RACK,
        Layout(4, 2),
        group(("a", "rack", 4), ("b", "rack", 4)),
        Rule.STAGES_IN_DOMAIN,
    ),
    "a tensor group on two trays": (
        Pins(),
        RACK,
        Layout(8, 1),
        group(("a", "rack", 4), ("b", "rack", 4)),
        Rule.MULTI_NODE_NVLINK,
    ),
    "tensor over PCIe": (Pins(), L40S_POOL, Layout(4, 1), group(("a", "a", 4)), Rule.TENSOR_ON_PCIE),
    "some stages over PCIe": (Pins(), L40S_POOL, Layout(2, 2), group(("a", "a", 4)), Rule.PIPELINE_ON_PCIE),
    "only stages over PCIe": (Pins(), L40S_POOL, Layout(1, 4), group(("a", "a", 4)), Rule.PIPELINE_ON_PCIE),
}


@pytest.mark.parametrize(("pins", "of", "layout", "groups", "rule"), RULES.values(), ids=RULES)
def test_the_rule_follows_from_pins_and_placement(
    pins: Pins, of: Pool, layout: Layout, groups: tuple[GroupPlacement, ...], rule: Rule
) -> None:
    assert rule_of(a_demand(pins=pins), of, layout, groups) is rule


@pytest.mark.parametrize("layout", [Layout(4, 2), Layout(1, 8)], ids=str)
def test_stages_that_fit_a_tray_use_no_nvlink_between_trays_that_takes_a_channel(layout: Layout) -> None:
    """Only a pod with a part of a stage claims a channel, so that other pods talk over the network."""
    channels = a_demand(needs=PodNeeds(in_stage=A_CHANNEL))
    groups = group(("a", "rack", 4), ("b", "rack", 4))
    assert rule_of(channels, RACK, layout, groups) is Rule.STAGES_BETWEEN_NODES


LATENT_NOTE = (
    "latent attention keeps its whole KV cache on each of the 8 GPUs of a tensor group; "
    "`spec.parallelism.data` and `spec.parallelism.context` divide it where the engine can"
)
EXPERT_NOTE = (
    "experts are shared inside a tensor group of 8; data ranks that share them over all 16 GPUs need RDMA "
    "(`launch.rdma` of the operator's configuration), or a pinned `spec.parallelism.data`"
)
CHECKED = "without NVLink, TP4×PP1 was checked against TP2×PP2: an estimated 20.0 ms a token against 30.0 ms a token"
FULL = MemoryUse(10, 60, 0, 0, 100)
MIXTURE, PLAIN, LATENT = a_demand("Qwen/Qwen3-30B-A3B"), a_demand(LLAMA_8B), a_demand(R1)
PARTLY_LATENT = replace(
    LATENT.model, kinds=(replace(LATENT.model.kinds[0], cache=GroupedCache(1, 1, 1)), *LATENT.model.kinds[1:])
)
SLOW = candidate(4, of=L40S_POOL, seconds=0.02)
RIVALS = (
    candidate(1, 4, of=L40S_POOL, seconds=0.04),
    candidate(2, 2, of=L40S_POOL, seconds=0.03),
    candidate(2, 1, of=L40S_POOL, seconds=0.01),
    candidate(2, 2, of=pool(l40s(1)), seconds=0.001),
)
NOTED: dict[str, tuple[Demand, Candidate, tuple[Candidate, ...], tuple[str, ...]]] = {
    "nothing": (PLAIN, candidate(4), (), ()),
    "the model's own notes first": (
        a_demand(replace(facts(LLAMA_8B), notes=("read off another",))),
        candidate(1, of=pool(a_node(product=UNKNOWN))),
        (),
        ("read off another", f"{UNKNOWN} is not a product Shardwise knows: no NVLink is assumed"),
    ),
    "across nodes": (
        PLAIN,
        candidate(16, of=JOINED),
        (),
        ("tensor groups of 16 cross nodes without NVLink, as pinned: every layer waits for the network twice",),
    ),
    "the best rival on as many GPUs of the same pool": (PLAIN, SLOW, (SLOW, *RIVALS), (CHECKED,)),
    "no rival but itself": (PLAIN, SLOW, (SLOW,), ()),
    "one GPU has no rival": (PLAIN, candidate(1, of=L40S_POOL), (candidate(1, expert=True, of=L40S_POOL),), ()),
    "latent attention with a large cache": (LATENT, replace(candidate(8), memory=FULL), (), (LATENT_NOTE,)),
    "where only some layers are latent": (
        replace(LATENT, model=PARTLY_LATENT),
        replace(candidate(8), memory=FULL),
        (),
        (LATENT_NOTE,),
    ),
    "latent attention on one rank": (LATENT, replace(candidate(1, 8), memory=FULL), (), ()),
    "a cache of no more than the wanted slack": (
        LATENT,
        replace(candidate(8), memory=replace(FULL, kv_cache=5)),
        (),
        (),
    ),
    "experts over nodes": (MIXTURE, candidate(8, 2), (), (EXPERT_NOTE,)),
    "experts in a node": (MIXTURE, candidate(4, 2), (), ()),
    "experts on one rank of each stage": (MIXTURE, candidate(1, 16), (), ()),
    "experts in one tensor group over trays": (MIXTURE, candidate(16, of=RACK), (), ()),
    "a dense model over nodes": (PLAIN, candidate(8, 2), (), ()),
}


@pytest.mark.parametrize(("demand", "chosen", "rivals", "expected"), NOTED.values(), ids=NOTED)
def test_a_plan_has_the_notes_it_needs_and_no_others(
    demand: Demand, chosen: Candidate, rivals: tuple[Candidate, ...], expected: tuple[str, ...]
) -> None:
    assert tuple(map(note, notes(demand, chosen, H100_POOL, rivals))) == expected


def test_a_plan_without_nvlink_is_checked_against_the_layout_that_could_not_be_placed() -> None:
    """Two groups of four are free, but in two zones: the estimate speaks of layouts, whatever is free."""
    zones = (("x", 4), ("x", 2), ("x", 2), ("y", 4))
    nodes = (
        a_node(f"n{index}", product=L40S, free=free, labels={"zone": zone}) for index, (zone, free) in enumerate(zones)
    )
    made = planned(a_demand(LLAMA_70B, context=32768, concurrency=4, within="zone"), a_fleet(nodes))
    assert str(made.layout) == "TP2×PP4"
    assert [note(noted).partition(":")[0] for noted in made.notes] == [
        "without NVLink, TP2×PP4 was checked against TP4×PP2"
    ]


def test_products_and_gpus_of_losers_are_told_apart() -> None:
    made = planned(a_demand(LLAMA_8B), a_fleet(h200s(1), gb200_rack(1)))
    assert (made.product, str(made.layout)) == (H200, "TP1×PP1")
    assert fate(made, Layout(2, 1)) == MoreGpus(2, 1)
    told = {(lost.product, lost.layout): lost.cause for lost in made.alternatives}
    assert told[GB200, Layout(1, 1)] == Preferred(Merit.SMALLER_GPUS, H200)
    assert L40S not in {lost.product for lost in made.alternatives}
