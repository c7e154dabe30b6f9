"""The law of layouts that exchange KV caches: by engine, role and model."""

import itertools
import json

import pytest
from tests.support.models import DATA, LLAMA_8B, LLAMA_70B, QWEN_235B_FP8, R1, a_demand, facts

from shardwise.domain.engine import RELEASES, EngineName
from shardwise.domain.layout import Layout
from shardwise.domain.refusal import Cause
from shardwise.domain.role_causes import ContextApart, DecodeStages, PrefillStages, PrefillWider, TensorApart
from shardwise.domain.roles import Connector, Half, Role, RoleName
from shardwise.explain.causes import cause
from shardwise.planner.transfer_support import moves_since, transfer_cause, transfers_of

VLLM, SGLANG, TENSORRT_LLM = EngineName
PREFILL, DECODE = RoleName
QWEN_NEXT, GPT_OSS = "Qwen/Qwen3-Next-80B-A3B-Instruct", "openai/gpt-oss-20b"


def of(tensor: int, pipeline: int = 1, *, context: int = 1) -> Layout:
    return Layout(tensor, pipeline, context=context)


Case = tuple[str, EngineName, RoleName, Layout, Layout | None, Cause | None]

LAW: dict[str, Case] = {
    "equal degrees": (LLAMA_70B, VLLM, DECODE, of(4), of(4), None),
    "a wider decode": (LLAMA_70B, VLLM, DECODE, of(8), of(2), None),
    "a wider decode, seen from prefill": (LLAMA_70B, VLLM, PREFILL, of(2), of(8), None),
    "a wider prefill, up to the KV heads": (LLAMA_70B, VLLM, PREFILL, of(8), of(2), None),
    "a wider prefill, beyond the KV heads": (
        LLAMA_70B,
        VLLM,
        PREFILL,
        of(16),
        of(8),
        PrefillWider("vllm", 16, 8, 8),
    ),
    "a wider prefill, beyond the KV heads, seen from decode": (
        LLAMA_70B,
        VLLM,
        DECODE,
        of(8),
        of(16),
        PrefillWider("vllm", 16, 8, 8),
    ),
    "a wider prefill of latent attention": (R1, VLLM, PREFILL, of(16), of(4), None),
    "a wider prefill of a model with states": (QWEN_NEXT, VLLM, PREFILL, of(4), of(2), None),
    "degrees that do not divide": (R1, VLLM, DECODE, of(6), of(4), TensorApart("vllm", 4, 6)),
    "unequal degrees on SGLang": (
        LLAMA_8B,
        SGLANG,
        DECODE,
        of(4),
        of(2),
        TensorApart("sglang", 2, 4, equal=True),
    ),
    "unequal degrees of latent attention on SGLang": (R1, SGLANG, DECODE, of(8), of(4), None),
    "any degrees on TensorRT-LLM": (LLAMA_8B, TENSORRT_LLM, DECODE, of(4, 2), of(2, 3), None),
    "a decode of two stages": (LLAMA_70B, VLLM, DECODE, of(4, 2), None, DecodeStages("vllm", 2)),
    "a prefill of two stages": (LLAMA_70B, VLLM, PREFILL, of(4, 2), of(4), None),
    "a prefill of two stages, with windows": (GPT_OSS, VLLM, PREFILL, of(1, 2), None, PrefillStages("vllm", 2)),
    "a prefill of two stages, with states": (QWEN_NEXT, VLLM, PREFILL, of(1, 2), None, PrefillStages("vllm", 2)),
    "as many stages as prefill on SGLang": (LLAMA_70B, SGLANG, DECODE, of(4, 2), of(4, 2), None),
    "stages while prefill is open on SGLang": (LLAMA_70B, SGLANG, DECODE, of(4, 2), None, None),
    "other stages than prefill on SGLang": (
        LLAMA_70B,
        SGLANG,
        DECODE,
        of(4, 2),
        of(4, 4),
        DecodeStages("sglang", 2, or_as_prefill=True),
    ),
    "a prefill of other stages than decode on SGLang": (
        LLAMA_70B,
        SGLANG,
        PREFILL,
        of(4, 4),
        of(4, 2),
        DecodeStages("sglang", 2, or_as_prefill=True),
    ),
    "caches that GPUs divide": (R1, VLLM, DECODE, of(8, context=8), of(8), None),
    "caches that some GPUs divide": (
        R1,
        VLLM,
        DECODE,
        of(8, context=4),
        None,
        ContextApart("vllm", "decode", 4, (1, 8)),
    ),
    "grouped caches that GPUs divide": (
        LLAMA_70B,
        VLLM,
        DECODE,
        of(16, context=2),
        None,
        ContextApart("vllm", "decode", 2),
    ),
    "a prefill that divides caches on SGLang": (
        R1,
        SGLANG,
        PREFILL,
        of(8, context=2),
        None,
        ContextApart("sglang", "prefill", 2),
    ),
    "a decode that divides caches on SGLang": (R1, SGLANG, DECODE, of(8, context=2), None, None),
    "divided caches on TensorRT-LLM": (
        R1,
        TENSORRT_LLM,
        DECODE,
        of(8, context=8),
        None,
        ContextApart("tensorrt-llm", "decode", 8),
    ),
}


@pytest.mark.parametrize(("model", "engine", "role", "layout", "other", "expected"), LAW.values(), ids=LAW)
def test_the_law_of_layouts_that_exchange_caches(
    model: str, engine: EngineName, role: RoleName, layout: Layout, other: Layout | None, expected: Cause | None
) -> None:
    found = transfer_cause(facts(model), engine, layout, Half(Role(role), other))
    assert found == expected
    assert found is None or cause(found)


@pytest.mark.parametrize("name", [name for name, case in LAW.items() if case[4] is not None and case[5] is not None])
def test_both_roles_see_the_same_law_between_them(name: str) -> None:
    """Whichever role is planned last is refused for the same reason."""
    model, engine, role, layout, other, expected = LAW[name]
    assert other is not None
    assert transfer_cause(facts(model), engine, other, Half(Role(role.other), layout)) == expected


def test_an_object_without_roles_is_under_no_such_law() -> None:
    assert transfer_cause(facts(LLAMA_70B), VLLM, of(4, 2), None) is None
    assert a_demand(QWEN_235B_FP8).half is None


@pytest.mark.parametrize("engine", list(EngineName))
def test_the_release_that_we_read_moves_caches_by_each_connector_it_lists(engine: EngineName) -> None:
    connectors = {Connector(name) for name in transfers_of(engine).connectors}
    assert Connector.NIXL in connectors
    for connector in Connector:
        since = moves_since(engine, connector)
        assert (since is None) == (connector not in connectors)
        assert since is None or since <= RELEASES[engine]


@pytest.mark.parametrize("engine", list(EngineName))
def test_the_words_of_the_table_are_words_that_the_law_knows(engine: EngineName) -> None:
    row = transfers_of(engine)
    assert row.decode_stages in {"one", "one or as prefill", "any"}
    assert row.context in {"none", "prefill whole", "whole"}


DEPLOYED = [
    row
    for row in json.loads((DATA / "data-parallel-deployments.json").read_text())["rows"]
    if row["role"] in {"prefill", "decode"} and row["model"].startswith("deepseek-ai/DeepSeek-R1")
]


@pytest.mark.parametrize("engine", list(EngineName))
def test_published_pairs_may_exchange_caches(engine: EngineName) -> None:
    """Prefill and decode of the same source: data ranks of one GPU on either side, or equal degrees."""
    pairs = [
        (prefill, decode)
        for prefill, decode in itertools.product(DEPLOYED, DEPLOYED)
        if (prefill["role"], decode["role"]) == ("prefill", "decode")
        and prefill["engine"] == decode["engine"] == engine.value
        and (prefill["tensor"], prefill["pipeline"]) == (decode["tensor"], decode["pipeline"])
    ]
    assert pairs
    for prefill, decode in pairs:
        layouts = [Layout(row["tensor"], row["pipeline"], data=row["data"]) for row in (prefill, decode)]
        if engine is VLLM and layouts[1].pipeline > 1:
            continue
        assert transfer_cause(facts(R1), engine, layouts[0], Half(Role(PREFILL), layouts[1])) is None
        assert transfer_cause(facts(R1), engine, layouts[1], Half(Role(DECODE), layouts[0])) is None


def _divides(one: int, other: int) -> bool:
    return max(one, other) % min(one, other) == 0


def _allowed_by_vllm(prefill: int, decode: int) -> bool:
    """Give the law of grouped attention with eight KV heads, written out."""
    return _divides(prefill, decode) and (prefill <= decode or prefill <= 8)


@pytest.mark.parametrize("decode", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("prefill", [1, 2, 3, 4, 6, 8, 16])
def test_the_degrees_of_grouped_attention(prefill: int, decode: int) -> None:
    """Eight KV heads, by engine: any pair that its law allows, and no other."""
    allowed = {
        VLLM: _allowed_by_vllm(prefill, decode),
        SGLANG: prefill == decode,
        TENSORRT_LLM: True,
    }
    for engine, expected in allowed.items():
        found = transfer_cause(facts(LLAMA_70B), engine, of(decode), Half(Role(DECODE), of(prefill)))
        assert (found is None) is expected


@pytest.mark.parametrize("decode", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("prefill", [1, 2, 3, 4, 6, 8, 16])
def test_the_degrees_of_latent_attention(prefill: int, decode: int) -> None:
    """Every rank holds the whole cache, so that prefill may be as wide as it likes."""
    allowed = {VLLM: _divides(prefill, decode), SGLANG: _divides(prefill, decode), TENSORRT_LLM: True}
    for engine, expected in allowed.items():
        found = transfer_cause(facts(R1), engine, of(decode), Half(Role(DECODE), of(prefill)))
        assert (found is None) is expected


@pytest.mark.parametrize("decode", [1, 2, 3, 4])
@pytest.mark.parametrize("prefill", [1, 2, 3, 4])
def test_the_stages_of_both_roles(prefill: int, decode: int) -> None:
    """Of a model whose layers are alike."""
    allowed = {VLLM: decode == 1, SGLANG: decode in (1, prefill), TENSORRT_LLM: True}
    for engine, expected in allowed.items():
        found = transfer_cause(facts(LLAMA_70B), engine, of(8, decode), Half(Role(DECODE), of(8, prefill)))
        assert (found is None) is expected


@pytest.mark.parametrize("data", [1, 2, 8])
@pytest.mark.parametrize("engine", list(EngineName))
def test_data_ranks_differ_freely_between_the_roles(engine: EngineName, data: int) -> None:
    """Each is an endpoint of its own."""
    found = transfer_cause(facts(R1), engine, Layout(1, 1, True, data), Half(Role(DECODE), Layout(1, 1, True, 16)))
    assert found is None


ALONE: dict[str, tuple[str, EngineName, RoleName, Layout, bool]] = {
    "one GPU": (LLAMA_8B, VLLM, PREFILL, of(1), True),
    "one GPU of decode": (LLAMA_8B, VLLM, DECODE, of(1), True),
    "a wide prefill while decode is open": (LLAMA_70B, VLLM, PREFILL, of(16), True),
    "a wide decode while prefill is open": (LLAMA_70B, VLLM, DECODE, of(16), True),
    "an odd degree while the other is open": (R1, VLLM, DECODE, of(6), True),
    "an odd degree on SGLang while the other is open": (LLAMA_8B, SGLANG, DECODE, of(3), True),
    "a prefill of eight stages": (LLAMA_70B, VLLM, PREFILL, of(1, 8), True),
    "a prefill of eight stages on SGLang": (LLAMA_70B, SGLANG, PREFILL, of(1, 8), True),
    "a prefill of eight stages on TensorRT-LLM": (LLAMA_70B, TENSORRT_LLM, PREFILL, of(1, 8), True),
    "a decode of eight stages": (LLAMA_70B, VLLM, DECODE, of(1, 8), False),
    "a decode of eight stages on TensorRT-LLM": (LLAMA_70B, TENSORRT_LLM, DECODE, of(1, 8), True),
    "a prefill of latent attention in stages": (R1, VLLM, PREFILL, of(8, 2), True),
    "a decode of latent attention in stages": (R1, VLLM, DECODE, of(8, 2), False),
    "a prefill with windows in a stage": (GPT_OSS, VLLM, PREFILL, of(4), True),
    "a decode with windows in a stage": (GPT_OSS, VLLM, DECODE, of(4), True),
    "a prefill with windows in stages on SGLang": (GPT_OSS, SGLANG, PREFILL, of(1, 2), True),
    "a prefill with states in a stage": (QWEN_NEXT, VLLM, PREFILL, of(2), True),
    "a prefill with states in stages on TensorRT-LLM": (QWEN_NEXT, TENSORRT_LLM, PREFILL, of(1, 2), True),
    "a prefill that divides its caches": (R1, VLLM, PREFILL, of(8, context=8), True),
    "a prefill that divides its caches in part": (R1, VLLM, PREFILL, of(8, context=2), False),
    "a grouped decode that divides its caches on SGLang": (LLAMA_70B, SGLANG, DECODE, of(8, context=2), False),
    "a decode that divides its caches over all on SGLang": (R1, SGLANG, DECODE, of(8, context=8), True),
    "a prefill that divides its caches on TensorRT-LLM": (R1, TENSORRT_LLM, PREFILL, of(8, context=2), False),
}


@pytest.mark.parametrize(("model", "engine", "role", "layout", "legal"), ALONE.values(), ids=ALONE)
def test_the_law_of_a_role_whose_other_is_not_planned_yet(
    model: str, engine: EngineName, role: RoleName, layout: Layout, legal: bool
) -> None:
    """Only what no layout of the other role could allow is ruled out."""
    found = transfer_cause(facts(model), engine, layout, Half(Role(role)))
    assert (found is None) is legal


@pytest.mark.parametrize("name", [name for name, case in ALONE.items() if not case[4]])
def test_what_a_role_may_not_have_alone_it_may_not_have_beside_any_other(name: str) -> None:
    model, engine, role, layout, _ = ALONE[name]
    for other in (of(1), of(8), of(8, 2), layout):
        if engine is SGLANG and layout.pipeline > 1:
            continue
        assert transfer_cause(facts(model), engine, layout, Half(Role(role), other)) is not None


@pytest.mark.parametrize("connector", list(Connector))
@pytest.mark.parametrize("name", ["a wider decode", "degrees that do not divide", "equal degrees"])
def test_the_law_is_the_same_for_every_connector(name: str, connector: Connector) -> None:
    model, engine, role, layout, other, expected = LAW[name]
    assert transfer_cause(facts(model), engine, layout, Half(Role(role, connector), other)) == expected


CONTEXTS: dict[str, tuple[Layout, Layout, bool]] = {
    "whole on both": (of(8), of(8), True),
    "divided on both": (of(8, context=8), of(8, context=8), True),
    "divided on decode alone": (of(8), of(8, context=8), True),
    "divided on prefill alone": (of(8, context=8), of(8), True),
    "divided twice as much on decode": (of(4, context=4), of(8, context=8), True),
    "divided in ways that do not divide each other": (of(4, context=4), of(6, context=6), False),
}


@pytest.mark.parametrize(("prefill", "decode", "legal"), CONTEXTS.values(), ids=CONTEXTS)
def test_divided_caches_between_the_roles(prefill: Layout, decode: Layout, legal: bool) -> None:
    """Of latent attention on vLLM: one of the two degrees divides the other."""
    found = transfer_cause(facts(R1), VLLM, decode, Half(Role(DECODE), prefill))
    assert (found is None) is legal
    assert (transfer_cause(facts(R1), VLLM, prefill, Half(Role(PREFILL), decode)) is None) is legal
