"""Nodes whose product label changes back and forth: on a DGX with a display card each overwrites the other's labels.

A driver that spells the product anew changes the label once; only a return to what it was is a sign of two products.
Source: NVIDIA/k8s-device-plugin issue 731.
"""

from dataclasses import replace
from typing import Final

from shardwise.domain.fleet import Exclusion, Node
from shardwise.domain.hardware import bare_product

_KEPT: Final = 3
"""Products it takes to see one return."""


def sighted(products: tuple[str, ...], node: Node) -> tuple[str, ...]:
    """Note the product of a node behind those it had before, where it is another than the last."""
    bare = bare_product(node.product)
    if not bare or (products and products[-1] == bare):
        return products
    return (*products, bare)[-_KEPT:]


def settled(products: tuple[str, ...], node: Node) -> Node:
    """Give a node, left out where its product returned to what it had been before another."""
    if node.exclusion is not None or len(products) < _KEPT or products[0] != products[-1]:
        return node
    return replace(node, free=0, exclusion=Exclusion.UNSETTLED, detail=" and ".join(sorted(set(products))))
