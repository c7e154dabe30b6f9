"""What a user may not say: each spelling, with the exact message; and what a user may say, however alike it looks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engines.support import a_plan, as_vllm_reads, known_flags, started, wants
from tests.support.models import a_demand

from shardwise.domain.engine import EngineName
from shardwise.domain.launch import EnvVar
from shardwise.domain.layout import Layout
from shardwise.engines import UnsupportedEngine, launch, problems
from shardwise.engines.contradictions import OWNED_OPTIONS, argument_problems, owned_option

TENSOR = "use `spec.parallelism.tensor`"
PIPELINE = "use `spec.parallelism.pipeline`"
EXPERT = "use `spec.parallelism.expert`"
REPLICAS = "use `spec.replicas`"
PLANNED = "the plan decides it"
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
        pytest.param("--data-parallel-size=2", REPLICAS, id="replicas inside the engine"),
        pytest.param("--data-parallel-size-local", REPLICAS, id="replicas inside the node"),
        pytest.param("-dp", REPLICAS, id="replicas, short"),
        pytest.param("-dpl=2", REPLICAS, id="local replicas, short"),
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
    assert list(argument_problems((word,))) == []


@pytest.mark.parametrize(
    ("name", "origin"),
    [
        ("VLLM_HOST_IP", "the pod's own address"),
        ("VLLM_PORT", "chosen by the engine"),
        ("HF_TOKEN", "spec.model.source.huggingFace.tokenSecretRef"),
        ("HF_HOME", "the volume of the cache"),
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


def test_of_all_options_of_vllm_those_of_the_plan_are_refused_and_no_others() -> None:
    """In whatever unambiguous beginning and with underscores; what is ambiguous vLLM refuses itself."""
    wrong: list[str] = []
    for flag in sorted(flag for flag in known_flags() if flag.startswith("--")):
        understood = [cut for cut in beginnings(flag) if as_vllm_reads(cut) == flag]
        assert flag in understood
        spelled = [
            word for cut in understood for word in (cut, f"{cut}=1", underscored(cut), f"{underscored(cut)}=a-b")
        ]
        expected = flag if flag in OWNED_OPTIONS else None
        wrong += [word for word in spelled if owned_option(word) != expected]
    assert wrong == []


def beginnings(flag: str) -> list[str]:
    return [flag[:end] for end in range(len("--x"), len(flag) + 1)]


def underscored(name: str) -> str:
    return "--" + name.removeprefix("--").replace("-", "_")


def test_every_declared_short_form_of_an_owned_option_is_refused() -> None:
    """Among all short forms vLLM declares; the others set what the plan does not."""
    short = {flag for flag in known_flags() if not flag.startswith("--")}
    several = {"-dp", "-dpl", "-dpn", "-dpr", "-ep", "-n", "-pcp", "-pp", "-q", "-r", "-tp"}
    assert {flag for flag in short if owned_option(flag)} == several


@pytest.mark.parametrize("word", ["-qfp8", "-q=fp8", "-t", "-t=8", "-tp=8", "-e", "-n4", "-pc", "-d", "-r0"])
def test_short_forms_are_refused_as_the_engines_parser_would_read_them(word: str) -> None:
    """With the value attached, or cut short."""
    assert owned_option(word) is not None


@pytest.mark.parametrize("word", ["-", "8", "-O3", "-x", "q", "tp"])
def test_other_words_are_let_through(word: str) -> None:
    assert owned_option(word) is None


@pytest.mark.parametrize("option", ["--prefill-context-parallel-size", "--data-parallel-rank=1", "--uds"])
def test_what_would_change_ranks_or_address_is_refused(option: str) -> None:
    assert owned_option(option) is not None


def test_a_variable_may_be_given_once() -> None:
    """The API server would refuse the pod's list with a name twice."""
    twice = wants(env=(EnvVar("A", value="1"), EnvVar("B", value="2"), EnvVar("A", value="3")))
    assert problems(twice) == (("spec.engine.env.2.name", "`A` is given twice"),)


def test_a_default_of_ours_gives_way_to_the_users() -> None:
    """It is set once, to what the user says."""
    wanted = wants(env=(EnvVar("VLLM_CACHE_ROOT", value="/fast"),))
    (pod,) = started(a_plan(Layout(1, 1), 1), wanted).pods
    assert [one.value for one in pod.env if one.name == "VLLM_CACHE_ROOT"] == ["/fast"]


@given(st.text(alphabet="-_=tpnqrd18emo", max_size=10))
def test_any_word_is_either_an_option_of_the_plan_or_let_through(word: str) -> None:
    """And a word that is let through does not begin like a name the plan owns."""
    option = owned_option(word)
    assert option is None or option in OWNED_OPTIONS
    if word.startswith("--") and option is None:
        name = word.partition("=")[0].replace("_", "-")
        assert len(name) <= len("--x") or not [one for one in OWNED_OPTIONS if one.startswith(name)]


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        (EngineName.SGLANG, "`sglang` cannot be launched by this version; `vllm` can"),
        (EngineName.TENSORRT_LLM, "`tensorrt-llm` cannot be launched by this version; `vllm` can"),
    ],
)
def test_an_engine_that_cannot_be_launched_is_refused_by_name(engine: EngineName, message: str) -> None:
    """Before anything else is checked: its options are not vLLM's. A plan for it is not launched either."""
    wanted = wants(a_demand(engine=engine), args=("-tp", "4"), env=(EnvVar("HF_TOKEN", value="x"),))
    assert problems(wanted) == (("spec.engine.name", message),)
    plan = a_plan(Layout(1, 1), engine=engine)
    with pytest.raises(UnsupportedEngine) as refused:
        launch(wanted, plan, plan.groups[0], "leader")
    assert str(refused.value) == message
