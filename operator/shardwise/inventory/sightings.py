"""Nodes whose product label changes back and forth: a DGX's display card and its GPUs overwrite each other's labels.

A new driver may spell the product differently and change the label once. Only a return to the old label shows that the
node has two products.
Source: NVIDIA/k8s-device-plugin issue 731.
"""

from typing import Final

from shardwise.domain.fleet import Exclusion, Node
from shardwise.domain.hardware import bare_product

_KEPT: Final = 3
"""The number of products that shows a return to an old product."""


def sighted(products: tuple[str, ...], node: Node) -> tuple[str, ...]:
    """Append the product of a node to its earlier products, if it differs from the last."""
    bare = bare_product(node.product)
    if not bare or (products and products[-1] == bare):
        return products
    return (*products, bare)[-_KEPT:]


def settled(products: tuple[str, ...], node: Node) -> Node:
    """Give the node. It is left out if its product changed and then changed back."""
    if node.exclusion is not None or len(products) < _KEPT or products[0] != products[-1]:
        return node
    return node._replace(free=0, exclusion=Exclusion.UNSETTLED, detail=" and ".join(sorted(set(products))))
