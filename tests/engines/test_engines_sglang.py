"""The exact words and variables SGLang is started with, its memory fraction, and its probes by role."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engines.support import HOSTS, LEADER, SGLANG, a_plan, by_name, options, started, values_of, wants_of

from shardwise.domain.launch import Source, SourceKind
from shardwise.domain.layout import Layout
from shardwise.domain.plan import MemoryUse
from shardwise.domain.units import GIB
from shardwise.engines import Probe, problems
from shardwise.engines.launch import Script
from shardwise.engines.meeting import ARRIVE_SCRIPT, GATHER_SCRIPT
from shardwise.engines.sglang import static_fraction

HUB = "meta-llama/Llama-3.1-8B"
H100 = MemoryUse(weights=20 * GIB, kv_cache=30 * GIB, activations=12 * GIB, reserve=3 * GIB, budget=80 * GIB)
LIMITS = "--context-length 8192 --chunked-prefill-size 8192 --max-running-requests 256"
MEMORY = f"{LIMITS} --mem-fraction-static 0.812 --enable-metrics"
SERVED = "--host 0.0.0.0 --port 30000"


def shape(tensor: int, pipeline: int, more: str = "") -> str:
    words = f"--model-path {HUB} --served-model-name served --tp-size {tensor} --pp-size {pipeline}"
    return f"{words}{more} {MEMORY}"


def nodes(count: int, rank: int) -> str:
    return f"--nnodes {count} --node-rank {rank} --dist-init-addr {LEADER}:20000"


@pytest.mark.parametrize(
    ("layout", "pods", "expected"),
    [
        pytest.param(Layout(1, 1), (1,), [f"{shape(1, 1)} {SERVED}"], id="one GPU"),
        pytest.param(Layout(8, 1), (8,), [f"{shape(8, 1)} {SERVED}"], id="tensor 8 in one node"),
        pytest.param(Layout(8, 1, expert=True), (8,), [f"{shape(8, 1, ' --ep-size 8')} {SERVED}"], id="experts whole"),
        pytest.param(
            Layout(8, 2),
            (8, 8),
            [f"{shape(8, 2)} {nodes(2, 0)} {SERVED}", f"{shape(8, 2)} {nodes(2, 1)} {SERVED}"],
            id="a stage on each of two nodes: degrees are totals",
        ),
        pytest.param(
            Layout(16, 1, expert=True),
            (4, 4, 4, 4),
            [f"{shape(16, 1, ' --ep-size 16')} {nodes(4, rank)} {SERVED}" for rank in range(4)],
            id="experts over four trays",
        ),
    ],
)
def test_each_pod_is_started_with_these_very_words(layout: Layout, pods: tuple[int, ...], expected: list[str]) -> None:
    """The same on every node but for the rank."""
    found = started(a_plan(layout, *pods, engine=SGLANG, memory=H100))
    assert [" ".join(pod.args) for pod in found.pods] == expected
    assert {pod.command for pod in found.pods} == {("sglang", "serve", "--model-type", "llm")}


@pytest.mark.parametrize(
    ("memory", "fraction"),
    [
        pytest.param(H100, "0.812", id="65 of 80: 0.8125, rounded down"),
        pytest.param(MemoryUse(0, 0, 10 * GIB, 0, 141 * GIB), "0.929", id="131 of 141"),
        pytest.param(MemoryUse(0, 0, 79 * GIB, GIB, 80 * GIB), "0.000", id="nothing left"),
        pytest.param(MemoryUse(0, 0, 0, 0, 80 * GIB), "0.999", id="everything: SGLang takes less than one"),
        pytest.param(MemoryUse(0, 0, 0, 76 * GIB, 80 * GIB), "0.050", id="leading zeros"),
    ],
)
def test_the_memory_fraction_is_what_the_plan_leaves_for_weights_and_cache(memory: MemoryUse, fraction: str) -> None:
    """Of the whole GPU: what activations and reserve do not take."""
    assert static_fraction(memory) == fraction


@given(st.integers(1, 300), st.integers(0, 299), st.integers(0, 299))
def test_the_memory_fraction_never_takes_what_the_plan_keeps_back(budget: int, activations: int, reserve: int) -> None:
    """Rounded down, to within a thousandth."""
    if activations + reserve > budget:
        return
    memory = MemoryUse(0, 0, activations * GIB, reserve * GIB, budget * GIB)
    kept = 1 - float(static_fraction(memory))
    assert kept >= (activations + reserve) / budget - 1e-9
    assert kept <= (activations + reserve) / budget + 0.001 + 1e-9


@pytest.mark.parametrize(
    ("dtype", "image", "version", "word"),
    [
        pytest.param("fp8", None, None, "fp8_e4m3", id="fp8"),
        pytest.param("bfloat16", None, None, "bf16", id="bfloat16"),
        pytest.param("bfloat16", "lmsysorg/sglang:v0.5.3", None, "auto", id="bfloat16 before it had a name"),
        pytest.param("bfloat16", "lmsysorg/sglang:v0.5.4-cu129", None, "bf16", id="the first release with it"),
        pytest.param("bfloat16", "mirror/sglang@sha256:0", "0.5.2", "auto", id="a release only the object knows"),
        pytest.param(None, None, None, None, id="left to the engine"),
    ],
)
def test_the_caches_precision_has_the_name_of_the_release(
    dtype: str | None, image: str | None, version: str | None, word: str | None
) -> None:
    """0.5.2 knew no name for two bytes but `auto`; 0.5.4 does (server_args.py of both)."""
    wanted = wants_of(SGLANG, kv_cache_dtype=dtype, image=image, version=version)
    (pod,) = started(a_plan(Layout(1, 1), engine=SGLANG), wanted).pods
    assert options(pod.args).get("--kv-cache-dtype") == word


@pytest.mark.parametrize(
    ("source", "model"),
    [
        pytest.param(Source(), HUB, id="the Hub"),
        pytest.param(Source(SourceKind.PERSISTENT_VOLUME_CLAIM, location="c", path="/a/b/"), "/model/a/b", id="claim"),
        pytest.param(Source(SourceKind.HOST_PATH, location="/data/llama"), "/model", id="host path"),
    ],
)
def test_the_model_path_is_the_hub_id_or_the_volumes_folder(source: Source, model: str) -> None:
    (pod,) = started(a_plan(Layout(1, 1), engine=SGLANG), wants_of(SGLANG, source=source)).pods
    assert options(pod.args)["--model-path"] == model


def test_each_pod_has_these_very_variables() -> None:
    """Its own address, and caches of what is compiled beside those of what is fetched."""
    for pod in started(a_plan(Layout(8, 2), 8, 8, engine=SGLANG)).pods:
        assert by_name(pod)["SGLANG_HOST_IP"].field == "status.podIP"
        assert values_of(pod) == {
            "TRITON_CACHE_DIR": "/cache/triton",
            "TORCHINDUCTOR_CACHE_DIR": "/cache/inductor",
            "HOME": "/cache",
            "HF_HOME": "/cache/huggingface",
        }


def test_followers_answer_too_once_their_ranks_are_there() -> None:
    """By a server that always says 200: good for readiness, useless for liveness. The leader's generates a token."""
    leader, follower = started(a_plan(Layout(8, 2), 8, 8, engine=SGLANG)).pods
    assert leader.startup == follower.startup == Probe("/health", period=2, timeout=30, failures=900)
    assert leader.readiness == follower.readiness == Probe("/health", period=10, timeout=30, failures=3)
    assert leader.liveness == Probe("/health", period=20, timeout=30, failures=3)
    assert follower.liveness is None
    assert "--host 0.0.0.0" in " ".join(follower.args)


@pytest.mark.parametrize("pre_pull", [False, True], ids=["weights fetched by the engine", "weights fetched before"])
def test_the_pods_of_a_group_meet_before_any_engine_starts(pre_pull: bool) -> None:
    """Each has its image then, and its weights if they are fetched before: no engine waits for that of another."""
    wanted = wants_of(SGLANG, source=Source(pre_pull=pre_pull))
    found = started(a_plan(Layout(8, 3), 8, 8, 8, engine=SGLANG), wanted)
    leader, *followers = found.pods
    assert leader.waits == Script(GATHER_SCRIPT, ("29599", HOSTS[1], HOSTS[2]))
    assert [pod.waits for pod in followers] == [Script(ARRIVE_SCRIPT, ("29599", LEADER, "20000"))] * 2
    assert (found.http_port, found.ports) == (30000, (("http", 30000), ("rendezvous", 20000)))


def test_a_single_pod_waits_for_nobody_whatever_it_fetches() -> None:
    found = started(a_plan(Layout(8, 1), engine=SGLANG), wants_of(SGLANG, source=Source(pre_pull=True)))
    assert [pod.waits for pod in found.pods] == [None]
    assert found.ports == (("http", 30000),)


DATA_WORDS = ("--tp-size", "--ep-size", "--attn-dp-size", "--dp-size", "--enable-dp-attention")


@pytest.mark.parametrize(
    ("version", "words"),
    [
        (None, {"--attn-dp-size": "4"}),
        ("0.5.22", {"--attn-dp-size": "4"}),
        ("0.5.21", {"--dp-size": "4", "--enable-dp-attention": ""}),
        ("0.5.0", {"--dp-size": "4", "--enable-dp-attention": ""}),
    ],
)
def test_the_data_ranks_have_the_words_of_the_release(version: str | None, words: dict[str, str]) -> None:
    """The two older words are to go after 2026; the newer word came with 0.5.22."""
    (pod,) = started(a_plan(Layout(2, 1, True, 4), 8, engine=SGLANG), wants_of(SGLANG, version=version)).pods
    said = {word: value for word, value in options(pod.args).items() if word in DATA_WORDS}
    assert said == {"--tp-size": "8", "--ep-size": "8"} | words


def test_without_data_ranks_no_release_gets_a_word_of_them() -> None:
    for version in (None, "0.5.12"):
        (pod,) = started(a_plan(Layout(8, 1), 8, engine=SGLANG), wants_of(SGLANG, version=version)).pods
        assert not {"--attn-dp-size", "--dp-size", "--enable-dp-attention"} & set(options(pod.args))


def test_the_image_is_the_release_that_was_read() -> None:
    assert started(a_plan(Layout(1, 1), engine=SGLANG)).image == "lmsysorg/sglang:v0.5.23"


@pytest.mark.parametrize(
    ("image", "command"),
    [
        pytest.param(None, ("sglang", "serve", "--model-type", "llm"), id="the release of the default image"),
        pytest.param("lmsysorg/sglang:v0.5.10", ("sglang", "serve", "--model-type", "llm"), id="the first that warns"),
        pytest.param("lmsysorg/sglang:v0.5.9", ("python3", "-m", "sglang.launch_server"), id="the last that does not"),
    ],
)
def test_the_server_is_started_as_its_release_recommends(image: str | None, command: tuple[str, ...]) -> None:
    (pod,) = started(a_plan(Layout(1, 1), engine=SGLANG), wants_of(SGLANG, image=image)).pods
    assert pod.command == command


def test_a_served_name_with_a_colon_is_refused() -> None:
    """SGLang 0.5.23 asserts that there is none (arg_groups/validation_hook.py)."""
    assert problems(wants_of(SGLANG, served_name="llama:8b")) == (
        ("spec.model.servedName", "`llama:8b` has a colon, behind which SGLang reads the name of a LoRA adapter"),
    )
