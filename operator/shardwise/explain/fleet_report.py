"""The fleet in words and as data: products, NVLink domains, nodes, and who holds which GPUs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any, Final

from shardwise.domain.fleet import Exclusion, GpuSource, Withheld
from shardwise.domain.hardware import written_capability
from shardwise.domain.occupancy import Occupied, totals
from shardwise.domain.units import gib, plural
from shardwise.explain.exclusions import exclusion, exclusion_with_detail

STRANGERS: Final = "others"
"""The name of all holders of GPUs that are not ShardedModels."""

_HELD: Final = "■"
_FREE: Final = "□"
_LOST: Final = "×"
_NO_PRODUCT: Final = "no product label"


def fleet_text(fleet: Sequence[Occupied], levels: Sequence[str]) -> str:
    """Say the fleet node by node: ■ is a held GPU, □ a free GPU, × a GPU that nobody may use."""
    return "\n".join(_lines(fleet, levels))


def fleet_document(fleet: Sequence[Occupied], levels: Sequence[str]) -> dict[str, Any]:
    """Give the fleet as JSON data. Memory is bytes per GPU. Nodes without GPUs are counted and not listed."""
    shown = with_gpus(fleet)
    return {
        "totals": {"nodes": len(shown), "nodesWithoutGpus": len(fleet) - len(shown), **asdict(totals(shown))},
        "domains": [
            _domain(name, list(nodes))
            for name, nodes in groupby(_ordered(shown), lambda occupied: occupied.node.domain)
        ],
        "nodes": [_node(occupied, levels) for occupied in shown],
    }


def with_gpus(fleet: Iterable[Occupied]) -> list[Occupied]:
    """Give the nodes that have GPUs."""
    return [occupied for occupied in fleet if occupied.node.exclusion is not Exclusion.NO_GPUS]


def summary(fleet: Sequence[Occupied]) -> str:
    """Count nodes and GPUs, in a single line."""
    found = totals(fleet)
    held = f", {found.held} held" if found.held else ""
    lost = f", {found.lost} left out" if found.lost else ""
    return f"{plural(len(fleet), 'node')}, {plural(found.gpus, 'GPU')}: {found.free} free{held}{lost}"


def _ordered(fleet: Iterable[Occupied]) -> list[Occupied]:
    return sorted(fleet, key=lambda occupied: (occupied.node.product, occupied.node.domain, occupied.node.name))


def _lines(fleet: Sequence[Occupied], levels: Sequence[str]) -> Iterator[str]:
    shown = with_gpus(fleet)
    yield summary(shown)
    width = max((len(occupied.node.name) for occupied in shown), default=0)
    bars = max((occupied.node.gpus for occupied in shown), default=0)
    for product, members in groupby(_ordered(shown), lambda occupied: occupied.node.product):
        nodes = list(members)
        yield f"{product or _NO_PRODUCT} ({gib(nodes[0].node.memory)} a GPU): {summary(nodes)}"
        for name, inside in groupby(nodes, lambda occupied: occupied.node.domain):
            yield from _domain_lines(name, list(inside), levels, width, bars)
    if len(shown) < len(fleet):
        yield f"and {plural(len(fleet) - len(shown), 'node')} without GPUs"


def _domain_lines(name: str, nodes: Sequence[Occupied], levels: Sequence[str], width: int, bars: int) -> Iterator[str]:
    """Write the domain's name above its nodes, unless a node is its own domain."""
    alone = name == nodes[0].node.name
    if not alone:
        yield f"  NVLink domain {name}: {summary(nodes)}{_places(nodes[0], levels)}"
    for occupied in nodes:
        said = [
            f"{occupied.free} of {occupied.node.gpus} free",
            *_holders(occupied),
            exclusion_with_detail(occupied),
            *map(_withheld, occupied.node.withheld),
            _SOURCES[occupied.node.source],
        ]
        indent = "  " if alone else "    "
        rest = "   ".join(part for part in said if part) + (_places(occupied, levels) if alone else "")
        yield f"{indent}{occupied.node.name:<{width}}  {_bar(occupied):<{bars}}  {rest}"


def _places(occupied: Occupied, levels: Sequence[str]) -> str:
    named = ", ".join(f"{level} {place}" for level, place in zip(levels, occupied.node.places, strict=False) if place)
    return f"   in {named}" if named else ""


def _bar(occupied: Occupied) -> str:
    held = min(occupied.held, occupied.node.gpus)
    return _HELD * held + _FREE * occupied.free + _LOST * (occupied.node.gpus - held - occupied.free)


def _holders(occupied: Occupied) -> Iterator[str]:
    return (f"{holding.by or STRANGERS} {holding.gpus}" for holding in occupied.holdings)


_SOURCES: Final = {
    GpuSource.DEVICE_PLUGIN: "",
    GpuSource.DRA: "by DRA",
    GpuSource.BOTH: "by device plugin and DRA",
}
_WITHHELD: Final = {
    Exclusion.TAINTED: "tainted",
    Exclusion.SHARED: "shared",
    Exclusion.PARTITIONED: "in partitions",
    Exclusion.INCOMPLETE: "of an incomplete pool",
}


def _withheld(withheld: Withheld) -> str:
    return f"{plural(withheld.gpus, 'GPU')} {_WITHHELD[withheld.reason]} ({withheld.detail})"


def _domain(name: str, nodes: Sequence[Occupied]) -> dict[str, Any]:
    return {
        "name": name,
        "product": nodes[0].node.product,
        "nodes": [occupied.node.name for occupied in nodes],
        **asdict(totals(nodes)),
    }


def _node(occupied: Occupied, levels: Sequence[str]) -> Mapping[str, Any]:
    node = occupied.node
    excluded = None if node.exclusion is None else {"reason": exclusion(node.exclusion), "detail": node.detail}
    return {
        "name": node.name,
        "product": node.product,
        "resource": node.resource,
        "memory": node.memory,
        "computeCapability": None if node.compute_capability is None else written_capability(node.compute_capability),
        "domain": node.domain,
        "places": {level: place for level, place in zip(levels, node.places, strict=False) if place},
        "gpus": node.gpus,
        "free": occupied.free,
        "held": [{"by": holding.by or None, "gpus": holding.gpus} for holding in occupied.holdings],
        "excluded": excluded,
        "offeredBy": node.source.value,
        "withheld": [
            {"gpus": withheld.gpus, "reason": _WITHHELD[withheld.reason], "detail": withheld.detail}
            for withheld in node.withheld
        ],
    }
