"""TensorRT-LLM: the words of trtllm-serve and mpirun, the options file, and what it cannot be asked."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engines.support import (
    HOSTS,
    TENSORRT_LLM,
    a_plan,
    started,
    values_of,
    wants,
    wants_of,
)
from tests.support.models import R1, a_demand

from shardwise.domain.launch import EnvVar, LaunchSite, Source, SourceKind, Wanted
from shardwise.domain.layout import Layout
from shardwise.domain.plan import MemoryUse
from shardwise.domain.units import GIB
from shardwise.engines import GroupLaunch, Probe, problems
from shardwise.engines.launch import Script
from shardwise.engines.meeting import WAIT_SCRIPT
from shardwise.engines.tensorrt_llm import free_fraction

HUB = "meta-llama/Llama-3.1-8B"
CLAIM = Source(SourceKind.PERSISTENT_VOLUME_CLAIM, location="claim", path="a/b")
LEADER, FIRST, SECOND, *_ = HOSTS
OPTIONS = "/etc/shardwise/options.yaml"


def serve(tensor: int, pipeline: int, gpus: int, more: str = "") -> str:
    words = f"{HUB} --tp_size {tensor} --pp_size {pipeline}{more} --gpus_per_node {gpus}"
    limits = "--max_seq_len 8192 --max_num_tokens 8192 --max_batch_size 256 --host 0.0.0.0 --port 8000"
    return f"{words} {limits} --extra_llm_api_options {OPTIONS}"


def mpirun(ranks: int, hosts: str, *names: str) -> str:
    common = ("PATH", "LD_LIBRARY_PATH", *names)
    forwarded = " ".join(f"-x {name}" for name in common)
    start = f"--allow-run-as-root -n {ranks} -H {hosts} --map-by slot --bind-to none --mca pml ob1"
    return f"{start} {forwarded} trtllm-llmapi-launch trtllm-serve"


MPI = (
    "OMPI_MCA_orte_keep_fqdn_hostnames",
    "PRTE_MCA_prte_keep_fqdn_hostnames",
    "HOME",
    "TORCHINDUCTOR_CACHE_DIR",
    "HF_HOME",
)


@pytest.mark.parametrize(
    ("layout", "gpus", "expected"),
    [
        pytest.param(Layout(1, 1), 1, serve(1, 1, 1), id="one GPU"),
        pytest.param(Layout(8, 1), 8, serve(8, 1, 8), id="tensor 8 in one node"),
        pytest.param(Layout(4, 2), 8, serve(4, 2, 8), id="stages side by side"),
        pytest.param(Layout(8, 1, expert=True), 8, serve(8, 1, 8, " --ep_size 8"), id="experts whole"),
    ],
)
def test_one_pod_is_served_without_mpirun(layout: Layout, gpus: int, expected: str) -> None:
    """It starts its own MPI workers; no keys, no ssh."""
    found = started(a_plan(layout, gpus, engine=TENSORRT_LLM))
    (pod,) = found.pods
    assert (pod.command, " ".join(pod.args)) == (("trtllm-serve",), expected)
    assert (found.keys_at, [file.path for file in found.files]) == ("", [OPTIONS])
    assert (found.ports, pod.waits) == ((("http", 8000),), None)


@pytest.mark.parametrize(
    ("layout", "pods", "hosts", "names", "more"),
    [
        pytest.param(Layout(8, 2), (8, 8), f"{LEADER}:8,{FIRST}:8", MPI, "", id="a stage on each of two nodes"),
        pytest.param(
            Layout(4, 3), (4, 4, 4), f"{LEADER}:4,{FIRST}:4,{SECOND}:4", MPI, "", id="a stage on each of three"
        ),
        pytest.param(
            Layout(8, 1, expert=True),
            (4, 4),
            f"{LEADER}:4,{FIRST}:4",
            ("NCCL_CUMEM_ENABLE", "NCCL_MNNVL_ENABLE", *MPI),
            " --ep_size 8",
            id="experts over two trays",
        ),
    ],
)
def test_over_several_nodes_the_leader_runs_mpirun(
    layout: Layout, pods: tuple[int, ...], hosts: str, names: tuple[str, ...], more: str
) -> None:
    """Hosts with their slots in rank order, every variable by name, and no word with a blank."""
    leader = started(a_plan(layout, *pods, engine=TENSORRT_LLM)).pods[0]
    words = f"{mpirun(sum(pods), hosts, *names)} {serve(layout.tensor, layout.pipeline, pods[0], more)}"
    assert " ".join(leader.args) == words
    assert not [word for word in leader.args if " " in word]
    assert leader.command[:2] == ("python3", "-c")


def test_followers_run_an_ssh_server_and_are_ready_once_it_answers() -> None:
    """The leader waits for theirs; nobody waits for the leader."""
    found = started(a_plan(Layout(8, 3), 8, 8, 8, engine=TENSORRT_LLM))
    leader, *followers = found.pods
    assert leader.waits == Script(WAIT_SCRIPT, (f"{FIRST}:2222", f"{SECOND}:2222"))
    for pod in followers:
        assert (pod.args, pod.waits, pod.startup, pod.liveness) == ((), None, None, None)
        assert pod.readiness == Probe("", period=5, timeout=5, failures=3, port=2222)
    assert found.ports == (("http", 8000), ("ssh", 2222))
    assert found.keys_at == "/etc/shardwise-ssh"
    assert [file.path for file in found.files] == [OPTIONS, "/etc/shardwise/sshd_config", "/etc/ssh/ssh_config"]


def test_every_variable_but_the_images_own_is_forwarded_by_name() -> None:
    """Also a secret one: mpirun reads it from the leader, and its value is in no word."""
    env = (EnvVar("KEY", secret=("keys", "k")), EnvVar("UCX_TLS", value="rc,cuda"))
    site = LaunchSite(env=(("NCCL_IB_HCA", "mlx5"),), interface="eth1")
    wanted = wants_of(TENSORRT_LLM, source=Source(token_secret="hub"), env=env, site=site)
    leader, follower = started(a_plan(Layout(8, 2), 8, 8, engine=TENSORRT_LLM), wanted).pods
    forwarded = {after for word, after in zip(leader.args, leader.args[1:], strict=False) if word == "-x"}
    assert forwarded == {"PATH", "LD_LIBRARY_PATH"} | {variable.name for variable in leader.env}
    assert {"KEY", "UCX_TLS", "HF_TOKEN", "NCCL_IB_HCA", "OMPI_MCA_btl_tcp_if_include"} <= forwarded
    assert "rc,cuda" not in leader.args
    assert leader.env == follower.env


def options_of(found: GroupLaunch) -> dict[str, Any]:
    """Read the options file."""
    (text,) = [file.text for file in found.files if file.path == OPTIONS]
    read: dict[str, Any] = json.loads(text)
    return read


ONE = a_plan(Layout(1, 1), engine=TENSORRT_LLM)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, {"kv_cache_config": {"free_gpu_memory_fraction": 0.9}}, id="the fraction, always"),
        pytest.param(
            {"kv_cache_dtype": "fp8"},
            {"kv_cache_config": {"free_gpu_memory_fraction": 0.9, "dtype": "fp8"}},
            id="the cache's precision",
        ),
        pytest.param(
            {"source": Source(revision="v1")},
            {"kv_cache_config": {"free_gpu_memory_fraction": 0.9}, "revision": "v1"},
            id="the revision, for which older releases have no option",
        ),
        pytest.param(
            {"options": {"moe_config": {"backend": "TRTLLM"}, "kv_cache_config": {"enable_block_reuse": False}}},
            {
                "kv_cache_config": {"enable_block_reuse": False, "free_gpu_memory_fraction": 0.9},
                "moe_config": {"backend": "TRTLLM"},
            },
            id="the user's entries beside ours",
        ),
    ],
)
def test_the_options_file_holds(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    """JSON with sorted keys, the same for the same object."""
    found = started(ONE, wants_of(TENSORRT_LLM, **changes))
    assert options_of(found) == expected
    assert found == started(ONE, wants_of(TENSORRT_LLM, **changes))


@pytest.mark.parametrize(
    ("served_name", "folder"),
    [
        pytest.param(HUB, "/model/Llama-3.1-8B", id="the last part of the model's name"),
        pytest.param("chat", "/model/chat", id="a name of its own"),
    ],
)
def test_weights_on_a_volume_are_mounted_in_a_folder_of_the_served_name(served_name: str, folder: str) -> None:
    """By which trtllm-serve calls the model; it has no option for that before 1.3 (serve/openai_server.py)."""
    found = started(ONE, wants_of(TENSORRT_LLM, source=CLAIM, served_name=served_name))
    assert found.pods[0].args[0] == found.model_at == folder
    assert found.model_inside == "a/b"


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        pytest.param(
            {"served_name": "chat"},
            "spec.model.servedName",
            "`chat` cannot be used: trtllm-serve serves a model from the Hub under its id; "
            "leave the field out, or use weights on a volume",
            id="another name for a model of the Hub",
        ),
        pytest.param(
            {"served_name": "team/chat", "source": CLAIM},
            "spec.model.servedName",
            "`team/chat` cannot be used: trtllm-serve serves a model on a volume under the name of its folder; "
            "use a name without `/`",
            id="a name no folder has",
        ),
        pytest.param(
            {"served_name": "my chat", "source": CLAIM},
            "spec.model.servedName",
            (
                "`my chat` has ' ': TensorRT-LLM's launcher splits or expands words there; "
                "`spec.engine.options` takes any text"
            ),
            id="a name in two words",
        ),
        pytest.param(
            {"kv_cache_dtype": "bfloat16"},
            "spec.model.kvCacheDtype",
            (
                "`bfloat16` cannot be forced: "
                "TensorRT-LLM takes `fp8`, or `auto` for the precision that the checkpoint names"
            ),
            id="a cache of bfloat16",
        ),
        pytest.param(
            {"quantization": "fp8"},
            "spec.model.quantization",
            (
                "`fp8` cannot be used: the checkpoint is not quantised, and tensorrt-llm 1.2.1 does not quantise on "
                "load; use a checkpoint in fp8 with `auto`"
            ),
            id="fp8 on load",
        ),
        pytest.param(
            {"options": {"kv_cache_config": []}},
            "spec.engine.options.kv_cache_config",
            "`[]` is not an object",
            id="a cache configuration that is a list",
        ),
    ],
)
def test_what_it_cannot_do_is_refused(changes: dict[str, Any], field: str, message: str) -> None:
    """Nothing is ignored in silence."""
    assert problems(wants_of(TENSORRT_LLM, **changes)) == ((field, message),)


@pytest.mark.parametrize("word", ["a b", "a\tb", "a\nb", "{'a': 1, 'b': 2}", "*.json", "what?", "[a]", "a\\b"])
def test_words_its_launcher_would_take_apart_are_refused(word: str) -> None:
    """On one node, too: the next plan may need several."""
    ((field, message),) = problems(wants_of(TENSORRT_LLM, args=("--log_level", word)))
    assert field == "spec.engine.args.1"
    assert message.endswith(
        "TensorRT-LLM's launcher splits or expands words there; `spec.engine.options` takes any text"
    )


@pytest.mark.parametrize("word", ["--log_level=info", "$(X)", "`id`", "a;b", "a&b", "ünï", "{}", "#x", "~", "!"])
def test_words_its_launcher_leaves_alone_are_taken(word: str) -> None:
    """An unquoted variable is split and matched against files, and not expanded again."""
    assert problems(wants_of(TENSORRT_LLM, args=(word,))) == ()


@pytest.mark.parametrize(
    ("options", "field", "remedy"),
    [
        ({"tensor_parallel_size": 4}, "tensor_parallel_size", "use `spec.parallelism.tensor`"),
        ({"pipeline_parallel_size": 4}, "pipeline_parallel_size", "use `spec.parallelism.pipeline`"),
        ({"moe_expert_parallel_size": 4}, "moe_expert_parallel_size", "use `spec.parallelism.expert`"),
        ({"gpus_per_node": 4}, "gpus_per_node", "the plan decides it"),
        ({"enable_attention_dp": True}, "enable_attention_dp", "use `spec.parallelism.data`"),
        ({"orchestrator_type": "ray"}, "orchestrator_type", "the plan decides it"),
        ({"max_seq_len": 1}, "max_seq_len", "use `spec.model.contextLength`"),
        ({"max_num_tokens": 1}, "max_num_tokens", "use `spec.model.gpuMemoryReserve`"),
        ({"revision": "x"}, "revision", "use `spec.model.source.huggingFace.revision`"),
        ({"backend": "tensorrt"}, "backend", "use `spec.engine.name`"),
        (
            {"kv_cache_config": {"free_gpu_memory_fraction": 0.99}},
            "kv_cache_config.free_gpu_memory_fraction",
            "use `spec.model.gpuMemoryReserve`",
        ),
        ({"kv_cache_config": {"dtype": "fp8"}}, "kv_cache_config.dtype", "use `spec.model.kvCacheDtype`"),
    ],
)
def test_entries_that_contradict_the_plan_are_refused(options: dict[str, Any], field: str, remedy: str) -> None:
    """With the field to use instead, as arguments are."""
    expected = ((f"spec.engine.options.{field}", f"would contradict the plan; {remedy}"),)
    assert problems(wants_of(TENSORRT_LLM, options=options)) == expected


@given(st.dictionaries(st.text(), st.none() | st.text() | st.integers() | st.lists(st.text()), max_size=5))
def test_any_text_gets_through_the_options_file(entries: dict[str, Any]) -> None:
    """Quotes, blanks, newlines: it is JSON."""
    wanted: Wanted = wants_of(TENSORRT_LLM, options={"given": entries})
    assert options_of(started(ONE, wanted))["given"] == entries


def test_the_leader_may_take_as_long_as_its_weights_need() -> None:
    """400 GiB get over an hour."""
    (pod,) = started(a_plan(Layout(8, 1), 8, engine=TENSORRT_LLM, weights=50 << 30)).pods
    assert pod.startup == Probe("/health", period=2, timeout=5, failures=2000)
    assert values_of(pod) == {
        "HOME": "/cache",
        "HF_HOME": "/cache/huggingface",
        "TORCHINDUCTOR_CACHE_DIR": "/cache/inductor",
    }


@pytest.mark.parametrize(
    ("left_free", "fraction"), [pytest.param(0, 0.9, id="the default"), pytest.param(10 * GIB, 0.75, id="10 of 60 GiB")]
)
def test_the_cache_leaves_to_others_what_the_object_asks(left_free: int, fraction: float) -> None:
    """45 GiB of cache are nine tenths of 50: of 60 GiB free after loading, 10 are for others."""
    memory = MemoryUse(20 * GIB, 30 * GIB, 0, 0, 65 * GIB, left_free)
    assert free_fraction(memory) == fraction


@pytest.mark.parametrize(("slots", "refused"), [(255, True), (256, False), (288, False), ("many", False)])
def test_places_for_experts_hold_all_experts(slots: object, refused: bool) -> None:
    """What is no number is the engine's to refuse."""
    options = {"moe_config": {"load_balancer": {"num_slots": slots}}}
    found = problems(wants(a_demand(R1, engine=TENSORRT_LLM), served_name=R1, model=R1, options=options))
    field = "spec.engine.options.moe_config.load_balancer.num_slots"
    message = "`255` has no room for the 256 experts of the model; use `256` or more"
    assert found == (((field, message),) if refused else ())
