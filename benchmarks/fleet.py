"""How fast the fleet is read, kept up to date and placed on: `make bench` prints the tables of benchmarks/README.md.

The nodes are the demo's, with all their labels: a third HGX H100 in racks of 16, the rest GB200 trays in racks of 18.
There are four pods for each node, of which one holds GPUs.
"""

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.timing import growth, machine, median_seconds, said, table
from tests.support.models import LLAMA_8B, LLAMA_70B, LLAMA_405B, a_demand, pinned

from shardwise.domain.demand import Demand
from shardwise.domain.fleet import Fleet
from shardwise.domain.layout import Layout
from shardwise.domain.plan import Plan
from shardwise.domain.platforms import Level
from shardwise.domain.site import FleetSite
from shardwise.inventory import Ledger, holding
from shardwise.planner import plan
from shardwise.planner.placement import place
from shardwise.planner.pools import eligible
from shardwise_sandbox.sample_nodes import gb200_tray, h100_node

Json = dict[str, Any]

SIZES = (625, 1250, 2500, 5000)
GROUPS = (8, 16, 32, 64, 128, 256, 576)
OBJECTS = 500
SITE = FleetSite(levels=(Level("rack", ("example.com/rack",)), Level("block", ("example.com/block",))))
GB200 = "NVIDIA-GB200"
H100 = "NVIDIA-H100-80GB-HBM3"


def nodes(count: int) -> list[Json]:
    """Make nodes of both kinds, in racks and blocks of eight racks."""
    return [_hgx(index) if index % 3 == 0 else _tray(index) for index in range(count)]


def _hgx(index: int) -> Json:
    rack = index // 48
    labels = {"example.com/rack": f"h{rack}", "example.com/block": f"b{rack // 8}"}
    return h100_node(f"hgx-{index:05d}", labels=labels)


def _tray(index: int) -> Json:
    rack = index // 27
    labels = {"example.com/rack": f"g{rack}", "example.com/block": f"b{rack // 8}"}
    clique = f"7b968a6d-c8aa-45e1-9e07-{rack:012x}.1"
    return gb200_tray(f"gb200-{index:05d}", clique=clique, labels=labels)


def pods(found: Sequence[Json], seed: int = 7) -> list[Json]:
    """Make four pods for each node; one of them holds some of its GPUs."""
    chance = random.Random(seed)  # noqa: S311 - the same fleet every time
    return [_pod(node, index, chance) for node in found for index in range(4)]


def _pod(node: Json, index: int, chance: random.Random) -> Json:
    name = node["metadata"]["name"]
    most = int(node["status"]["allocatable"]["nvidia.com/gpu"])
    gpus = chance.choice([0, 0, 0, 1, 2, most // 2, most]) if index == 0 else 0
    limits = {"cpu": "2", "memory": "8Gi"} | ({"nvidia.com/gpu": str(gpus)} if gpus else {})
    return {
        "metadata": {"name": f"{name}-{index}", "namespace": "team", "labels": {"app": "x"}},
        "spec": {"nodeName": name, "containers": [{"name": "main", "resources": {"limits": limits}}]},
        "status": {"phase": "Running"},
    }


def read(found: Sequence[Json], bound: Sequence[Json]) -> Ledger[str]:
    """Read a whole fleet."""
    ledger: Ledger[str] = Ledger(SITE)
    for node in found:
        ledger.put(node)
    for pod in bound:
        held = holding(pod)
        if held is not None:
            ledger.bind("", *held)
    return ledger


def reading() -> str:
    """Measure reading nodes and pods anew, as at the start and at each relist."""
    times = {}
    for count in SIZES:
        found = nodes(count)
        bound = pods(found)
        times[count] = median_seconds(lambda found=found, bound=bound: read(found, bound), 5)  # type: ignore[misc]
    rows = [[f"{count} + {4 * count}", said(seconds), said(seconds / count)] for count, seconds in times.items()]
    return table(["nodes + pods", "read anew", "a node"], rows) + f"\n\nGrows as N^{growth(times):.2f}."


def events() -> str:
    """Measure what one event costs, and a look at the fleet as if one object held nothing."""
    rows = []
    for count in SIZES:
        found = nodes(count)
        ledger = read(found, pods(found))
        ledger.plan("an object", {found[7]["metadata"]["name"]: 4, found[9]["metadata"]["name"]: 4})
        rows.append([str(count), *(said(seconds) for seconds in _events(ledger, found))])
    head = ["nodes", "a node changes", "a pod comes and goes", "a plan is made and dropped", "the fleet for one object"]
    return table(head, rows)


def _come_and_go(ledger: Ledger[str], node: str) -> None:
    ledger.bind("x", node, 2)
    ledger.bind("x", node, -2)


def _plan_and_drop(ledger: Ledger[str], node: str) -> None:
    ledger.plan("y", {node: 2})
    ledger.plan("y", {})


def _events(ledger: Ledger[str], found: Sequence[Json]) -> Iterator[float]:
    node = found[len(found) // 2]
    name = node["metadata"]["name"]
    cordoned = itertools.cycle([node | {"spec": {"unschedulable": True}}, node])
    yield median_seconds(lambda: ledger.put(next(cordoned)), 501)
    yield median_seconds(lambda: _come_and_go(ledger, name), 501)
    yield median_seconds(lambda: _plan_and_drop(ledger, name), 501)
    yield median_seconds(lambda: ledger.fleet("an object"), 101)


def placing() -> str:
    """Measure placing one group of many sizes on the largest fleet, from the sorted nodes on."""
    fleet = read(found := nodes(SIZES[-1]), pods(found)).fleet()
    rows = []
    for gpus in GROUPS:
        cells = [_placed(fleet, H100, Layout(8, gpus // 8)), _placed(fleet, GB200, Layout(8, gpus // 8))]
        cells.append(_placed(fleet, GB200, Layout(min(gpus, 32), max(1, gpus // 32))))
        rows.append([str(gpus), *cells])
    return table(["GPUs", "TP8 on H100", "TP8 on GB200", "TP32 or less on GB200"], rows)


def _placed(fleet: Fleet, product: str, layout: Layout) -> str:
    demand = a_demand(LLAMA_8B, products=(product,))

    def run() -> object:
        (pool,) = eligible(demand, fleet).pools
        return place(demand, pool, layout)

    seconds = median_seconds(run, 21)
    return said(seconds) if run() is not None else f"refused in {said(seconds)}"


PLANNED: dict[str, Demand] = {
    "Llama 8B on one GPU": a_demand(LLAMA_8B, budget=8),
    "Llama 70B": a_demand(LLAMA_70B, budget=8),
    "Llama 405B on 16 H100": a_demand(LLAMA_405B, budget=16, products=(H100,)),
    "the same in one rack": a_demand(LLAMA_405B, budget=16, products=(H100,), within="rack"),
    "eight of them": a_demand(LLAMA_405B, budget=128, products=(H100,), replicas=8),
}


def planning() -> str:
    """Measure whole plans: enumeration, memory, cost and placement, on fleets that are already read."""
    fleets = {count: read(found := nodes(count), pods(found)).fleet() for count in SIZES}
    rows = []
    for name, demand in PLANNED.items():
        times = {
            count: median_seconds(lambda demand=demand, fleet=fleet: _planned(demand, fleet), 15)  # type: ignore[misc]
            for count, fleet in fleets.items()
        }
        rows.append([name, *(said(seconds) for seconds in times.values()), f"N^{growth(times):.2f}"])
    return table(["model", *(f"{count} nodes" for count in SIZES), "grows as"], rows)


def _planned(demand: Demand, fleet: Fleet) -> Plan:
    made = plan(demand, fleet)
    if not isinstance(made, Plan):
        raise TypeError(f"{demand.key}: {made.reason}")
    return made


def sequence() -> str:
    """Measure many objects, each planned on what the others left."""
    rows = []
    for count in SIZES:
        found = nodes(count)
        objects = OBJECTS * count // SIZES[-1]
        seconds = median_seconds(lambda found=found, objects=objects: _in_sequence(found, objects), 1)  # type: ignore[misc]
        rows.append([str(count), str(objects), said(seconds), said(seconds / objects)])
    return table(["nodes", "objects", "in all", "an object"], rows)


def _in_sequence(found: Sequence[Json], objects: int) -> int:
    ledger = read(found, [])
    kinds = [(LLAMA_8B, pinned(1, 1)), (LLAMA_70B, pinned(4, 1)), (LLAMA_70B, pinned(8, 1)), (LLAMA_405B, pinned(8, 2))]
    placed = 0
    for index in range(objects):
        name, pins = kinds[index % len(kinds)]
        demand = replace(a_demand(name, budget=16, pins=pins), key=f"team/{index}")
        made = plan(demand, ledger.fleet(demand.key))
        if isinstance(made, Plan):
            placed += 1
            ledger.plan(demand.key, made.gpus_by_node())
    return placed


SECTIONS = {
    "Reading": reading,
    "Events": events,
    "Placing": placing,
    "Planning": planning,
    "Objects in sequence": sequence,
}


def main() -> None:
    """Measure all, and print it as Markdown."""
    print(f"{machine()}\n")
    for title, measure in SECTIONS.items():
        print(f"### {title}\n\n{measure()}\n", flush=True)


if __name__ == "__main__":
    main()
