"""TensorRT-LLM, 1.0 or later: one pod by `trtllm-serve` alone, several by Open MPI over ssh from the leader.

Only options that every release since 1.0 takes are used; all else stands in the options file, and nothing in both: up
to 1.2 the file wins over the command line, later the command line over the file. Sources: NVIDIA/TensorRT-LLM at the
commits of tests/data/flags/tensorrt-llm.json, llmapi/trtllm-llmapi-launch@020c89e6, serve/openai_server.py.
"""

import json
from collections.abc import Iterator
from math import ceil
from typing import Any, Final

from shardwise.domain.engine import CHUNK_TOKENS, TENSORRT_LLM_FREE_FRACTION
from shardwise.domain.launch import EnvVar, Wanted
from shardwise.domain.plan import GroupPlacement, Plan, PodPlacement
from shardwise.domain.version import Version
from shardwise.engines import mpi
from shardwise.engines.environment import environment
from shardwise.engines.launch import File, GroupLaunch, PodLaunch, Probe, listening, named_ports
from shardwise.engines.meeting import FOLLOWER_GRACE, LEADER_GRACE, drain
from shardwise.engines.options import COMMON_VARIABLES, PLAN, Option, Reserved, Variable, remedy
from shardwise.engines.weights import MODEL_FOLDER, is_fetched, quantises_on_load, sequences, startup_seconds

DEFAULT_IMAGE: Final = "nvcr.io/nvidia/tensorrt-llm/release:1.2.1"
"""NVIDIA's own. Over several nodes it also needs an ssh server and client."""

READ: Final[Version] = (1, 2, 1)
"""The release of the default image."""

OLDEST: Final[Version] = (1, 0, 0)
"""The oldest release these words are for."""

HTTP_PORT: Final = 8000
OPTIONS_FILE: Final = f"{mpi.FOLDER}/options.yaml"
"""JSON, which is YAML as well."""

RESERVED: Final = Reserved(
    options=(
        Option("--tp_size", "spec.parallelism.tensor", "the plan", also=("--tensor_parallel_size",)),
        Option("--pp_size", "spec.parallelism.pipeline", "the plan", also=("--pipeline_parallel_size",)),
        Option(
            "--ep_size",
            "spec.parallelism.expert",
            "the plan deals experts out whole, over the tensor group",
            also=("--moe_expert_parallel_size",),
        ),
        Option("--gpus_per_node", PLAN, "GPUs of a pod; the default is what the leader's process sees"),
        Option("--max_seq_len", "spec.model.contextLength", "the context the plan's memory is for"),
        Option("--max_num_tokens", "spec.model.gpuMemoryReserve", "the chunk activations are sized for"),
        Option("--max_batch_size", "spec.engine.args", "the sequences sampling is sized for; yours wins", yields=True),
        Option("--trust_remote_code", "spec.model.trustRemoteCode", "only where the object trusts the checkpoint"),
        Option("--host", "spec.service.port", "always explicit: the default is reached from inside the pod alone"),
        Option("--port", "spec.service.port", "always explicit; clients use the Service's"),
        Option("--extra_llm_api_options", "spec.engine.options", "the options file", also=("--config",)),
        Option(
            "--kv_cache_free_gpu_memory_fraction",
            "spec.model.gpuMemoryReserve",
            also=("--free_gpu_memory_fraction",),
        ),
        Option("--kv_cache_dtype", "spec.model.kvCacheDtype"),
        Option("--served_model_name", "spec.model.servedName"),
        Option("--hf_revision", "spec.model.source.huggingFace.revision", also=("--revision",)),
        Option("--cluster_size", PLAN, also=("--moe_cluster_parallel_size",)),
        Option("--cp_size", PLAN, also=("--context_parallel_size",)),
        Option("--enable_attention_dp", PLAN),
        Option("--backend", "spec.engine.name"),
    ),
    variables=(
        *COMMON_VARIABLES,
        Variable("TLLM_SPAWN_PROXY_PROCESS", "the engine's own launcher"),
        Variable("TLLM_SPAWN_PROXY_PROCESS_IPC_ADDR", "the engine's own launcher"),
        Variable("TLLM_SPAWN_PROXY_PROCESS_IPC_HMAC_KEY", "the engine's own launcher"),
        Variable("OMPI_MCA_orte_keep_fqdn_hostnames", "the host list"),
        Variable("PRTE_MCA_prte_keep_fqdn_hostnames", "the host list"),
    ),
    abbreviates=False,
)
"""Options of TensorRT-LLM that the plan or a field of the object decides."""

_PLANNED_ENTRIES: Final = {
    "tensor_parallel_size": "spec.parallelism.tensor",
    "pipeline_parallel_size": "spec.parallelism.pipeline",
    "moe_expert_parallel_size": "spec.parallelism.expert",
    "moe_tensor_parallel_size": "spec.parallelism.expert",
    "moe_cluster_parallel_size": "spec.parallelism.expert",
    "context_parallel_size": PLAN,
    "gpus_per_node": PLAN,
    "enable_attention_dp": PLAN,
    "orchestrator_type": PLAN,
    "max_seq_len": "spec.model.contextLength",
    "max_num_tokens": "spec.model.gpuMemoryReserve",
    "trust_remote_code": "spec.model.trustRemoteCode",
    "revision": "spec.model.source.huggingFace.revision",
    "model": "spec.model.name",
    "backend": "spec.engine.name",
    "quant_config": "spec.model.quantization",
    "kv_cache_config.free_gpu_memory_fraction": "spec.model.gpuMemoryReserve",
    "kv_cache_config.max_tokens": "spec.model.gpuMemoryReserve",
    "kv_cache_config.max_gpu_total_bytes": "spec.model.gpuMemoryReserve",
    "kv_cache_config.dtype": "spec.model.kvCacheDtype",
}
"""Entries of the options file that are not the user's, and the field to use instead."""

_SPLIT_OR_EXPANDED: Final = frozenset(" \t\n\r\v\f*?[]\\")
"""What the engine's launcher script would take a word apart at, or for a pattern of file names: it quotes nothing."""


def problems(wanted: Wanted) -> Iterator[tuple[str, str]]:
    """Give what TensorRT-LLM cannot honour of an object."""
    yield from _value_problems(wanted)
    yield from _word_problems(wanted)
    yield from _entry_problems(wanted)


def launch(wanted: Wanted, plan: Plan, group: GroupPlacement, hosts: tuple[str, ...], image: str) -> GroupLaunch:
    """Say how the pods of a group are started."""
    several = len(group.pods) > 1
    files = (File(OPTIONS_FILE, options_text(wanted)),)
    env = environment(wanted, plan, group, mpi.variables(wanted.site.interface) if several else ())
    pods = tuple(_pod(wanted, plan, group, pod, hosts, env) for pod in group.pods)
    return GroupLaunch(
        image=image,
        http_port=HTTP_PORT,
        ports=named_ports(HTTP_PORT, ("ssh", mpi.SSH_PORT), pods),
        pods=pods,
        files=(*files, *mpi.FILES) if several else files,
        keys_at=mpi.KEYS_FOLDER if several else "",
        model_at=model_folder(wanted),
        model_inside=wanted.launch.model.source.path.strip("/"),
    )


def options_text(wanted: Wanted) -> str:
    """Write the options file: what the plan assumed of the KV cache, the revision, and the user's entries."""
    cache: dict[str, Any] = {"free_gpu_memory_fraction": TENSORRT_LLM_FREE_FRACTION}
    if wanted.launch.model.kv_cache_dtype is not None:
        cache["dtype"] = wanted.launch.model.kv_cache_dtype
    ours: dict[str, Any] = {"kv_cache_config": {**wanted.launch.container.options.get("kv_cache_config", {}), **cache}}
    if wanted.launch.model.source.revision is not None:
        ours["revision"] = wanted.launch.model.source.revision
    return json.dumps({**wanted.launch.container.options, **ours}, indent=2, sort_keys=True) + "\n"


def model_folder(wanted: Wanted) -> str:
    """Give where a volume's checkpoint is mounted: the engine calls a model in a folder as the folder is called."""
    return f"{MODEL_FOLDER}/{wanted.launch.model.served_name.rpartition('/')[2]}"


def _pod(
    wanted: Wanted,
    plan: Plan,
    group: GroupPlacement,
    pod: PodPlacement,
    hosts: tuple[str, ...],
    env: tuple[EnvVar, ...],
) -> PodLaunch:
    if pod.index:
        return _follower(pod.index, env)
    served = ("trtllm-serve", *_words(wanted, plan, pod.gpus), *wanted.launch.container.args)
    several = len(group.pods) > 1
    slots = tuple((host, one.gpus) for host, one in zip(hosts, group.pods, strict=False))
    return PodLaunch(
        index=0,
        command=mpi.LEADER_COMMAND if several else served[:1],
        args=(*mpi.words(slots, env), "trtllm-llmapi-launch", *served) if several else served[1:],
        env=env,
        grace=LEADER_GRACE,
        startup=Probe("/health", 10, 5, ceil(startup_seconds(plan) / 10)),
        readiness=Probe("/health", 10, 5, 3),
        liveness=Probe("/health", 10, 10, 6),
        wait_for=tuple((host, mpi.SSH_PORT) for host, _ in slots[1:]),
        drain=drain(HTTP_PORT, ()),
    )


def _follower(index: int, env: tuple[EnvVar, ...]) -> PodLaunch:
    """Run an ssh server, by which the leader's mpirun starts the ranks; all else is the leader's to notice."""
    return PodLaunch(
        index=index,
        command=mpi.FOLLOWER_COMMAND,
        args=(),
        env=env,
        grace=FOLLOWER_GRACE,
        readiness=Probe("", 5, 5, 3, port=mpi.SSH_PORT),
    )


def _words(wanted: Wanted, plan: Plan, gpus: int) -> Iterator[str]:
    launch, layout = wanted.launch, plan.layout
    yield launch.model.name if is_fetched(launch.model.source) else model_folder(wanted)
    yield from ("--tp_size", str(layout.tensor), "--pp_size", str(layout.pipeline))
    if layout.expert:
        yield from ("--ep_size", str(layout.tensor))
    yield from ("--gpus_per_node", str(gpus))
    yield from ("--max_seq_len", str(plan.context_length), "--max_num_tokens", str(CHUNK_TOKENS))
    yield from ("--max_batch_size", sequences(plan))
    if launch.model.trust_remote_code:
        yield "--trust_remote_code"
    yield from listening(HTTP_PORT)
    yield from ("--extra_llm_api_options", OPTIONS_FILE)


def _value_problems(wanted: Wanted) -> Iterator[tuple[str, str]]:
    launch = wanted.launch
    if is_fetched(launch.model.source) and launch.model.served_name != launch.model.name:
        message = "trtllm-serve calls a model from the Hub by its id; leave it out, or bring the weights on a volume"
        yield "spec.model.servedName", f"`{launch.model.served_name}` cannot be had: {message}"
    if (
        not is_fetched(launch.model.source)
        and launch.model.served_name != launch.model.name
        and "/" in launch.model.served_name
    ):
        message = "trtllm-serve calls a model on a volume as its folder; a name without `/` can be had"
        yield "spec.model.servedName", f"`{launch.model.served_name}` cannot be had: {message}"
    if launch.model.kv_cache_dtype == "bfloat16":
        message = "TensorRT-LLM takes `fp8`, or with `auto` what the checkpoint says"
        yield "spec.model.kvCacheDtype", f"`bfloat16` cannot be forced: {message}"
    if quantises_on_load(wanted):
        message = "trtllm-serve quantises nothing on load; name a checkpoint that holds it, and say `auto`"
        yield "spec.model.quantization", f"`fp8` cannot be had: {message}"


def _word_problems(wanted: Wanted) -> Iterator[tuple[str, str]]:
    """Refuse words the launcher script would take apart, whether or not this plan needs it: the next one may."""
    launch = wanted.launch
    words = [("spec.model.servedName", launch.model.served_name)] if not is_fetched(launch.model.source) else []
    words += [(f"spec.engine.args.{index}", word) for index, word in enumerate(launch.container.args)]
    for field, word in words:
        wrong = sorted(_SPLIT_OR_EXPANDED & set(word))
        if wrong:
            message = "TensorRT-LLM's launcher takes words apart there; `spec.engine.options` takes any text"
            yield field, f"`{word}` has {wrong[0]!r}: {message}"


def _entry_problems(wanted: Wanted) -> Iterator[tuple[str, str]]:
    options = wanted.launch.container.options
    cache = options.get("kv_cache_config", {})
    if not isinstance(cache, dict):
        yield "spec.engine.options.kv_cache_config", f"`{cache}` is not an object"
        cache = {}
    for name in (*options, *(f"kv_cache_config.{key}" for key in cache)):
        if name in _PLANNED_ENTRIES:
            field = _PLANNED_ENTRIES[name]
            yield f"spec.engine.options.{name}", f"would contradict the plan; {remedy(field)}"
