"""Node affinity with the scheduler's meaning, to the odd corners: what is absent, what is no number, what is empty."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.fleets import a_fleet, a_node
from tests.support.models import a_demand

from shardwise.domain.demand import Operator, Requirement
from shardwise.domain.exclusions import Mismatch
from shardwise.planner.affinity import matches_any
from shardwise.planner.pools import eligible

LABELS = {"rack": "7", "disks": "12", "zone": "a", "empty": ""}

MEETS: dict[str, tuple[Requirement, bool]] = {
    "in": (Requirement("zone", Operator.IN, ("a", "b")), True),
    "not among those": (Requirement("zone", Operator.IN, ("b", "c")), False),
    "in, of no label": (Requirement("row", Operator.IN, ("a",)), False),
    "in, empty": (Requirement("empty", Operator.IN, ("",)), True),
    "not in": (Requirement("zone", Operator.NOT_IN, ("b",)), True),
    "not in, and it is": (Requirement("zone", Operator.NOT_IN, ("a", "b")), False),
    "not in, of no label": (Requirement("row", Operator.NOT_IN, ("a",)), True),
    "exists": (Requirement("zone", Operator.EXISTS), True),
    "exists, empty": (Requirement("empty", Operator.EXISTS), True),
    "exists, and does not": (Requirement("row", Operator.EXISTS), False),
    "does not exist": (Requirement("row", Operator.DOES_NOT_EXIST), True),
    "does not exist, and does": (Requirement("zone", Operator.DOES_NOT_EXIST), False),
    "greater": (Requirement("disks", Operator.GREATER, ("9",)), True),
    "greater, as numbers and not as words": (Requirement("disks", Operator.GREATER, ("3",)), True),
    "greater than itself": (Requirement("disks", Operator.GREATER, ("12",)), False),
    "less": (Requirement("disks", Operator.LESS, ("13",)), True),
    "less than itself": (Requirement("disks", Operator.LESS, ("12",)), False),
    "less than below nothing": (Requirement("disks", Operator.LESS, ("-1",)), False),
    "greater, of a word": (Requirement("zone", Operator.GREATER, ("1",)), False),
    "less, of a word": (Requirement("zone", Operator.LESS, ("1",)), False),
    "greater, of no label": (Requirement("row", Operator.GREATER, ("1",)), False),
    "greater than nothing given": (Requirement("disks", Operator.GREATER), False),
}


@pytest.mark.parametrize(("requirement", "met"), MEETS.values(), ids=MEETS)
def test_a_requirement_is_met(requirement: Requirement, met: bool) -> None:
    assert matches_any(((requirement,),), LABELS) is met


IN_A = Requirement("zone", Operator.IN, ("a",))
IN_B = Requirement("zone", Operator.IN, ("b",))
HAS_RACK = Requirement("rack", Operator.EXISTS)

TERMS: dict[str, tuple[tuple[tuple[Requirement, ...], ...], bool]] = {
    "all of a term": (((IN_A, HAS_RACK),), True),
    "one of a term is not met": (((IN_B, HAS_RACK),), False),
    "one of two terms": (((IN_B,), (IN_A,)), True),
    "neither term": (((IN_B,), (IN_B, HAS_RACK)), False),
    "a term of nothing matches nothing": (((),), False),
    "a term of nothing beside one that matches": (((), (IN_A,)), True),
}


@pytest.mark.parametrize(("terms", "met"), TERMS.values(), ids=TERMS)
def test_one_term_is_enough_and_wants_all_of_its_requirements(
    terms: tuple[tuple[Requirement, ...], ...], met: bool
) -> None:
    assert matches_any(terms, LABELS) is met


labels = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["", "1", "2", "x"]))
requirements = st.builds(
    Requirement,
    st.sampled_from("abc"),
    st.sampled_from(Operator),
    st.lists(st.sampled_from(["1", "2", "x"])).map(tuple),
)


@given(labels, requirements)
def test_what_is_in_is_not_not_in(drawn: dict[str, str], one: Requirement) -> None:
    """In and NotIn, Exists and DoesNotExist leave no third."""
    opposite = {
        Operator.IN: Operator.NOT_IN,
        Operator.NOT_IN: Operator.IN,
        Operator.EXISTS: Operator.DOES_NOT_EXIST,
        Operator.DOES_NOT_EXIST: Operator.EXISTS,
    }
    if one.operator in opposite:
        other = Requirement(one.key, opposite[one.operator], one.values)
        assert matches_any(((one,),), drawn) is not matches_any(((other,),), drawn)


def test_nodes_are_chosen_by_affinity_and_the_others_counted() -> None:
    fleet = a_fleet(a_node("a", labels={"zone": "a"}), a_node("b", labels={"zone": "b"}), a_node("c"))
    found = eligible(a_demand(node_affinity=((IN_A,),)), fleet)
    assert [node.name for node in found.pools[0].nodes] == ["a"]
    assert found.excluded == ((Mismatch.NODE_AFFINITY, 2),)


def test_affinity_and_selector_must_both_hold() -> None:
    fleet = a_fleet(a_node("a", labels={"zone": "a", "rack": "1"}), a_node("b", labels={"zone": "a"}))
    found = eligible(a_demand(node_affinity=((IN_A,),), node_selector=(("rack", "1"),)), fleet)
    assert [node.name for node in found.pools[0].nodes] == ["a"]
