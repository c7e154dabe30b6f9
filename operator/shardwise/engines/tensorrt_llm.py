"""TensorRT-LLM, 1.0 or later: one pod by `trtllm-serve` alone, several by Open MPI over ssh from the leader.

The command line has only options that every release since 1.0 takes. Everything else is in the options file, and
nothing is in both: up to 1.2 the file wins over the command line, later the command line wins over the file. Sources:
NVIDIA/TensorRT-LLM at the commits of tests/data/flags/tensorrt-llm.json, llmapi/trtllm-llmapi-launch@020c89e6,
serve/openai_server.py.
"""

import json
from collections.abc import Iterator
from math import floor
from typing import Any, Final

from shardwise.domain.adapters import expert_slots
from shardwise.domain.engine import IMAGES, RELEASES, TENSORRT_LLM_FREE_FRACTION, EngineName, chunk_tokens
from shardwise.domain.launch import ServedModel, Wanted
from shardwise.domain.model import expert_count
from shardwise.domain.plan import MemoryUse
from shardwise.domain.roles import RoleName
from shardwise.domain.version import Version
from shardwise.engines import mpi
from shardwise.engines.context import PodContext
from shardwise.engines.environment import COMMON_VARIABLES, environment
from shardwise.engines.figures import Figures, has_windows, keeps_states
from shardwise.engines.launch import File, GroupLaunch, PodLaunch, Probe, every_address, named_ports, startup_probe
from shardwise.engines.meeting import FOLLOWER_GRACE, LEADER_GRACE, drain, wait_for
from shardwise.engines.options import PLAN, WHOLE_REQUESTS, Entry, Option, OptionTable, Variable, beside_data
from shardwise.engines.transfer import ROLES, TRANSFER, of_role, tensorrt_llm_role
from shardwise.engines.weights import MODEL_FOLDER, is_fetched, sequences

DEFAULT_IMAGE: Final = IMAGES[EngineName.TENSORRT_LLM]
"""NVIDIA's own image. Over several nodes it also needs an ssh server and client."""

READ: Final[Version] = RELEASES[EngineName.TENSORRT_LLM]
"""The release of the default image."""

OLDEST: Final[Version] = (1, 0, 0)
"""The oldest release that takes the words of the table."""

HTTP_PORT: Final = 8000
OPTIONS_FILE: Final = f"{mpi.FOLDER}/options.yaml"
"""The path of the options file. It is written as JSON, which is YAML as well."""

_SPLIT_OR_EXPANDED: Final = frozenset(" \t\n\r\v\f*?[]\\")
"""Letters at which the engine's launcher script splits a word or expands a pattern of file names: it quotes nothing."""


def model_folder(model: ServedModel) -> str:
    """Give the mount path of a checkpoint on a volume: the engine serves the model under the name of that folder."""
    return f"{MODEL_FOLDER}/{model.served_name.rpartition('/')[2]}"


def free_fraction(memory: MemoryUse) -> float:
    """Give the share of the memory free after loading that the KV cache may take.

    The default, unless the object leaves bytes to others: they are free after loading, too, and not for the cache.
    """
    cache = memory.kv_cache + memory.slack
    free = cache / TENSORRT_LLM_FREE_FRACTION + memory.left_free
    return floor(cache / free * 1000) / 1000 if memory.left_free else TENSORRT_LLM_FREE_FRACTION


TABLE: Final = OptionTable(
    options=(
        Option(
            "model",
            "spec.model.name",
            "the model's Hub id, or the folder that its volume is mounted at",
            lambda pod: pod.model.name if is_fetched(pod.model.source) else model_folder(pod.model),
            positional=True,
        ),
        Option(
            "--tp_size",
            "spec.parallelism.tensor",
            "the plan",
            lambda pod: str(pod.layout.stage_gpus),
            also=("--tensor_parallel_size",),
        ),
        Option(
            "--pp_size",
            "spec.parallelism.pipeline",
            "the plan",
            lambda pod: str(pod.layout.pipeline),
            also=("--pipeline_parallel_size",),
        ),
        Option(
            "--ep_size",
            "spec.parallelism.expert",
            "the plan deals experts out whole, over the GPUs of a stage",
            lambda pod: str(pod.layout.stage_gpus) if pod.layout.expert else None,
            also=("--moe_expert_parallel_size",),
        ),
        Option(
            "--gpus_per_node",
            PLAN,
            "GPUs of a pod; the default counts the GPUs that the leader's process sees",
            lambda pod: str(pod.place.gpus),
        ),
        Option(
            "--max_seq_len",
            "spec.model.contextLength",
            "the context that the plan's memory is for",
            lambda pod: str(pod.plan.context_length),
        ),
        Option(
            "--max_num_tokens",
            "spec.model.gpuMemoryReserve",
            "the chunk that activations are sized for",
            lambda pod: str(chunk_tokens(pod.layout.data)),
        ),
        Option(
            "--max_batch_size",
            "spec.engine.args",
            "the sequences that sampling is sized for; the object's own value wins",
            sequences,
            yields=True,
        ),
        Option(
            "--trust_remote_code",
            "spec.model.trustRemoteCode",
            "only where the object trusts the checkpoint",
            lambda pod: pod.model.trust_remote_code,
        ),
        Option(
            "--host",
            "spec.service.port",
            "always explicit: the default can only be reached from inside the pod",
            every_address,
        ),
        Option("--port", "spec.service.port", "always explicit; clients use the Service's", lambda _: str(HTTP_PORT)),
        Option(
            "--extra_llm_api_options",
            "spec.engine.options",
            "the options file",
            lambda _: OPTIONS_FILE,
            also=("--config",),
        ),
        Option(
            "--kv_cache_free_gpu_memory_fraction",
            "spec.model.gpuMemoryReserve",
            also=("--free_gpu_memory_fraction",),
        ),
        Option("--kv_cache_dtype", "spec.model.kvCacheDtype"),
        Option("--served_model_name", "spec.model.servedName"),
        Option("--hf_revision", "spec.model.source.huggingFace.revision", also=("--revision",)),
        Option("--cluster_size", PLAN, also=("--moe_cluster_parallel_size",)),
        Option("--cp_size", "spec.parallelism.context", also=("--context_parallel_size",)),
        Option("--enable_attention_dp", "spec.parallelism.data"),
        Option("--backend", "spec.engine.name"),
        Option(
            "--server_role",
            ROLES,
            "the role of the pod, in objects with roles",
            of_role(tensorrt_llm_role),
        ),
        Option("--grpc", PLAN, instead=WHOLE_REQUESTS),
    ),
    variables=(
        *mpi.VARIABLES,
        Variable("TLLM_SPAWN_PROXY_PROCESS", "the engine's own launcher"),
        Variable("TLLM_SPAWN_PROXY_PROCESS_IPC_ADDR", "the engine's own launcher"),
        Variable("TLLM_SPAWN_PROXY_PROCESS_IPC_HMAC_KEY", "the engine's own launcher"),
        *COMMON_VARIABLES,
    ),
    entries=(
        Entry(
            "kv_cache_config.free_gpu_memory_fraction",
            "spec.model.gpuMemoryReserve",
            lambda pod: free_fraction(pod.plan.memory),
        ),
        Entry("kv_cache_config.dtype", "spec.model.kvCacheDtype", lambda pod: pod.model.kv_cache_dtype),
        Entry("revision", "spec.model.source.huggingFace.revision", lambda pod: pod.model.source.revision),
        Entry("cache_transceiver_config.backend", TRANSFER, of_role(lambda *_: "NIXL"), of_roles=True),
        Entry(
            "cache_transceiver_config.max_tokens_in_buffer",
            TRANSFER,
            of_role(lambda pod, _: pod.plan.context_length),
            of_roles=True,
        ),
        Entry("disable_overlap_scheduler", ROLES, of_role(lambda *_: True, RoleName.PREFILL), of_roles=True),
        Entry("tensor_parallel_size", "spec.parallelism.tensor"),
        Entry("pipeline_parallel_size", "spec.parallelism.pipeline"),
        Entry("moe_expert_parallel_size", "spec.parallelism.expert"),
        Entry("moe_tensor_parallel_size", "spec.parallelism.expert"),
        Entry("moe_cluster_parallel_size", "spec.parallelism.expert"),
        Entry("context_parallel_size", "spec.parallelism.context"),
        Entry("gpus_per_node", PLAN),
        Entry("enable_attention_dp", "spec.parallelism.data", beside_data(lambda _: True)),
        Entry("orchestrator_type", PLAN),
        Entry("max_seq_len", "spec.model.contextLength"),
        Entry("max_num_tokens", "spec.model.gpuMemoryReserve"),
        Entry("trust_remote_code", "spec.model.trustRemoteCode"),
        Entry("model", "spec.model.name"),
        Entry("backend", "spec.engine.name"),
        Entry("quant_config", "spec.model.quantization"),
        Entry("kv_cache_config.max_tokens", "spec.model.gpuMemoryReserve"),
        Entry("kv_cache_config.max_gpu_total_bytes", "spec.model.gpuMemoryReserve"),
    ),
    abbreviates=False,
)
"""The options, variables and entries of TensorRT-LLM that the plan or a field of the object decides."""


def problems(wanted: Wanted) -> Iterator[tuple[str, str]]:
    """Give ``(field path, message)`` for each field that TensorRT-LLM cannot honour, besides args and env."""
    yield from _value_problems(wanted)
    yield from _word_problems(wanted)
    yield from _entry_problems(wanted)
    if wanted.health.idle_request_interval is not None:
        message = "TensorRT-LLM does not say whether a replica is idle, so it cannot be asked for a token; leave it out"
        yield "spec.health.idleRequestInterval", message


def figures(wanted: Wanted) -> Figures | None:
    """Say where a group that serves offers its figures: the statistics of its last steps, if the object turns them on.

    Each answer empties the list, so others who read it miss the steps before. Source: ``get_iteration_stats`` of
    serve/openai_server.py, and the example of its answer in NVIDIA's documentation of ``trtllm-serve``.
    """
    model = wanted.demand.model
    asked = wanted.launch.container.options.get("enable_iter_perf_stats") is True
    return Figures("/metrics", _cache_tokens) if asked and not keeps_states(model) and not has_windows(model) else None


def _cache_tokens(text: str) -> int | None:
    try:
        steps = json.loads(text)
    except (ValueError, RecursionError):
        return None
    caches = (step.get("kvCacheStats") for step in (steps if isinstance(steps, list) else ()) if isinstance(step, dict))
    return next((_tokens(cache) for cache in caches if isinstance(cache, dict) and _tokens(cache)), None)


def _tokens(cache: dict[str, Any]) -> int:
    blocks, size = cache.get("maxNumBlocks"), cache.get("tokensPerBlock")
    return blocks * size if isinstance(blocks, int) and isinstance(size, int) else 0


def token_request(_: Wanted) -> None:
    """Give no request: TensorRT-LLM does not say whether it is idle, and under load a request waits for its turn."""


def launch(image: str, pods: tuple[PodContext, ...]) -> GroupLaunch:
    """Describe how the pods of a group are started."""
    leader = pods[0]
    several = leader.has_followers
    files = (File(OPTIONS_FILE, options_text(leader)),)
    launches = tuple(_leader(pod) if pod.leads else _follower(pod) for pod in pods)
    return GroupLaunch(
        image=image,
        http_port=HTTP_PORT,
        ports=named_ports(HTTP_PORT, ("ssh", mpi.SSH_PORT), launches),
        pods=launches,
        files=(*files, *mpi.FILES) if several else files,
        keys_at=mpi.KEYS_FOLDER if several else "",
        model_at=model_folder(leader.model),
        model_inside=leader.model.source.path.strip("/"),
    )


def options_text(pod: PodContext) -> str:
    """Write the options file: the entries that Shardwise decides, and the entries of the object."""
    entries = TABLE.with_entries(pod.wanted.launch.container.options, pod)
    return json.dumps(entries, indent=2, sort_keys=True) + "\n"


def _leader(pod: PodContext) -> PodLaunch:
    served = ("trtllm-serve", *TABLE.words(pod), *TABLE.arguments(pod))
    env = environment(pod, TABLE)
    slots = tuple((host, place.gpus) for host, place in zip(pod.hosts, pod.group.pods, strict=False))
    several = pod.has_followers
    return PodLaunch(
        index=0,
        command=mpi.LEADER_COMMAND if several else served[:1],
        args=(*mpi.words(slots, env), "trtllm-llmapi-launch", *served) if several else served[1:],
        env=env,
        grace=LEADER_GRACE,
        startup=startup_probe(pod.plan, 5),
        readiness=Probe("/health", 10, 5, 3),
        liveness=Probe("/health", 10, 10, 6),
        waits=wait_for(tuple((host, mpi.SSH_PORT) for host, _ in slots[1:])),
        drain=drain(HTTP_PORT, ()),
        serves=True,
    )


def _follower(pod: PodContext) -> PodLaunch:
    """Run an ssh server, by which the leader's mpirun starts the ranks. The leader notices every failure."""
    return PodLaunch(
        index=pod.place.index,
        command=mpi.FOLLOWER_COMMAND,
        args=(),
        env=environment(pod, TABLE),
        grace=FOLLOWER_GRACE,
        readiness=Probe("", 5, 5, 3, port=mpi.SSH_PORT),
    )


def _value_problems(wanted: Wanted) -> Iterator[tuple[str, str]]:
    model = wanted.launch.model
    if is_fetched(model.source) and model.served_name != model.name:
        message = (
            "trtllm-serve serves a model from the Hub under its id; leave the field out, or use weights on a volume"
        )
        yield "spec.model.servedName", f"`{model.served_name}` cannot be used: {message}"
    if not is_fetched(model.source) and model.served_name != model.name and "/" in model.served_name:
        message = "trtllm-serve serves a model on a volume under the name of its folder; use a name without `/`"
        yield "spec.model.servedName", f"`{model.served_name}` cannot be used: {message}"
    if model.kv_cache_dtype == "bfloat16":
        message = "TensorRT-LLM takes `fp8`, or `auto` for the precision that the checkpoint names"
        yield "spec.model.kvCacheDtype", f"`bfloat16` cannot be forced: {message}"


def _word_problems(wanted: Wanted) -> Iterator[tuple[str, str]]:
    """Refuse words that the launcher script would split, even if this plan has one pod: the next plan may have more."""
    launch, model = wanted.launch, wanted.launch.model
    words = [("spec.model.servedName", model.served_name)] if not is_fetched(model.source) else []
    words += [(f"spec.engine.args.{index}", word) for index, word in enumerate(launch.container.args)]
    for field, word in words:
        wrong = sorted(_SPLIT_OR_EXPANDED & set(word))
        if wrong:
            message = "TensorRT-LLM's launcher splits or expands words there; `spec.engine.options` takes any text"
            yield field, f"`{word}` has {wrong[0]!r}: {message}"


def _entry_problems(wanted: Wanted) -> Iterator[tuple[str, str]]:
    options = wanted.launch.container.options
    cache = options.get("kv_cache_config", {})
    if not isinstance(cache, dict):
        yield "spec.engine.options.kv_cache_config", f"`{cache}` is not an object"
        cache = {}
    slots, experts = expert_slots(options), expert_count(wanted.demand.model)
    if slots is not None and slots < experts:
        field = "spec.engine.options.moe_config.load_balancer.num_slots"
        yield field, f"`{slots}` has no room for the {experts} experts of the model; use `{experts}` or more"
    inside = (f"kv_cache_config.{key}" for key in cache)
    yield from TABLE.entry_problems((*options, *inside), roles=wanted.launch.role is not None)
