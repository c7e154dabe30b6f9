"""The command lines that Shardwise makes for many objects, to be given to the engines' own parsers.

Runs in the project's environment: objects are parsed, planned and launched as the operator does it.
"""

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from shardwise.api import parse, to_wanted
from shardwise.checkpoint import from_config
from shardwise.domain.engine import EngineName
from shardwise.domain.fleet import Fleet, Node
from shardwise.domain.hardware import gpu_kind
from shardwise.domain.launch import LaunchSite, Wanted
from shardwise.domain.layout import Layout
from shardwise.domain.plan import Plan
from shardwise.domain.units import GIB
from shardwise.engines import launch, problems
from shardwise.engines.mpi import FOLLOWER_COMMAND
from shardwise.engines.tensorrt_llm import OPTIONS_FILE
from shardwise.planner import plan
from shardwise.planner.data_support import data_cause
from shardwise.planner.legality import has_experts, heads

MODELS: Final = Path(__file__).parents[1] / "data" / "models"

_HOSTS: Final = tuple(f"m-0-0-{index}.m-0-0.default.svc" for index in range(64))

FLEETS: Final[Mapping[str, tuple[str, int, int, int, bool]]] = {
    "H100": ("NVIDIA-H100-80GB-HBM3", 4, 8, 80, False),
    "H200": ("NVIDIA-H200", 2, 8, 140, False),
    "GB200": ("NVIDIA-GB200", 4, 4, 185, True),
    "L40S": ("NVIDIA-L40S", 4, 4, 45, False),
}
"""Product, nodes, GPUs a node, GiB a GPU, and whether NVLink joins the nodes; by the name in `pretended.py`."""

_DATA_RANKS: Final = ("--data-parallel-size", "--attn-dp-size")
"""The words by which a command line has data ranks."""

_REDUNDANT: Final[Mapping[str, list[str]]] = {
    "vllm": ["--enable-eplb", "--eplb-config", '{"num_redundant_experts": 32}'],
    "sglang": ["--enable-eplb", "--ep-num-redundant-experts", "32"],
}
"""Arguments for redundant experts, by engine."""

_LOW_LATENCY: Final[Mapping[str, list[str]]] = {
    "vllm": ["--all2all-backend", "deepep_low_latency"],
    "sglang": ["--moe-a2a-backend", "deepep"],
}
"""Arguments for an exchange of tokens that keeps room for them."""

_VARIANTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "plain": {},
    "latency": {"objective": "latency"},
    "throughput": {"objective": "throughput"},
    "cache in fp8": {"model": {"kvCacheDtype": "fp8"}},
    "cache in bfloat16": {"model": {"kvCacheDtype": "bfloat16"}},
    "weights in fp8": {"model": {"quantization": "fp8"}},
    "whole experts": {"parallelism": {"expert": True}},
    "split experts": {"parallelism": {"expert": False}},
    "two nodes": {"parallelism": {"tensor": 8, "pipeline": 2}},
    "many nodes": {"parallelism": {"tensor": 4, "pipeline": 4}},
    "many sequences": {"model": {"concurrency": 700, "contextLength": 1024}},
    "names": {"model": {"servedName": "a served name", "trustRemoteCode": True}},
}
"""Changes of an object's spec, by name."""

_OF_EXPERTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "data ranks": {"parallelism": {"data": 8, "tensor": 1}},
    "data ranks over nodes": {"parallelism": {"data": 16, "tensor": 1}},
    "data ranks of tensor groups": {"parallelism": {"data": 4, "tensor": 4}},
    "data ranks over two nodes each": {"parallelism": {"data": 2, "tensor": 8, "pipeline": 2}},
    "data ranks with stages": {"parallelism": {"data": 4, "tensor": 2, "pipeline": 2}},
    "data ranks that split experts": {"parallelism": {"data": 4, "tensor": 2, "expert": False}},
    "data ranks, cache in fp8": {"parallelism": {"data": 8}, "model": {"kvCacheDtype": "fp8"}},
    "data ranks, many sequences": {"parallelism": {"data": 8}, "model": {"concurrency": 3000, "contextLength": 1024}},
    "cache by context beside data ranks": {"parallelism": {"data": 2, "tensor": 8, "context": 8}},
    "redundant experts": {"parallelism": {"data": 8}, "args": _REDUNDANT},
    "every pod serves": {"parallelism": {"data": 16, "tensor": 1}, "engine": {"servers": "everyPod"}},
    "a data rank on each pod that serves": {"parallelism": {"data": 2, "tensor": 8}, "engine": {"servers": "everyPod"}},
    "exchange of low latency": {"parallelism": {"data": 8}, "args": _LOW_LATENCY},
}
"""Changes for models with experts alone."""

_SLOTS: Final = {"moe_config": {"backend": "WIDEEP", "load_balancer": {"num_slots": 512}}}

_OF_TENSORRT_LLM: Final[Mapping[str, Mapping[str, Any]]] = {
    "slots for experts": {"parallelism": {"data": 8, "tensor": 1}, "engine": {"options": _SLOTS}},
    "roles": {"roles": [{"name": "prefill"}, {"name": "decode"}]},
    "roles of data ranks": {"roles": [{"name": name, "parallelism": {"data": 8}} for name in ("prefill", "decode")]},
}
"""Changes for TensorRT-LLM, whose options file holds them."""

_DIVIDED: Final[Mapping[str, Mapping[str, Any]]] = {
    "cache by two": {"parallelism": {"tensor": 8, "context": 2}},
    "cache by eight": {"parallelism": {"tensor": 8, "context": 8}},
    "cache by context in stages": {"parallelism": {"tensor": 8, "pipeline": 2, "context": 2}},
}
"""Changes for models whose cache a tensor group can divide."""


MOST_DEGREE: Final = 32
"""The largest tensor degree for which models are built."""


@dataclass(frozen=True, slots=True)
class Line:
    """A command line: the words behind the program, the model whose config the engine reads, and the product.

    ``configures``: the engine makes its configuration of the words, too. It does so for a pod that leads or that holds
    data ranks of its own. ``options`` is the text of the options file, if the engine reads one.
    """

    name: str
    gpu: str
    devices: int
    model: str
    words: tuple[str, ...]
    configures: bool
    options: str = ""

    @property
    def has_data_ranks(self) -> bool:
        """Whether the group of the line has data ranks."""
        return any(word in _DATA_RANKS for word in self.words) or "enable_attention_dp" in self.options


def configs() -> dict[str, dict[str, Any]]:
    """Give the config.json of each model of the test data, without what the project added."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(MODELS.glob("*__*.json")):
        read: dict[str, Any] = json.loads(path.read_text())
        found[path.stem.replace("__", "/", 1)] = {key: value for key, value in read.items() if not key.startswith("_")}
    return found


def degrees(model: str, config: Mapping[str, Any]) -> list[int]:
    """Give the tensor degrees worth building: those that divide the heads, and 3, which most models refuse."""
    found = heads(from_config(config, name=model, origin="tests/data/models"))
    return sorted({degree for degree in range(1, MOST_DEGREE + 1) if found % degree == 0} | {3})


def lines(engine: str) -> Iterator[Line]:
    """Give each different command line of an engine once: of the leader, the first follower and the last."""
    seen: set[tuple[str, ...]] = set()
    for (gpu, fleet), (model, config) in itertools.product(FLEETS.items(), configs().items()):
        for variant, changes in _variants(engine, model, config):
            for launched in _launched(engine, model, config, changes, _fleet(*fleet)):
                if (gpu, launched.options, *launched.words) not in seen:
                    seen.add((gpu, launched.options, *launched.words))
                    yield replace(launched, name=f"{model}, {gpu}, {variant}", gpu=gpu)


def _variants(engine: str, model: str, config: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Give the changes that are worth trying for a model: a refusal takes longer than a plan."""
    yield from _VARIANTS.items()
    facts, name = from_config(config, name=model, origin="tests/data/models"), EngineName(engine)
    if has_experts(facts):
        yield from _OF_EXPERTS.items()
    if name is EngineName.TENSORRT_LLM:
        yield from _OF_TENSORRT_LLM.items()
    yield from (
        (variant, changes)
        for variant, changes in _DIVIDED.items()
        if data_cause(facts, name, Layout(8, 1, context=changes["parallelism"]["context"]), None) is None
    )


def _launched(
    engine: str, model: str, config: Mapping[str, Any], changes: Mapping[str, Any], fleet: Fleet
) -> Iterator[Line]:
    """Give the lines of an object, of each role that it has, without names."""
    wanted = _wanted(engine, model, config, changes)
    for part in wanted.roles or (wanted,):
        found = plan(part.demand, fleet) if not problems(part) else None
        if isinstance(found, Plan):
            yield from _of_group(model, part, found)


def _of_group(model: str, wanted: Wanted, found: Plan) -> Iterator[Line]:
    group = found.groups[0]
    launched = launch(wanted, found, group, _HOSTS)
    options = next((file.text for file in launched.files if file.path == OPTIONS_FILE), "")
    holds_ranks = found.layout.data > 1 and group.pods[0].gpus >= found.layout.data_rank_gpus
    for index in sorted({0, min(1, len(launched.pods) - 1), len(launched.pods) - 1}):
        pod = launched.pods[index]
        if pod.command != FOLLOWER_COMMAND:
            words, configures = (*pod.command, *pod.args), pod.index == 0 or holds_ranks
            yield Line("", "", group.pods[index].gpus, model, words, configures, options)


def _wanted(engine: str, model: str, config: Mapping[str, Any], changes: Mapping[str, Any]) -> Wanted:
    spec: dict[str, Any] = {
        "model": {"name": model, "config": config, "contextLength": 2048, **changes.get("model", {})},
        "gpuBudget": {"total": 32},
        "engine": {"name": engine, "args": changes.get("args", {}).get(engine, []), **changes.get("engine", {})},
        **{key: value for key, value in changes.items() if key not in ("model", "args", "engine")},
    }
    manifest = {
        "apiVersion": "shardwise.dev/v1alpha1",
        "kind": "ShardedModel",
        "metadata": {"name": "m", "namespace": "default", "uid": "u"},
        "spec": spec,
    }
    facts = from_config(
        config, name=model, origin="tests/data/models", quantization=spec["model"].get("quantization", "auto")
    )
    return to_wanted(parse(manifest), facts, LaunchSite())


def _fleet(product: str, nodes: int, gpus: int, gib: int, joined: bool) -> Fleet:
    capability = gpu_kind(product).compute_capability
    named = [f"node-{index}" for index in range(nodes)]
    return Fleet(
        tuple(
            Node(
                name,
                product,
                gpus,
                gpus,
                gib * GIB,
                "rack.1" if joined else name,
                compute_capability=capability,
            )
            for name in named
        )
    )
