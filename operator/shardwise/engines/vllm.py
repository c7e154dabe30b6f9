"""vLLM, 0.11.1 or later: one GPU, one node, or several nodes by its own multiprocessing executor, without Ray.

Every pod of a group runs the same command but for its node rank; all but the leader are headless. Sources: vllm 0.33.0
(config/parallel.py, engine/arg_utils.py, entrypoints/cli/serve.py); docs/engines/vllm.md says why each word is there.
"""

from collections.abc import Iterator
from math import ceil
from typing import Final

from shardwise.domain.engine import CHUNK_TOKENS, VLLM_MEMORY_FRACTION
from shardwise.domain.launch import EnvVar, Launch, SourceKind, Wanted
from shardwise.domain.plan import GroupPlacement, Plan, PodPlacement
from shardwise.domain.units import GIB
from shardwise.engines.launch import GroupLaunch, PodLaunch, Probe

DEFAULT_IMAGE: Final = "vllm/vllm-openai:v0.33.0"
"""The release whose flags and limits were read."""

HTTP_PORT: Final = 8000
MASTER_PORT: Final = 29501
"""vLLM's default port of the rendezvous between nodes."""

CACHE_FOLDER: Final = "/cache"
MODEL_FOLDER: Final = "/model"

_LEADER_GRACE: Final = 60
"""Seconds the leader gets to answer what it has begun."""

_WORKER_GRACE: Final = 10
"""A follower serves nobody: it only has to let go of its GPUs."""

_LEAST_STARTUP: Final = 1800
"""Seconds a group may take to start, whatever its size: download, compilation and graph capture."""

_LOAD_RATE: Final = 0.1 * GIB
"""Bytes a second a slow network share delivers: 400 GiB get a little over an hour."""


def launch(wanted: Wanted, plan: Plan, group: GroupPlacement, leader_host: str) -> GroupLaunch:
    """Say how the pods of a group are started."""
    several = len(group.pods) > 1
    return GroupLaunch(
        image=wanted.launch.image or DEFAULT_IMAGE,
        http_port=HTTP_PORT,
        ports=(("http", HTTP_PORT), ("rendezvous", MASTER_PORT)) if several else (("http", HTTP_PORT),),
        pods=tuple(_pod(wanted, plan, group, pod, leader_host) for pod in group.pods),
    )


def startup_seconds(plan: Plan) -> int:
    """Give the seconds a group may take to load and warm up, scaled with the weights of all its GPUs."""
    return max(_LEAST_STARTUP, ceil(plan.memory.weights * plan.layout.world_size / _LOAD_RATE))


def _pod(wanted: Wanted, plan: Plan, group: GroupPlacement, pod: PodPlacement, leader_host: str) -> PodLaunch:
    several = len(group.pods) > 1
    words = [*_model(wanted.launch), *_shape(plan), *_memory(wanted, plan)]
    if several:
        words += _nodes(len(group.pods), pod.index, leader_host)
    words += ["--host", "0.0.0.0", "--port", str(HTTP_PORT)]  # noqa: S104 - a pod is reached at its own address
    leads = pod.index == 0
    return PodLaunch(
        index=pod.index,
        command=("vllm", "serve"),
        args=(*words, *wanted.launch.args),
        env=tuple(_env(wanted.launch, plan, group)),
        grace=_LEADER_GRACE if leads else _WORKER_GRACE,
        startup=Probe("/health", 10, 5, ceil(startup_seconds(plan) / 10)) if leads else None,
        readiness=Probe("/health", 10, 5, 3) if leads else None,
        liveness=Probe("/health", 10, 10, 6) if leads else None,
        wait_for=None if leads else (leader_host, MASTER_PORT),
    )


def _model(launch: Launch) -> Iterator[str]:
    yield launch.model if launch.source.kind is SourceKind.HUGGING_FACE else _folder(launch.source.path)
    yield from ("--served-model-name", launch.served_name)
    if launch.source.revision is not None:
        yield from ("--revision", launch.source.revision)
    if launch.trust_remote_code:
        yield "--trust-remote-code"


def _folder(path: str) -> str:
    inside = path.strip("/")
    return f"{MODEL_FOLDER}/{inside}" if inside else MODEL_FOLDER


def _shape(plan: Plan) -> Iterator[str]:
    yield from ("--tensor-parallel-size", str(plan.layout.tensor))
    yield from ("--pipeline-parallel-size", str(plan.layout.pipeline))
    if plan.layout.expert:
        yield "--enable-expert-parallel"


def _memory(wanted: Wanted, plan: Plan) -> Iterator[str]:
    """Pass on all that the plan assumed, so that what was planned is what runs."""
    yield from ("--max-model-len", str(plan.context_length))
    yield from ("--max-num-batched-tokens", str(CHUNK_TOKENS))
    yield from ("--gpu-memory-utilization", str(VLLM_MEMORY_FRACTION))
    if wanted.launch.kv_cache_dtype is not None:
        yield from ("--kv-cache-dtype", wanted.launch.kv_cache_dtype)
    if wanted.launch.quantization == "fp8" and not wanted.demand.model.in_blocks:
        yield from ("--quantization", "fp8")


def _nodes(count: int, index: int, leader_host: str) -> list[str]:
    words = ["--nnodes", str(count), "--node-rank", str(index), "--master-addr", leader_host]
    words += ["--master-port", str(MASTER_PORT), "--distributed-executor-backend", "mp"]
    return words if index == 0 else [*words, "--headless"]


def _env(launch: Launch, plan: Plan, group: GroupPlacement) -> Iterator[EnvVar]:
    """Give our variables, but for those the user sets otherwise, and the user's."""
    own = {variable.name for variable in launch.env}
    yield from (variable for variable in _defaults(launch, plan, group) if variable.name not in own)
    yield from launch.env


def _defaults(launch: Launch, plan: Plan, group: GroupPlacement) -> Iterator[EnvVar]:
    yield EnvVar("HF_HOME", value=f"{CACHE_FOLDER}/huggingface")
    yield EnvVar("VLLM_CACHE_ROOT", value=f"{CACHE_FOLDER}/vllm")
    yield EnvVar("VLLM_ENGINE_READY_TIMEOUT_S", value=str(startup_seconds(plan)))
    if launch.source.token_secret is not None:
        yield EnvVar("HF_TOKEN", secret=(launch.source.token_secret, launch.source.token_key))
    if launch.source.kind is not SourceKind.HUGGING_FACE:
        yield EnvVar("HF_HUB_OFFLINE", value="1")
    if any(pod.gpus < plan.layout.tensor for pod in group.pods):
        # NCCL would fall back to the network in silence where multi-node NVLink is not up; 1 makes it fail instead.
        yield EnvVar("NCCL_CUMEM_ENABLE", value="1")
        yield EnvVar("NCCL_MNNVL_ENABLE", value="1")
