"""Models that a release of an engine cannot load: by the method of the checkpoint, the class, or the GPUs."""

from dataclasses import replace

import pytest
from tests.support.fleets import T4, a_fleet, a_node, h100s
from tests.support.models import LLAMA_8B, LLAMA_70B, a_demand, facts
from tests.support.plans import planned, refused

from shardwise.checkpoint import from_config
from shardwise.domain.demand import Demand
from shardwise.domain.engine import RELEASES, EngineName
from shardwise.domain.model import CheckpointMethod, ModelFacts, Quantization
from shardwise.domain.notes import ArchitectureFromElsewhere, MethodFromImage, TransformersCode
from shardwise.domain.refusal import ArchitectureUnknown, CapabilityShort, Cause, MethodUnloadable
from shardwise.domain.version import Version
from shardwise.planner.engine_support import support_notes, unsupported
from shardwise.planner.method_support import needed_words
from shardwise.planner.pools import eligible

VLLM, SGLANG, TENSORRT_LLM = EngineName.VLLM, EngineName.SGLANG, EngineName.TENSORRT_LLM
FLEET = a_fleet(h100s(1))


def stored_by(name: str, *variants: str) -> ModelFacts:
    """Give a model whose checkpoint is quantised by a method."""
    return replace(facts(LLAMA_8B, "int4"), method=CheckpointMethod(name, Quantization.INT4, variants))


def of_class(architecture: str) -> ModelFacts:
    """Give a model whose config names a class."""
    return replace(facts(LLAMA_8B), architecture=architecture, states_architecture=True)


def cause_of(demand: Demand) -> Cause | None:
    """Give the cause for which a demand finds no place on the H100 of one node."""
    (pool,) = eligible(demand, FLEET).pools
    return unsupported(demand, pool)


METHODS: dict[str, tuple[EngineName, Version, ModelFacts, MethodUnloadable | None]] = {
    "bitsandbytes, while vLLM had it": (VLLM, (0, 27, 1), stored_by("bitsandbytes"), None),
    "bitsandbytes, gone from vLLM": (
        VLLM,
        (0, 28, 0),
        stored_by("bitsandbytes"),
        MethodUnloadable("vllm", "0.28.0", "bitsandbytes", before="0.28.0"),
    ),
    "bitsandbytes on SGLang": (SGLANG, (0, 5, 23), stored_by("bitsandbytes"), None),
    "bitsandbytes before SGLang had it": (
        SGLANG,
        (0, 5, 7),
        stored_by("bitsandbytes"),
        MethodUnloadable("sglang", "0.5.7", "bitsandbytes", since="0.5.8"),
    ),
    "a method that TensorRT-LLM never knew": (
        TENSORRT_LLM,
        (1, 2, 1),
        stored_by("awq"),
        MethodUnloadable("tensorrt-llm", "1.2.1", "awq"),
    ),
    "fbgemm_fp8, gone from SGLang": (
        SGLANG,
        (0, 5, 23),
        stored_by("fbgemm_fp8"),
        MethodUnloadable("sglang", "0.5.23", "fbgemm_fp8", before="0.5.16"),
    ),
    "GPTQ in the order of activations, until 0.29": (
        VLLM,
        (0, 29, 0),
        stored_by("gptq", "bits: 4", "desc_act: true"),
        None,
    ),
    "GPTQ in the order of activations, from 0.30 on": (
        VLLM,
        (0, 30, 0),
        stored_by("gptq", "bits: 4", "desc_act: true"),
        MethodUnloadable("vllm", "0.30.0", "gptq", "desc_act: true", before="0.30.0"),
    ),
    "GPTQ of 3 bits": (
        VLLM,
        (0, 33, 0),
        stored_by("gptq", "bits: 3"),
        MethodUnloadable("vllm", "0.33.0", "gptq", "bits: 3", before="0.22.0"),
    ),
    "AWQ of 3 bits": (
        VLLM,
        (0, 33, 0),
        stored_by("awq", "bits: 3"),
        MethodUnloadable("vllm", "0.33.0", "awq", "bits: 3"),
    ),
    "AWQ of 8 bits, until 0.23": (VLLM, (0, 23, 0), stored_by("awq", "bits: 8"), None),
    "AWQ of 8 bits, from 0.24 on": (
        VLLM,
        (0, 24, 0),
        stored_by("awq", "bits: 8"),
        MethodUnloadable("vllm", "0.24.0", "awq", "bits: 8", before="0.24.0"),
    ),
    "AWQ of 4 bits": (VLLM, (0, 33, 0), stored_by("awq", "bits: 4"), None),
    "asymmetric GPTQ on SGLang": (
        SGLANG,
        (0, 5, 23),
        stored_by("gptq", "bits: 4", "sym: false"),
        MethodUnloadable("sglang", "0.5.23", "gptq", "sym: false", before="0.5.20"),
    ),
    "an algorithm of modelopt that no release knows": (
        VLLM,
        (0, 33, 0),
        stored_by("modelopt", "quant_algo: W4A16_AWQ"),
        MethodUnloadable("vllm", "0.33.0", "modelopt", "quant_algo: W4A16_AWQ"),
    ),
    "an algorithm of modelopt before its time": (
        VLLM,
        (0, 15, 0),
        stored_by("modelopt", "quant_algo: MXFP8"),
        MethodUnloadable("vllm", "0.15.0", "modelopt", "quant_algo: MXFP8", since="0.16.0"),
    ),
    "a method that only the model's name tells": (VLLM, (0, 33, 0), stored_by(""), None),
}


@pytest.mark.parametrize(("engine", "release", "model", "cause"), METHODS.values(), ids=METHODS)
def test_a_checkpoint_is_refused_where_the_release_does_not_load_it(
    engine: EngineName, release: Version, model: ModelFacts, cause: MethodUnloadable | None
) -> None:
    assert cause_of(a_demand(model, engine=engine, release=release)) == cause


CLASSES: dict[str, tuple[EngineName, Version, str, ArchitectureUnknown | None]] = {
    "a class of every release": (VLLM, (0, 11, 1), "LlamaForCausalLM", None),
    "a class before its time": (
        VLLM,
        (0, 22, 1),
        "Step3p7ForConditionalGeneration",
        ArchitectureUnknown("vllm", "0.22.1", "Step3p7ForConditionalGeneration", since="0.23.0"),
    ),
    "the same in its time": (VLLM, (0, 23, 0), "Step3p7ForConditionalGeneration", None),
    "a class that left": (
        VLLM,
        (0, 33, 0),
        "BaichuanForCausalLM",
        ArchitectureUnknown("vllm", "0.33.0", "BaichuanForCausalLM", before="0.25.0"),
    ),
    "a class that left and came again": (
        VLLM,
        (0, 28, 0),
        "ExaoneMoEForCausalLM",
        ArchitectureUnknown("vllm", "0.28.0", "ExaoneMoEForCausalLM", since="0.32.0", before="0.27.0"),
    ),
    "a class of no release": (
        SGLANG,
        (0, 5, 23),
        "FromTomorrowForCausalLM",
        ArchitectureUnknown("sglang", "0.5.23", "FromTomorrowForCausalLM"),
    ),
    "another ending of a class, which vLLM converts": (VLLM, (0, 33, 0), "Step3p7ForCausalLM", None),
    "and SGLang does not": (
        SGLANG,
        (0, 5, 23),
        "Step3p7ForCausalLM",
        ArchitectureUnknown("sglang", "0.5.23", "Step3p7ForCausalLM"),
    ),
    "a class that runs by Transformers": (VLLM, (0, 33, 0), "HeliumForCausalLM", None),
    "a release newer than the tables": (VLLM, (0, 34, 0), "FromTomorrowForCausalLM", None),
    "an engine whose classes nobody read": (TENSORRT_LLM, (1, 2, 1), "FromTomorrowForCausalLM", None),
}


@pytest.mark.parametrize(("engine", "release", "name", "cause"), CLASSES.values(), ids=CLASSES)
def test_a_class_is_refused_where_the_release_lacks_it(
    engine: EngineName, release: Version, name: str, cause: ArchitectureUnknown | None
) -> None:
    assert cause_of(a_demand(of_class(name), engine=engine, release=release)) == cause


@pytest.mark.parametrize(
    "changes",
    [{"published": False}, {"remote_code": True}, {"model": replace(of_class("X"), states_architecture=False)}],
    ids=["an image of another name", "code of the checkpoint", "a class that the config does not state"],
)
def test_a_class_that_may_come_from_elsewhere_is_noted(changes: dict[str, object]) -> None:
    demand = replace(a_demand(of_class("X")), **changes)  # type: ignore[arg-type]  # a row of the table
    assert cause_of(demand) is None
    assert list(support_notes(demand)) == [ArchitectureFromElsewhere("vllm", "0.33.0", "X")]
    assert ArchitectureFromElsewhere("vllm", "0.33.0", "X") in planned(demand, FLEET).notes


def test_a_method_that_an_image_of_another_name_may_bring_is_noted() -> None:
    demand = a_demand(stored_by("bitsandbytes"), published=False)
    assert list(planned(demand, FLEET).notes)[-1:] == [
        MethodFromImage("vllm", "0.33.0", "`bitsandbytes` checkpoints"),
    ]


def test_a_class_that_runs_by_the_code_of_transformers_is_noted() -> None:
    found = list(support_notes(a_demand(of_class("HeliumForCausalLM"))))
    assert found == [TransformersCode("vllm", "0.33.0", "HeliumForCausalLM")]


def test_a_checkpoint_that_another_engine_loads_gets_that_hint() -> None:
    refusal = refused(a_demand(stored_by("bitsandbytes")), FLEET)
    assert [(hint.field, hint.value) for hint in refusal.hints] == [("spec.engine.name", "sglang")]


def test_a_hint_of_another_engine_is_tried_on_the_release_that_was_read() -> None:
    """The release of the object is that of its own engine."""
    refusal = refused(a_demand(stored_by("bitsandbytes"), release=(0, 30, 0)), FLEET)
    assert [hint.value for hint in refusal.hints] == ["sglang"]


WORDS: dict[str, tuple[EngineName, Version, str, tuple[str, ...]]] = {
    "deprecated in vLLM": (VLLM, (0, 33, 0), "fbgemm_fp8", ("--allow-deprecated-quantization",)),
    "the release that deprecated it": (VLLM, (0, 14, 0), "fbgemm_fp8", ("--allow-deprecated-quantization",)),
    "before the word existed": (VLLM, (0, 13, 0), "fbgemm_fp8", ()),
    "deprecated in one release": (VLLM, (0, 14, 1), "auto-round", ("--allow-deprecated-quantization",)),
    "and loaded by another name since": (VLLM, (0, 15, 0), "auto-round", ()),
    "a method in good standing": (VLLM, (0, 33, 0), "fp8", ()),
    "another engine": (SGLANG, (0, 5, 15), "fbgemm_fp8", ()),
}


@pytest.mark.parametrize(("engine", "release", "name", "words"), WORDS.values(), ids=WORDS)
def test_a_deprecated_method_needs_its_word(
    engine: EngineName, release: Version, name: str, words: tuple[str, ...]
) -> None:
    assert needed_words(engine, release, CheckpointMethod(name, Quantization.FP8)) == words


CAPABILITIES: dict[str, tuple[EngineName, CheckpointMethod, tuple[int, int], str | None]] = {
    "mxfp4 on a T4": (VLLM, CheckpointMethod("mxfp4", Quantization.MXFP4), (7, 5), "8.0"),
    "mxfp4 on an A100": (VLLM, CheckpointMethod("mxfp4", Quantization.MXFP4), (8, 0), None),
    "modelopt's FP8 of SGLang on an A100": (
        SGLANG,
        CheckpointMethod("modelopt", Quantization.FP8, ("quant_algo: FP8",)),
        (8, 0),
        "8.9",
    ),
    "the same on vLLM": (
        VLLM,
        CheckpointMethod("modelopt", Quantization.FP8, ("quant_algo: FP8",)),
        (8, 0),
        None,
    ),
    "NVFP4 of TensorRT-LLM on Hopper": (
        TENSORRT_LLM,
        CheckpointMethod("modelopt", Quantization.NVFP4, ("quant_algo: NVFP4",)),
        (9, 0),
        "10.0",
    ),
}


@pytest.mark.parametrize(("engine", "method", "has", "least"), CAPABILITIES.values(), ids=CAPABILITIES)
def test_a_method_is_refused_on_gpus_that_are_too_old_for_it(
    engine: EngineName, method: CheckpointMethod, has: tuple[int, int], least: str | None
) -> None:
    node = a_node(product=T4, gpus=8)._replace(compute_capability=has)
    demand = a_demand(replace(facts(LLAMA_8B, "fp8"), method=method), engine=engine)
    (pool,) = eligible(demand, a_fleet(node)).pools
    said = f"{has[0]}.{has[1]}"
    expected = least and CapabilityShort(T4, f"`{method.name}` weights on {engine.value}", said, least)
    assert unsupported(demand, pool) == expected


def test_gpus_of_unknown_capability_are_not_refused() -> None:
    node = a_node(product=T4, gpus=8)._replace(compute_capability=None)
    demand = a_demand(replace(facts(LLAMA_8B, "mxfp4"), method=CheckpointMethod("mxfp4", Quantization.MXFP4)))
    (pool,) = eligible(demand, a_fleet(node)).pools
    assert unsupported(demand, pool) is None


STATED: dict[str, tuple[dict[str, object], CheckpointMethod]] = {
    "GPTQ": (
        {"quant_method": "gptq", "bits": 3, "group_size": 128, "sym": False, "desc_act": True},
        CheckpointMethod("gptq", Quantization.INT4, ("bits: 3", "sym: false", "desc_act: true")),
    ),
    "GPTQ without groups, where the order does not matter": (
        {"quant_method": "gptq", "bits": 4, "group_size": -1, "sym": True, "desc_act": True},
        CheckpointMethod("gptq", Quantization.INT4, ("bits: 4",)),
    ),
    "modelopt by any of its names": (
        {"quant_method": "modelopt_fp4", "quant_algo": "nvfp4"},
        CheckpointMethod("modelopt", Quantization.NVFP4, ("quant_algo: NVFP4",)),
    ),
    "fp8 that scales when it runs": (
        {"quant_method": "fp8", "activation_scheme": "dynamic"},
        CheckpointMethod("fp8", Quantization.FP8, ("activation_scheme: dynamic",)),
    ),
    "fp8 in blocks": (
        {"quant_method": "fp8", "weight_block_size": [128, 128]},
        CheckpointMethod("fp8", Quantization.FP8),
    ),
}


@pytest.mark.parametrize("forced", ["auto", "fp8"])
@pytest.mark.parametrize(("stated", "method"), STATED.values(), ids=STATED)
def test_the_method_is_the_checkpoints_whatever_the_object_asks_for(
    stated: dict[str, object], method: CheckpointMethod, forced: str
) -> None:
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 1024,
        "intermediate_size": 2048,
        "num_hidden_layers": 2,
        "num_attention_heads": 8,
        "vocab_size": 4096,
        "quantization_config": stated,
    }
    assert from_config(config, name="m", origin="t", quantization=forced).method == method


def test_a_config_that_states_no_quantisation_has_a_method_only_if_its_name_tells_it() -> None:
    assert facts(LLAMA_70B).method is None
    assert facts(LLAMA_70B, "fp8").method is None


def test_every_engine_runs_a_release_that_was_read() -> None:
    assert {engine: a_demand(engine=engine).runs for engine in EngineName} == RELEASES
