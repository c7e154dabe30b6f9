"""Plans of one build on random fleets that change event by event: a script that ``benchmarks.same_plans`` runs.

``python benchmarks/random_plans.py FIRST COUNT`` prints a digest for each fleet, of every answer on its way; with
``--show`` the answers themselves. ``PYTHONPATH`` names the build.
"""

import hashlib
import random
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any, Final

from shardwise.api import parse, to_wanted
from shardwise.domain.demand import Demand, Objective, Operator, Pins, Requirement, Toleration
from shardwise.domain.fleet import Fleet, Node
from shardwise.domain.needs import A_CHANNEL, PodNeeds
from shardwise.domain.plan import Plan
from shardwise.domain.platforms import Level
from shardwise.domain.site import FleetSite
from shardwise.hub import model_facts
from shardwise.inventory import Ledger
from shardwise.planner import most_replicas, plan

Json = dict[str, Any]

GIB: Final = 1024**3 * 1000
SITE: Final = FleetSite(levels=(Level("rack", ("example.com/rack",)), Level("block", ("example.com/block",))))
MODELS: Final = (
    "meta-llama/Llama-3.1-8B",
    "meta-llama/Llama-3.1-8B",
    "meta-llama/Llama-3.1-70B",
    "meta-llama/Llama-3.1-405B",
    "deepseek-ai/DeepSeek-R1",
)
PRODUCTS: Final = (
    ("NVIDIA-H100-80GB-HBM3", "81559", 8, ("9", "0")),
    ("NVIDIA-H200", "143771", 8, ("9", "0")),
    ("NVIDIA-L40S", "46068", 4, ("8", "9")),
    ("NVIDIA-GB200", "189471", 4, ("10", "0")),
)
TAINT: Final = {"key": "example.com/reserved", "value": "yes", "effect": "NoSchedule"}
EVENTS: Final = 6
REPLACED: Final[Any] = getattr(Node, "_replace", replace)
"""Gives a node with other values. In older builds a node is a dataclass."""


@cache
def a_model(name: str) -> Demand:
    """Give the demand of a model."""
    spec = {"model": {"name": name, "contextLength": 8192}, "gpuBudget": {"total": 64}}
    document = {"apiVersion": "shardwise.dev/v1alpha1", "kind": "ShardedModel", "metadata": {"name": "x"}, "spec": spec}
    read = parse(document | {"metadata": {"name": "x", "namespace": "default"}})
    return to_wanted(read, model_facts(read)).demand


class RandomFleet:
    """A fleet by chance, its ledger, and what happens to it."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - the same fleets every time
        self.ledger: Ledger[str] = Ledger(SITE)
        self.ledger.compute_domains = self.happens(80)
        self.products = self.chance.sample(PRODUCTS, self.chance.choice((1, 1, 2, 3)))
        self.rich = self.happens(40)
        """Whether nodes differ in other resources than GPUs."""
        self.size = self.chance.choice((3, 12, 40, 100))
        self.names = [f"n-{index}" for index in range(self.size)]
        for name in self.names:
            self.ledger.put(self.node(name))
        for name in self.names:
            if self.happens(60):
                self.bind(name)

    def happens(self, percent: int) -> bool:
        """Tell by chance whether something happens."""
        return self.chance.randrange(100) < percent

    def node(self, name: str) -> Json:
        """Give a node: mostly in a rack and a block, sometimes out of order."""
        chance, number = self.chance, int(name[2:])
        product, memory, gpus, (major, minor) = self.products[number // 6 % len(self.products)]
        labels = {
            "nvidia.com/gpu.product": product,
            "nvidia.com/gpu.memory": memory,
            "nvidia.com/gpu.count": str(gpus),
            "nvidia.com/gpu.compute.major": major,
            "nvidia.com/gpu.compute.minor": minor,
            "kubernetes.io/hostname": name,
            "team": chance.choice("ab"),
        }
        if self.happens(95):
            labels["example.com/rack"] = f"r{number // 6}"
        if self.happens(95):
            labels["example.com/block"] = f"b{number // 18}"
        if product == "NVIDIA-GB200" and self.happens(95):
            labels["nvidia.com/gpu.clique"] = (
                f"7b968a6d-c8aa-45e1-9e07-{number // 6:012x}.{chance.choice((1, 1, 1, 2))}"
            )
        offered = {"nvidia.com/gpu": str(gpus if self.happens(95) else gpus - 1)}
        if self.rich:
            offered |= {
                "cpu": chance.choice(("64", "192")),
                "memory": "1Ti",
                "rdma/ib": chance.choice("248"),
                "pods": "110",
            }
        return {
            "metadata": {"name": name, "labels": labels},
            "spec": {"taints": [TAINT]} if self.happens(10) else {},
            "status": {
                "allocatable": offered,
                "conditions": [{"type": "Ready", "status": "False" if self.happens(5) else "True"}],
            },
        }

    def bind(self, name: str) -> None:
        """Let a stranger's pod come to a node."""
        gpus = self.chance.choice((0, 0, 1, 1, 2, 4, 4, 8))
        others = (("cpu", self.chance.choice((1000, 60_000))), ("rdma/ib", 1000 * self.chance.randint(0, 2)))
        self.ledger.bind("strangers", name, gpus, others if self.rich else ())

    def event(self) -> None:
        """Let something happen to a node."""
        name = self.chance.choice(self.names)
        match self.chance.randrange(6):
            case 0:
                self.ledger.put(self.node(name))
            case 1:
                self.ledger.drop(name)
            case 2:
                self.ledger.put(self.node(f"n-{self.chance.randrange(self.size + 5)}"))
            case 3:
                self.ledger.release("strangers")
            case _:
                self.bind(name)

    def fleet(self) -> Fleet:
        """Give the fleet as an object sees it, sometimes with nodes that are kept for others."""
        fleet = self.ledger.fleet(self.chance.choice(("x", "strangers", "other")))
        if self.happens(20):
            shut = set(self.chance.sample(self.names, 2))
            nodes = tuple(REPLACED(node, free=0) if node.name in shut else node for node in fleet.nodes)
            return replace(fleet, nodes=nodes)
        return fleet

    def demand(self) -> Demand:
        """Give a demand by chance."""
        chance = self.chance
        changes: Json = {
            "key": "default/x",
            "gpu_budget": chance.choice((1, 4, 8, 16, 64, 64, 256)),
            "replicas": chance.choice((1, 1, 1, 2, 3, 7, 20)),
            "objective": chance.choice(tuple(Objective)),
            "concurrency": chance.choice((1, 1, 16, 300)),
            "context_length": chance.choice((8192, 8192, 32768)),
        }
        if self.happens(25):
            changes["pins"] = Pins(chance.choice((None, 1, 2, 4, 8, 16)), chance.choice((None, 1, 2, 3, 4)), None)
        if self.happens(30):
            changes["within"] = chance.choice(("rack", "block", "domain", "node", "team", "zone"))
        if self.happens(20):
            changes["node_selector"] = (("team", chance.choice("ab")),)
        if self.happens(10):
            racks = tuple(f"r{number}" for number in range(chance.randint(1, 6)))
            changes["node_affinity"] = ((Requirement("example.com/rack", Operator.IN, racks),),)
        if self.happens(20):
            changes["tolerations"] = (Toleration("example.com/reserved", "Exists"),)
        if self.happens(20):
            changes["products"] = (chance.choice(PRODUCTS)[0],)
        if self.happens(10):
            changes["least_context"] = 2048
        changes["needs"] = self.needs()
        return replace(a_model(chance.choice(MODELS)), **changes)

    def needs(self) -> PodNeeds:
        """Give the needs of pods besides GPUs by chance."""
        if not self.rich or self.happens(40):
            return PodNeeds(in_stage=A_CHANNEL) if self.happens(50) else PodNeeds()
        each_gpu = (("cpu", self.chance.choice((1000, 8000, 20_000))),)
        devices = (("rdma/ib", 1000 * self.chance.randint(1, 3)),)
        each_pod = (("memory", 8 * GIB), ("pods", 1000))
        if self.happens(50):
            return PodNeeds((*each_pod, *devices), each_gpu, (), A_CHANNEL)
        return PodNeeds(each_pod, each_gpu, devices, A_CHANNEL)

    def answers(self) -> Iterator[object]:
        """Plan after each event. Sometimes the plan takes its GPUs, and another object is planned."""
        for number in range(EVENTS):
            demand, fleet = self.demand(), self.fleet()
            made = plan(demand, fleet, hinted=self.happens(70))
            yield made
            if demand.replicas > 1 and self.happens(30):
                yield most_replicas(demand, fleet)
            if isinstance(made, Plan) and self.happens(50):
                self.ledger.plan(f"o{number}", made.gpus_by_node())
            for _ in range(self.chance.choice((0, 1, 1, 2, 5))):
                self.event()


def main() -> None:
    """Print what each fleet comes to."""
    first, count = int(sys.argv[1]), int(sys.argv[2])
    for seed in range(first, first + count):
        told = "\n".join(map(repr, RandomFleet(seed).answers()))
        print(f"{seed} {told if '--show' in sys.argv else hashlib.sha256(told.encode()).hexdigest()}")


if __name__ == "__main__":
    main()
