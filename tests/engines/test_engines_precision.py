"""`spec.model.quantization` against what the checkpoint is and what the engine can make of it."""

from dataclasses import replace

import pytest
from tests.engines.support import SGLANG, TENSORRT_LLM, VLLM, options, started, wants
from tests.engines.support import a_plan as a_plan_of
from tests.support.models import LLAMA_8B, a_demand, facts

from shardwise.domain.engine import EngineName
from shardwise.domain.layout import Layout
from shardwise.domain.model import CheckpointMethod, Quantization
from shardwise.engines import problems

FIELD = "spec.model.quantization"


def stored(name: str, kind: Quantization) -> CheckpointMethod:
    return CheckpointMethod(name, kind)


CASES: dict[str, tuple[EngineName, CheckpointMethod | None, str, str | None]] = {
    "fp8 on an unquantised checkpoint": (VLLM, None, "fp8", None),
    "the same on SGLang": (SGLANG, None, "fp8", None),
    "the checkpoint's own precision": (VLLM, stored("compressed-tensors", Quantization.FP8), "fp8", None),
    "a precision that the name tells": (VLLM, stored("", Quantization.INT4), "int4", None),
    "none, which it is": (VLLM, None, "none", None),
    "fp8 on mxfp4, which vLLM ignores": (
        VLLM,
        stored("mxfp4", Quantization.MXFP4),
        "fp8",
        (
            "`fp8` cannot be used: the checkpoint is in mxfp4 (`mxfp4`), and vllm 0.33.0 loads it as it is; "
            "use `auto`, or a checkpoint in fp8"
        ),
    ),
    "fp8 on int4, which both refuse": (
        SGLANG,
        stored("compressed-tensors", Quantization.INT4),
        "fp8",
        (
            "`fp8` cannot be used: the checkpoint is in int4 (`compressed-tensors`), and sglang 0.5.23 loads it as it "
            "is; use `auto`, or a checkpoint in fp8"
        ),
    ),
    "fp8 on NVFP4": (
        VLLM,
        stored("modelopt", Quantization.NVFP4),
        "fp8",
        (
            "`fp8` cannot be used: the checkpoint is in nvfp4 (`modelopt`), and vllm 0.33.0 loads it as it is; "
            "use `auto`, or a checkpoint in fp8"
        ),
    ),
    "none on a quantised checkpoint": (
        VLLM,
        stored("gptq", Quantization.INT4),
        "none",
        (
            "`none` cannot be used: the checkpoint is in int4 (`gptq`), and vllm 0.33.0 loads it as it is; "
            "use `auto`, or an unquantised checkpoint"
        ),
    ),
    "int4 on an unquantised checkpoint": (
        VLLM,
        None,
        "int4",
        (
            "`int4` cannot be used: the checkpoint is not quantised, and vllm 0.33.0 quantises on load to fp8 only; "
            "use `fp8` or a checkpoint in int4 with `auto`"
        ),
    ),
    "nvfp4 on an unquantised checkpoint": (
        SGLANG,
        None,
        "nvfp4",
        (
            "`nvfp4` cannot be used: the checkpoint is not quantised, and sglang 0.5.23 quantises on load to fp8 only; "
            "use `fp8` or a checkpoint in nvfp4 with `auto`"
        ),
    ),
    "mxfp4 on an unquantised checkpoint": (
        TENSORRT_LLM,
        None,
        "mxfp4",
        (
            "`mxfp4` cannot be used: the checkpoint is not quantised, and tensorrt-llm 1.2.1 does not quantise on "
            "load; use a checkpoint in mxfp4 with `auto`"
        ),
    ),
}


@pytest.mark.parametrize(("engine", "method", "asked", "message"), CASES.values(), ids=CASES)
def test_a_precision_that_the_engine_would_ignore_or_refuse_is_refused(
    engine: EngineName, method: CheckpointMethod | None, asked: str, message: str | None
) -> None:
    model = replace(facts(LLAMA_8B, asked), method=method)
    found = problems(wants(a_demand(model, engine=engine), quantization=asked, served_name=LLAMA_8B))
    assert [said for field, said in found if field == FIELD] == ([message] if message else [])


@pytest.mark.parametrize("engine", [VLLM, SGLANG])
@pytest.mark.parametrize(("method", "word"), [(None, "fp8"), (stored("fp8", Quantization.FP8), None)])
def test_the_word_for_fp8_is_given_only_where_the_engine_must_quantise(
    engine: EngineName, method: CheckpointMethod | None, word: str | None
) -> None:
    """An engine refuses the word for a checkpoint of another method, even where that one is in fp8 too."""
    model = replace(facts(LLAMA_8B, "fp8"), method=method)
    launched = started(
        a_plan_of(Layout(1, 1), engine=engine), wants(a_demand(model, engine=engine), quantization="fp8")
    )
    assert options(launched.pods[0].args).get("--quantization") == word


@pytest.mark.parametrize(
    ("image", "said"),
    [(None, True), ("vllm/vllm-openai:v0.14.0", True), ("vllm/vllm-openai:v0.13.0", False)],
)
def test_a_deprecated_method_is_allowed_by_its_word(image: str | None, said: bool) -> None:
    """`fbgemm_fp8`, as published checkpoints of Llama 3.1 405B have it; older releases do not know the word."""
    model = replace(facts(LLAMA_8B, "fp8"), method=stored("fbgemm_fp8", Quantization.FP8))
    launched = started(a_plan_of(Layout(8, 2), 8, 8), wants(a_demand(model), image=image))
    assert {"--allow-deprecated-quantization" in pod.args for pod in launched.pods} == {said}
