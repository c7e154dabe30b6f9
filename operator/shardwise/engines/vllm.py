"""vLLM, 0.11.1 or later: one GPU, one node, or several nodes by its own multiprocessing executor, without Ray.

Every pod of a group runs the same command but for its node rank; all but the leader are headless. Sources: vllm 0.33.0
(config/parallel.py, engine/arg_utils.py, entrypoints/cli/serve.py).
"""

from collections.abc import Iterator
from math import ceil
from typing import Final

from shardwise.domain.engine import CHUNK_TOKENS, VLLM_MEMORY_FRACTION
from shardwise.domain.launch import EnvVar, Wanted
from shardwise.domain.plan import GroupPlacement, Plan, PodPlacement
from shardwise.domain.version import Version
from shardwise.engines.environment import POD_IP, environment
from shardwise.engines.launch import GroupLaunch, PodLaunch, Probe, listening, named_ports
from shardwise.engines.meeting import drain, in_role
from shardwise.engines.options import COMMON_VARIABLES, PLAN, Option, Reserved, Variable
from shardwise.engines.weights import (
    CACHE_FOLDER,
    model_options,
    model_word,
    pre_pulls,
    quantises_on_load,
    sequences,
    startup_seconds,
)

DEFAULT_IMAGE: Final = "vllm/vllm-openai:v0.33.0"
"""Of the release that was read."""

READ: Final[Version] = (0, 33, 0)
"""The release whose flags and limits were read."""

OLDEST: Final[Version] = (0, 11, 1)
"""The first release with ``--nnodes``: absent in 0.11.0, present in 0.11.1."""

HTTP_PORT: Final = 8000
MASTER_PORT: Final = 29501
"""vLLM's default port of the rendezvous between nodes."""

_IN_WORK: Final = ("vllm:num_requests_running", "vllm:num_requests_waiting")

RESERVED: Final = Reserved(
    options=(
        Option("--model", "spec.model.name"),
        Option("--served-model-name", "spec.model.servedName", "what clients call the model, wherever it comes from"),
        Option("--revision", "spec.model.source.huggingFace.revision", "the commit, branch or tag of the Hub"),
        Option("--trust-remote-code", "spec.model.trustRemoteCode", "only where the object trusts the checkpoint"),
        Option("--tensor-parallel-size", "spec.parallelism.tensor", "the plan", also=("-tp",)),
        Option("--pipeline-parallel-size", "spec.parallelism.pipeline", "the plan", also=("-pp",)),
        Option(
            "--enable-expert-parallel",
            "spec.parallelism.expert",
            "the plan deals experts out whole",
            also=("-ep", "--disable-expert-parallel", "--no-enable-expert-parallel"),
        ),
        Option("--max-model-len", "spec.model.contextLength", "the context the plan's memory is for"),
        Option("--max-num-batched-tokens", "spec.model.gpuMemoryReserve", "the chunk activations are sized for"),
        Option("--max-num-seqs", "spec.engine.args", "the sequences sampling is sized for; yours wins", yields=True),
        Option(
            "--gpu-memory-utilization",
            "spec.model.gpuMemoryReserve",
            "the share of a GPU the plan's budget is",
            also=("--device-memory-utilization", "--kv-cache-memory-bytes"),
        ),
        Option("--kv-cache-dtype", "spec.model.kvCacheDtype", "the precision the plan's KV cache has"),
        Option("--quantization", "spec.model.quantization", "fp8 on load of a checkpoint that is not", also=("-q",)),
        Option("--nnodes", PLAN, "pods of the group", also=("-n",)),
        Option("--node-rank", PLAN, "which of them this is: all that differs from pod to pod", also=("-r",)),
        Option("--master-addr", PLAN, "the leader's name in the group's own Service"),
        Option("--master-port", PLAN, "where ranks meet"),
        Option("--distributed-executor-backend", PLAN, "`mp`: vLLM's own executor over nodes, without Ray"),
        Option("--headless", PLAN, "every pod but the leader: it has ranks and no HTTP server"),
        Option("--host", "spec.service.port", "always explicit"),
        Option("--port", "spec.service.port", "always explicit; clients use the Service's", also=("--uds",)),
        Option(
            "--data-parallel-size",
            "spec.replicas",
            also=("-dp", "--data-parallel-size-local", "-dpl", "--data-parallel-rank", "-dpn"),
        ),
        Option("--data-parallel-start-rank", "spec.replicas", also=("-dpr",)),
        Option("--prefill-context-parallel-size", PLAN, also=("-pcp",)),
        Option("--config", "spec.engine.args"),
    ),
    variables=(
        *COMMON_VARIABLES,
        Variable("VLLM_HOST_IP", "the pod's own address"),
        Variable("VLLM_PORT", "chosen by the engine"),
        Variable("VLLM_PP_LAYER_PARTITION", "the plan's memory per stage"),
    ),
)
"""Options of vLLM that the plan or a field of the object decides."""


def problems(_: Wanted) -> Iterator[tuple[str, str]]:
    """Give what vLLM cannot honour of an object: nothing that is not an argument or a variable."""
    return iter(())


def launch(wanted: Wanted, plan: Plan, group: GroupPlacement, hosts: tuple[str, ...], image: str) -> GroupLaunch:
    """Say how the pods of a group are started."""
    pods = tuple(_pod(wanted, plan, group, pod, hosts) for pod in group.pods)
    return GroupLaunch(image, HTTP_PORT, named_ports(HTTP_PORT, ("rendezvous", MASTER_PORT), pods), pods)


def _pod(wanted: Wanted, plan: Plan, group: GroupPlacement, pod: PodPlacement, hosts: tuple[str, ...]) -> PodLaunch:
    leads = pod.index == 0
    words = [model_word(wanted), *model_options(wanted.launch), *_shape(plan), *_memory(wanted, plan)]
    if len(group.pods) > 1:
        words += _nodes(len(group.pods), pod.index, hosts[0])
    words += listening(HTTP_PORT)
    made = PodLaunch(
        index=pod.index,
        command=("vllm", "serve"),
        args=(*words, *wanted.launch.container.args),
        env=environment(wanted, plan, group, _env(plan)),
        startup=Probe("/health", 10, 5, ceil(startup_seconds(plan) / 10)) if leads else None,
        readiness=Probe("/health", 10, 5, 3) if leads else None,
        liveness=Probe("/health", 10, 10, 6),
        drain=drain(HTTP_PORT, _IN_WORK),
    )
    return in_role(made, group, hosts, (hosts[0], MASTER_PORT), gather=pre_pulls(wanted))


def _shape(plan: Plan) -> Iterator[str]:
    yield from ("--tensor-parallel-size", str(plan.layout.tensor))
    yield from ("--pipeline-parallel-size", str(plan.layout.pipeline))
    if plan.layout.expert:
        yield "--enable-expert-parallel"


def _memory(wanted: Wanted, plan: Plan) -> Iterator[str]:
    """Pass on all that the plan assumed, so that what was planned is what runs."""
    yield from ("--max-model-len", str(plan.context_length))
    yield from ("--max-num-batched-tokens", str(CHUNK_TOKENS))
    yield from ("--max-num-seqs", sequences(plan))
    yield from ("--gpu-memory-utilization", str(VLLM_MEMORY_FRACTION))
    if wanted.launch.model.kv_cache_dtype is not None:
        yield from ("--kv-cache-dtype", wanted.launch.model.kv_cache_dtype)
    if quantises_on_load(wanted):
        yield from ("--quantization", "fp8")


def _nodes(count: int, index: int, leader_host: str) -> list[str]:
    words = ["--nnodes", str(count), "--node-rank", str(index), "--master-addr", leader_host]
    words += ["--master-port", str(MASTER_PORT), "--distributed-executor-backend", "mp"]
    return words if index == 0 else [*words, "--headless"]


def _env(plan: Plan) -> Iterator[EnvVar]:
    yield EnvVar("VLLM_HOST_IP", field=POD_IP)
    yield EnvVar("VLLM_CACHE_ROOT", value=f"{CACHE_FOLDER}/vllm")
    yield EnvVar("VLLM_ENGINE_READY_TIMEOUT_S", value=str(startup_seconds(plan)))
