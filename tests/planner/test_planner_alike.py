"""Which nodes are alike: every field of a node makes another class, or is named here with the reason why not."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.fleets import H100, H200, a_fleet, a_node
from tests.support.models import LLAMA_8B, a_demand

from shardwise.domain.demand import Demand, Operator, QueueOffer, Requirement, Toleration
from shardwise.domain.exclusions import (
    ClaimsUnread,
    LeftOut,
    Mismatch,
    NoFlavor,
    NoLabel,
    NoPlace,
    OtherVendor,
    TooSmall,
    Untolerated,
)
from shardwise.domain.fleet import AMD, Exclusion, Fleet, GpuSource, Node, Taint, Withheld
from shardwise.domain.needs import PodNeeds
from shardwise.planner.alike import Classes
from shardwise.planner.pools import usable

NODE = a_node("a", labels={"team": "blue"}, places=("r1", "b1"))
LEVELS = ("rack", "block")
KEPT = Taint("kept", "yes", "NoSchedule")
SPARE = ((Requirement("zone", Operator.IN, ("spare",)), Requirement("rank", Operator.IN, ("1",))),)
OFFERED = QueueOffer("team", ((("rank", "1"), ("zone", "spare")),))

APART: dict[str, dict[str, Any]] = {
    "product": {"product": H200},
    "resource": {"resource": AMD},
    "gpus": {"gpus": 4},
    "memory": {"memory": 2**33},
    "compute_capability": {"compute_capability": (8, 0)},
    "ipv6": {"ipv6": True},
    "exclusion": {"exclusion": Exclusion.CORDONED},
    "taints": {"taints": (KEPT,)},
    "allocatable": {"allocatable": (("cpu", 1000),)},
}
"""Fields that make another class for every demand."""

ALIKE: dict[str, dict[str, Any]] = {
    "name": {"name": "b"},
    "domain": {"domain": "clique"},
    "free": {"free": 0},
    "taken": {"taken": (("cpu", 1000),)},
    "detail": {"detail": "Ready is False"},
    "source": {"source": GpuSource.DRA},
    "withheld": {"withheld": (Withheld(Exclusion.TAINTED, 1),)},
}
"""Fields that make no other class.

Placing looks at names, domains and what is free or taken. The rest is told, and decides nothing.
"""

FOR_SOME: dict[str, tuple[Demand, dict[str, Any]]] = {
    "labels": (a_demand(LLAMA_8B, node_selector=(("team", "blue"),)), {"labels": (("team", "red"),)}),
    "places": (a_demand(LLAMA_8B, within="rack"), {"places": ("", "b1")}),
}
"""Fields that make another class for demands that ask for them."""


def class_of(node: Node, demand: Demand | None = None) -> object:
    return Classes(demand or a_demand(LLAMA_8B), a_fleet([node], levels=LEVELS)).of(node)


@pytest.mark.parametrize("change", APART.values(), ids=APART)
def test_nodes_that_differ_in_what_decides_are_not_alike(change: dict[str, Any]) -> None:
    assert class_of(NODE._replace(**change)) != class_of(NODE)


@pytest.mark.parametrize("change", ALIKE.values(), ids=ALIKE)
def test_nodes_that_differ_in_nothing_that_decides_are_alike(change: dict[str, Any]) -> None:
    assert class_of(NODE._replace(**change)) == class_of(NODE)


@pytest.mark.parametrize(("demand", "change"), FOR_SOME.values(), ids=FOR_SOME)
def test_labels_and_places_matter_to_demands_that_ask_for_them(demand: Demand, change: dict[str, Any]) -> None:
    other = NODE._replace(**change)
    assert class_of(other) == class_of(NODE)
    assert class_of(other, demand) != class_of(NODE, demand)


def test_every_field_of_a_node_is_said_to_decide_or_not() -> None:
    """Whether two nodes that differ in a new field may be taken for each other has to be looked at."""
    said = {*APART, *ALIKE, *FOR_SOME}
    assert set(Node._fields) == said


LABELS: dict[str, tuple[dict[str, Any], dict[str, str], bool]] = {
    "a label that nobody asks for": ({}, {"hostname": "b"}, True),
    "a label that a selector asks for": ({"node_selector": (("team", "blue"),)}, {"team": "red"}, False),
    "a label beside it": ({"node_selector": (("team", "blue"),)}, {"team": "blue", "x": "y"}, True),
    "a label that a term asks for": (
        {"node_affinity": ((Requirement("team", Operator.EXISTS),),)},
        {"team": "red"},
        False,
    ),
    "a label of a second term": (
        {"node_affinity": ((Requirement("zone", Operator.EXISTS),), (Requirement("team", Operator.EXISTS),))},
        {"team": "red"},
        False,
    ),
    "a label less": ({"node_selector": (("team", "blue"),)}, {}, False),
    "another place at a level": ({"within": "rack"}, {"team": "blue"}, True),
    "a label that groups must share": ({"within": "team"}, {}, False),
    "another value of a label that groups must share": ({"within": "team"}, {"team": "red"}, True),
}


@pytest.mark.parametrize(("change", "labels", "alike"), LABELS.values(), ids=LABELS)
def test_only_labels_that_a_demand_asks_for_make_another_class(
    change: dict[str, Any],
    labels: dict[str, str],
    alike: bool,
) -> None:
    demand = a_demand(LLAMA_8B, **change)
    other = NODE._replace(labels=tuple(sorted(labels.items())), places=("r2", "b1"))
    assert (class_of(other, demand) == class_of(NODE, demand)) == alike


DECIDED: dict[str, tuple[dict[str, Any], dict[str, Any], LeftOut | None]] = {
    "a node for all": ({}, {}, None),
    "a node out of order": ({}, {"exclusion": Exclusion.FAULTY}, Exclusion.FAULTY),
    "out of order before another product": (
        {"products": (H200,)},
        {"exclusion": Exclusion.FAULTY},
        Exclusion.FAULTY,
    ),
    "GPUs that only claims count": (
        {"needs": PodNeeds(claims=True)},
        {"exclusion": Exclusion.OFFERS_NONE},
        ClaimsUnread("nvidia.com/gpu"),
    ),
    "another product": ({"products": (H200,)}, {}, Mismatch.UNLISTED_PRODUCT),
    "a product spelled by an old driver": ({"products": ("H100-80GB-HBM3",)}, {}, None),
    "another vendor": ({}, {"resource": AMD}, OtherVendor(AMD)),
    "another vendor with a product and an image": ({"products": (H100,), "own_image": True}, {"resource": AMD}, None),
    "another vendor with an image alone": ({"own_image": True}, {"resource": AMD}, OtherVendor(AMD)),
    "a label": ({"node_selector": (("team", "red"),)}, {}, Mismatch.NODE_SELECTOR),
    "a label before a term": (
        {
            "node_selector": (("team", "red"),),
            "node_affinity": ((Requirement("zone", Operator.EXISTS),),),
        },
        {},
        Mismatch.NODE_SELECTOR,
    ),
    "a term": ({"node_affinity": ((Requirement("zone", Operator.EXISTS),),)}, {}, Mismatch.NODE_AFFINITY),
    "a term that the node meets": ({"node_affinity": ((Requirement("team", Operator.EXISTS),),)}, {}, None),
    "no flavour": ({"node_affinity": SPARE, "offered": OFFERED}, {}, NoFlavor("team", ("rank=1,zone=spare",))),
    "a flavour whose node does not meet the object's own term": (
        {"node_affinity": ((Requirement("age", Operator.EXISTS), *SPARE[0]),), "offered": OFFERED},
        {"labels": (("rank", "1"), ("zone", "spare"))},
        Mismatch.NODE_AFFINITY,
    ),
    "no place at a level": ({"within": "rack"}, {"places": ("", "b1")}, NoPlace("rack")),
    "a place at a level": ({"within": "rack"}, {}, None),
    "no label to share": ({"within": "example.com/pod"}, {}, NoLabel("example.com/pod")),
    "a level that nobody configured": ({"within": "row"}, {}, NoLabel("row", ("node", "domain", *LEVELS))),
    "a place before a taint": ({"within": "rack"}, {"places": ("", ""), "taints": (KEPT,)}, NoPlace("rack")),
    "a taint": ({}, {"taints": (KEPT,)}, Untolerated(KEPT)),
    "a taint that is tolerated": ({"tolerations": (Toleration("kept", "Exists"),)}, {"taints": (KEPT,)}, None),
    "a taint that only advises": ({}, {"taints": (Taint("kept", "yes", "PreferNoSchedule"),)}, None),
    "the taint of GPU operators": ({}, {"taints": (Taint("nvidia.com/gpu", "", "NoSchedule"),)}, None),
    "the first of two taints": ({}, {"taints": (KEPT, Taint("other", "", "NoExecute"))}, Untolerated(KEPT)),
    "a taint before too few cores": (
        {"needs": PodNeeds(each_pod=(("cpu", 2000),))},
        {"taints": (KEPT,), "allocatable": (("cpu", 1000),)},
        Untolerated(KEPT),
    ),
    "too few cores": (
        {"needs": PodNeeds(each_pod=(("cpu", 2000),))},
        {"allocatable": (("cpu", 1000),)},
        TooSmall("cpu", 2000, 1000),
    ),
    "cores that others have taken": (
        {"needs": PodNeeds(each_pod=(("cpu", 2000),))},
        {"allocatable": (("cpu", 2000),), "taken": (("cpu", 2000),)},
        None,
    ),
}


@pytest.mark.parametrize(("change", "node", "why"), DECIDED.values(), ids=DECIDED)
def test_a_class_has_the_first_reason_against_its_nodes(
    change: dict[str, Any], node: dict[str, Any], why: LeftOut | None
) -> None:
    demand, changed = a_demand(LLAMA_8B, **change), NODE._replace(**node)
    fleet = a_fleet([changed], levels=LEVELS)
    classes = Classes(demand, fleet)
    assert classes.why_not(classes.of(changed)) == why
    assert usable(demand, fleet)(changed) == (why is None)


NODES = st.builds(
    lambda change, name, free: NODE._replace(name=name, free=free, **change),
    st.sampled_from([{}, *APART.values(), {"labels": ()}, {"places": ("", "")}]),
    st.sampled_from("ab"),
    st.integers(0, 8),
)
DEMANDS = st.sampled_from([change for change, _, _ in DECIDED.values()])


@given(NODES, NODES, DEMANDS)
def test_nodes_that_are_alike_have_the_same_reason_against_them(one: Node, other: Node, change: dict[str, Any]) -> None:
    """Each asked on its own."""
    demand, fleet = a_demand(LLAMA_8B, **change), Fleet((one,), LEVELS)
    mine, theirs = Classes(demand, fleet), Classes(demand, fleet)
    if mine.of(one) == theirs.of(other):
        assert mine.why_not(mine.of(one)) == theirs.why_not(theirs.of(other))
    else:
        assert one != other
