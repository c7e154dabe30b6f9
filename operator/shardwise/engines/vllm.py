"""vLLM, 0.11.1 or later: one GPU, one node, or several nodes by its own multiprocessing executor, without Ray.

All pods of a group run the same command but for their node rank; followers are headless. Sources: vllm 0.33.0
(config/parallel.py, engine/arg_utils.py, entrypoints/cli/serve.py).
"""

from collections.abc import Iterator
from math import ceil
from typing import Final

from shardwise.domain.engine import CHUNK_TOKENS, IMAGES, RELEASES, VLLM_MEMORY_FRACTION, EngineName
from shardwise.domain.launch import Wanted
from shardwise.domain.version import Version
from shardwise.engines.context import PodContext
from shardwise.engines.environment import COMMON_VARIABLES, environment, pod_address
from shardwise.engines.launch import EVERY_ADDRESS, GroupLaunch, PodLaunch, Probe, named_ports
from shardwise.engines.meeting import drain, in_role
from shardwise.engines.options import MODEL_OPTIONS, PLAN, Option, OptionTable, Variable, between_pods
from shardwise.engines.weights import CACHE_FOLDER, fp8_on_load, model_word, sequences, startup_seconds

DEFAULT_IMAGE: Final = IMAGES[EngineName.VLLM]
"""The image of the release that we read."""

READ: Final[Version] = RELEASES[EngineName.VLLM]
"""The release whose flags and limits we read."""

OLDEST: Final[Version] = (0, 11, 1)
"""The first release with ``--nnodes``: absent in 0.11.0, present in 0.11.1."""

HTTP_PORT: Final = 8000
MASTER_PORT: Final = 29501
"""vLLM's default port of the rendezvous between nodes."""

_IN_WORK: Final = ("vllm:num_requests_running", "vllm:num_requests_waiting")

TABLE: Final = OptionTable(
    options=(
        Option(
            "--model",
            "spec.model.name",
            "the model's Hub id, or the folder of its volume: the first word, without `--model`",
            model_word,
            positional=True,
        ),
        *MODEL_OPTIONS,
        Option(
            "--tensor-parallel-size",
            "spec.parallelism.tensor",
            "the plan",
            lambda pod: str(pod.layout.tensor),
            also=("-tp",),
        ),
        Option(
            "--pipeline-parallel-size",
            "spec.parallelism.pipeline",
            "the plan",
            lambda pod: str(pod.layout.pipeline),
            also=("-pp",),
        ),
        Option(
            "--enable-expert-parallel",
            "spec.parallelism.expert",
            "the plan deals experts out whole",
            lambda pod: pod.layout.expert,
            also=("-ep", "--disable-expert-parallel", "--no-enable-expert-parallel"),
        ),
        Option(
            "--max-model-len",
            "spec.model.contextLength",
            "the context that the plan's memory is for",
            lambda pod: str(pod.plan.context_length),
        ),
        Option(
            "--max-num-batched-tokens",
            "spec.model.gpuMemoryReserve",
            "the chunk that activations are sized for",
            lambda _: str(CHUNK_TOKENS),
        ),
        Option(
            "--max-num-seqs",
            "spec.engine.args",
            "the sequences that sampling is sized for; the object's own value wins",
            sequences,
            yields=True,
        ),
        Option(
            "--gpu-memory-utilization",
            "spec.model.gpuMemoryReserve",
            "the share of a GPU that the plan may use",
            lambda _: str(VLLM_MEMORY_FRACTION),
            also=("--device-memory-utilization", "--kv-cache-memory-bytes"),
        ),
        Option(
            "--kv-cache-dtype",
            "spec.model.kvCacheDtype",
            "the precision of the plan's KV cache",
            lambda pod: pod.model.kv_cache_dtype,
        ),
        Option(
            "--quantization",
            "spec.model.quantization",
            "fp8 on load, for a checkpoint that is not in fp8",
            fp8_on_load,
            also=("-q",),
        ),
        Option("--nnodes", PLAN, "pods of the group", between_pods(lambda pod: str(len(pod.group.pods))), also=("-n",)),
        Option(
            "--node-rank",
            PLAN,
            "the rank of the pod in its group: the only word that differs from pod to pod",
            between_pods(lambda pod: str(pod.place.index)),
            also=("-r",),
        ),
        Option(
            "--master-addr",
            PLAN,
            "the leader's name in the group's own Service",
            between_pods(lambda pod: pod.leader_host),
        ),
        Option("--master-port", PLAN, "the port where ranks meet", between_pods(lambda _: str(MASTER_PORT))),
        Option(
            "--distributed-executor-backend",
            PLAN,
            "`mp`: vLLM's own executor over nodes, without Ray",
            between_pods(lambda _: "mp"),
        ),
        Option(
            "--headless",
            PLAN,
            "every pod but the leader: it has ranks and no HTTP server",
            lambda pod: not pod.leads,
        ),
        Option("--host", "spec.service.port", "always explicit", lambda _: EVERY_ADDRESS),
        Option(
            "--port",
            "spec.service.port",
            "always explicit; clients use the Service's",
            lambda _: str(HTTP_PORT),
            also=("--uds",),
        ),
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
        Variable("VLLM_HOST_IP", "the pod's own address", pod_address),
        Variable("VLLM_CACHE_ROOT", "the volume of the cache", lambda _: f"{CACHE_FOLDER}/vllm", yields=True),
        Variable(
            "VLLM_ENGINE_READY_TIMEOUT_S",
            "the size of the weights",
            lambda pod: str(startup_seconds(pod.plan)),
            yields=True,
        ),
        Variable("VLLM_PORT", "chosen by the engine"),
        Variable("VLLM_PP_LAYER_PARTITION", "the plan's memory per stage"),
        *COMMON_VARIABLES,
    ),
)
"""The options and variables of vLLM that the plan or a field of the object decides."""


def problems(_: Wanted) -> Iterator[tuple[str, str]]:
    """Give no problem: vLLM honours every field besides args and env."""
    return iter(())


def launch(image: str, pods: tuple[PodContext, ...]) -> GroupLaunch:
    """Describe how the pods of a group are started."""
    launches = tuple(_pod(pod) for pod in pods)
    return GroupLaunch(image, HTTP_PORT, named_ports(HTTP_PORT, ("rendezvous", MASTER_PORT), launches), launches)


def _pod(pod: PodContext) -> PodLaunch:
    made = PodLaunch(
        index=pod.place.index,
        command=("vllm", "serve"),
        args=(*TABLE.words(pod), *pod.wanted.launch.container.args),
        env=environment(pod, TABLE),
        startup=Probe("/health", 10, 5, ceil(startup_seconds(pod.plan) / 10)) if pod.leads else None,
        readiness=Probe("/health", 10, 5, 3) if pod.leads else None,
        liveness=Probe("/health", 10, 10, 6),
        drain=drain(HTTP_PORT, _IN_WORK),
    )
    return in_role(made, pod, MASTER_PORT)
