"""A node whose product label comes and goes is left out; one whose driver spells it anew is not."""

from functools import reduce

import pytest
from tests.support.fleets import a_node

from shardwise.domain.fleet import Exclusion
from shardwise.inventory import settled, sighted

DISPLAY, A100, OLD, H100 = "NVIDIA-DGX-Display", "NVIDIA-A100-SXM4-80GB", "A100-SXM4-80GB", "NVIDIA-H100-80GB-HBM3"

HISTORIES: dict[str, tuple[list[str], bool]] = {
    "never seen": ([], False),
    "always the same": ([A100, A100, A100, A100], False),
    "changed once": ([DISPLAY, A100, A100], False),
    "another board was built in": ([A100, H100], False),
    "a driver spells it anew and back": ([OLD, A100, OLD, A100], False),
    "partitioned and whole again": ([A100, f"{A100}-MIG-1g.10gb", A100], False),
    "shared and whole again": ([A100, f"{A100}-SHARED", A100], False),
    "the label was gone for a while": ([A100, "", A100], False),
    "there and back": ([A100, DISPLAY, A100], True),
    "and it stays so": ([A100, DISPLAY, A100, A100, A100], True),
    "once more": ([A100, DISPLAY, A100, DISPLAY], True),
    "a third": ([A100, DISPLAY, H100], False),
}


@pytest.mark.parametrize(("products", "flaps"), HISTORIES.values(), ids=HISTORIES)
def test_a_product_that_returns_is_a_sign_of_two(products: list[str], flaps: bool) -> None:
    nodes = [a_node(product=product, memory_mib=1) for product in products]
    none: tuple[str, ...] = ()
    seen = reduce(sighted, nodes, none)
    last = settled(seen, nodes[-1] if nodes else a_node())
    assert (last.exclusion is Exclusion.UNSETTLED) is flaps
    assert last.free == (0 if flaps else 8)
    assert last.detail == ("A100-SXM4-80GB and DGX-Display" if flaps else "")


def test_a_node_that_is_out_for_another_reason_keeps_it() -> None:
    broken = a_node(exclusion=Exclusion.FAULTY)
    assert settled(("a", "b", "a"), broken) is broken
