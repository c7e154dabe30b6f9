"""SGLang, 0.5 or later: one GPU, one node, or several nodes that all run the same command but for their rank.

Degrees are totals over all nodes. Sources: sglang 0.5.23 (srt/arg_groups/fields/serving.py, srt/arg_groups/
validation_hook.py, srt/entrypoints/engine.py, srt/entrypoints/http_server.py) and the options of 0.5.2 to 0.5.8.
"""

from collections.abc import Callable, Iterator
from math import isfinite
from typing import Final

from shardwise.domain.engine import IMAGES, RELEASES, EngineName, chunk_tokens
from shardwise.domain.launch import Wanted
from shardwise.domain.plan import MemoryUse
from shardwise.domain.roles import RoleName
from shardwise.domain.version import Version
from shardwise.engines.context import PodContext
from shardwise.engines.environment import COMMON_VARIABLES, environment, pod_address
from shardwise.engines.figures import Figures, has_windows, keeps_states, samples
from shardwise.engines.launch import GroupLaunch, PodLaunch, Probe, every_address, named_ports, startup_probe
from shardwise.engines.meeting import drain, in_role
from shardwise.engines.options import (
    ALWAYS,
    IN_GPU_MEMORY,
    MODEL_OPTIONS,
    PLAIN_HTTP,
    PLAN,
    STORED,
    Option,
    OptionTable,
    Since,
    Variable,
    beside_data,
    between_pods,
    context_degree,
)
from shardwise.engines.transfer import (
    BOOTSTRAP,
    ROLES,
    TRANSFER,
    of_role,
    sglang_annotations,
    sglang_backend,
    sglang_ports,
)
from shardwise.engines.weights import CACHE_FOLDER, fp8_on_load, model_word, sequences
from shardwise.planner.all_to_all import step_tokens

DEFAULT_IMAGE: Final = IMAGES[EngineName.SGLANG]
"""The image of the release that we read."""

READ: Final[Version] = RELEASES[EngineName.SGLANG]
"""The release whose flags and limits we read."""

OLDEST: Final[Version] = (0, 5, 0)
"""The oldest release that takes the words of the table."""

HTTP_PORT: Final = 30000
MEETING_PORT: Final = 20000
"""The port where ranks meet; SGLang has no default for it."""

_GENERATES: Final = 30
"""Seconds for an answer of ``/health``, which generates a token and gives up after 20 (SGLANG_HEALTH_CHECK_TIMEOUT).

So the liveness probe notices a hang 60 to 80 seconds after it began, idle or not. Under load, each step that ends
answers the probe (managers/scheduler.py). The engine's own ``--watchdog-timeout`` stays at 300 seconds: it also covers
the warm-up request, in which kernels are compiled, and which ends before ``/health`` first answers 200.
"""

_IN_WORK: Final = ("sglang:num_running_reqs", "sglang:num_queue_reqs")

_KV_DTYPES: Final = {
    "fp8": Since((0, 5, 0), "fp8_e4m3", "fp8_e4m3"),
    "bfloat16": Since((0, 5, 4), "bf16", "auto"),
}
"""SGLang's names of the precisions of the KV cache. Before 0.5.4 two bytes had only the name ``auto``.

``bf16`` and ``bfloat16`` mean the same, but latent attention on Blackwell refuses the longer word (sglang 0.5.23, run).
"""

_POOL_OF_STATES: Final[Version] = (0, 5, 2)
"""The first release with ``--max-mamba-cache-size``: absent in 0.5.1, present in 0.5.2."""

_MOST_DISPATCHED: Final = 1024
"""The most tokens that kernels of low latency take of a GPU: deepep, mooncake and nixl of srt/layers/moe."""

_DISPATCHED: Final = {
    "deepep": "SGLANG_DEEPEP_NUM_MAX_DISPATCH_TOKENS_PER_RANK",
    "deepep_v2": "SGLANG_DEEPEP_V2_NUM_MAX_DISPATCH_TOKENS_PER_RANK",
    "mooncake": "SGLANG_MOONCAKE_EP_NUM_MAX_DISPATCH_TOKENS_PER_RANK",
    "nixl": "SGLANG_NIXL_EP_NUM_MAX_DISPATCH_TOKENS_PER_RANK",
    "pplx": "SGLANG_PPLX_NUM_MAX_DISPATCH_TOKENS_PER_RANK",
}
"""The variable that sizes the buffers of each all-to-all. Its default is 128 tokens (srt/environ.py)."""

_LOW_LATENCY_ALONE: Final = ("mooncake", "nixl")
"""All-to-alls whose buffers cannot be made in the default mode (sglang 0.5.23, srt/layers/moe/token_dispatcher)."""

_ATTENTION_DATA: Final[Version] = (0, 5, 22)
"""The first release with ``--attn-dp-size``; until the end of 2026 releases also take the two words that it replaces.

Source: srt/arg_groups/fields/parallel.py of 0.5.22, srt/server_args.py of 0.5.1 to 0.5.21.
"""

_SERVES_SINCE: Final[Version] = (0, 5, 10)
"""The first release that recommends ``sglang serve`` and warns of the module (sglang/launch_server.py).

Without ``--model-type`` the command looks on the Hub whether the model is a diffusion model.
"""


def static_fraction(memory: MemoryUse) -> str:
    """Give the share of a GPU for weights and KV cache, rounded down to three decimals.

    The budget is the whole GPU. SGLang's own rule keeps activations and reserve back, too (memory_hook.py).
    """
    thousandths = (memory.budget - memory.activations - memory.reserve) * 1000 // memory.budget
    return f"0.{min(999, thousandths):03}"


def _states(pod: PodContext) -> str | None:
    """Give the size of the pool of states: by its own rule SGLang may leave too little for the plan's sequences."""
    states = pod.plan.states
    return None if states is None or pod.release < _POOL_OF_STATES else str(states)


def _kv_cache_dtype(pod: PodContext) -> str | None:
    asked = pod.model.kv_cache_dtype
    return None if asked is None else _KV_DTYPES[asked].at(pod.release)


def _dispatched(backend: str) -> Callable[[PodContext], str | None]:
    """Give the rule of a variable: the tokens that the backend sends from a GPU at once. More ends the engine.

    Those are a token of each sequence, or a chunk of a prefill where the backend also sends those.
    """

    def value(pod: PodContext) -> str | None:
        if _backend(pod) != backend:
            return None
        return _sequences(pod) if backend == "deepep" else str(max(_chunk(pod), int(_sequences(pod))))

    return value


def _backend(pod: PodContext) -> str | None:
    """Give the name of the all-to-all of the object's arguments, without its mode."""
    return (pod.wanted.demand.all_to_all or "").partition(" ")[0] or None


def _chunk(pod: PodContext) -> int:
    """Give the tokens of a prefill chunk on a data rank: few where the all-to-all has room for each of them."""
    short = step_tokens(pod.wanted.demand, pod.layout)
    return chunk_tokens(pod.layout.data) if short is None else min(_MOST_DISPATCHED, short)


def _sequences(pod: PodContext) -> str:
    """Give the sequences of a data rank. Further sequences wait for their turn."""
    bound = _backend(pod) in ("deepep", "mooncake", "nixl")
    return str(min(_MOST_DISPATCHED, int(sequences(pod)))) if bound else sequences(pod)


TABLE: Final = OptionTable(
    options=(
        Option(
            "--model-path",
            "spec.model.name",
            "the model's Hub id, or the folder of its volume",
            model_word,
            also=("--model",),
        ),
        *MODEL_OPTIONS,
        Option(
            "--tp-size",
            "spec.parallelism.tensor",
            "the plan: the GPUs of a stage, data ranks included",
            lambda pod: str(pod.layout.stage_gpus),
            also=("--tensor-parallel-size",),
        ),
        Option(
            "--pp-size",
            "spec.parallelism.pipeline",
            "the plan",
            lambda pod: str(pod.layout.pipeline),
            also=("--pipeline-parallel-size",),
        ),
        Option(
            "--ep-size",
            "spec.parallelism.expert",
            "the plan deals experts out whole, over the GPUs of a stage",
            lambda pod: str(pod.layout.stage_gpus) if pod.layout.expert else None,
            also=("--ep", "--expert-parallel-size"),
        ),
        Option(
            "--attn-dp-size",
            "spec.parallelism.data",
            "the data ranks of a stage, since 0.5.22",
            beside_data(lambda pod: str(pod.layout.data) if pod.release >= _ATTENTION_DATA else None),
            also=("--attention-data-parallel-size",),
        ),
        Option(
            "--dp-size",
            "spec.replicas",
            "the data ranks of a stage, before 0.5.22",
            beside_data(lambda pod: str(pod.layout.data) if pod.release < _ATTENTION_DATA else None),
            also=("--data-parallel-size",),
        ),
        Option(
            "--enable-dp-attention",
            "spec.parallelism.data",
            "before 0.5.22: the data ranks share the experts",
            beside_data(lambda pod: pod.release < _ATTENTION_DATA),
        ),
        Option(
            "--dcp-size",
            "spec.parallelism.context",
            "the GPUs that divide a sequence's cache",
            context_degree,
            also=("--decode-context-parallel-size",),
        ),
        Option(
            "--context-length",
            "spec.model.contextLength",
            "the context that the plan's memory is for",
            lambda pod: str(pod.plan.context_length),
        ),
        Option(
            "--chunked-prefill-size",
            "spec.model.gpuMemoryReserve",
            "the chunk that activations are sized for",
            lambda pod: str(pod.layout.data * _chunk(pod)),
            also=("--max-prefill-tokens",),
        ),
        Option(
            "--max-running-requests",
            "spec.engine.args",
            "the sequences of all data ranks that sampling is sized for, and CUDA graphs with it; "
            "the object's own value wins",
            lambda pod: str(pod.layout.data * int(_sequences(pod))),
            yields=True,
        ),
        Option(
            "--max-mamba-cache-size",
            "spec.engine.args",
            "the states that the plan has room for, of a model that keeps states; the object's own value wins",
            _states,
            yields=True,
        ),
        Option(
            "--mem-fraction-static",
            "spec.model.gpuMemoryReserve",
            "the share of a GPU for weights and KV cache; the plan keeps the rest for activations and the runtime",
            lambda pod: static_fraction(pod.plan.memory),
            also=("--max-total-tokens",),
        ),
        Option("--kv-cache-dtype", "spec.model.kvCacheDtype", "the precision of the plan's KV cache", _kv_cache_dtype),
        Option(
            "--quantization", "spec.model.quantization", "fp8 on load, for a checkpoint that is not in fp8", fp8_on_load
        ),
        Option(
            "--enable-metrics",
            ALWAYS,
            "metrics tell when the leader has answered its requests; Prometheus reads them",
            lambda _: True,
        ),
        Option("--nnodes", PLAN, "pods of the group", between_pods(lambda pod: str(len(pod.group.pods)))),
        Option(
            "--node-rank",
            PLAN,
            "the rank of the pod in its group: the only word that differs from pod to pod",
            between_pods(lambda pod: str(pod.place.index)),
        ),
        Option(
            "--dist-init-addr",
            PLAN,
            "the leader's name and the port where ranks meet",
            between_pods(lambda pod: f"{pod.leader_host}:{MEETING_PORT}"),
            also=("--nccl-init-addr",),
        ),
        Option(
            "--host",
            "spec.service.port",
            "always explicit: the default can only be reached from inside the pod",
            every_address,
        ),
        Option("--port", "spec.service.port", "always explicit; clients use the Service's", lambda _: str(HTTP_PORT)),
        Option("--attn-cp-size", "spec.parallelism.context", also=("--attention-context-parallel-size",)),
        Option("--dwdp-size", PLAN),
        Option("--moe-dense-tp-size", PLAN),
        Option(
            "--disaggregation-mode",
            ROLES,
            "the role of the pod, in objects with roles",
            of_role(lambda _, role: role.name.value),
        ),
        Option(
            "--disaggregation-transfer-backend",
            TRANSFER,
            "the library that moves KV caches, in objects with roles",
            of_role(sglang_backend),
        ),
        Option(
            "--disaggregation-bootstrap-port",
            TRANSFER,
            "the port of prefill where decode finds its ranks; routers read it from an annotation",
            of_role(lambda *_: str(BOOTSTRAP), RoleName.PREFILL),
        ),
        Option("--ssl-certfile", PLAN, also=("--ssl-keyfile",), instead=PLAIN_HTTP),
        Option("--use-ray", PLAN),
        Option("--dtype", "spec.model.name", instead=STORED),
        Option("--json-model-override-args", "spec.model.config", instead=STORED),
        Option("--cpu-offload-gb", "spec.gpuBudget.total", instead=IN_GPU_MEMORY),
        Option("--moe-dp-size", PLAN, also=("--moe-data-parallel-size",)),
        Option("--base-gpu-id", PLAN, also=("--gpu-id-step",)),
        Option("--config", "spec.engine.args"),
    ),
    variables=(
        Variable("SGLANG_HOST_IP", "the pod's own address", pod_address),
        Variable("TRITON_CACHE_DIR", "the volume of the cache", lambda _: f"{CACHE_FOLDER}/triton", yields=True),
        *(
            Variable(
                name,
                f"`--moe-a2a-backend {backend}`: the tokens that a GPU sends at once, for which its buffers have room",
                _dispatched(backend),
                yields=backend != "deepep",
            )
            for backend, name in _DISPATCHED.items()
        ),
        Variable("HOST_IP", "the pod's own address"),
        Variable("SGLANG_PP_LAYER_PARTITION", "the plan's memory per stage"),
        *COMMON_VARIABLES,
    ),
)
"""The options and variables of SGLang that the plan or a field of the object decides."""


def problems(wanted: Wanted) -> Iterator[tuple[str, str]]:
    """Give ``(field path, message)`` for each field that SGLang cannot honour, besides args and env."""
    name = wanted.launch.model.served_name
    if ":" in name:
        yield "spec.model.servedName", f"`{name}` has a colon, behind which SGLang reads the name of a LoRA adapter"
    if wanted.health.idle_request_interval is not None:
        message = "the probes of SGLang's leader ask for a token every 20 seconds already; leave the field out"
        yield "spec.health.idleRequestInterval", message
    backend, args = wanted.demand.all_to_all, wanted.launch.container.args
    if backend in _LOW_LATENCY_ALONE and "low_latency" not in " ".join(args).replace("=", " ").split():
        message = "has only kernels of low latency, and SGLang asks for others; add `--deepep-mode low_latency`"
        yield "spec.engine.args", f"`{backend}` {message}"


def figures(wanted: Wanted) -> Figures | None:
    """Say where a group that serves offers its figures: a gauge that is set once, when the pool of tokens is made.

    A model with windows or states has further pools, and their sizes depend on each other. Source:
    srt/observability/metrics_collector.py of 0.5.23.
    """
    model = wanted.demand.model
    return None if keeps_states(model) or has_windows(model) else Figures("/metrics", _cache_tokens)


def _cache_tokens(text: str) -> int | None:
    found = (value for _, value in samples(text, "sglang:max_total_num_tokens") if isfinite(value))
    return int(next(found, 0.0))


def token_request(_: Wanted) -> None:
    """Give no request: the probes of a leader generate a token themselves, whether or not the engine is idle."""


def launch(image: str, pods: tuple[PodContext, ...]) -> GroupLaunch:
    """Describe how the pods of a group are started."""
    launches = tuple(_pod(pod) for pod in pods)
    ports = (*named_ports(HTTP_PORT, ("rendezvous", MEETING_PORT), launches), *sglang_ports(pods[0]))
    return GroupLaunch(image, HTTP_PORT, ports, launches, annotations=sglang_annotations(pods[0]))


def _command(pod: PodContext) -> tuple[str, ...]:
    if pod.release >= _SERVES_SINCE:
        return ("sglang", "serve", "--model-type", "llm")
    return ("python3", "-m", "sglang.launch_server")


def _pod(pod: PodContext) -> PodLaunch:
    made = PodLaunch(
        index=pod.place.index,
        command=_command(pod),
        args=(*TABLE.words(pod), *TABLE.arguments(pod)),
        env=environment(pod, TABLE),
        startup=startup_probe(pod.plan, _GENERATES),
        readiness=Probe("/health", 10, _GENERATES, 3),
        liveness=Probe("/health", 20, _GENERATES, 3),
        drain=drain(HTTP_PORT, _IN_WORK),
    )
    return in_role(made, pod, MEETING_PORT)
