"""Where an engine finds the weights, what it is told of them, and how long they may take to load."""

from collections.abc import Iterator
from math import ceil
from typing import Final

from shardwise.domain.engine import MOST_SEQUENCES
from shardwise.domain.launch import Launch, Source, SourceKind, Wanted, WeightCache
from shardwise.domain.plan import Plan
from shardwise.domain.units import GIB

CACHE_FOLDER: Final = "/cache"
"""Mount path of what is fetched and compiled."""

MODEL_FOLDER: Final = "/model"
"""Mount path of weights on a volume."""

_LEAST_STARTUP: Final = 1800
"""Seconds a group may take to start, whatever its size: download, compilation and graph capture."""

_LOAD_RATE: Final = 0.1 * GIB
"""Bytes a second a slow network share delivers: 400 GiB get a little over an hour."""


def startup_seconds(plan: Plan) -> int:
    """Give the seconds a group may take to load and warm up, scaled with the weights of all its GPUs."""
    return max(_LEAST_STARTUP, ceil(plan.memory.weights * plan.layout.world_size / _LOAD_RATE))


def is_fetched(source: Source) -> bool:
    """Tell whether the weights come from the Hub rather than a volume."""
    return source.kind is SourceKind.HUGGING_FACE


def sequences(plan: Plan) -> str:
    """Give the sequences a step may hold: what the plan's activations are sized for."""
    return str(max(MOST_SEQUENCES, plan.concurrency))


def pre_pulls(wanted: Wanted) -> bool:
    """Tell whether the weights are fetched before any rank starts."""
    source = wanted.launch.model.source
    asked = wanted.site.pre_pull if source.pre_pull is None else source.pre_pull
    return is_fetched(source) and asked


def is_offline(wanted: Wanted) -> bool:
    """Tell whether the engine itself is to fetch nothing: the weights are on a volume, or already in the cache."""
    return not is_fetched(wanted.launch.model.source) or pre_pulls(wanted)


def cache_of(wanted: Wanted) -> WeightCache:
    """Give the cache an object asked for, else the configured one."""
    return wanted.launch.model.source.cache or wanted.site.cache


def model_word(wanted: Wanted) -> str:
    """Give what the engine is told the model is: its Hub id, or the folder of the volume."""
    source = wanted.launch.model.source
    return wanted.launch.model.name if is_fetched(source) else _inside(source.path)


def model_options(launch: Launch) -> Iterator[str]:
    """Give the options on the model itself that vLLM and SGLang spell alike."""
    yield from ("--served-model-name", launch.model.served_name)
    if launch.model.source.revision is not None:
        yield from ("--revision", launch.model.source.revision)
    if launch.model.trust_remote_code:
        yield "--trust-remote-code"


def quantises_on_load(wanted: Wanted) -> bool:
    """Tell whether fp8 is asked of a checkpoint that does not hold it already, in blocks with scales of its own."""
    return wanted.launch.model.quantization == "fp8" and not wanted.demand.model.in_blocks


def _inside(path: str) -> str:
    folder = path.strip("/")
    return f"{MODEL_FOLDER}/{folder}" if folder else MODEL_FOLDER
