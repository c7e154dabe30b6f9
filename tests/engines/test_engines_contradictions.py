"""What a user may not say: each spelling, with the exact message; and what a user may say, however alike it looks."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engines.support import (
    OF_OTHER_RELEASES,
    SGLANG,
    TENSORRT_LLM,
    VLLM,
    a_plan,
    as_engine_reads,
    known_flags,
    started,
    wants,
    wants_of,
)

from shardwise.api import crd
from shardwise.api.spec import ShardedModelSpec
from shardwise.domain.engine import EngineName
from shardwise.domain.launch import EnvVar
from shardwise.domain.layout import Layout
from shardwise.engines import ENGINES, problems
from shardwise.engines.options import ALWAYS, IN_GPU_MEMORY, PLAIN_HTTP, STORED, WHOLE_REQUESTS

TENSOR = "use `spec.parallelism.tensor`"
PIPELINE = "use `spec.parallelism.pipeline`"
EXPERT = "use `spec.parallelism.expert`"
REPLICAS = "use `spec.replicas`"
PLANNED = "the plan decides it"
DATA = "use `spec.parallelism.data`"
CACHE = "use `spec.parallelism.context`"
RESERVE = "use `spec.model.gpuMemoryReserve`"
PORT = "use `spec.service.port`"


@pytest.mark.parametrize(
    ("word", "remedy"),
    [
        pytest.param("--tensor-parallel-size", TENSOR, id="tensor, value apart"),
        pytest.param("--tensor-parallel-size=4", TENSOR, id="tensor, value attached"),
        pytest.param("--tensor_parallel_size", TENSOR, id="tensor, underscores"),
        pytest.param("--tensor_parallel_size=4", TENSOR, id="tensor, underscores, value attached"),
        pytest.param("--tensor-parallel_size=4", TENSOR, id="tensor, both"),
        pytest.param("--tensor-par", TENSOR, id="tensor, cut short"),
        pytest.param("--tensor_p=4", TENSOR, id="tensor, cut short, with all of that"),
        pytest.param("-tp", TENSOR, id="tensor, short"),
        pytest.param("-tp=4", TENSOR, id="tensor, short, value attached"),
        pytest.param("--pipeline-parallel-size", PIPELINE, id="pipeline"),
        pytest.param("--pipeline_parallel_size=2", PIPELINE, id="pipeline, underscores"),
        pytest.param("-pp", PIPELINE, id="pipeline, short"),
        pytest.param("-pp=2", PIPELINE, id="pipeline, short, value attached"),
        pytest.param("--enable-expert-parallel", EXPERT, id="experts"),
        pytest.param("--enable_expert_parallel", EXPERT, id="experts, underscores"),
        pytest.param("--disable-expert-parallel", EXPERT, id="no experts"),
        pytest.param("--no-enable-expert-parallel", EXPERT, id="no experts, as older releases say"),
        pytest.param("-ep", EXPERT, id="experts, short"),
        pytest.param("--data-parallel-size=2", DATA, id="data ranks"),
        pytest.param("--data-parallel-size-local", DATA, id="data ranks of the node"),
        pytest.param("-dp", DATA, id="data ranks, short"),
        pytest.param("-dpl=2", DATA, id="local data ranks, short"),
        pytest.param("--nnodes", PLANNED, id="nodes"),
        pytest.param("--nnodes=3", PLANNED, id="nodes, value attached"),
        pytest.param("-n", PLANNED, id="nodes, short"),
        pytest.param("-n3", PLANNED, id="nodes, short, value glued on"),
        pytest.param("--node-rank", PLANNED, id="rank"),
        pytest.param("-r1", PLANNED, id="rank, short, value glued on"),
        pytest.param("--master-addr=10.0.0.1", PLANNED, id="leader"),
        pytest.param("--master_port", PLANNED, id="rendezvous"),
        pytest.param("--headless", PLANNED, id="headless"),
        pytest.param("--distributed-executor-backend=ray", PLANNED, id="ray"),
        pytest.param("--gpu-memory-utilization=0.99", RESERVE, id="memory fraction"),
        pytest.param("--gpu_memory_utilization", RESERVE, id="memory fraction, underscores"),
        pytest.param("--device-memory-utilization", RESERVE, id="memory fraction, new name"),
        pytest.param("--kv-cache-memory-bytes", RESERVE, id="cache in bytes"),
        pytest.param("--max-num-batched-tokens", RESERVE, id="chunk"),
        pytest.param("--max-model-len", "use `spec.model.contextLength`", id="context"),
        pytest.param("--max_model_len=1", "use `spec.model.contextLength`", id="context, underscores"),
        pytest.param("--kv-cache-dtype", "use `spec.model.kvCacheDtype`", id="cache precision"),
        pytest.param("--quantization=awq", "use `spec.model.quantization`", id="quantisation"),
        pytest.param("-q", "use `spec.model.quantization`", id="quantisation, short"),
        pytest.param("--trust-remote-code", "use `spec.model.trustRemoteCode`", id="trust"),
        pytest.param("--model", "use `spec.model.name`", id="model"),
        pytest.param("--served-model-name", "use `spec.model.servedName`", id="served name"),
        pytest.param("--revision=main", "use `spec.model.source.huggingFace.revision`", id="revision"),
        pytest.param("--host=127.0.0.1", PORT, id="host"),
        pytest.param("--port", PORT, id="port"),
        pytest.param("--config=/tmp/all.yaml", "use `spec.engine.args`", id="a file of options"),
        pytest.param("-dcp=2", CACHE, id="a cache shared over a tensor group"),
        pytest.param("--data-parallel-hybrid-lb", "use `spec.engine.servers`", id="data parallelism behind a balancer"),
        pytest.param("--enable-elastic-ep", DATA, id="experts that grow"),
        pytest.param("--dtype=float32", STORED, id="another precision"),
        pytest.param("--hf-overrides", STORED, id="another config"),
        pytest.param("--cpu-offload-gb=8", IN_GPU_MEMORY, id="weights in the memory of the node"),
        pytest.param("--num-gpu-blocks-override", RESERVE, id="another size of the cache"),
        pytest.param("--ssl-certfile=/tls/crt", PLAIN_HTTP, id="TLS"),
        pytest.param("--grpc", WHOLE_REQUESTS, id="no HTTP"),
    ],
)
def test_an_argument_that_contradicts_the_plan_is_refused(word: str, remedy: str) -> None:
    """By its position, as it was written, with the field to use instead."""
    found = problems(wants(args=("--seed", "1", word)))
    assert found == (("spec.engine.args.2", f"`{word}` would contradict the plan; {remedy}"),)


def test_every_contradiction_is_named_in_order() -> None:
    """Arguments first, then variables; the values between them are nobody's business."""
    env = (EnvVar("NCCL_DEBUG", value="INFO"), EnvVar("VLLM_HOST_IP", value="10.0.0.1"))
    found = problems(wants(args=("-tp", "4", "--seed", "1", "--port=1"), env=env))
    assert [field for field, _ in found] == ["spec.engine.args.0", "spec.engine.args.4", "spec.engine.env.1.name"]


@pytest.mark.parametrize(
    "word",
    [
        "--max-num-seqs",
        "--model-impl=transformers",
        "--model-loader-extra-config",
        "--config-format",
        "--kv-cache-dtype-skip-layers",
        "--quantization-config",
        "--tokenizer-revision",
        "--enable-eplb",
        "--hf-config-path",
        "--",
        "-",
        "",
        "8",
        "tensor-parallel-size",
        "{--tensor-parallel-size}",
        "-cc",
        "-asc",
    ],
)
def test_what_only_looks_like_it_is_allowed(word: str) -> None:
    """Longer names, values, and words that are no option."""
    assert list(ENGINES[VLLM].TABLE.argument_problems((word,))) == []


@pytest.mark.parametrize(
    ("name", "origin"),
    [
        ("VLLM_HOST_IP", "the pod's own address"),
        ("VLLM_PORT", "chosen by the engine"),
        ("HF_TOKEN", "spec.model.source.huggingFace.tokenSecretRef"),
        ("HF_HOME", "the volume of the cache"),
        ("VLLM_DP_SIZE", "the plan: use `spec.parallelism.data`"),
        ("VLLM_PP_LAYER_PARTITION", "the plan's memory per stage"),
        ("CUDA_VISIBLE_DEVICES", "the device plugin"),
    ],
)
def test_a_variable_the_launch_sets_is_refused(name: str, origin: str) -> None:
    """With what sets it."""
    found = problems(wants(env=(EnvVar("HTTP_PROXY", value="proxy"), EnvVar(name, value="x"))))
    assert found == (("spec.engine.env.1.name", f"`{name}` is set by {origin}"),)


@pytest.mark.parametrize("name", ["NCCL_IB_HCA", "NCCL_SOCKET_IFNAME", "VLLM_LOGGING_LEVEL", "HF_ENDPOINT", "hf_token"])
def test_variables_of_the_site_are_allowed(name: str) -> None:
    """Networks differ from site to site; names are compared as the engine reads them, case included."""
    assert problems(wants(env=(EnvVar(name, value="x"),))) == ()


def test_an_object_without_extras_has_no_problems() -> None:
    """Nothing is wrong with the plain case."""
    assert problems(wants()) == ()


def owned(engine: EngineName) -> set[str]:
    """Give every spelling an engine's user may not use."""
    return {spelling for option in ENGINES[engine].TABLE.options for spelling in option.spellings}


def owned_option(engine: EngineName, word: str) -> str | None:
    """Give the option of the plan that a word is taken for."""
    found = ENGINES[engine].TABLE.option(word)
    return None if found is None else found.word


@pytest.mark.parametrize("engine", list(EngineName))
def test_of_all_options_of_an_engine_those_of_the_plan_are_refused_and_no_others(engine: EngineName) -> None:
    """In whatever beginning its own parser takes, and with underscores; what is ambiguous the engine refuses itself."""
    wrong: list[str] = []
    for flag in sorted(flag for flag in known_flags(engine) if flag.startswith("--")):
        understood = [cut for cut in beginnings(flag) if as_engine_reads(engine, cut) == flag]
        assert flag in understood
        spelled = [
            word for cut in understood for word in (cut, f"{cut}=1", underscored(cut), f"{underscored(cut)}=a-b")
        ]
        wrong += [word for word in spelled if (owned_option(engine, word) is not None) != (flag in owned(engine))]
    assert wrong == []


@pytest.mark.parametrize("engine", list(EngineName))
def test_every_refused_option_is_one_the_engine_knows(engine: EngineName) -> None:
    """A misspelt one would guard nothing."""
    assert owned(engine) - known_flags(engine) == (OF_OTHER_RELEASES if engine is VLLM else set())


@pytest.mark.parametrize("engine", list(EngineName))
def test_every_refused_option_names_a_field_of_the_object(engine: EngineName) -> None:
    """One that exists, or the plan where there is none."""
    fields = set(known_paths())
    assert {option.field for option in ENGINES[engine].TABLE.options} - fields <= {ALWAYS}


def known_paths() -> list[str]:
    """List the paths of all fields of the object's spec."""
    found: list[str] = []

    def walk(schema: dict[str, Any], path: str) -> None:
        for name, inside in schema.get("properties", {}).items():
            found.append(f"{path}.{name}")
            walk(inside, f"{path}.{name}")

    walk(crd.structural(ShardedModelSpec), "spec")
    return found


def beginnings(flag: str) -> list[str]:
    return [flag[:end] for end in range(len("--x"), len(flag) + 1)]


def underscored(name: str) -> str:
    return "--" + name.removeprefix("--").replace("-", "_")


def test_every_declared_short_form_of_an_owned_option_is_refused() -> None:
    """Among all short forms vLLM declares; the others set what the plan does not."""
    short = {flag for flag in known_flags() if not flag.startswith("--")}
    data = {"-dp", *(f"-dp{letter}" for letter in "abehlmnpr")}
    several = {"-asc", "-dcp", "-ep", "-n", "-pcp", "-pp", "-q", "-r", "-tp"} | data
    assert {flag for flag in short if owned_option(VLLM, flag)} == several


@pytest.mark.parametrize("word", ["-qfp8", "-q=fp8", "-t", "-t=8", "-tp=8", "-e", "-n4", "-pc", "-d", "-r0"])
def test_short_forms_are_refused_as_the_engines_parser_would_read_them(word: str) -> None:
    """With the value attached, or cut short."""
    assert owned_option(VLLM, word) is not None


@pytest.mark.parametrize("word", ["-", "8", "-O3", "-x", "q", "tp"])
def test_other_words_are_let_through(word: str) -> None:
    assert owned_option(VLLM, word) is None


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        (
            SGLANG,
            "--moe-dense-tp-size --dwdp-size --disaggregation-mode --use-ray --cpu-offload-gb",
        ),
        (TENSORRT_LLM, "--server_role --grpc"),
    ],
)
def test_what_would_change_the_world_or_the_memory_is_refused(engine: EngineName, words: str) -> None:
    assert [word for word in words.split() if owned_option(engine, word) is None] == []


@pytest.mark.parametrize("option", ["--prefill-context-parallel-size", "--data-parallel-rank=1", "--uds"])
def test_what_would_change_ranks_or_address_is_refused(option: str) -> None:
    assert owned_option(VLLM, option) is not None


def test_a_variable_may_be_given_once() -> None:
    """The API server would refuse the pod's list with a name twice."""
    twice = wants(env=(EnvVar("A", value="1"), EnvVar("B", value="2"), EnvVar("A", value="3")))
    assert problems(twice) == (("spec.engine.env.2.name", "`A` is given twice"),)


def test_a_default_of_ours_gives_way_to_the_users() -> None:
    """It is set once, to what the user says."""
    wanted = wants(env=(EnvVar("VLLM_CACHE_ROOT", value="/fast"),))
    (pod,) = started(a_plan(Layout(1, 1), 1), wanted).pods
    assert [variable.value for variable in pod.env if variable.name == "VLLM_CACHE_ROOT"] == ["/fast"]


@given(st.text(alphabet="-_=tpnqrd18emo", max_size=10))
def test_any_word_is_either_an_option_of_the_plan_or_let_through(word: str) -> None:
    """And a word that is let through does not begin like a name the plan owns."""
    option = owned_option(VLLM, word)
    assert option is None or option in owned(VLLM)
    if word.startswith("--") and option is None:
        name = word.partition("=")[0].replace("_", "-")
        assert len(name) <= len("--x") or not [one for one in owned(VLLM) if one.startswith(name)]


CONTEXT = "use `spec.model.contextLength`"
OPTIONS = "use `spec.engine.options`"


@pytest.mark.parametrize(
    ("engine", "word", "remedy"),
    [
        pytest.param(SGLANG, "--tp-size", TENSOR, id="SGLang: tensor"),
        pytest.param(SGLANG, "--tp", TENSOR, id="SGLang: tensor, the beginning everybody writes"),
        pytest.param(SGLANG, "--tp=4", TENSOR, id="SGLang: tensor, cut short, value attached"),
        pytest.param(SGLANG, "--tensor-parallel-size", TENSOR, id="SGLang: tensor, other name"),
        pytest.param(SGLANG, "--tensor_parallel_size=4", TENSOR, id="SGLang: tensor, underscores it would not take"),
        pytest.param(SGLANG, "--pp", PIPELINE, id="SGLang: pipeline, cut short"),
        pytest.param(SGLANG, "--ep", EXPERT, id="SGLang: experts"),
        pytest.param(SGLANG, "--expert-parallel-size=8", EXPERT, id="SGLang: experts, other name"),
        pytest.param(SGLANG, "--dp=2", REPLICAS, id="SGLang: replicas, cut short"),
        pytest.param(SGLANG, "--attn-dp-size", DATA, id="SGLang: attention over data"),
        pytest.param(SGLANG, "--enable-dp-attention", DATA, id="SGLang: attention over data, old name"),
        pytest.param(SGLANG, "--nnodes=2", PLANNED, id="SGLang: nodes"),
        pytest.param(SGLANG, "--dist-init-addr=x:1", PLANNED, id="SGLang: leader"),
        pytest.param(SGLANG, "--nccl-init", PLANNED, id="SGLang: leader, old name cut short"),
        pytest.param(SGLANG, "--mem-fraction-static", RESERVE, id="SGLang: memory fraction"),
        pytest.param(SGLANG, "--mem-frac=0.9", RESERVE, id="SGLang: memory fraction, cut short"),
        pytest.param(SGLANG, "--max-total-tokens", RESERVE, id="SGLang: size of the cache"),
        pytest.param(SGLANG, "--context-length", CONTEXT, id="SGLang: context"),
        pytest.param(SGLANG, "--model", "use `spec.model.name`", id="SGLang: model"),
        pytest.param(SGLANG, "--host", PORT, id="SGLang: host"),
        pytest.param(TENSORRT_LLM, "--tp_size", TENSOR, id="TensorRT-LLM: tensor"),
        pytest.param(TENSORRT_LLM, "--tp-size=4", TENSOR, id="TensorRT-LLM: tensor, dashes it would not take"),
        pytest.param(TENSORRT_LLM, "--tensor_parallel_size=4", TENSOR, id="TensorRT-LLM: tensor, other name"),
        pytest.param(TENSORRT_LLM, "--pipeline_parallel_size", PIPELINE, id="TensorRT-LLM: pipeline, other name"),
        pytest.param(TENSORRT_LLM, "--moe_expert_parallel_size", EXPERT, id="TensorRT-LLM: experts, other name"),
        pytest.param(TENSORRT_LLM, "--gpus_per_node", PLANNED, id="TensorRT-LLM: GPUs of a node"),
        pytest.param(TENSORRT_LLM, "--context_parallel_size=2", CACHE, id="TensorRT-LLM: context parallelism"),
        pytest.param(TENSORRT_LLM, "--free_gpu_memory_fraction", RESERVE, id="TensorRT-LLM: memory, other name"),
        pytest.param(TENSORRT_LLM, "--max_seq_len=1", CONTEXT, id="TensorRT-LLM: context"),
        pytest.param(TENSORRT_LLM, "--extra_llm_api_options", OPTIONS, id="TensorRT-LLM: options file"),
        pytest.param(TENSORRT_LLM, "--config=/x", OPTIONS, id="TensorRT-LLM: options file, other name"),
        pytest.param(TENSORRT_LLM, "--backend", "use `spec.engine.name`", id="TensorRT-LLM: backend"),
    ],
)
def test_each_engine_refuses_its_own_spellings(engine: EngineName, word: str, remedy: str) -> None:
    """By its position, as it was written, with the field to use instead."""
    found = problems(wants_of(engine, args=("--log_level", "info", word)))
    assert found == (("spec.engine.args.2", f"`{word}` would contradict the plan; {remedy}"),)


@pytest.mark.parametrize(
    ("engine", "word"),
    [
        (SGLANG, "--tensor-parallel-sizes"),
        (SGLANG, "--model-loader-extra-config"),
        (SGLANG, "--max-running-requests"),
        (SGLANG, "--dist-timeout"),
        (TENSORRT_LLM, "--tp"),
        (TENSORRT_LLM, "--max_batch_size"),
        (TENSORRT_LLM, "--tokenizer"),
        (TENSORRT_LLM, "--reasoning_parser=r1"),
    ],
)
def test_what_does_not_touch_the_plan_is_left_to_the_engine(engine: EngineName, word: str) -> None:
    """What it does not know it refuses itself; click takes no beginnings."""
    assert problems(wants_of(engine, args=(word,))) == ()


@pytest.mark.parametrize(
    ("engine", "name", "origin"),
    [
        (SGLANG, "SGLANG_HOST_IP", "the pod's own address"),
        (SGLANG, "HOST_IP", "the pod's own address"),
        (SGLANG, "SGLANG_PP_LAYER_PARTITION", "the plan's memory per stage"),
        (TENSORRT_LLM, "TLLM_SPAWN_PROXY_PROCESS", "the engine's own launcher"),
        (TENSORRT_LLM, "OMPI_MCA_orte_keep_fqdn_hostnames", "the host list"),
        *((engine, "HF_TOKEN", "spec.model.source.huggingFace.tokenSecretRef") for engine in EngineName),
        *((engine, "HF_HUB_OFFLINE", "spec.model.source") for engine in EngineName),
        *((engine, "CUDA_VISIBLE_DEVICES", "the device plugin") for engine in EngineName),
        *((engine, "NVIDIA_VISIBLE_DEVICES", "the device plugin") for engine in EngineName),
    ],
)
def test_each_engine_refuses_the_variables_its_launch_sets(engine: EngineName, name: str, origin: str) -> None:
    found = problems(wants_of(engine, env=(EnvVar(name, value="x"),)))
    assert found == (("spec.engine.env.0.name", f"`{name}` is set by {origin}"),)


@pytest.mark.parametrize("word", ["--enable-metrics", "--enable-metr", "--enable_metrics"])
def test_what_every_launch_says_is_not_to_be_said_again(word: str) -> None:
    """It contradicts nothing, and would hide what is really meant."""
    expected = f"`{word}` is always set; leave it out"
    assert problems(wants_of(SGLANG, args=(word,))) == (("spec.engine.args.0", expected),)
