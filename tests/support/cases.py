"""Demands and fleets whose plans and refusals, taken together, say everything there is to say."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from tests.support.fleets import (
    A100,
    B200,
    H100,
    H200,
    L40S,
    RTX_PRO,
    T4,
    UNKNOWN,
    a_fleet,
    a_node,
    gb200_rack,
    h100s,
    h200s,
    l40s,
    priced,
)
from tests.support.models import (
    KIMI_K2,
    LLAMA_8B,
    LLAMA_70B,
    LLAMA_405B,
    QWEN_235B_FP8,
    R1,
    Dense,
    Mixed,
    Objective,
    a_demand,
    a_model,
    attention,
    facts,
    pinned,
)
from tests.support.role_cases import REFUSED_ROLES

from shardwise.domain.demand import Demand, Pins
from shardwise.domain.engine import EngineName
from shardwise.domain.fleet import Exclusion, Fleet, Node, Taint
from shardwise.domain.model import CheckpointMethod, Precision, Quantization, TowerHeads
from shardwise.domain.needs import PodNeeds
from shardwise.domain.target import Target
from shardwise.domain.units import GIB

Case = tuple[Demand, Fleet]

ML = Taint("team", "ml", "NoSchedule")
RACKS = a_fleet(a_node("a", labels={"rack": "1", "zone": "z"}), a_node("b", labels={"rack": "2", "zone": "z"}))


def in_levels(fleet: Fleet, *levels: str) -> Fleet:
    """Give a fleet whose nodes have a place at each level, by the label of that name."""
    nodes = (node._replace(places=tuple(dict(node.labels).get(level, "") for level in levels)) for node in fleet.nodes)
    return replace(fleet, nodes=tuple(nodes), levels=levels)


RDMA = PodNeeds(in_group=(("rdma/ib", 1_000),))


def with_rdma(nodes: Iterable[Node]) -> tuple[Node, ...]:
    """Give nodes with a device for each pod of a group."""
    return tuple(node._replace(allocatable=(("rdma/ib", 8_000),)) for node in nodes)


TIMED = Target(2000, 400, per_token=0.03, rate=30)

PLANNED: Mapping[str, Case] = {
    "a target, and the fewest GPUs": (a_demand(LLAMA_8B, budget=16, target=TIMED), a_fleet(h100s(1), h200s(1))),
    "a target, and the lowest price": (
        a_demand(LLAMA_8B, budget=16, target=TIMED, objective=Objective.CHEAPEST),
        priced(a_fleet(h100s(1), h200s(1)), {H100: 1.0, H200: 6.0}),
    ),
    "a time for a number of sequences": (
        a_demand(LLAMA_8B, concurrency=16, replicas=2, target=Target(4000, 200, first_token=1.0)),
        a_fleet(h100s(1)),
    ),
    "data ranks": (a_demand(R1, objective=Objective.THROUGHPUT), a_fleet(h200s(1))),
    "data ranks over RDMA": (
        a_demand(KIMI_K2, objective=Objective.THROUGHPUT, budget=16, needs=RDMA),
        a_fleet(with_rdma(h200s(2))),
    ),
    "data ranks, as pinned": (a_demand(R1, pins=Pins(data=16, tensor=1), budget=16), a_fleet(h200s(2))),
    "one GPU": (a_demand(LLAMA_8B), a_fleet(h100s(1))),
    "tensor in a node": (a_demand(LLAMA_70B), a_fleet(h100s(1))),
    "for latency": (a_demand(LLAMA_70B, objective=Objective.LATENCY), a_fleet(h100s(1))),
    "for throughput": (a_demand(LLAMA_70B, objective=Objective.THROUGHPUT), a_fleet(h100s(1))),
    "tight": (a_demand(LLAMA_70B, budget=2), a_fleet(h100s(1))),
    "over PCIe": (a_demand(LLAMA_70B), a_fleet(l40s(1))),
    "two nodes": (a_demand(LLAMA_405B, budget=16), a_fleet(h100s(2))),
    "across trays": (a_demand(R1), a_fleet(gb200_rack(2))),
    "three replicas": (a_demand(LLAMA_8B, replicas=3), a_fleet(h100s(1))),
    "more pods than are told": (a_demand(LLAMA_8B, replicas=20, budget=20), a_fleet(h100s(3))),
    "no replicas": (a_demand(LLAMA_8B, replicas=0), a_fleet(h100s(1))),
    "pinned": (a_demand(LLAMA_70B, pins=pinned(2, 4)), a_fleet(h100s(1))),
    "two products": (a_demand(LLAMA_70B), a_fleet(h100s(1), h200s(1))),
    "a product that lost for want of room": (a_demand(LLAMA_70B), a_fleet(h100s(1, free=[0]), h200s(1))),
    "four products": (
        a_demand(LLAMA_8B),
        a_fleet(h100s(1), h200s(1), l40s(1), a_node("b200", product=B200)),
    ),
    "whole experts": (a_demand(QWEN_235B_FP8), a_fleet(h100s(1))),
    "an engine that cannot pipeline": (
        a_demand(replace(facts(LLAMA_8B), architecture="Mamba2ForCausalLM")),
        a_fleet(h100s(1)),
    ),
    "a product nobody knows": (a_demand(LLAMA_8B), a_fleet(a_node(product=UNKNOWN))),
    "a shorter context": (a_demand(LLAMA_8B, budget=1, context=1_000_000, least_context=2048), a_fleet(h100s(1))),
}

REFUSED: Mapping[str, Case] = {
    "a first token that comes too late": (
        a_demand(LLAMA_8B, target=Target(4000, 200, first_token=0.03, rate=1)),
        a_fleet(h100s(1)),
    ),
    "tokens that are too slow": (a_demand(LLAMA_8B, target=Target(4000, 200, per_token=0.001)), a_fleet(h100s(1))),
    "two times that are too short": (
        a_demand(LLAMA_8B, target=Target(4000, 200, first_token=0.03, per_token=0.001)),
        a_fleet(h100s(1)),
    ),
    "a rate beyond the budget": (a_demand(LLAMA_8B, budget=2, target=TIMED), a_fleet(h100s(1))),
    "the cheapest without prices": (a_demand(LLAMA_8B, objective=Objective.CHEAPEST), a_fleet(h100s(1))),
    "memory": (a_demand(LLAMA_405B), a_fleet(h100s(1))),
    "memory of two products": (a_demand(LLAMA_405B), a_fleet(h100s(1), l40s(1))),
    "memory of one layout": (a_demand(LLAMA_405B, pins=pinned(8, 1)), a_fleet(h100s(1))),
    "budget": (a_demand(LLAMA_405B, budget=4), a_fleet(h100s(2))),
    "budget of replicas": (a_demand(LLAMA_8B, budget=2, replicas=3), a_fleet(h100s(1))),
    "heads": (a_demand(LLAMA_70B, pins=pinned(6)), a_fleet(h100s(1), h200s(1))),
    "blocks": (a_demand(QWEN_235B_FP8, engine=EngineName.SGLANG, pins=pinned(8, expert=False)), a_fleet(h100s(1))),
    "stages": (a_demand(LLAMA_8B, budget=64, pins=pinned(1, 33)), a_fleet(h100s(8))),
    "no pipeline": (
        a_demand(replace(facts(LLAMA_70B), architecture="Mamba2ForCausalLM"), pins=pinned(1, 4)),
        a_fleet(h100s(1)),
    ),
    "another engine": (
        a_demand(
            replace(facts(LLAMA_70B), architecture="CohereForCausalLM"),
            engine=EngineName.SGLANG,
            pins=pinned(1, 4),
        ),
        a_fleet(h100s(1)),
    ),
    "no experts": (a_demand(LLAMA_8B, pins=pinned(2, expert=True)), a_fleet(h100s(1))),
    "data ranks of a dense model": (a_demand(LLAMA_70B, pins=Pins(data=4)), a_fleet(h100s(1))),
    "data ranks of an older release": (
        a_demand(R1, pins=Pins(data=8), engine=EngineName.TENSORRT_LLM, release=(0, 21, 0)),
        a_fleet(h200s(1)),
    ),
    "an all-to-all over NVLink alone": (
        a_demand(R1, budget=16, pins=Pins(1, 1, True, 16), all_to_all="flashinfer_nvlink_one_sided"),
        a_fleet(h200s(2)),
    ),
    "an all-to-all of whole experts": (
        a_demand(R1, pins=Pins(tensor=8, expert=False), engine=EngineName.SGLANG, all_to_all="deepep"),
        a_fleet(h200s(1)),
    ),
    "an all-to-all between data ranks alone": (
        a_demand(R1, pins=Pins(tensor=2, data=4), engine=EngineName.SGLANG, all_to_all="flashinfer"),
        a_fleet(h200s(1)),
    ),
    "an all-to-all without settings for the GPUs": (
        a_demand(KIMI_K2, budget=16, pins=Pins(1, 1, True, 12), engine=EngineName.SGLANG, all_to_all="deepep"),
        a_fleet(h200s(2)),
    ),
    "an all-to-all of narrow hidden states": (
        a_demand(replace(facts(R1), hidden=16384), pins=Pins(data=8), all_to_all="deepep_low_latency"),
        a_fleet(h200s(1)),
    ),
    "data ranks of several GPUs": (
        a_demand(R1, pins=Pins(tensor=2, data=4), engine=EngineName.TENSORRT_LLM),
        a_fleet(h200s(1)),
    ),
    "more data ranks than experts": (
        a_demand("mistralai/Mixtral-8x7B-v0.1", pins=Pins(tensor=1, data=16), budget=16),
        a_fleet(h200s(2)),
    ),
    "experts that data ranks do not divide": (
        a_demand(R1, pins=Pins(tensor=1, data=12), engine=EngineName.SGLANG, budget=16),
        a_fleet(h200s(2)),
    ),
    "a cache that the engine keeps whole": (
        a_demand(R1, pins=Pins(tensor=8, pipeline=1, context=2), engine=EngineName.TENSORRT_LLM),
        a_fleet(h200s(1)),
    ),
    "a cache that heads do not divide": (
        a_demand("Qwen/Qwen3-235B-A22B-FP8", pins=Pins(tensor=8, pipeline=1, context=4)),
        a_fleet(h200s(1)),
    ),
    "data ranks across domains": (
        a_demand(KIMI_K2, budget=16, context=131072, concurrency=64, pins=Pins(pipeline=1)),
        a_fleet(h200s(2)),
    ),
    "domain": (a_demand(LLAMA_405B, budget=32), a_fleet(h100s(4, free=(8, 0, 0, 0)))),
    "room": (a_demand(LLAMA_405B, budget=16), a_fleet(h100s(2, free=(8, 0)))),
    "no room at all": (a_demand(LLAMA_70B), a_fleet(h100s(1, free=[0]))),
    "two pins": (a_demand(LLAMA_405B, budget=16, pins=pinned(6, 5)), a_fleet(h100s(2))),
    "not together": (a_demand(LLAMA_70B, budget=16, pins=pinned(8, 2), within="rack"), RACKS),
    "a wider level": (
        a_demand(LLAMA_405B, budget=16, within="rack"),
        in_levels(RACKS, "rack", "zone"),
    ),
    "one device a node": (
        a_demand(LLAMA_405B, budget=12, pins=pinned(4, 3), needs=PodNeeds(in_group=(("rdma/ib", 8_000),))),
        a_fleet(node._replace(allocatable=(("rdma/ib", 8_000),)) for node in h100s(2)),
    ),
    "memory of the nodes": (
        a_demand(LLAMA_70B, pins=pinned(8, 1), needs=PodNeeds(each_gpu=(("memory", 6 * GIB * 1000),))),
        a_fleet(
            node._replace(allocatable=(("memory", 64 * GIB * 1000),), taken=(("memory", 40 * GIB * 1000),))
            for node in h100s(2)
        ),
    ),
    "fewer replicas": (a_demand(LLAMA_70B, budget=64, replicas=8), a_fleet(h100s(2, free=(8, 7)))),
    "fewer sequences": (a_demand(LLAMA_70B, context=131072, concurrency=40), a_fleet(h100s(1))),
    "cache in fp8": (a_demand(KIMI_K2, context=131072), a_fleet(h200s(1))),
    "context": (a_demand(facts(LLAMA_8B, "fp8"), budget=1, context=2_000_000, kv_bytes=1), a_fleet(h100s(1))),
    "least context": (
        a_demand(facts(LLAMA_8B, "fp8"), budget=1, context=2_000_000, least_context=1_500_000, kv_bytes=1),
        a_fleet(h100s(1)),
    ),
    "reserve": (a_demand(LLAMA_8B, budget=1, reserve=70 * 2**30), a_fleet(h100s(1))),
    "another product": (a_demand(LLAMA_8B, products=("NVIDIA-B300",)), a_fleet(h100s(1))),
    "a label": (a_demand(LLAMA_8B, node_selector=(("disk", "ssd"), ("zone", "mars"))), RACKS),
    "labels": (a_demand(LLAMA_8B, node_selector=(("disk", "ssd"), ("planet", "mars"))), RACKS),
    "one label of two": (a_demand(LLAMA_8B, node_selector=(("disk", "ssd"), ("zone", "z"))), RACKS),
    "a taint": (a_demand(LLAMA_8B), a_fleet(a_node("a", taints=[ML]), a_node("b", taints=[ML]))),
    "many reasons": (
        a_demand(LLAMA_405B, products=(H100,)),
        a_fleet(
            a_node("a"),
            a_node("b", exclusion=Exclusion.CORDONED, free=0),
            a_node("c", exclusion=Exclusion.CORDONED, free=0),
            *(a_node(f"n-{reason.name}", exclusion=reason, free=0) for reason in Exclusion),
            l40s(2),
            a_node("t", taints=[ML]),
        ),
    ),
    "no nodes": (a_demand(LLAMA_8B), a_fleet(h100s(1)[0]._replace(exclusion=Exclusion.CORDONED, free=0))),
    "an empty cluster": (a_demand(LLAMA_8B), a_fleet()),
    "a method that is gone": (
        a_demand(replace(facts(LLAMA_70B, "int4"), method=CheckpointMethod("bitsandbytes", Quantization.INT4))),
        a_fleet(h100s(1)),
    ),
    "a class that is gone": (
        a_demand(replace(facts(LLAMA_70B), architecture="BaichuanForCausalLM", states_architecture=True)),
        a_fleet(h100s(1)),
    ),
    "GPUs too old for a method": (
        a_demand(replace(facts(LLAMA_8B, "mxfp4"), method=CheckpointMethod("mxfp4", Quantization.MXFP4))),
        a_fleet(a_node(product=T4, gpus=8)._replace(compute_capability=(7, 5))),
    ),
    "GPUs without the attention": (
        a_demand(replace(facts(R1), kv_cache_dtype="fp8"), kv_bytes=1, budget=16),
        a_fleet(a_node("a", product=A100), a_node("b", product=A100)),
    ),
    "columns that kernels cannot compute": (
        a_demand(
            a_model(ffn=Mixed(8, 2, 704), quantization=Quantization.NVFP4, precision=Precision(0.5625, (1, 16))),
            pins=pinned(2, 1, expert=False),
        ),
        a_fleet(a_node(product=RTX_PRO)),
    ),
    "a vision tower": (
        a_demand(
            a_model(attends=attention(96, 8), ffn=Dense(12288), tower_heads=(TowerHeads("glm4v_moe", 12),)),
            pins=pinned(8, 1),
        ),
        a_fleet(h100s(1)),
    ),
    "memory while loading": (
        a_demand(facts("Qwen/Qwen3-235B-A22B", "fp8"), budget=2, engine=EngineName.SGLANG),
        a_fleet(h200s(1)),
    ),
    "nothing helps": (a_demand(facts(R1)), a_fleet(a_node(product=T4, gpus=1))),
    **REFUSED_ROLES,
}

__all__ = ["H100", "H200", "L40S", "ML", "PLANNED", "RACKS", "REFUSED", "Case", "in_levels"]
