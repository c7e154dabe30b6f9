"""The all-to-all that an object's arguments name: what it needs, what buffers it makes, and the words of a refusal."""

from dataclasses import replace
from typing import Any

import pytest
from tests.engines.support import SGLANG, VLLM, a_plan, by_name, options, started, wants
from tests.support.cases import RDMA, with_rdma
from tests.support.fleets import a_fleet, gb200_rack, h200s
from tests.support.models import LLAMA_405B, R1, a_demand, facts
from tests.support.plans import planned, refused

from shardwise.domain.adapters import all_to_all_of
from shardwise.domain.data_causes import (
    ExchangeAcross,
    ExchangeNeedsData,
    ExchangeNeedsWhole,
    HiddenUnsupported,
    RanksUnsupported,
)
from shardwise.domain.demand import Demand, EngineSetup, Pins
from shardwise.domain.engine import EngineName
from shardwise.domain.fleet import Fleet
from shardwise.domain.layout import Layout
from shardwise.domain.notes import ExpertsAcrossDomains, NotCounted
from shardwise.domain.refusal import Cause, Change, NotDivisible
from shardwise.domain.units import GIB, MIB
from shardwise.engines import problems
from shardwise.explain.causes import SENTENCES
from shardwise.planner.all_to_all import buffer_bytes, exchange_row
from shardwise.planner.exchange_buffers import (
    Exchange,
    elastic_bytes,
    low_latency_bytes,
    mooncake_bytes,
    normal_bytes,
    pplx_bytes,
)
from shardwise.planner.legality import illegal
from shardwise.planner.memory import memory_use

LOW = "deepep_low_latency"


def ranks(data: int, tensor: int = 1, *, whole: bool = True) -> Layout:
    return Layout(tensor, 1, whole, data)


WORDS: dict[str, tuple[EngineName, str, str | None]] = {
    "none": (VLLM, "--max-num-seqs 8", None),
    "vLLM's": (VLLM, "--all2all-backend deepep_v2", "deepep_v2"),
    "vLLM's, attached": (VLLM, "--all2all-backend=nixl_ep --max-num-seqs 8", "nixl_ep"),
    "SGLang's": (SGLANG, "--moe-a2a-backend deepep", "deepep"),
    "SGLang's, with the mode of every batch": (SGLANG, "--moe-a2a-backend deepep --deepep-mode auto", "deepep"),
    "SGLang's, with a mode": (SGLANG, "--deepep-mode normal --moe-a2a-backend deepep", "deepep normal"),
    "a mode that only DeepEP has": (SGLANG, "--moe-a2a-backend nixl --deepep-mode normal", "nixl"),
    "another engine's": (SGLANG, "--all2all-backend deepep_v2", None),
    "TensorRT-LLM has none": (EngineName.TENSORRT_LLM, "--all2all-backend x", None),
}


@pytest.mark.parametrize(("engine", "args", "backend"), WORDS.values(), ids=WORDS)
def test_the_backend_is_read_off_the_arguments(engine: EngineName, args: str, backend: str | None) -> None:
    assert all_to_all_of(engine, args.split()) == backend


LAW: dict[str, tuple[str, EngineName, Layout, str, Cause | None]] = {
    "experts divide": (R1, VLLM, ranks(8), LOW, None),
    "experts that do not divide": (R1, VLLM, ranks(24), LOW, NotDivisible(f"experts of `{LOW}`", 256, 24)),
    "any number by the default": (R1, VLLM, ranks(24), "allgather_reducescatter", None),
    "unused without data ranks": (R1, VLLM, ranks(1, 8), LOW, None),
    "unused with split experts": (R1, VLLM, ranks(16, whole=False), LOW, None),
    "SGLang deals experts out": (R1, SGLANG, ranks(8, whole=False), "deepep", ExchangeNeedsWhole("deepep")),
    "SGLang, a tensor group": (R1, SGLANG, ranks(1, 8), "deepep", None),
    "settings for the GPUs": (R1, SGLANG, ranks(32), "deepep", None),
    "no settings for the GPUs": (
        R1,
        SGLANG,
        ranks(256),
        "deepep",
        RanksUnsupported("deepep", 256, (2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 144, 160)),
    ),
    "low latency needs no settings": (R1, SGLANG, ranks(256), "deepep low_latency", None),
    "FlashInfer, a GPU each": (R1, SGLANG, ranks(8), "flashinfer", None),
    "FlashInfer, tensor groups": (R1, SGLANG, ranks(4, 2), "flashinfer", ExchangeNeedsData("flashinfer", 2, 4)),
    "a backend of another release": (R1, VLLM, ranks(24), "of_tomorrow", None),
}


@pytest.mark.parametrize(("model", "engine", "layout", "backend", "cause"), LAW.values(), ids=LAW)
def test_the_law_of_a_backend(
    model: str, engine: EngineName, layout: Layout, backend: str, cause: Cause | None
) -> None:
    assert illegal(facts(model), engine, layout, EngineSetup(all_to_all=backend)) == cause


def test_a_hidden_state_that_the_kernels_do_not_take_is_refused() -> None:
    wide = replace(facts(R1), hidden=16384)
    found = illegal(wide, VLLM, ranks(8), EngineSetup(all_to_all=LOW))
    assert found == HiddenUnsupported(LOW, 16384, 8192)


# Memory.


@pytest.mark.parametrize(
    ("experts", "tokens", "gigabytes"), [(256, 256, 3.82), (288, 256, 4.29), (256, 128, 1.91), (256, 1024, 15.27)]
)
def test_low_latency_has_room_for_every_token_at_every_expert(experts: int, tokens: int, gigabytes: float) -> None:
    """As DeepEP's own layout adds up for hidden states of 7168: it grows with all experts, whatever the GPUs."""
    assert low_latency_bytes(experts, tokens, 7168) == pytest.approx(gigabytes * 1e9, rel=0.01)


def test_high_throughput_has_room_on_every_channel() -> None:
    """Worked out by hand from config.hpp: ten channels, eight GPUs, 256 or 288 tokens of 16392 bytes."""
    assert normal_bytes(7168, 8) == (10 * 8 * 256 * 16392, 0)
    assert normal_bytes(7168, 32) == (10 * 8 * 288 * 16392, 2 * 10 * 4 * 140 * 16408)


def test_the_elastic_buffer_has_room_for_a_chunk_of_every_gpu() -> None:
    """Worked out by hand from buffer.hpp: states of 14336 bytes, with 8 experts 14464 there and 14400 back.

    On 8 GPUs, and on 16 with 1280 channels: 16 chunks and half of them again, and 16 of a chunk with a token a channel.
    """
    assert elastic_bytes(Exchange(256, 8, 1024, 7168, 8)) == 57 * 2 * MIB
    there = 8 * 1024 * 14464
    assert 0 <= 57 * 2 * MIB - there < 2 * MIB
    back = (8 * 2 * 1024 + 8 * 1024 + 16 * (1024 + 1280)) * 14400
    assert 0 <= elastic_bytes(Exchange(256, 8, 1024, 7168, 16)) - back < 2 * MIB


def test_a_token_that_uses_one_expert_needs_most_room_on_its_way_there() -> None:
    assert elastic_bytes(Exchange(128, 1, 1024, 5120, 8)) == 82 * MIB
    assert 0 <= 82 * MIB - 8 * 1024 * (10240 + 32) < 2 * MIB


def test_mooncake_has_room_for_every_token_at_every_expert_four_times() -> None:
    assert mooncake_bytes(Exchange(256, 8, 128, 7168, 16)) == 4 * 256 * (4 + 128 * (32 + 14336))


@pytest.mark.parametrize(
    ("gpus", "size"),
    [
        (8, 256 * 256 * 28672),
        (16, 256 * 256 * 28672 + 16 * 16 * 256 * (28672 + 14352 + 20) + 256 * 14352),
    ],
)
def test_pplx_has_room_in_32_bits_and_across_nodes_for_what_it_sends(gpus: int, size: int) -> None:
    assert pplx_bytes(Exchange(256, 8, 256, 7168, gpus, gpus)) == size


BUFFERS: dict[str, tuple[EngineName, str | None, Layout, int]] = {
    "none named": (VLLM, None, ranks(8), 0),
    "the default": (VLLM, "allgather_reducescatter", ranks(8), 0),
    "high throughput over NVLink": (VLLM, "deepep_high_throughput", ranks(4), 1024 * MIB),
    "high throughput by RDMA": (VLLM, "deepep_high_throughput", ranks(16), 2048 * MIB),
    "low latency": (VLLM, LOW, ranks(16), 1024 * MIB + low_latency_bytes(256, 256, 7168)),
    "unused": (VLLM, LOW, ranks(1, 8), 0),
    "SGLang, both": (SGLANG, "deepep", ranks(8), normal_bytes(7168, 8)[0] + low_latency_bytes(256, 256, 7168)),
    "elastic": (VLLM, "deepep_v2", ranks(16), elastic_bytes(Exchange(256, 8, 1024, 7168, 16))),
    "elastic, of SGLang": (SGLANG, "deepep_v2", ranks(16), elastic_bytes(Exchange(256, 8, 1024, 7168, 16))),
    "NIXL": (VLLM, "nixl_ep", ranks(16), low_latency_bytes(256, 256, 7168)),
    "NIXL, of SGLang": (SGLANG, "nixl", ranks(16), low_latency_bytes(256, 256, 7168)),
    "Mooncake": (SGLANG, "mooncake", ranks(16), mooncake_bytes(Exchange(256, 8, 256, 7168, 16))),
    "pplx": (SGLANG, "pplx", ranks(8), pplx_bytes(Exchange(256, 8, 256, 7168, 8, 8))),
    "SGLang, one": (SGLANG, "deepep normal", ranks(32), sum(normal_bytes(7168, 32))),
}


@pytest.mark.parametrize(("engine", "backend", "layout", "size"), BUFFERS.values(), ids=BUFFERS)
def test_the_buffers_are_counted(engine: EngineName, backend: str | None, layout: Layout, size: int) -> None:
    """Beside everything else: what is left for slack shrinks by as much."""
    demand = a_demand(R1, engine=engine, all_to_all=backend)
    plain = memory_use(replace(demand, all_to_all=None), layout, 141 * GIB)
    use = memory_use(demand, layout, 141 * GIB)
    assert buffer_bytes(demand, layout) == size
    assert plain.reserve + size == use.reserve


def test_redundant_experts_have_room_too() -> None:
    demand = a_demand(R1, all_to_all=LOW, redundant_experts=32)
    assert buffer_bytes(demand, ranks(32)) == 1024 * MIB + low_latency_bytes(288, 256, 7168)


def test_every_gpu_of_sglang_holds_the_shared_experts_if_a_backend_exchanges_tokens() -> None:
    plain, named = (
        memory_use(a_demand(R1, engine=SGLANG, all_to_all=backend), ranks(8), 141 * GIB).weights
        for backend in (None, "deepep")
    )
    shared = 58 * 3 * 7168 * 2048
    assert named - plain == pytest.approx(shared * 7 / 8, rel=0.02)


# Places.

PINNED = Pins(1, 1, True, 16)
PLACED: dict[str, tuple[Demand, Fleet, str | None]] = {
    "RDMA across nodes": (
        a_demand(R1, budget=16, pins=PINNED, needs=RDMA, all_to_all="deepep_high_throughput"),
        a_fleet(with_rdma(h200s(2))),
        None,
    ),
    "no RDMA, though pinned": (
        a_demand(R1, budget=16, pins=PINNED, all_to_all="deepep_high_throughput"),
        a_fleet(h200s(2)),
        (
            "`deepep_high_throughput` exchanges tokens over NVLink, or by RDMA (`launch.rdma` of the operator's "
            "configuration), and 16 GPUs exceed the largest NVLink domain of NVIDIA-H200, 8 GPUs"
        ),
    ),
    "NVLink alone, whatever the RDMA": (
        a_demand(R1, budget=16, pins=PINNED, needs=RDMA, all_to_all="flashinfer_nvlink_one_sided"),
        a_fleet(with_rdma(h200s(2))),
        (
            "`flashinfer_nvlink_one_sided` exchanges tokens over NVLink, and 16 GPUs exceed the largest NVLink domain "
            "of NVIDIA-H200, 8 GPUs"
        ),
    ),
    "a rack": (
        a_demand(R1, budget=16, pins=PINNED, all_to_all="flashinfer_nvlink_one_sided"),
        a_fleet(gb200_rack(4)),
        None,
    ),
    "any network, as pinned": (
        a_demand(R1, budget=16, pins=PINNED, all_to_all="allgather_reducescatter"),
        a_fleet(h200s(2)),
        None,
    ),
}


@pytest.mark.parametrize(("demand", "fleet", "words"), PLACED.values(), ids=PLACED)
def test_a_backend_goes_only_where_its_network_is(demand: Demand, fleet: Fleet, words: str | None) -> None:
    """And a refusal hints at a plan without the argument: the planner has found it."""
    if words is None:
        assert planned(demand, fleet).layout == Layout(1, 1, True, 16)
        return
    refusal = refused(demand, fleet)
    (cause,) = {lost.cause for lost in refusal.rejected}
    assert isinstance(cause, ExchangeAcross)
    assert SENTENCES[ExchangeAcross].single(cause) == words
    hints = {(hint.field, hint.change, hint.value) for hint in refusal.hints}
    assert ("spec.engine.args", Change.REMOVE, f"--all2all-backend {demand.all_to_all}") in hints


@pytest.mark.parametrize("name", [LLAMA_405B, R1])
def test_stages_without_data_ranks_exchange_no_tokens_across_domains(name: str) -> None:
    """A tensor group never leaves its domain, and a model without experts has no use for the backend."""
    whole = name == R1
    demand = a_demand(name, budget=16, engine=SGLANG, pins=Pins(8, 2, whole), all_to_all="deepep")
    assert planned(demand, a_fleet(h200s(2))).layout == Layout(8, 2, whole)


def test_a_plan_names_the_backend_across_domains_and_buffers_that_are_not_counted() -> None:
    fleet = a_fleet(with_rdma(h200s(2)))
    counted = planned(a_demand(R1, budget=16, pins=PINNED, needs=RDMA, all_to_all="deepep_high_throughput"), fleet)
    assert counted.notes == (ExpertsAcrossDomains(16, 2, True, "deepep_high_throughput"),)
    unknown = planned(a_demand(R1, budget=16, pins=PINNED, needs=RDMA, all_to_all="of_tomorrow"), fleet)
    assert NotCounted("--all2all-backend of_tomorrow", unknown.memory.slack) in unknown.notes


# Words.


@pytest.mark.parametrize(
    ("backend", "concurrency", "tokens"), [(None, 16, "1024"), (LOW, 16, "256"), (LOW, 8000, "1000")]
)
def test_a_step_is_short_where_every_token_has_room_at_every_expert(
    backend: str | None, concurrency: int, tokens: str
) -> None:
    """1024 tokens would take 15 GB of each GPU. vLLM refuses fewer tokens than sequences."""
    demand = a_demand(R1, all_to_all=backend, concurrency=concurrency)
    (pod,) = started(a_plan(ranks(8), concurrency=concurrency), wants(demand)).pods
    said = options(pod.args)
    assert said["--max-num-batched-tokens"] == tokens
    assert int(said["--max-num-seqs"]) <= int(tokens)


def test_a_step_has_a_token_for_every_sequence_that_the_arguments_state() -> None:
    demand = a_demand(R1, all_to_all=LOW, sequences=512)
    assert buffer_bytes(demand, ranks(8)) == 1024 * MIB + low_latency_bytes(256, 512, 7168)
    (pod,) = started(a_plan(ranks(8)), wants(demand)).pods
    assert options(pod.args)["--max-num-batched-tokens"] == "512"


@pytest.mark.parametrize(("concurrency", "running"), [(16, 256), (12000, 1024)])
def test_sglang_sends_a_token_of_every_sequence_at_once(concurrency: int, running: int) -> None:
    """Its own default has room for 128 tokens; more sequences would end it. Its kernels take at most 1024."""
    demand = a_demand(R1, engine=SGLANG, all_to_all="deepep", concurrency=concurrency)
    (pod,) = started(a_plan(ranks(8), engine=SGLANG, concurrency=concurrency), wants(demand)).pods
    assert options(pod.args)["--max-running-requests"] == str(8 * running)
    assert by_name(pod)["SGLANG_DEEPEP_NUM_MAX_DISPATCH_TOKENS_PER_RANK"].value == str(running)


@pytest.mark.parametrize(
    ("backend", "name", "sent", "chunk"),
    [
        ("deepep_v2", "DEEPEP_V2", 1024, 1024),
        ("mooncake", "MOONCAKE_EP", 256, 256),
        ("nixl", "NIXL_EP", 256, 256),
        ("pplx", "PPLX", 256, 256),
    ],
)
def test_sglang_sends_a_chunk_of_a_prefill_at_once(backend: str, name: str, sent: int, chunk: int) -> None:
    """SGLang refuses a chunk beyond the room of deepep_v2 and pplx, and the others have no kernels for more tokens."""
    demand = a_demand(R1, engine=SGLANG, all_to_all=backend)
    (pod,) = started(a_plan(ranks(8), engine=SGLANG), wants(demand)).pods
    assert by_name(pod)[f"SGLANG_{name}_NUM_MAX_DISPATCH_TOKENS_PER_RANK"].value == str(sent)
    assert options(pod.args)["--chunked-prefill-size"] == str(8 * chunk)
    assert [word for word in by_name(pod) if "DISPATCH" in word] == [f"SGLANG_{name}_NUM_MAX_DISPATCH_TOKENS_PER_RANK"]


@pytest.mark.parametrize(
    ("backend", "mode", "fine"),
    [
        ("nixl", "", False),
        ("mooncake", "--deepep-mode auto", False),
        ("nixl", "--deepep-mode low_latency", True),
        ("mooncake", "--deepep-mode=low_latency", True),
        ("pplx", "", True),
        ("deepep", "", True),
    ],
)
def test_a_backend_of_low_latency_alone_needs_that_mode(backend: str, mode: str, fine: bool) -> None:
    """SGLang would end when it makes the buffers: its default mode also asks for those of high throughput."""
    args = ("--moe-a2a-backend", backend, *mode.split())
    said = dict(problems(wants(a_demand(R1, engine=SGLANG, all_to_all=backend), args=args)))
    assert ("spec.engine.args" not in said) is fine
    assert fine or said["spec.engine.args"].endswith("add `--deepep-mode low_latency`")


def test_every_entry_names_a_network_that_the_planner_knows() -> None:
    known: dict[EngineName, tuple[Any, ...]] = {
        VLLM: ("allgather_reducescatter", "deepep_high_throughput", LOW, "flashinfer_nvlink_one_sided", "nixl_ep"),
        SGLANG: ("none", "deepep", "deepep normal", "deepep low_latency", "flashinfer", "pplx"),
    }
    for engine, backends in known.items():
        rows = [exchange_row(engine, backend) for backend in backends]
        assert all(row is not None and row.network in ("any", "rdma", "nvlink") for row in rows)
        assert exchange_row(engine, "of_tomorrow") is None
