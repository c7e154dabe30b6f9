"""What a user may not add to the command line or the environment, because the plan or the object already says it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

OWNED_OPTIONS: Final[Mapping[str, str]] = {
    "--model": "spec.model.name",
    "--served-model-name": "spec.model.servedName",
    "--revision": "spec.model.source.huggingFace.revision",
    "--tensor-parallel-size": "spec.parallelism.tensor",
    "--pipeline-parallel-size": "spec.parallelism.pipeline",
    "--enable-expert-parallel": "spec.parallelism.expert",
    "--disable-expert-parallel": "spec.parallelism.expert",
    "--no-enable-expert-parallel": "spec.parallelism.expert",
    "--data-parallel-size": "spec.replicas",
    "--data-parallel-size-local": "spec.replicas",
    "--data-parallel-rank": "spec.replicas",
    "--data-parallel-start-rank": "spec.replicas",
    "--prefill-context-parallel-size": "spec.gpuBudget.total",
    "--nnodes": "spec.gpuBudget.total",
    "--node-rank": "spec.gpuBudget.total",
    "--master-addr": "spec.gpuBudget.total",
    "--master-port": "spec.gpuBudget.total",
    "--headless": "spec.gpuBudget.total",
    "--distributed-executor-backend": "spec.gpuBudget.total",
    "--max-model-len": "spec.model.contextLength",
    "--max-num-batched-tokens": "spec.model.gpuMemoryReserve",
    "--gpu-memory-utilization": "spec.model.gpuMemoryReserve",
    "--device-memory-utilization": "spec.model.gpuMemoryReserve",
    "--kv-cache-memory-bytes": "spec.model.gpuMemoryReserve",
    "--kv-cache-dtype": "spec.model.kvCacheDtype",
    "--quantization": "spec.model.quantization",
    "--trust-remote-code": "spec.model.trustRemoteCode",
    "--host": "spec.service.port",
    "--port": "spec.service.port",
    "--uds": "spec.service.port",
    "--config": "spec.engine.args",
}
"""Options of vLLM that the plan or a field of the object decides, and the field to use instead."""

_SHORT: Final[Mapping[str, str]] = {
    "-tp": "--tensor-parallel-size",
    "-pp": "--pipeline-parallel-size",
    "-ep": "--enable-expert-parallel",
    "-dp": "--data-parallel-size",
    "-dpl": "--data-parallel-size-local",
    "-dpn": "--data-parallel-rank",
    "-dpr": "--data-parallel-start-rank",
    "-pcp": "--prefill-context-parallel-size",
    "-n": "--nnodes",
    "-r": "--node-rank",
    "-q": "--quantization",
}

OWNED_ENV: Final[Mapping[str, str]] = {
    "VLLM_HOST_IP": "the pod's own address",
    "VLLM_PORT": "chosen by the engine",
    "HF_TOKEN": "spec.model.source.huggingFace.tokenSecretRef",
    "HF_HOME": "the volume of the cache",
    "VLLM_PP_LAYER_PARTITION": "the plan's memory per stage",
    "CUDA_VISIBLE_DEVICES": "the device plugin",
}
"""Environment variables the launch sets or relies on, and what decides them."""

_SHORTEST_ABBREVIATION: Final = 4
_ONE_LETTER: Final = len("-q")


def argument_problems(args: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Give ``(field path, message)`` for each argument that contradicts the plan, in any spelling of it."""
    for index, word in enumerate(args):
        option = owned_option(word)
        if option is not None:
            field = OWNED_OPTIONS[option]
            remedy = "the plan decides it" if field.startswith("spec.gpuBudget") else f"use `{field}`"
            yield f"spec.engine.args.{index}", f"`{word}` would contradict the plan; {remedy}"


def owned_option(word: str) -> str | None:
    """Give the owned option a word means, or ``None``.

    The engine's parser takes ``--a-b``, ``--a_b``, ``--a-b=value``, any unambiguous beginning, and short forms with
    the value attached, so all of these are recognised.
    """
    name = word.partition("=")[0].replace("_", "-")
    if name in OWNED_OPTIONS:
        return name
    if name.startswith("--"):
        return _abbreviated(name)
    return _short(name)


def _short(name: str) -> str | None:
    """Find a short form, its beginning (``-t`` of ``-tp``), or one with the value attached (``-qfp8``)."""
    if not name.startswith("-") or name == "-":
        return None
    for short, option in _SHORT.items():
        attached = name.startswith(short) and (len(short) == _ONE_LETTER or name.removeprefix(short).isdigit())
        if attached or short.startswith(name):
            return option
    return None


def _abbreviated(name: str) -> str | None:
    if len(name) < _SHORTEST_ABBREVIATION:
        return None
    return next((option for option in OWNED_OPTIONS if option.startswith(name)), None)


def env_problems(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Give ``(field path, message)`` for each environment variable that contradicts the launch."""
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in OWNED_ENV:
            yield f"spec.engine.env.{index}.name", f"`{name}` is set by {OWNED_ENV[name]}"
        elif name in seen:
            yield f"spec.engine.env.{index}.name", f"`{name}` is given twice"
        seen.add(name)
