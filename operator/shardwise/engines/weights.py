"""The weights of a model: where an engine finds them, and how long they may take to load."""

from math import ceil
from typing import Final

from shardwise.domain import requests
from shardwise.domain.engine import MOST_SEQUENCES, EngineName
from shardwise.domain.launch import Source, SourceKind, Wanted, WeightCache
from shardwise.domain.plan import Plan
from shardwise.domain.units import GIB
from shardwise.engines.context import PodContext

CACHE_FOLDER: Final = "/cache"
"""Mount path of the volume for fetched weights and compiled code."""

MODEL_FOLDER: Final = "/model"
"""Mount path of weights on a volume."""

_LEAST_STARTUP: Final = 1800
"""Seconds that every group may take to start: download, compilation and graph capture."""

_LOAD_RATE: Final = 0.1 * GIB
"""Bytes per second that a slow network share delivers: 400 GiB take a little over an hour."""


def startup_seconds(plan: Plan) -> int:
    """Give the seconds a group may take to load and warm up, scaled with the weights of all its GPUs."""
    return max(_LEAST_STARTUP, ceil(plan.memory.weights * plan.layout.world_size / _LOAD_RATE))


def is_fetched(source: Source) -> bool:
    """Tell whether the weights come from the Hub rather than a volume."""
    return source.kind is SourceKind.HUGGING_FACE


def sequences(pod: PodContext) -> str:
    """Give the number of sequences in one step of a data rank that the plan's activations are sized for.

    If the model keeps states, vLLM does not start with more sequences than its cache has blocks for.
    """
    most = max(MOST_SEQUENCES, -(-pod.plan.concurrency // pod.layout.data))
    states = pod.plan.states if pod.plan.engine is EngineName.VLLM else None
    return str(most if states is None else min(most, states))


def pre_pulls(wanted: Wanted) -> bool:
    """Tell whether the weights are fetched before any rank starts."""
    source = wanted.launch.model.source
    asked = wanted.site.pre_pull if source.pre_pull is None else source.pre_pull
    return is_fetched(source) and asked


def is_offline(wanted: Wanted) -> bool:
    """Tell whether the engine must fetch nothing itself: the weights are on a volume, or already in the cache."""
    return not is_fetched(wanted.launch.model.source) or pre_pulls(wanted)


def cache_of(wanted: Wanted) -> WeightCache:
    """Give the cache of the object, or else the cache of the operator's configuration."""
    return requests.cache_of(wanted.launch, wanted.site)


def model_word(pod: PodContext) -> str:
    """Give the word that names the model to vLLM and SGLang: its Hub id, or its folder on the volume."""
    source = pod.model.source
    return pod.model.name if is_fetched(source) else _inside(source.path)


def fp8_on_load(pod: PodContext) -> str | None:
    """Give the value by which vLLM and SGLang quantise to fp8 on load, or ``None``."""
    return "fp8" if quantises_on_load(pod.wanted) else None


def quantises_on_load(wanted: Wanted) -> bool:
    """Tell whether the engine must quantise to fp8: the object asks for fp8, and the checkpoint is not quantised."""
    return wanted.launch.model.quantization == "fp8" and wanted.demand.model.method is None


def _inside(path: str) -> str:
    folder = path.strip("/")
    return f"{MODEL_FOLDER}/{folder}" if folder else MODEL_FOLDER
