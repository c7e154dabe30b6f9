"""vLLM, 0.11.1 or later: one GPU, one node, or several nodes by its own multiprocessing executor, without Ray.

All pods of a group run the same command but for their node rank; followers are headless. Data ranks have an engine core
each. The leader serves for all of them, or each pod for its own. Sources: vllm 0.33.0
(config/parallel.py, engine/arg_utils.py, entrypoints/cli/serve.py).
"""

import json
from collections.abc import Callable, Iterator
from math import floor
from typing import Final

from shardwise.domain.engine import IMAGES, RELEASES, VLLM_MEMORY_FRACTION, EngineName, chunk_tokens
from shardwise.domain.launch import Wanted
from shardwise.domain.plan import MemoryUse
from shardwise.domain.roles import Connector, RoleName
from shardwise.domain.version import Version
from shardwise.engines.context import PodContext
from shardwise.engines.environment import COMMON_VARIABLES, environment, pod_address
from shardwise.engines.figures import Figures, has_windows, keeps_states, samples, whole
from shardwise.engines.launch import GroupLaunch, PodLaunch, Probe, every_address, named_ports, startup_probe
from shardwise.engines.meeting import drain_together, in_role, while_whole
from shardwise.engines.options import (
    IN_GPU_MEMORY,
    MODEL_OPTIONS,
    PLAIN_HTTP,
    PLAN,
    STORED,
    WHOLE_REQUESTS,
    Option,
    OptionTable,
    Since,
    Variable,
    beside_data,
    between_pods,
    context_degree,
)
from shardwise.engines.token_request import TokenRequest
from shardwise.engines.transfer import (
    BOOTSTRAP,
    KEEP_ALIVE,
    SIDE_CHANNEL,
    of_role,
    state_layout,
    vllm_ports,
    vllm_transfer,
)
from shardwise.engines.weights import CACHE_FOLDER, fp8_on_load, model_word, sequences, startup_seconds
from shardwise.planner.all_to_all import step_tokens
from shardwise.planner.method_support import needed_words

DEFAULT_IMAGE: Final = IMAGES[EngineName.VLLM]
"""The image of the release that we read."""

READ: Final[Version] = RELEASES[EngineName.VLLM]
"""The release whose flags and limits we read."""

OLDEST: Final[Version] = (0, 11, 1)
"""The first release with ``--nnodes``: absent in 0.11.0, present in 0.11.1."""

HTTP_PORT: Final = 8000
MASTER_PORT: Final = 29501
"""vLLM's default port of the rendezvous between nodes."""

DATA_PORT: Final = 29550
"""vLLM's default port of the handshake between data ranks (config/parallel.py)."""

_BFLOAT16_CACHE: Final[Version] = (0, 15, 0)
"""The first release whose attention backends take ``--kv-cache-dtype bfloat16`` (v1/attention/backends)."""

_DATA_PARALLEL: Final = ("SIZE", "RANK", "RANK_LOCAL", "MASTER_IP", "MASTER_PORT")
"""The variables ``VLLM_DP_…`` make engines of the same world, as ``--data-parallel-size`` does (envs.py)."""

_HALF: Final = ("float16", "half")

_IN_WORK: Final = ("vllm:num_requests_running", "vllm:num_requests_waiting")

_CACHE: Final = "vllm:cache_config_info"

_KEY: Final = "--api-key"
_STEP_LIMIT: Final = "VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS"

_LONGEST_STEP: Final = 120
_AFTER_ENGINE: Final = 30.0
"""Seconds of the longest limit that groups of several pods get, and after which vLLM has told of a hang itself."""

_STEP_SECONDS: Final = Since((0, 33, 0), "60", "120")
"""Seconds after which vLLM takes a step of several pods for hung; by its own default 300.

The time covers a step alone: ``execute_model``, ``sample_tokens``, ``execute_dummy_batch`` and
``take_draft_token_ids``. To load, profile, compile, warm up and capture has no such limit (v1/executor/abstract.py and
multiproc_executor.py of 0.33.0 and 0.11.1). Since the 0.33.0 that we read, the warm-up also runs the kernels that are
compiled when they are first called, and later compilation counts as a fault (utils/jit_monitor.py). Older releases may
compile such kernels in their first steps, so they get twice the time.
"""


def memory_fraction(memory: MemoryUse) -> str:
    """Give the share of a GPU that vLLM may use: its default, less the bytes that the object leaves to others."""
    whole = (memory.budget + memory.left_free) / VLLM_MEMORY_FRACTION
    return f"{floor(memory.budget / whole * 1000) / 1000:g}" if memory.left_free else str(VLLM_MEMORY_FRACTION)


def _kv_cache_dtype(pod: PodContext) -> str | None:
    """Give vLLM's word for the precision of the KV cache; ``None`` where only its default serves.

    No attention backend took ``bfloat16`` before 0.15, but for sparse attention, whose default was fp8. A checkpoint in
    float16 keeps its cache in float16, of the same size, and vLLM refuses another 16-bit precision.
    """
    asked, model = pod.model.kv_cache_dtype, pod.wanted.demand.model
    if asked != "bfloat16" or model.is_sparse:
        return asked
    return None if pod.release < _BFLOAT16_CACHE or model.dtype in _HALF else asked


def _allows_deprecated(pod: PodContext) -> bool:
    needed = needed_words(EngineName.VLLM, pod.release, pod.wanted.demand.model.method)
    return "--allow-deprecated-quantization" in needed


def _ranks_span_pods(pod: PodContext) -> bool:
    """Tell whether a data rank has more GPUs than a pod."""
    return pod.layout.data > 1 and not pod.holds_data_ranks


def _first_data_rank(pod: PodContext) -> str | None:
    """Give the first data rank of a pod; a leader that alone serves has the first without a word."""
    alone = pod.leads and not pod.shares_serving
    return None if alone else str(pod.place.index * _data_ranks(pod))


def _data_ranks(pod: PodContext) -> int:
    """Count the data ranks of a pod that holds whole data ranks."""
    return pod.place.gpus // pod.layout.data_rank_gpus


def _between_data_ranks(value: Callable[[PodContext], str | None]) -> Callable[[PodContext], str | None]:
    """Emit a value only in groups of several pods that hold whole data ranks."""
    whole = beside_data(lambda pod: None if _ranks_span_pods(pod) else value(pod))
    return between_pods(whole)


def _between_nodes(value: Callable[[PodContext], str]) -> Callable[[PodContext], str | None]:
    """Emit a value only in groups in which a data rank, or the only rank, lies on several pods."""
    return between_pods(lambda pod: value(pod) if pod.layout.data == 1 or _ranks_span_pods(pod) else None)


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
            lambda pod: str(step_tokens(pod.wanted.demand, pod.layout) or chunk_tokens(pod.layout.data)),
        ),
        Option(
            "--max-num-seqs",
            "spec.engine.args",
            "the sequences that sampling is sized for, or fewer if the states of a hybrid model have room for fewer; "
            "the object's own value wins",
            sequences,
            yields=True,
        ),
        Option(
            "--gpu-memory-utilization",
            "spec.model.gpuMemoryReserve",
            "the share of a GPU that the plan may use",
            lambda pod: memory_fraction(pod.plan.memory),
            also=("--device-memory-utilization", "--kv-cache-memory-bytes"),
        ),
        Option(
            "--kv-cache-dtype",
            "spec.model.kvCacheDtype",
            "the precision of the plan's KV cache",
            _kv_cache_dtype,
        ),
        Option(
            "--quantization",
            "spec.model.quantization",
            "fp8 on load, for a checkpoint that is not in fp8",
            fp8_on_load,
            also=("-q",),
        ),
        Option(
            "--allow-deprecated-quantization",
            "spec.model.config",
            "a checkpoint of a method that the release loads only at this word",
            _allows_deprecated,
            yields=True,
        ),
        Option(
            "--data-parallel-size",
            "spec.parallelism.data",
            "the data ranks of the group",
            beside_data(lambda pod: str(pod.layout.data)),
            also=("-dp",),
        ),
        Option(
            "--data-parallel-size-local",
            "spec.parallelism.data",
            "the data ranks of the pod",
            _between_data_ranks(lambda pod: str(_data_ranks(pod))),
            also=("-dpl",),
        ),
        Option(
            "--data-parallel-start-rank",
            "spec.parallelism.data",
            "the first data rank of a pod that follows, or of any pod if all serve: the only word of the ranks that "
            "differs from pod to pod",
            _between_data_ranks(_first_data_rank),
            also=("-dpr",),
        ),
        Option(
            "--data-parallel-address",
            PLAN,
            "the leader's name in the group's own Service",
            _between_data_ranks(lambda pod: pod.leader_host),
            also=("-dpa",),
        ),
        Option(
            "--data-parallel-rpc-port",
            PLAN,
            "the port where data ranks meet",
            between_pods(beside_data(lambda _: str(DATA_PORT))),
            also=("-dpp",),
        ),
        Option(
            "--nnodes", PLAN, "pods of the group", _between_nodes(lambda pod: str(len(pod.group.pods))), also=("-n",)
        ),
        Option(
            "--node-rank",
            PLAN,
            "the rank of the pod in its group: the only word that differs from pod to pod",
            _between_nodes(lambda pod: str(pod.place.index)),
            also=("-r",),
        ),
        Option(
            "--master-addr",
            PLAN,
            "the leader's name in the group's own Service",
            _between_nodes(lambda pod: pod.leader_host),
        ),
        Option("--master-port", PLAN, "the port where ranks meet", _between_nodes(lambda _: str(MASTER_PORT))),
        Option(
            "--distributed-executor-backend",
            PLAN,
            "`mp`: vLLM's own executor over nodes, without Ray",
            between_pods(lambda _: "mp"),
        ),
        Option(
            "--headless",
            PLAN,
            "every pod that serves no clients: it has ranks and no HTTP server",
            lambda pod: not pod.serves,
        ),
        Option(
            "--data-parallel-hybrid-lb",
            "spec.engine.servers",
            "every pod serves for its own data ranks",
            lambda pod: pod.shares_serving,
            also=("-dph",),
        ),
        Option("--host", "spec.service.port", "always explicit", every_address),
        Option(
            "--port",
            "spec.service.port",
            "always explicit; clients use the Service's",
            lambda _: str(HTTP_PORT),
            also=("--uds",),
        ),
        Option(
            "--decode-context-parallel-size",
            "spec.parallelism.context",
            "the GPUs that divide a sequence's cache",
            context_degree,
            also=("-dcp",),
        ),
        Option(
            "--kv-transfer-config",
            "spec.transfer.connector",
            "the part of the pod's role in moving KV caches; an object without roles may give its own",
            of_role(vllm_transfer),
            yields=True,
        ),
        Option("--data-parallel-rank", "spec.parallelism.data", also=("-dpn",)),
        Option("--data-parallel-backend", "spec.parallelism.data", also=("-dpb",)),
        Option("--data-parallel-external-lb", "spec.parallelism.data", also=("-dpe",)),
        Option("--data-parallel-multi-port-external-lb", "spec.parallelism.data", also=("-dpm",)),
        Option("--data-parallel-supervisor-port", "spec.parallelism.data"),
        Option("--enable-elastic-ep", "spec.parallelism.data"),
        Option("--prefill-context-parallel-size", "spec.parallelism.context", also=("-pcp",)),
        Option("--dtype", "spec.model.name", instead=STORED),
        Option("--hf-overrides", "spec.model.config", instead=STORED),
        Option("--cpu-offload-gb", "spec.gpuBudget.total", instead=IN_GPU_MEMORY),
        Option("--num-gpu-blocks-override", "spec.model.gpuMemoryReserve"),
        Option("--ssl-certfile", PLAN, also=("--ssl-keyfile",), instead=PLAIN_HTTP),
        Option("--grpc", PLAN, instead=WHOLE_REQUESTS),
        Option("--api-server-count", "spec.engine.args", also=("-asc",), yields=True, servers_only=True),
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
        Variable(
            _STEP_LIMIT,
            "several pods: the time after which a step of the engine counts as hung",
            between_pods(lambda pod: _STEP_SECONDS.at(pod.release)),
            yields=True,
        ),
        Variable(
            "VLLM_NIXL_SIDE_CHANNEL_HOST",
            "the pod's own address, at which decode asks for caches",
            of_role(lambda pod, _: pod_address(pod), connector=Connector.NIXL),
            yields=True,
        ),
        Variable(
            "VLLM_NIXL_SIDE_CHANNEL_PORT",
            "the port at which decode asks for caches",
            of_role(lambda *_: str(SIDE_CHANNEL), connector=Connector.NIXL),
            yields=True,
        ),
        Variable(
            "VLLM_MOONCAKE_BOOTSTRAP_PORT",
            "the port at which decode looks up the ranks of prefill",
            of_role(lambda *_: str(BOOTSTRAP), RoleName.PREFILL, Connector.MOONCAKE),
            yields=True,
        ),
        Variable(
            "VLLM_HTTP_TIMEOUT_KEEP_ALIVE",
            "objects with roles: as long as routers keep idle connections",
            of_role(lambda *_: KEEP_ALIVE),
            yields=True,
        ),
        Variable(
            "VLLM_SSM_CONV_STATE_LAYOUT",
            "objects with roles, models that keep states: the only layout that can be moved",
            of_role(state_layout),
            yields=True,
        ),
        Variable("VLLM_PORT", "chosen by the engine"),
        *(Variable(f"VLLM_DP_{name}", "the plan: use `spec.parallelism.data`") for name in _DATA_PARALLEL),
        Variable("VLLM_PP_LAYER_PARTITION", "the plan's memory per stage"),
        *COMMON_VARIABLES,
    ),
    others=("-dc",),
)
"""The options and variables of vLLM that the plan or a field of the object decides."""


def problems(wanted: Wanted) -> Iterator[tuple[str, str]]:
    """Give ``(field path, message)`` for each field that vLLM cannot honour, besides args and env."""
    if wanted.health.idle_request_interval is not None and _asks_for_a_key(wanted):
        message = "vLLM asks for its API key, which the operator does not have; leave the field out"
        yield "spec.health.idleRequestInterval", f"idle replicas cannot be asked for a token: {message}"


def _asks_for_a_key(wanted: Wanted) -> bool:
    container = wanted.launch.container
    names = (word.partition("=")[0].replace("_", "-") for word in container.args)
    by_word = any(name.startswith(_KEY[:7]) and _KEY.startswith(name) for name in names)
    return by_word or any(variable.name == "VLLM_API_KEY" for variable in container.env)


def figures(wanted: Wanted) -> Figures | None:
    """Say where a group that serves offers its figures: an info metric, whose labels are the cache's configuration.

    ``kv_cache_size_tokens`` counts as many tokens as sequences of full length hold, over all kinds of layers. Releases
    without this label have only a number of blocks, which counts tokens only if all layers are alike. Sources:
    config/cache.py and v1/core/kv_cache_utils.py of 0.33.0, config/cache.py of 0.11.1.
    """
    model = wanted.demand.model
    if keeps_states(model):
        return None
    return Figures("/metrics", _cache_tokens if has_windows(model) else _uniform_cache_tokens)


def _cache_tokens(text: str) -> int:
    return next((whole(labels, "kv_cache_size_tokens") for labels, _ in samples(text, _CACHE)), 0)


def _uniform_cache_tokens(text: str) -> int:
    labels = next((labels for labels, _ in samples(text, _CACHE)), "")
    return _cache_tokens(text) or whole(labels, "num_gpu_blocks") * whole(labels, "block_size")


def token_request(wanted: Wanted) -> TokenRequest:
    """Give the request of one token by which an idle group is tried: a completion of a single token.

    vLLM itself ends a group of several pods whose step takes too long, so its own limit comes first.
    """
    own = (variable.value for variable in wanted.launch.container.env if variable.name == _STEP_LIMIT)
    limits = [int(value) for value in own if value is not None and value.isascii() and value.isdecimal()]
    body = {"model": wanted.launch.model.served_name, "prompt": [0], "max_tokens": 1, "temperature": 0}
    seconds = max(_LONGEST_STEP, *limits, 0) + _AFTER_ENGINE
    return TokenRequest("/v1/completions", json.dumps(body), seconds, "/metrics", _IN_WORK)


def launch(image: str, pods: tuple[PodContext, ...]) -> GroupLaunch:
    """Describe how the pods of a group are started."""
    launches = tuple(_pod(pod) for pod in pods)
    meeting = ("rendezvous", _meeting_port(pods[0]))
    ports = (*named_ports(HTTP_PORT, meeting, launches), *vllm_ports(pods[0]))
    return GroupLaunch(image, HTTP_PORT, ports, launches)


def _meeting_port(pod: PodContext) -> int:
    """Give the port of the leader that answers first: data ranks meet before the ranks inside them."""
    return DATA_PORT if pod.layout.data > 1 else MASTER_PORT


def _pod(pod: PodContext) -> PodLaunch:
    made = PodLaunch(
        index=pod.place.index,
        command=("vllm", "serve"),
        args=(*TABLE.words(pod), *TABLE.arguments(pod)),
        env=environment(pod, TABLE),
        startup=startup_probe(pod.plan, 5) if pod.serves else None,
        readiness=while_whole(Probe("/health", 10, 5, 3), HTTP_PORT, pod) if pod.serves else None,
        liveness=Probe("/health", 10, 10, 6),
        drain=drain_together(HTTP_PORT, _IN_WORK, pod),
    )
    return in_role(made, pod, _meeting_port(pod))
