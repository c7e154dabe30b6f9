"""What to do about a failure follows from the exit of the pod, and from nothing that is merely named like one."""

import pytest
from tests.reconcile.support import World, wants
from tests.support.fleets import a_fleet, h100s
from tests.support.models import LLAMA_8B, a_demand

from shardwise.domain.reasons import FailureKind
from shardwise.explain.reasons import remedy
from shardwise.reconcile.exits import Exit, why
from shardwise.reconcile.records import Record, State
from shardwise.reconcile.status_data import read_records, write_record

EXITS: dict[str, tuple[Exit, FailureKind]] = {
    "the GPU is full": (Exit(1, "Error", "CUDA out of memory. Tried to allocate"), FailureKind.GPU_MEMORY),
    "the GPU is full, and the kernel helped": (Exit(137, "OOMKilled", "out of memory"), FailureKind.GPU_MEMORY),
    "the kernel killed it": (Exit(137, "OOMKilled"), FailureKind.HOST_MEMORY),
    "killed, and the kubelet does not say why": (Exit(137, "Error"), FailureKind.OTHER),
    "killed, says the container runtime": (Exit(1, "OOMKilled"), FailureKind.HOST_MEMORY),
    "evicted": (Exit(whole=True, pod_reason="Evicted", pod_message="The node was low"), FailureKind.EVICTED),
    "evicted, and so killed": (
        Exit(137, "Error", whole=True, pod_reason="Evicted", pod_message="The node was low"),
        FailureKind.EVICTED,
    ),
    "evicted from a node of a telling name": (
        Exit(whole=True, pod_reason="Evicted", pod_message="node oom-137 was low"),
        FailureKind.EVICTED,
    ),
    "a word the engine does not know": (
        Exit(2, "Error", "vllm: error: unrecognized arguments: --sed"),
        FailureKind.UNKNOWN_ARGUMENT,
    ),
    "files": (Exit(1, "Error", "PermissionError: [Errno 13] Permission denied: '/models'"), FailureKind.FILES_DENIED),
    "no token": (Exit(1, "Error", "401 Client Error: Unauthorized for url: https://hub"), FailureKind.TOKEN_REFUSED),
    "a gated model": (Exit(1, "Error", "HTTP error 403: Forbidden"), FailureKind.TOKEN_REFUSED),
    "an answer by its status": (Exit(1, "Error", "status=401"), FailureKind.TOKEN_REFUSED),
    "a node called so": (Exit(1, "Error", "HTTP connection to gpu-401 lost"), FailureKind.OTHER),
    "a node called so, at the end": (Exit(1, "Error", "status of node 401-a is unknown"), FailureKind.OTHER),
    "an address": (Exit(1, "Error", "http://10.0.0.1:401/v1 refused, 10.401.0.1 too"), FailureKind.OTHER),
    "a number of tokens": (Exit(1, "Error", "sequence of 401 tokens"), FailureKind.OTHER),
    "an exit code": (Exit(401, "Error"), FailureKind.OTHER),
    "nothing": (Exit(1, "Error"), FailureKind.OTHER),
}


@pytest.mark.parametrize(("ended", "kind"), EXITS.values(), ids=EXITS)
def test_the_kind_of_a_failure_follows_from_the_exit(ended: Exit, kind: FailureKind) -> None:
    assert ended.kind is kind


def held_on(node: str, line: str) -> World:
    (plain,) = h100s(1)
    world = World(wants(a_demand(LLAMA_8B, budget=1), max_restarts=0), a_fleet((plain._replace(name=node),)))
    world.settle()
    world.start()
    world.crash("llama-0-0-0", line)
    world.step()
    return world


def test_a_node_called_gpu_401_is_no_reason_to_check_the_token() -> None:
    """The message names the node, and the remedy does not read the message."""
    world = held_on("gpu-401", "NCCL error: unhandled system error")
    assert "on gpu-401" in world.status["message"]
    assert world.status["message"].endswith(f"; {remedy(FailureKind.OTHER)}")
    assert world.events[-1].message.endswith(f"; {remedy(FailureKind.OTHER)}")
    assert world.status["groups"][0]["failure"] == "Other"


def test_the_remedy_of_a_held_group_is_remembered_when_its_pods_are_gone() -> None:
    world = held_on("gpu-1", "401 Client Error: Unauthorized for url")
    told = world.status["message"]
    assert told.endswith(" in `spec.model.source.huggingFace.tokenSecretRef`")
    world.pods.clear()
    world.settle()
    assert world.status["message"] == told


def test_a_group_that_begins_again_forgets_how_it_failed() -> None:
    world = held_on("gpu-1", "CUDA out of memory")
    assert world.status["groups"][0]["failure"] == "GpuMemory"
    world.launch(args=("--seed=7",))
    world.settle()
    assert "failure" not in world.status["groups"][0]


@pytest.mark.parametrize(
    ("written", "read"), [("GpuMemory", FailureKind.GPU_MEMORY), ("OfANewerVersion", FailureKind.OTHER), ("", None)]
)
def test_a_kind_that_another_version_wrote_is_like_any_other(written: str, read: FailureKind | None) -> None:
    group = write_record(Record(0, state=State.HELD)) | {"failure": written}
    assert read_records({"groups": [group]})[0].failure is read


LAST_WORDS: dict[str, tuple[str, str]] = {
    "an error": ("Traceback (most recent call last):\nValueError: no KV cache\n", "ValueError: no KV cache"),
    "a log line below an error": (
        "RuntimeError: CUDA error: device-side assert\nINFO 11-29 18:00:00 [worker.py:9] Explicitly set 1.0 GiB\n",
        "RuntimeError: CUDA error: device-side assert",
    ),
    "a request that was answered": ('INFO: 10.0.0.1:5 - "POST /v1/completions HTTP/1.1" 200 OK', ""),
    "a request, in short": ("POST /v1/completions 200 OK", ""),
    "a pointer to the cause": (
        "(EngineCore pid=7) ERROR [core.py:700] ValueError: 24 heads\nRuntimeError: failed. See root cause above.",
        "(EngineCore pid=7) ERROR [core.py:700] ValueError: 24 heads",
    ),
    "Python that cleans up": (
        "torch.OutOfMemoryError: CUDA out of memory\nUserWarning: missing memory\n  warnings.warn('died: killed')\n",
        "torch.OutOfMemoryError: CUDA out of memory",
    ),
    "a traceback alone": ('  File "/usr/lib/errors.py", line 3\n    raise RuntimeError(text)\n', ""),
    "the words of our own script": (
        "this image has no sshd: TensorRT-LLM over several nodes needs openssh-server",
        "this image has no sshd: TensorRT-LLM over several nodes needs openssh-server",
    ),
    "an option": ("vllm: error: unrecognized arguments: --sed", "vllm: error: unrecognized arguments: --sed"),
    "a progress bar": ("Loading safetensors checkpoint shards:  50% Completed | 1/2", ""),
}


@pytest.mark.parametrize(("message", "told"), LAST_WORDS.values(), ids=LAST_WORDS)
def test_a_line_of_the_log_is_quoted_only_if_it_says_why(message: str, told: str) -> None:
    assert why({"exitCode": 1, "message": message}) == told


@pytest.mark.parametrize("code", [0, 137])
def test_a_container_that_ended_well_or_was_killed_has_no_last_words(code: int) -> None:
    """The end of its log is of another time."""
    assert why({"exitCode": code, "message": "RuntimeError: an error of long ago"}) == ""


def test_a_held_group_has_its_pods() -> None:
    """They are kept for a look, and the condition ``Launched`` does not say that pods are missing."""
    world = held_on("gpu-1", "CUDA out of memory")
    assert (world.condition("Launched")["status"], world.condition("Launched")["reason"]) == ("True", "AllPodsCreated")
    world.pods.clear()
    world.settle()
    assert world.condition("Launched")["reason"] == "PodsMissing"
