"""The CPU seconds of one build for the cases of ``benchmarks.against``: a script that any build since f49441d can run.

``python benchmarks/probe.py CASE NODES`` prints a JSON object of seconds by name. ``PYTHONPATH`` names the build. The
script imports nothing of this repository but the build, and only names that all these builds have.
"""

import gc
import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from shardwise.api import parse, to_wanted
from shardwise.domain.demand import Demand, Pins
from shardwise.domain.fleet import Fleet
from shardwise.hub import model_facts
from shardwise.inventory import Ledger
from shardwise.planner import plan

Json = dict[str, Any]
Seconds = dict[str, float]

H100 = "NVIDIA-H100-80GB-HBM3"
MODELS = {
    "8B": "meta-llama/Llama-3.1-8B",
    "70B": "meta-llama/Llama-3.1-70B",
    "405B": "meta-llama/Llama-3.1-405B",
    "R1": "deepseek-ai/DeepSeek-R1",
}
RUNS = 9
OBJECTS = 500
PODS_EACH = 4


def node(index: int) -> Json:
    """Give a Node of eight H100, in racks of sixteen."""
    labels = {
        "kubernetes.io/hostname": f"node-{index:05}",
        "nvidia.com/gpu.product": H100,
        "nvidia.com/gpu.memory": "81559",
        "nvidia.com/gpu.count": "8",
        "topology.kubernetes.io/rack": f"rack-{index // 16:04}",
    }
    offered = {"cpu": "192", "memory": "2Ti", "ephemeral-storage": "7Ti", "pods": "110", "nvidia.com/gpu": "8"}
    return {
        "kind": "Node",
        "metadata": {"name": f"node-{index:05}", "labels": labels, "resourceVersion": "1"},
        "status": {"allocatable": offered, "conditions": [{"type": "Ready", "status": "True"}]},
    }


def pod(index: int, place: int) -> Json:
    """Give the pod of a node; the first of them holds a GPU or more of every second node."""
    gpus = (index // 2) % 8 + 1 if place == 0 and index % 2 == 0 else 0
    requests = {"cpu": "2", "memory": "8Gi"} | ({"nvidia.com/gpu": str(gpus)} if gpus else {})
    return {
        "kind": "Pod",
        "metadata": {"name": f"pod-{index:05}-{place}", "namespace": "team", "labels": {}, "resourceVersion": "1"},
        "spec": {"nodeName": f"node-{index:05}", "containers": [{"name": "main", "resources": {"limits": requests}}]},
        "status": {"phase": "Running"},
    }


def an_object(model: str, name: str = "x") -> Json:
    """Give a ShardedModel with 8k tokens of context."""
    return {
        "apiVersion": "shardwise.dev/v1alpha1",
        "kind": "ShardedModel",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"model": {"name": MODELS[model], "contextLength": 8192}, "gpuBudget": {"total": 64}},
    }


def a_demand(model: str, **changes: object) -> Demand:
    """Give the demand of such an object."""
    read = parse(an_object(model))
    return replace(to_wanted(read, model_facts(read)).demand, **changes)  # type: ignore[arg-type]


def a_ledger(nodes: int, held: int = 0) -> Ledger[str]:
    """Read nodes of which somebody holds so many GPUs each."""
    ledger: Ledger[str] = Ledger()
    for index in range(nodes):
        ledger.put(node(index))
        ledger.bind("strangers", f"node-{index:05}", held)
    return ledger


def median(run: Callable[[], object], before: Callable[[], object] = lambda: None) -> float:
    """Give the median CPU seconds of a call, once it has run. ``before`` runs before each call, and does not count."""
    run()
    times = []
    for _ in range(RUNS):
        before()
        begun = time.process_time()
        run()
        times.append(time.process_time() - begun)
    return statistics.median(times)


def planning(nodes: int) -> Seconds:
    """Plan an object after an event: between two plans, a pod of a stranger came or went."""
    ledger, turn = a_ledger(nodes), iter(range(10**6))

    def event() -> None:
        ledger.bind("strangers", f"node-{nodes // 2:05}", 1 if next(turn) % 2 == 0 else -1)

    demands = {name: a_demand(name) for name in MODELS}
    return {name: median(lambda d=d: plan(d, ledger.fleet("x")), event) for name, d in demands.items()}  # type: ignore[misc]


def first(nodes: int) -> Seconds:
    """Plan an object for the first time in a process: every cache is empty."""
    ledger, demand = a_ledger(nodes), a_demand("405B")
    fleet, begun = ledger.fleet("x"), time.process_time()
    plan(demand, fleet)
    return {"405B": time.process_time() - begun}


def refusals(nodes: int) -> Seconds:
    """Refuse an object, with its hints, after an event."""
    found = {}
    for name, demand, ledger in refused(nodes):
        turn = iter(range(10**6))

        def event(ledger: Ledger[str] = ledger, turn: Iterator[int] = turn) -> None:
            ledger.bind("strangers", f"node-{nodes // 2:05}", 1 if next(turn) % 2 == 0 else -1)

        found[name] = median(lambda d=demand, of=ledger: plan(d, of.fleet("x")), event)  # type: ignore[misc]
    return found


def refused(nodes: int) -> Iterator[tuple[str, Demand, Ledger[str]]]:
    """Give demands that nothing serves, each for another reason, and the ledger of their fleet."""
    whole, partly, full = a_ledger(nodes), a_ledger(nodes, 5), a_ledger(nodes, 8)
    yield "budget", a_demand("405B", gpu_budget=8), whole
    yield "room", a_demand("405B", pins=Pins(8, None, None)), partly
    yield "no free GPU", a_demand("70B"), full
    yield "memory of a long context", a_demand("405B", context_length=131072, concurrency=1000), whole
    yield "heads", a_demand("70B", pins=Pins(6, None, None)), whole
    yield "two pins", a_demand("405B", pins=Pins(6, 5, None)), whole
    yield "product", a_demand("8B", products=("NVIDIA-B300",)), whole
    yield "replicas", a_demand("70B", replicas=40), whole


def sequence(nodes: int) -> Seconds:
    """Plan many objects in a call, as ``shardwise plan`` does: each takes its GPUs. Reading the nodes counts."""
    names = list(MODELS)
    found = {}
    for count in (OBJECTS // 10, OBJECTS * 2 // 5, OBJECTS):
        objects = [an_object(names[index % len(names)], f"o-{index}") for index in range(count)]
        documents = tuple(map(node, range(nodes)))
        gc.collect()
        gc.freeze()
        begun = time.process_time()
        answers = _planned(objects, documents)
        found[str(count)] = time.process_time() - begun
        if any(answer.verdict != "placed" for answer in answers):
            raise RuntimeError("an object of the sequence has no place")
    return found


def _planned(objects: list[Json], documents: tuple[Json, ...]) -> list[Any]:
    plan_all = importlib.import_module("shardwise.cli.offline").plan_all
    try:
        seen = importlib.import_module("shardwise.cli.snapshot").Snapshot(documents, ())
    except ModuleNotFoundError:
        observe, kinds = (importlib.import_module(f"shardwise.observe{rest}") for rest in ("", ".kinds"))
        seen = importlib.import_module("shardwise.cli.reading").Seen(observe.store_of({kinds.NODE: documents}))
    answers: list[Any] = plan_all(objects, seen, independent=False)
    return answers


def reading(nodes: int) -> Seconds:
    """Take nodes and their pods in, as at the start of the operator, and give the fleet."""
    documents = [node(index) for index in range(nodes)]
    pods = [pod(index, place) for index in range(nodes) for place in range(PODS_EACH)]
    return {"nodes and pods": median(lambda: _read(documents, pods))}


def _read(documents: list[Json], pods: list[Json]) -> Fleet:
    try:
        store = importlib.import_module("shardwise.observe").Store()
    except ModuleNotFoundError:
        store = importlib.import_module("shardwise.controller.store").Store()
    for document in documents:
        store.nodes.put(document)
    for document in pods:
        store.pods.put(document)
    fleet: Fleet = store.fleet()
    return fleet


CASES = {"planning": planning, "first": first, "refusals": refusals, "sequence": sequence, "reading": reading}


def main() -> None:
    """Measure a case, and print it."""
    case, nodes = sys.argv[1:]
    print(json.dumps(CASES[case](int(nodes))))


if __name__ == "__main__":
    main()
