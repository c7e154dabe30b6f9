"""The exact words and variables vLLM is started with: one table for layouts, one for what an object may ask."""

from dataclasses import replace

import pytest
from tests.engines.support import LEADER, a_plan, by_name, options, started, values_of, wants, wants_of
from tests.support.models import QWEN_235B_FP8, a_demand, a_model

from shardwise.domain.engine import EngineName
from shardwise.domain.launch import EnvVar, Source, SourceKind, Wanted
from shardwise.domain.layout import Layout
from shardwise.domain.model import CheckpointMethod, LatentCache, Precision, Quantization
from shardwise.domain.plan import MemoryUse
from shardwise.domain.units import GIB
from shardwise.engines.launch import EVERY_IPV4, EVERY_IPV6

HUB = "meta-llama/Llama-3.1-8B"
MEMORY = "--max-model-len 8192 --max-num-batched-tokens 8192 --max-num-seqs 256 --gpu-memory-utilization 0.92"
SERVED = "--host 0.0.0.0 --port 8000"


def shape(tensor: int, pipeline: int, more: str = "") -> str:
    words = f"{HUB} --served-model-name served --tensor-parallel-size {tensor} --pipeline-parallel-size {pipeline}"
    return f"{words}{more} {MEMORY}"


def nodes(count: int, rank: int) -> str:
    words = f"--nnodes {count} --node-rank {rank} --master-addr {LEADER} --master-port 29501"
    return f"{words} --distributed-executor-backend mp{' --headless' if rank else ''}"


@pytest.mark.parametrize(
    ("layout", "pods", "expected"),
    [
        pytest.param(Layout(1, 1), (1,), [f"{shape(1, 1)} {SERVED}"], id="one GPU"),
        pytest.param(Layout(8, 1), (8,), [f"{shape(8, 1)} {SERVED}"], id="tensor 8 in one node"),
        pytest.param(Layout(4, 2), (8,), [f"{shape(4, 2)} {SERVED}"], id="stages side by side in one node"),
        pytest.param(Layout(1, 4), (4,), [f"{shape(1, 4)} {SERVED}"], id="a pipeline over PCIe"),
        pytest.param(
            Layout(8, 1, expert=True),
            (8,),
            [f"{shape(8, 1, ' --enable-expert-parallel')} {SERVED}"],
            id="experts dealt out whole",
        ),
        pytest.param(
            Layout(8, 2),
            (8, 8),
            [f"{shape(8, 2)} {nodes(2, 0)} {SERVED}", f"{shape(8, 2)} {nodes(2, 1)} {SERVED}"],
            id="a stage on each of two nodes",
        ),
        pytest.param(
            Layout(4, 3),
            (4, 4, 4),
            [f"{shape(4, 3)} {nodes(3, rank)} {SERVED}" for rank in (0, 1, 2)],
            id="a stage on each of three half nodes",
        ),
        pytest.param(
            Layout(8, 1),
            (4, 4),
            [f"{shape(8, 1)} {nodes(2, 0)} {SERVED}", f"{shape(8, 1)} {nodes(2, 1)} {SERVED}"],
            id="a tensor group over two trays",
        ),
        pytest.param(
            Layout(16, 1, expert=True),
            (4, 4, 4, 4),
            [f"{shape(16, 1, ' --enable-expert-parallel')} {nodes(4, rank)} {SERVED}" for rank in range(4)],
            id="experts over four trays",
        ),
    ],
)
def test_each_pod_is_started_with_these_very_words(layout: Layout, pods: tuple[int, ...], expected: list[str]) -> None:
    """Leader first; followers differ in their rank and have no HTTP server."""
    found = started(a_plan(layout, *pods))
    assert [" ".join(pod.args) for pod in found.pods] == expected
    assert [pod.command for pod in found.pods] == [("vllm", "serve")] * len(pods)
    assert [pod.index for pod in found.pods] == list(range(len(pods)))


COARSE = a_model(precision=Precision(1.0, (128, 128)), method=CheckpointMethod("fp8", Quantization.FP8))
PLAIN = a_model()
HALF = replace(PLAIN, dtype="float16")
SPARSE = replace(PLAIN, kinds=tuple(replace(kind, cache=LatentCache(576, 132)) for kind in PLAIN.kinds))


@pytest.mark.parametrize(
    ("wanted", "option", "value"),
    [
        pytest.param(wants(served_name="chat"), "--served-model-name", "chat", id="served name"),
        pytest.param(wants(kv_cache_dtype="fp8"), "--kv-cache-dtype", "fp8", id="fp8 cache"),
        pytest.param(wants(kv_cache_dtype="bfloat16"), "--kv-cache-dtype", "bfloat16", id="bfloat16 cache"),
        pytest.param(
            wants(kv_cache_dtype="bfloat16", image="vllm/vllm-openai:v0.15.0"),
            "--kv-cache-dtype",
            "bfloat16",
            id="0.15",
        ),
        pytest.param(
            wants(kv_cache_dtype="bfloat16", image="vllm/vllm-openai:v0.14.1"),
            "--kv-cache-dtype",
            None,
            id="no attention backend takes bfloat16 before 0.15",
        ),
        pytest.param(
            wants(a_demand(SPARSE), kv_cache_dtype="bfloat16", image="vllm/vllm-openai:v0.14.1"),
            "--kv-cache-dtype",
            "bfloat16",
            id="but for sparse attention, whose default is fp8",
        ),
        pytest.param(
            wants(a_demand(HALF), kv_cache_dtype="bfloat16"),
            "--kv-cache-dtype",
            None,
            id="a checkpoint in float16 keeps its cache in float16",
        ),
        pytest.param(wants(a_demand(HALF), kv_cache_dtype="fp8"), "--kv-cache-dtype", "fp8", id="float16, fp8 cache"),
        pytest.param(wants(), "--kv-cache-dtype", None, id="cache left to the engine"),
        pytest.param(wants(a_demand(PLAIN), quantization="fp8"), "--quantization", "fp8", id="fp8 on load"),
        pytest.param(wants(a_demand(COARSE), quantization="fp8"), "--quantization", None, id="fp8 stored in blocks"),
        pytest.param(
            wants(a_demand(QWEN_235B_FP8), quantization="fp8"), "--quantization", None, id="a real fp8 checkpoint"
        ),
        pytest.param(wants(quantization="none"), "--quantization", None, id="plain dtype"),
        pytest.param(wants(quantization="int4"), "--quantization", None, id="int4 is the checkpoint's own matter"),
        pytest.param(wants(), "--quantization", None, id="quantisation left to the checkpoint"),
        pytest.param(wants(trust_remote_code=True), "--trust-remote-code", "", id="trusted code"),
        pytest.param(wants(), "--trust-remote-code", None, id="code is not trusted unasked"),
        pytest.param(wants(source=Source(revision="v1.2")), "--revision", "v1.2", id="revision"),
        pytest.param(wants(), "--revision", None, id="no revision"),
        pytest.param(wants(port=9000), "--port", "8000", id="the Service's port is not the engine's"),
    ],
)
def test_what_an_object_asks_becomes_an_option(wanted: Wanted, option: str, value: str | None) -> None:
    """``None``: the option is not given; empty: it has no value. Every pod of a group hears the same."""
    found = started(a_plan(Layout(8, 2), 8, 8), wanted)
    assert [options(pod.args).get(option) for pod in found.pods] == [value, value]


@pytest.mark.parametrize("context", [1, 8192, 131072, 10_000_000])
def test_the_planned_context_is_the_engines_limit(context: int) -> None:
    """As a plain number: what was planned is what runs."""
    (pod,) = started(a_plan(Layout(1, 1), context_length=context)).pods
    assert options(pod.args)["--max-model-len"] == str(context)


@pytest.mark.parametrize(
    ("source", "model"),
    [
        pytest.param(Source(), HUB, id="the Hub"),
        pytest.param(Source(SourceKind.PERSISTENT_VOLUME_CLAIM, location="claim"), "/model", id="a claim"),
        pytest.param(
            Source(SourceKind.PERSISTENT_VOLUME_CLAIM, location="claim", path="/a/b/"),
            "/model/a/b",
            id="its folder",
        ),
        pytest.param(Source(SourceKind.HOST_PATH, location="/data/llama"), "/model", id="a host path"),
        pytest.param(Source(SourceKind.IMAGE, location="registry/llama@sha256:0", path="w"), "/model/w", id="an image"),
    ],
)
def test_the_model_is_the_first_word(source: Source, model: str) -> None:
    """A Hub id, or the folder where the volume is mounted; clients call it by its served name either way."""
    (pod,) = started(a_plan(Layout(1, 1)), wants(source=source)).pods
    assert pod.args[:3] == (model, "--served-model-name", "served")


CACHES = {
    "HOME": "/cache",
    "HF_HOME": "/cache/huggingface",
    "TORCHINDUCTOR_CACHE_DIR": "/cache/inductor",
    "VLLM_CACHE_ROOT": "/cache/vllm",
    "VLLM_ENGINE_READY_TIMEOUT_S": "1800",
}
NVLINK = {"NCCL_CUMEM_ENABLE": "1", "NCCL_MNNVL_ENABLE": "1"}
SEVERAL_PODS = CACHES | {"VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS": "60"}


@pytest.mark.parametrize(
    ("layout", "pods", "source", "expected"),
    [
        pytest.param(Layout(1, 1), (1,), Source(), CACHES, id="one GPU"),
        pytest.param(Layout(8, 2), (8, 8), Source(), SEVERAL_PODS, id="whole tensor groups in nodes"),
        pytest.param(Layout(4, 2), (8,), Source(), CACHES, id="two tensor groups in a node"),
        pytest.param(Layout(8, 1), (4, 4), Source(), SEVERAL_PODS | NVLINK, id="a tensor group over trays"),
        pytest.param(Layout(8, 2), (4, 4, 4, 4), Source(), SEVERAL_PODS | NVLINK, id="stages over two trays each"),
        pytest.param(
            Layout(1, 1),
            (1,),
            Source(SourceKind.PERSISTENT_VOLUME_CLAIM, location="claim"),
            CACHES | {"HF_HUB_OFFLINE": "1"},
            id="a claim",
        ),
        pytest.param(
            Layout(1, 1),
            (1,),
            Source(SourceKind.HOST_PATH, location="/data"),
            CACHES | {"HF_HUB_OFFLINE": "1"},
            id="a host path",
        ),
        pytest.param(
            Layout(1, 1),
            (1,),
            Source(SourceKind.IMAGE, location="weights"),
            CACHES | {"HF_HUB_OFFLINE": "1"},
            id="an image",
        ),
    ],
)
def test_each_pod_has_these_very_variables(
    layout: Layout, pods: tuple[int, ...], source: Source, expected: dict[str, str]
) -> None:
    """The same on every pod of a group: NCCL hangs where they differ."""
    for pod in started(a_plan(layout, *pods), wants(source=source)).pods:
        assert values_of(pod) == expected
        assert by_name(pod)["VLLM_HOST_IP"].field == "status.podIP"


def test_a_token_stays_a_reference() -> None:
    """The Secret's content is in no manifest."""
    source = Source(token_secret="hub", token_key="read")
    (pod,) = started(a_plan(Layout(1, 1)), wants(source=source)).pods
    assert [variable for variable in pod.env if variable.name == "HF_TOKEN"] == [
        EnvVar("HF_TOKEN", secret=("hub", "read"))
    ]


def test_the_users_words_and_variables_come_last_as_they_are() -> None:
    """Item by item, on every pod."""
    words = ("--max-num-seqs", "64", "--chat-template", "{{ 'a b' }}; rm -rf /", "$(HF_TOKEN)")
    given = (EnvVar("NCCL_DEBUG", value="INFO"), EnvVar("KEY", config_map=("settings", "key")))
    for pod in started(a_plan(Layout(8, 2), 8, 8), wants(args=words, env=given)).pods:
        assert pod.args[-5:] == words
        assert pod.env[-2:] == given


def test_the_image_is_the_release_that_was_read_unless_one_is_given() -> None:
    """Of the version whose options are in tests/data/flags."""
    plan = a_plan(Layout(1, 1))
    assert started(plan).image == "vllm/vllm-openai:v0.33.0"
    assert started(plan, wants(image="mirror/vllm@sha256:1")).image == "mirror/vllm@sha256:1"


@pytest.mark.parametrize(
    ("weights", "layout", "seconds"),
    [
        pytest.param(16 * GIB, Layout(1, 1), 1800, id="half an hour at least"),
        pytest.param(180 * GIB, Layout(1, 1), 1800, id="as much as half an hour loads"),
        pytest.param(50 * GIB, Layout(8, 1), 4000, id="400 GiB over one node"),
        pytest.param(50 * GIB, Layout(8, 2), 8000, id="800 GiB over two nodes"),
    ],
)
def test_the_time_to_start_grows_with_all_the_weights(weights: int, layout: Layout, seconds: int) -> None:
    """At 0.1 GiB a second; the engine's own limit and the probe's budget are the same."""
    pod = started(a_plan(layout, weights=weights)).pods[0]
    assert values_of(pod)["VLLM_ENGINE_READY_TIMEOUT_S"] == str(seconds)
    assert pod.startup is not None
    assert pod.startup.period * pod.startup.failures == seconds


def test_what_is_asked_of_the_plan_does_not_depend_on_the_replica() -> None:
    """Groups differ in where they run, not in what they are told."""
    one = a_plan(Layout(8, 2), 8, 8, replicas=2)
    other = replace(one, groups=one.groups[1:])
    assert started(one) == started(other)


@pytest.mark.parametrize(
    "args",
    [
        pytest.param(("--api-server-count", "4"), id="value apart"),
        pytest.param(("--api-server-count=4",), id="value attached"),
        pytest.param(("--api_server_count", "4"), id="underscores"),
        pytest.param(("-asc", "4"), id="short"),
    ],
)
def test_only_the_leader_gets_an_argument_that_a_follower_refuses(args: tuple[str, ...]) -> None:
    """VLLM 0.33.0 ends with `--api-server-count=4 cannot be used with --headless`; what stands around it stays."""
    asked = wants(args=("--seed", "1", *args, "--enforce-eager"))
    leader, follower = started(a_plan(Layout(8, 2), 8, 8), asked).pods
    assert leader.args[-len(args) - 3 :] == ("--seed", "1", *args, "--enforce-eager")
    assert follower.args[-3:] == ("--seed", "1", "--enforce-eager")
    assert not set(args) & set(follower.args) - {"4"}


@pytest.mark.parametrize("engine", list(EngineName))
@pytest.mark.parametrize(("ipv6", "host"), [(False, EVERY_IPV4), (True, EVERY_IPV6)])
def test_engines_listen_at_the_first_address_of_their_pods(engine: EngineName, ipv6: bool, host: str) -> None:
    """Probes and Services come there; where pods have IPv6 alone, nothing reaches 0.0.0.0."""
    found = started(a_plan(Layout(8, 2), 8, 8, engine=engine, ipv6=ipv6), wants_of(engine))
    said = [
        after for pod in found.pods for word, after in zip(pod.args, pod.args[1:], strict=False) if word == "--host"
    ]
    assert said
    assert set(said) == {host}


@pytest.mark.parametrize("engine", list(EngineName))
def test_a_user_unknown_to_the_image_has_a_home_on_the_cache(engine: EngineName) -> None:
    """On every pod; an object may choose another home."""
    plan = a_plan(Layout(8, 2), 8, 8, engine=engine)
    assert {values_of(pod)["HOME"] for pod in started(plan, wants_of(engine)).pods} == {"/cache"}
    own = wants_of(engine, env=(EnvVar("HOME", value="/root"),))
    assert {values_of(pod)["HOME"] for pod in started(plan, own).pods} == {"/root"}


@pytest.mark.parametrize(
    ("budget", "left_free", "fraction"),
    [
        pytest.param(92 * GIB, 0, "0.92", id="vLLM's default"),
        pytest.param(72 * GIB, 20 * GIB, "0.72", id="20 of 100 GiB are left to others"),
        pytest.param(int(119 * 0.92 * GIB) - 20 * GIB, 20 * GIB, "0.751", id="rounded down"),
    ],
)
def test_the_memory_fraction_falls_by_what_is_left_to_others(budget: int, left_free: int, fraction: str) -> None:
    memory = MemoryUse(GIB, GIB, GIB, GIB, budget, left_free)
    (pod,) = started(a_plan(Layout(1, 1), memory=memory)).pods
    assert options(pod.args)["--gpu-memory-utilization"] == fraction
