"""Measure how long planning takes: by nodes, by layouts, for refusals, and for many objects that share a fleet.

Needs no GPU and no cluster: ``python -m benchmarks.plan`` (about two minutes; ``--quick`` takes the small sizes only).
Times are CPU time, medians of several runs on fleets already read, so that they measure planning alone. *Fresh* empties
every cache of the planner before each run, as in the first call of a process; *warm* is any later call.
"""

import argparse
import functools
import gc
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import cycle, islice
from typing import Any

from benchmarks.timing import growth, machine, median_seconds, said, table

from shardwise.api import parse, to_wanted
from shardwise.cli.offline import plan_all
from shardwise.cli.reading import Seen
from shardwise.domain.demand import Demand, Pins
from shardwise.domain.fleet import Fleet
from shardwise.domain.plan import Plan
from shardwise.hub import model_facts
from shardwise.inventory import read_fleet
from shardwise.observe import store_of
from shardwise.observe.kinds import NODE
from shardwise.planner import plan

H100 = "NVIDIA-H100-80GB-HBM3"
MODELS = {
    "8B": "meta-llama/Llama-3.1-8B",
    "70B": "meta-llama/Llama-3.1-70B",
    "405B": "meta-llama/Llama-3.1-405B",
    "R1": "deepseek-ai/DeepSeek-R1",
}
NODES = (100, 200, 500, 1000, 2000, 5000)
OBJECTS = (50, 100, 200, 500)
RUNS = 9
"""Runs a time is the median of: odd, and enough to sit out a neighbour's burst."""


_OTHERS = {"cpu": "192", "memory": "2Ti", "ephemeral-storage": "7Ti", "pods": "110"}


def node(index: int, free: int = 8) -> dict[str, Any]:
    """Give a Node of eight H100, in racks of sixteen, as GPU feature discovery labels it."""
    labels = {
        "nvidia.com/gpu.product": H100,
        "nvidia.com/gpu.memory": "81559",
        "nvidia.com/gpu.count": "8",
        "topology.kubernetes.io/rack": f"rack-{index // 16:04}",
    }
    return {
        "kind": "Node",
        "metadata": {"name": f"node-{index:05}", "labels": labels},
        "status": {
            "allocatable": {**_OTHERS, "nvidia.com/gpu": str(free)},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def a_fleet(nodes: int, free: int = 8) -> Fleet:
    """Give a fleet, already read."""
    fleet = read_fleet([node(index) for index in range(nodes)], ())
    return replace(fleet, nodes=tuple(node._replace(free=free) for node in fleet.nodes))


def an_object(model: str, name: str = "x") -> dict[str, Any]:
    """Give a ShardedModel with 8k tokens of context."""
    return {
        "apiVersion": "shardwise.dev/v1alpha1",
        "kind": "ShardedModel",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"model": {"name": MODELS[model], "contextLength": 8192}, "gpuBudget": {"total": 64}},
    }


def a_demand(model: str, **changes: Any) -> Demand:  # noqa: ANN401 - any field of a demand
    """Give what such an object asks for."""
    read = parse(an_object(model))
    return replace(to_wanted(read, model_facts(read)).demand, **changes)


def empty_caches() -> None:
    """Forget all that the package remembers from call to call."""
    for name, module in list(sys.modules.items()):
        if name.startswith("shardwise."):
            for function in vars(module).values():
                if isinstance(function, functools._lru_cache_wrapper):  # noqa: SLF001 - there is no other way to find them
                    function.cache_clear()


def fresh_seconds(measured: Callable[[], object], runs: int = RUNS) -> float:
    """Give the median time of a call that finds no cache filled, in seconds."""
    times = []
    for _ in range(runs):
        empty_caches()
        start = time.process_time()
        measured()
        times.append(time.process_time() - start)
    return statistics.median(times)


def show(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print one table under its title."""
    print(f"\n#### {title}\n\n{table(head, rows)}")


def by_nodes(sizes: Sequence[int]) -> None:
    """Plan one object on ever more nodes."""
    fleets = {size: a_fleet(size) for size in sizes}
    rows = []
    for label in MODELS:
        calls = {size: functools.partial(plan, a_demand(label), fleet) for size, fleet in fleets.items()}
        warm = {size: median_seconds(call, RUNS) for size, call in calls.items()}
        fresh = {size: fresh_seconds(call) for size, call in calls.items()}
        for name, times in ((f"{label}, warm", warm), (f"{label}, fresh", fresh)):
            rows.append([name, *map(said, times.values()), f"N^{growth(times):.2f}"])
    show("By nodes", ["model", *(f"{size} nodes" for size in sizes), "grows as"], rows)


def by_layouts(sizes: Sequence[int]) -> None:
    """Plan one object with ever more layouts to judge: the budget is all there is."""
    rows = []
    for label in MODELS:
        times = {}
        for size in sizes:
            demand, fleet = a_demand(label, gpu_budget=8 * size), a_fleet(size)
            made = plan(demand, fleet)
            layouts = len(made.alternatives) + 1 if isinstance(made, Plan) else len(made.rejected)
            times[layouts] = fresh_seconds(functools.partial(plan, demand, fleet))
        cells = (f"{layouts}: {said(one)}" for layouts, one in times.items())
        rows.append([label, *cells, f"L^{growth(times):.2f}"])
    show("By layouts", ["model", *(f"{8 * size} GPUs" for size in sizes), "grows as"], rows)


def refusals(nodes: int) -> Iterator[tuple[str, Demand, Fleet]]:
    """Give demands that nothing serves, each for another reason."""
    whole, partly, none = a_fleet(nodes), a_fleet(nodes, 3), a_fleet(nodes, 0)
    yield "budget", a_demand("405B", gpu_budget=8), whole
    yield "room", a_demand("405B", pins=Pins(8, None, None)), partly
    yield "no free GPU", a_demand("70B"), none
    yield "memory of a long context", a_demand("405B", context_length=131072, concurrency=1000), whole
    yield "heads", a_demand("70B", pins=Pins(6, None, None)), whole
    yield "two pins", a_demand("405B", pins=Pins(6, 5, None)), whole
    yield "product", a_demand("8B", products=("NVIDIA-B300",)), whole
    yield "replicas", a_demand("70B", replicas=40), whole


def of_refusals(nodes: int) -> None:
    """Refuse, with every hint planned with."""
    rows = []
    for name, demand, fleet in refusals(nodes):
        made = plan(demand, fleet)
        hints = "planned" if isinstance(made, Plan) else str(len(made.hints))
        rows.append([name, hints, said(median_seconds(functools.partial(plan, demand, fleet), 5))])
    show(f"Refusals on {nodes} nodes", ["refused for", "hints", "takes"], rows)


def by_objects(sizes: Sequence[int], nodes: int) -> None:
    """Plan many objects in one call, as `shardwise plan` does: what one takes is gone for the next."""
    documents = tuple(node(index) for index in range(nodes))
    gc.freeze()  # as the command does, once it has read the fleet
    times, placed = {}, []
    for size in sizes:
        labels = islice(cycle(MODELS), size)
        objects = [an_object(label, f"{label.lower()}-{index}") for index, label in enumerate(labels)]
        empty_caches()
        start = time.process_time()
        answers = plan_all(objects, Seen(store_of({NODE: documents})), independent=False)
        times[size] = time.process_time() - start
        placed.append(f"{sum(answer.verdict == 'placed' for answer in answers)} placed")
    rows = [
        ["in all", *map(said, times.values()), f"M^{growth(times):.2f}"],
        ["an object", *(said(one / size) for size, one in times.items()), ""],
        ["answers", *placed, ""],
    ]
    show(f"Objects in one call on {nodes} nodes", ["", *(f"{size} objects" for size in sizes), "grows as"], rows)


def main() -> None:
    """Measure and print all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="the small sizes only")
    quick = parser.parse_args().quick
    nodes = NODES[:4] if quick else NODES
    print(f"Measured with {machine()}.")
    by_nodes(nodes)
    by_layouts((1, 2, 4, 8, 16) if quick else (1, 2, 4, 8, 16, 32, 72))
    of_refusals(nodes[-1])
    by_objects(OBJECTS[:2] if quick else OBJECTS, nodes[-1])


if __name__ == "__main__":
    main()
