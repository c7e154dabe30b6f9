"""SGLang, 0.5 or later: one GPU, one node, or several nodes that all run the same command but for their rank.

Degrees are totals over all nodes. Sources: sglang 0.5.23 (srt/arg_groups/fields/serving.py, srt/arg_groups/
validation_hook.py, srt/entrypoints/engine.py, srt/entrypoints/http_server.py) and the options of 0.5.2 to 0.5.8.
"""

from collections.abc import Iterator
from math import ceil
from typing import Final

from shardwise.domain.engine import CHUNK_TOKENS
from shardwise.domain.launch import EnvVar, Wanted
from shardwise.domain.plan import GroupPlacement, MemoryUse, Plan, PodPlacement
from shardwise.domain.version import Version
from shardwise.engines.environment import POD_IP, environment
from shardwise.engines.launch import GroupLaunch, PodLaunch, Probe, listening, named_ports
from shardwise.engines.meeting import drain, in_role
from shardwise.engines.options import ALWAYS, COMMON_VARIABLES, PLAN, Option, Reserved, Since, Variable
from shardwise.engines.release import release_of
from shardwise.engines.weights import (
    CACHE_FOLDER,
    model_options,
    model_word,
    pre_pulls,
    quantises_on_load,
    sequences,
    startup_seconds,
)

DEFAULT_IMAGE: Final = "lmsysorg/sglang:v0.5.23"
"""Of the release that was read."""

READ: Final[Version] = (0, 5, 23)
"""The release whose flags and limits were read."""

OLDEST: Final[Version] = (0, 5, 0)
"""The oldest release these words are for."""

HTTP_PORT: Final = 30000
MEETING_PORT: Final = 20000
"""Where ranks meet; SGLang has no default for it."""

_GENERATES: Final = 30
"""Seconds for an answer of ``/health``, which generates a token and gives up after 20 (SGLANG_HEALTH_CHECK_TIMEOUT)."""

_IN_WORK: Final = ("sglang:num_running_reqs", "sglang:num_queue_reqs")

_KV_DTYPES: Final = {
    "fp8": Since((0, 5, 0), "fp8_e4m3", "fp8_e4m3"),
    "bfloat16": Since((0, 5, 4), "bfloat16", "auto"),
}
"""What SGLang calls a precision of the KV cache. Before 0.5.4 two bytes had no name but ``auto``."""

RESERVED: Final = Reserved(
    options=(
        Option("--model-path", "spec.model.name", "the model's Hub id, or the folder of its volume", also=("--model",)),
        Option("--served-model-name", "spec.model.servedName", "what clients call the model, wherever it comes from"),
        Option("--revision", "spec.model.source.huggingFace.revision", "the commit, branch or tag of the Hub"),
        Option("--trust-remote-code", "spec.model.trustRemoteCode", "only where the object trusts the checkpoint"),
        Option("--tp-size", "spec.parallelism.tensor", "the plan", also=("--tensor-parallel-size",)),
        Option("--pp-size", "spec.parallelism.pipeline", "the plan", also=("--pipeline-parallel-size",)),
        Option(
            "--ep-size",
            "spec.parallelism.expert",
            "the plan deals experts out whole, over the tensor group",
            also=("--ep", "--expert-parallel-size"),
        ),
        Option("--context-length", "spec.model.contextLength", "the context the plan's memory is for"),
        Option(
            "--chunked-prefill-size",
            "spec.model.gpuMemoryReserve",
            "the chunk activations are sized for",
            also=("--max-prefill-tokens",),
        ),
        Option(
            "--max-running-requests", "spec.engine.args", "the sequences sampling is sized for; yours wins", yields=True
        ),
        Option(
            "--mem-fraction-static",
            "spec.model.gpuMemoryReserve",
            "weights and KV cache: a GPU's memory less what the plan keeps back for activations and the runtime",
            also=("--max-total-tokens",),
        ),
        Option("--kv-cache-dtype", "spec.model.kvCacheDtype", "the precision the plan's KV cache has"),
        Option("--quantization", "spec.model.quantization", "fp8 on load of a checkpoint that is not"),
        Option("--nnodes", PLAN, "pods of the group"),
        Option("--node-rank", PLAN, "which of them this is: all that differs from pod to pod"),
        Option("--dist-init-addr", PLAN, "the leader's name and the port where ranks meet", also=("--nccl-init-addr",)),
        Option("--host", "spec.service.port", "always explicit: the default is reached from inside the pod alone"),
        Option("--port", "spec.service.port", "always explicit; clients use the Service's"),
        Option("--enable-metrics", ALWAYS, "what the leader is drained by, and Prometheus reads"),
        Option("--dp-size", "spec.replicas", also=("--data-parallel-size",)),
        Option("--attn-dp-size", PLAN, also=("--attention-data-parallel-size", "--enable-dp-attention")),
        Option("--attn-cp-size", PLAN, also=("--attention-context-parallel-size",)),
        Option("--dcp-size", PLAN, also=("--decode-context-parallel-size",)),
        Option("--moe-dp-size", PLAN, also=("--moe-data-parallel-size",)),
        Option("--base-gpu-id", PLAN, also=("--gpu-id-step",)),
        Option("--config", "spec.engine.args"),
    ),
    variables=(
        *COMMON_VARIABLES,
        Variable("SGLANG_HOST_IP", "the pod's own address"),
        Variable("HOST_IP", "the pod's own address"),
        Variable("SGLANG_PP_LAYER_PARTITION", "the plan's memory per stage"),
    ),
)
"""Options of SGLang that the plan or a field of the object decides."""


def problems(_: Wanted) -> Iterator[tuple[str, str]]:
    """Give what SGLang cannot honour of an object: nothing that is not an argument or a variable."""
    return iter(())


def launch(wanted: Wanted, plan: Plan, group: GroupPlacement, hosts: tuple[str, ...], image: str) -> GroupLaunch:
    """Say how the pods of a group are started."""
    pods = tuple(_pod(wanted, plan, group, pod, hosts) for pod in group.pods)
    return GroupLaunch(image, HTTP_PORT, named_ports(HTTP_PORT, ("rendezvous", MEETING_PORT), pods), pods)


def static_fraction(memory: MemoryUse) -> str:
    """Give the share of a GPU for weights and KV cache, rounded down to three decimals.

    The budget is the whole GPU; activations and reserve are what SGLang's own rule keeps back (memory_hook.py).
    """
    thousandths = (memory.budget - memory.activations - memory.reserve) * 1000 // memory.budget
    return f"0.{min(999, thousandths):03}"


def _pod(wanted: Wanted, plan: Plan, group: GroupPlacement, pod: PodPlacement, hosts: tuple[str, ...]) -> PodLaunch:
    words = ["--model-path", model_word(wanted), *model_options(wanted.launch), *_shape(plan)]
    words += [*_memory(wanted, plan), "--enable-metrics"]
    if len(group.pods) > 1:
        words += ["--nnodes", str(len(group.pods)), "--node-rank", str(pod.index)]
        words += ["--dist-init-addr", f"{hosts[0]}:{MEETING_PORT}"]
    words += listening(HTTP_PORT)
    made = PodLaunch(
        index=pod.index,
        command=("python3", "-m", "sglang.launch_server"),
        args=(*words, *wanted.launch.container.args),
        env=environment(wanted, plan, group, _env()),
        startup=Probe("/health", 10, _GENERATES, ceil(startup_seconds(plan) / 10)),
        readiness=Probe("/health", 10, _GENERATES, 3),
        liveness=Probe("/health", 30, _GENERATES, 4),
        drain=drain(HTTP_PORT, _IN_WORK),
    )
    return in_role(made, group, hosts, (hosts[0], MEETING_PORT), gather=pre_pulls(wanted))


def _shape(plan: Plan) -> Iterator[str]:
    yield from ("--tp-size", str(plan.layout.tensor))
    yield from ("--pp-size", str(plan.layout.pipeline))
    if plan.layout.expert:
        yield from ("--ep-size", str(plan.layout.tensor))


def _memory(wanted: Wanted, plan: Plan) -> Iterator[str]:
    """Pass on all that the plan assumed, so that what was planned is what runs."""
    yield from ("--context-length", str(plan.context_length))
    yield from ("--chunked-prefill-size", str(CHUNK_TOKENS))
    yield from ("--max-running-requests", sequences(plan))
    yield from ("--mem-fraction-static", static_fraction(plan.memory))
    if wanted.launch.model.kv_cache_dtype is not None:
        release = release_of(wanted, READ)
        yield from ("--kv-cache-dtype", _KV_DTYPES[wanted.launch.model.kv_cache_dtype].at(release))
    if quantises_on_load(wanted):
        yield from ("--quantization", "fp8")


def _env() -> Iterator[EnvVar]:
    yield EnvVar("SGLANG_HOST_IP", field=POD_IP)
    yield EnvVar("TRITON_CACHE_DIR", value=f"{CACHE_FOLDER}/triton")
    yield EnvVar("TORCHINDUCTOR_CACHE_DIR", value=f"{CACHE_FOLDER}/inductor")
