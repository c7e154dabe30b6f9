"""The picture of a fleet: every GPU is there once, in its holder's colour; nothing overlaps; names are harmless."""

from collections import Counter
from collections.abc import Iterator
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.fleets import GB200, L40S, a_node, gb200_rack, h100s

from shardwise.domain.fleet import Exclusion, Node
from shardwise.domain.occupancy import Holding, Occupied
from shardwise.drawing import draw
from shardwise.drawing.colours import FREE, STRANGERS, colours
from shardwise.drawing.marks import shortened
from shardwise.drawing.picture import MARGIN, WIDTH

SVG = "{http://www.w3.org/2000/svg}"
OUT = "url(#out)"


def held(node: Node, *holdings: tuple[str, int]) -> Occupied:
    return Occupied(node, tuple(Holding(by, gpus) for by, gpus in holdings))


def drawn(*fleet: Occupied, levels: tuple[str, ...] = ()) -> ET.Element:
    return ET.fromstring(draw(fleet, levels, "Fleet", "lead"))  # noqa: S314 - our own document


def squares(picture: ET.Element) -> Iterator[tuple[ET.Element, str]]:
    """Give each GPU's square with what a pointer over it shows."""
    for group in picture.iter(f"{SVG}g"):
        title, square = group.find(f"{SVG}title"), group.find(f"{SVG}rect")
        if title is not None and square is not None:
            yield square, title.text or ""


def fills(picture: ET.Element) -> Counter[str]:
    return Counter(str(square.get("fill")) for square, _ in squares(picture))


def words(picture: ET.Element) -> list[str]:
    return [element.text or "" for element in picture.iter(f"{SVG}text")]


def test_every_gpu_is_drawn_once_in_the_colour_of_its_holder() -> None:
    one, two = h100s(2)
    picture = drawn(
        held(one, ("a/x", 3), ("", 1)), held(two._replace(free=0, exclusion=Exclusion.CORDONED), ("a/y", 2))
    )
    painted = colours(["a/x", "a/y"])
    assert fills(picture) == {painted["a/x"]: 3, STRANGERS: 1, FREE: 4, painted["a/y"]: 2, OUT: 6}


def test_a_pointer_over_a_gpu_is_told_whose_it_is() -> None:
    node = a_node("n", gpus=3)
    out = a_node("m", gpus=1)._replace(free=0, exclusion=Exclusion.FAULTY, detail="GpuNvlinkWatch")
    told = [title for _, title in squares(drawn(held(node, ("a/x", 1), ("", 1)), held(out)))]
    assert sorted(told) == ["m: reports a GPU fault (GpuNvlinkWatch)", "n: a/x", "n: free", "n: others"]


def test_a_plan_is_drawn_with_its_ranks_and_the_rest_faintly() -> None:
    """Neighbouring stages differ in strength."""
    plan = Occupied(a_node("n"), (Holding("a/x", 4, (4, 5, 6, 7), 2), Holding("a/y", 2)))
    picture = drawn(plan)
    assert [word for word in words(picture) if word.isdigit()] == ["4", "5", "6", "7"]
    told = {title: square.get("opacity") for square, title in squares(picture)}
    assert told["n: a/x, replica 0, stage 2, rank 4"] == told["n: a/x, replica 0, stage 2, rank 5"] == "1"
    assert told["n: a/x, replica 0, stage 3, rank 6"] == "0.7"
    assert told["n: a/y"] == "0.3"


def test_a_rack_is_one_card_with_a_row_for_each_tray() -> None:
    picture = drawn(*(held(tray) for tray in gb200_rack(18)))
    assert sum(word.startswith("rack-0-tray-") for word in words(picture)) == 18
    assert "rack-0" in words(picture)
    assert "72/72" in words(picture)


def test_a_node_that_is_its_own_domain_is_named_once() -> None:
    assert words(drawn(held(a_node("hgx-1")))).count("hgx-1") == 1


def test_the_legend_counts_and_the_reasons_are_listed() -> None:
    out = a_node("b")._replace(free=0, exclusion=Exclusion.NOT_READY, detail="Ready is Unknown")
    said = words(drawn(held(a_node("a"), ("n/x", 3)), held(out)))
    assert {"n/x (3)", "free (5)", "left out (8)", "Left out: 1 node", "b is not Ready (Ready is Unknown)"} <= set(said)


def test_what_does_not_fit_a_list_is_counted() -> None:
    out = [held(a_node(f"n{index}", exclusion=Exclusion.CORDONED, free=0)) for index in range(30)]
    assert "and 6 others" in words(drawn(*out))


def test_places_are_named_on_the_card() -> None:
    assert "rack r1 · zone z" in words(drawn(held(a_node(places=("r1", "z"))), levels=("rack", "zone")))


def test_cards_come_in_the_order_of_the_topology() -> None:
    nodes = [a_node(name, places=(place,)) for name, place in [("a", "r10"), ("b", "r2"), ("c", "r2")]]
    said = words(drawn(*map(held, nodes), levels=("rack",)))
    assert [word for word in said if word in {"a", "b", "c"}] == ["b", "c", "a"]


def test_a_node_without_a_product_is_drawn_as_such() -> None:
    bare = a_node("n")._replace(product="", memory=0, free=0, exclusion=Exclusion.NO_PRODUCT)
    assert any(word.startswith("No product label — 1 node, 0 of 8 GPUs free") for word in words(drawn(held(bare))))


def test_no_gpus_at_all_are_a_picture_too() -> None:
    assert "free (0)" in words(drawn())


@pytest.mark.parametrize("name", ["<script>", 'a"b', "a&b", "]]>"])
def test_names_cannot_leave_their_place(name: str) -> None:
    """Whatever stands in a label stays text."""
    picture = drawn(held(a_node(name), (name, 1)))
    assert shortened(name, 8) in words(picture)
    assert not list(picture.iter(f"{SVG}script"))


def frames(picture: ET.Element) -> list[tuple[float, float, float, float]]:
    """Give left, top, right and bottom of each card."""
    found = []
    for group in picture.iter(f"{SVG}g"):
        place = group.get("transform")
        frame = group.find(f"{SVG}rect")
        if place is not None and frame is not None:
            x, y = map(float, place.removeprefix("translate(").removesuffix(")").split(","))
            found.append((x, y, x + float(frame.get("width", 0)), y + float(frame.get("height", 0))))
    return found


nodes = st.lists(
    st.one_of(
        st.builds(lambda index, gpus: a_node(f"hgx-{index}", gpus=gpus), st.integers(0, 99), st.integers(1, 16)),
        st.builds(
            lambda rack, tray: a_node(f"r{rack}-t{tray}", product=GB200, gpus=4, domain=f"rack-{rack}" * 4),
            st.integers(0, 3),
            st.integers(0, 17),
        ),
        st.builds(lambda index: a_node(f"l40s-{index}", product=L40S, gpus=4), st.integers(0, 9)),
    ),
    max_size=40,
    unique_by=lambda node: node.name,
)


@given(nodes)
def test_cards_lie_on_the_page_and_on_no_other(found: list[Node]) -> None:
    picture = drawn(*(held(node) for node in found))
    height = float(picture.get("height", 0))
    placed = frames(picture)
    for left, top, right, bottom in placed:
        assert left >= MARGIN
        assert right <= WIDTH - MARGIN + 1
        assert bottom < height
        others = [one for one in placed if one != (left, top, right, bottom)]
        assert all(right <= a or c <= left or bottom <= b or d <= top for a, b, c, d in others)
    assert sum(fills(picture).values()) == sum(node.gpus for node in found)


def test_colours_are_the_same_for_the_same_names_and_differ_while_they_last() -> None:
    names = [f"n/m{index}" for index in range(20)]
    assert colours(reversed(names)) == colours(names)
    assert len(set(colours(names).values())) == 21


@pytest.mark.parametrize(
    ("name", "most", "short"), [("abc", 3, "abc"), ("abcdefgh", 5, "ab…gh"), ("abcdefgh", 4, "a…gh"), ("", 3, "")]
)
def test_long_names_keep_both_ends(name: str, most: int, short: str) -> None:
    assert shortened(name, most) == short


def test_a_large_fleet_is_drawn_small_and_without_numbers() -> None:
    fleet = [Occupied(node, (Holding("a/x", 8, tuple(range(8)), 8),)) for node in h100s(301)]
    picture = drawn(*fleet)
    assert not any(word.isdigit() for word in words(picture))
    assert sum(fills(picture).values()) == 8 * 301
