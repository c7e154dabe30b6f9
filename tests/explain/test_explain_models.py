"""A model's facts as data and as text."""

from dataclasses import replace
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from tests.checkpoint.support import BASE, EXPERTS, read
from tests.support.models import KIMI_K2, LLAMA_8B, LLAMA_70B, QWEN_235B_FP8, R1, config_names, facts

from shardwise.checkpoint import from_config
from shardwise.domain.model import CheckpointMethod, ModelFacts, Quantization
from shardwise.explain.models import active_parameters, checkpoint_bytes, model_document, model_text, parameters

TOLD = [
    LLAMA_8B,
    R1,
    KIMI_K2,
    QWEN_235B_FP8,
    "openai/gpt-oss-20b",
    "Qwen/Qwen3-Next-80B-A3B-Instruct",
    "nvidia/Llama-3.1-70B-Instruct-FP8",
    "nvidia/Nemotron-H-56B-Base-8K",
]


@pytest.mark.parametrize("name", TOLD)
def test_a_models_facts_read_well(name: str, snapshot: SnapshotAssertion) -> None:
    """Read the golden: it is what people see."""
    assert model_text(facts(name)) == snapshot


WANTED = {
    "architecture",
    "parameters",
    "weightBytes",
    "kvBytesPerToken",
    "quantization",
    "legal",
    "refusedBy",
    "checkpointBytes",
    "drafts",
    "guessed",
    "notes",
    "activeParameters",
    "contextLength",
}


@pytest.mark.parametrize("name", config_names())
def test_every_config_in_the_data_folder_has_a_whole_document(name: str) -> None:
    document = model_document(facts(name))
    assert document.keys() >= WANTED
    assert set(document["legal"]) == {"vllm", "sglang", "tensorrt-llm"}
    assert all(legal["tensor"][0] == 1 and legal["pipeline"][0] == 1 for legal in document["legal"].values())
    assert document["weightBytes"] <= document["checkpointBytes"]
    assert 0 < document["activeParameters"] <= document["parameters"]


SIZES: dict[str, dict[str, Any]] = {
    LLAMA_8B: {
        "parameters": 8_030_261_248,
        "activeParameters": 8_030_261_248,
        "weightBytes": 16_060_522_496,
        "checkpointBytes": 16_060_522_496,
        "kvBytesPerToken": 32 * 2 * 8 * 128 * 2,
        "quantization": "none",
        "contextLength": 131072,
        "guessed": False,
    },
    R1: {
        "kvBytesPerToken": 70_272,
        "quantization": "fp8",
        "contextLength": 163840,
        "layers": 61,
    },
    "openai/gpt-oss-20b": {"kvBytesPerToken": 24 * 2 * 8 * 64 * 2, "quantization": "mxfp4"},
    "nvidia/Nemotron-H-56B-Base-8K": {"kvBytesPerToken": 10 * 2 * 8 * 128 * 2, "quantization": "none"},
}


@pytest.mark.parametrize(("name", "expected"), SIZES.items())
def test_sizes_are_those_of_the_whole_model(name: str, expected: dict[str, Any]) -> None:
    document = model_document(facts(name))
    assert {key: document[key] for key in expected} == expected


LEGAL: dict[str, tuple[str, str, list[int]]] = {
    "64 heads in bf16": (LLAMA_70B, "tensor", [1, 2, 4, 8, 16, 32, 64]),
    "blocks of fp8": (R1, "tensor", [1, 2, 4, 8, 16]),
    "whole experts": (R1, "expert", [2, 4, 8, 16]),
    "an expert's fp8 blocks": (QWEN_235B_FP8, "tensor", [1, 2, 4, 8, 16]),
    "no experts": (LLAMA_70B, "expert", []),
    "data ranks, an expert each at most": (R1, "data", [2, 4, 8, 16, 32, 64, 128, 256]),
    "data ranks of few experts": ("mistralai/Mixtral-8x7B-v0.1", "data", [2, 4, 8]),
    "no data ranks without experts": (LLAMA_70B, "data", []),
    "groups of states": ("nvidia/Nemotron-H-56B-Base-8K", "tensor", [1, 2, 4, 8]),
}


@pytest.mark.parametrize(("name", "degree", "expected"), LEGAL.values(), ids=LEGAL)
def test_the_legal_degrees_are_the_planners(name: str, degree: str, expected: list[int]) -> None:
    assert model_document(facts(name))["legal"]["vllm"][degree] == expected


def test_an_engine_that_cannot_split_an_architecture_into_stages_has_one() -> None:
    legal = model_document(facts("Qwen/Qwen3-Next-80B-A3B-Instruct"))["legal"]
    assert legal["vllm"]["pipeline"] == list(range(1, 49))
    assert legal["sglang"]["pipeline"] == [1]
    assert "; DP 2, 4, 8, 16, 32, 64, 128, 256" in model_text(facts(R1))
    assert "DP" not in model_text(facts(LLAMA_70B))
    assert "; no PP" in model_text(facts("Qwen/Qwen3-Next-80B-A3B-Instruct"))


def published(**changes: Any) -> ModelFacts:
    return replace(read(), **changes)


def test_a_published_size_wins_over_the_count() -> None:
    model = published(checkpoint_bytes=2 * checkpoint_bytes(read()))
    assert checkpoint_bytes(model) == 2 * checkpoint_bytes(read())
    assert model_document(model)["weightBytes"] == 2 * model_document(read())["weightBytes"]


def test_a_cache_in_fp8_takes_half_and_says_why() -> None:
    plain, small = model_document(read()), model_document(published(kv_cache_dtype="fp8"))
    assert small["kvBytesPerToken"] * 2 == plain["kvBytesPerToken"]
    assert "bytes per token in fp8, as the checkpoint states" in model_text(published(kv_cache_dtype="fp8"))


def test_what_an_engine_derives_is_no_parameter() -> None:
    model = facts(R1)
    assert parameters(model) < sum(weight.elements for weight in model.loaded())


def test_a_token_passes_the_experts_it_meets() -> None:
    config = BASE | EXPERTS | {"model_type": "qwen3_moe"}
    meets = [
        active_parameters(from_config(config | {"num_experts_per_tok": count}, name="m", origin="t"))
        for count in (1, 2, 8)
    ]
    one = 4 * 3 * 1024 * 512
    assert meets[1] - meets[0] == one
    assert meets[2] - meets[0] == 7 * one


def test_a_guess_is_called_one_first_and_its_notes_come_last() -> None:
    lines = model_text(read(model_type="brand_new", architectures=["BrandNewForCausalLM"])).splitlines()
    assert lines[0] == "`org/model`: BrandNewForCausalLM, 4 layers, a guess"
    assert lines[-1].startswith("  note          Shardwise does not know the model type `brand_new`")


@pytest.mark.parametrize(("layers", "said"), [(1, "80.7 million"), (100, "1.59 billion")])
def test_parameters_are_said_in_millions_or_billions(layers: int, said: str) -> None:
    assert f"  parameters    {said}\n" in model_text(read(num_hidden_layers=layers))


def test_an_engine_that_does_not_load_the_model_says_so_instead_of_degrees() -> None:
    stored = replace(facts(LLAMA_8B, "int4"), method=CheckpointMethod("bitsandbytes", Quantization.INT4))
    assert model_document(stored)["refusedBy"] == {
        "vllm": "vllm 0.33.0 does not load `bitsandbytes` checkpoints; releases before 0.28.0 do",
        "tensorrt-llm": "tensorrt-llm 1.2.1 does not load `bitsandbytes` checkpoints",
    }
    lines = model_text(stored).splitlines()
    assert "  vllm          vllm 0.33.0 does not load `bitsandbytes` checkpoints; releases before 0.28.0 do" in lines
    assert any(line.startswith("  sglang        TP 1, 2, 4") for line in lines)
    assert model_document(facts(LLAMA_8B))["refusedBy"] == {}
