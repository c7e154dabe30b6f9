"""How far the planner's estimates of speed are from measurements: by class of model, GPU product and measure.

The measurements are ``tests/data/measured-speed.json``; the result is a data file of the product.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from statistics import median
from typing import Any, Final

from shardwise.checkpoint import from_config
from shardwise.domain.demand import Demand
from shardwise.domain.engine import EngineName
from shardwise.domain.estimate_errors import Measure, error_name
from shardwise.domain.hardware import GpuKind, gpu_kind
from shardwise.domain.layout import Layout
from shardwise.domain.model import ModelFacts
from shardwise.domain.units import MIB
from shardwise.planner.legality import has_experts
from shardwise.planner.links import Links
from shardwise.planner.memory import memory_use
from shardwise.planner.rank_load import RankLoad

FILE: Final = PurePosixPath("operator/shardwise/data/estimate-errors.toml")
MEASUREMENTS: Final = PurePosixPath("tests/data/measured-speed.json")
_CONFIGS: Final = PurePosixPath("tests/data/models")
_HEAD: Final = """\
# How far the estimates of speed are from measurements. Made from {measurements} by
# `python -m shardwise_sandbox errors`; do not edit.
#
# figures       number of measured figures
# half_within   half of the estimates are off by at most this share: 0.1 is 10 % too much or too little
# all_within    all estimates are off by at most this share
"""
_DOMAIN: Final = 8
"""GPUs of an NVLink domain of the measured machines."""

Run = Mapping[str, Any]
Errors = dict[str, list[float]]


def errors_text(root: Path) -> str:
    """Give the text of the data file, worked out anew. ``root`` is the root of the repository."""
    found: Errors = {}
    sources: dict[str, set[str]] = {}
    for run in json.loads((root / MEASUREMENTS).read_text(encoding="utf-8"))["runs"]:
        for name, error in _errors(run, root):
            found.setdefault(name, []).append(error)
            sources.setdefault(name, set()).add(run["source"])
    rows = (_row(name, found[name], sources[name]) for name in sorted(found))
    return _HEAD.format(measurements=MEASUREMENTS) + "".join(rows)


def _row(name: str, errors: list[float], sources: set[str]) -> str:
    source = json.dumps("; ".join(sorted(sources)), ensure_ascii=False)
    return (
        f'\n["{name}"]\nsource = {source}\nfigures = {len(errors)}\n'
        f"half_within = {median(errors):.2f}\nall_within = {max(errors):.2f}\n"
    )


def _errors(run: Run, root: Path) -> Iterator[tuple[str, float]]:
    """Give the error of each measured figure of a run: the factor between estimate and measurement, less 1."""
    for measure, estimated, measured in _figures(run, root):
        factor = estimated / measured
        yield error_name(measure, run["product"], mixture=has_experts(_model(run, root))), max(factor, 1 / factor) - 1


def _figures(run: Run, root: Path) -> Iterator[tuple[Measure, float, float]]:
    """Give each measured figure of a run beside its estimate."""
    sent, got, layout = run["inputTokens"], run["outputTokens"], Layout(**({"pipeline": 1} | run["layout"]))
    demand = Demand("a/b", _model(run, root), layout.world_size, 2 * sent + got, kv_bytes=run["cacheBytes"])
    kind = gpu_kind(run["product"])
    load = RankLoad(
        demand, layout, Links(kind, kind.nvlink is not None, stages_in_domain=True, domain=_DOMAIN), sent, got
    )
    requests = run["requests"] or _cached(run, demand, layout, kind)
    first, token = load.first_token(requests), load.per_token(requests)
    served = layout.data * got * (requests / (first + got * token) if run["requests"] else load.rate(requests))
    figures = {"firstTokenMs": 1000 * first, "perTokenMs": 1000 * token, "tokensPerSecond": served}
    measures = {"firstTokenMs": Measure.FIRST_TOKEN, "perTokenMs": Measure.PER_TOKEN, "tokensPerSecond": Measure.RATE}
    for name, estimated in figures.items():
        if name in run:
            yield measures[name], estimated, run[name]


def _cached(run: Run, demand: Demand, layout: Layout, kind: GpuKind) -> int:
    """Count the requests of mean length that a data rank's KV cache holds, up to the most of the run."""
    mean = run["inputTokens"] + run["outputTokens"] // 2
    alone = replace(demand, context_length=mean, engine=EngineName.TENSORRT_LLM)
    use = memory_use(alone, layout, run["memoryMib"] * MIB - kind.driver_memory, kind.compute_capability)
    return int(min((use.kv_cache + use.slack) / use.kv_cache, run["mostRequests"] / layout.data))


def _model(run: Run, root: Path) -> ModelFacts:
    path = root / _CONFIGS / f"{run['model'].replace('/', '__')}.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    return from_config(config, name=run["model"], origin=str(_CONFIGS), quantization=run["quantization"])
