"""The objects that the story applies."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.engine_story.environment import PLUGIN
from tests.process_kubelet.container import Json

from shardwise.domain.layout import Layout

HANG_SECONDS: Final = 20
"""Seconds after which the engine gives up a step."""

ON_CPU: Final = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "TORCHDYNAMO_DISABLE": "1",
    "VLLM_USE_AOT_COMPILE": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # else each pod binds its rank to the same core
    "OMP_NUM_THREADS": "1",
    "VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS": str(HANG_SECONDS),
    "VLLM_PLUGINS": "",
}
"""Variables of ``spec.engine.env``: all that differs from an object for GPUs."""

ANSWER: Final[Mapping[str, Any]] = {
    "model": "tiny",
    "temperature": 0,
    "ignore_eos": True,
    "return_token_ids": True,
}
"""Fields of a request that get the same tokens each time, as numbers."""


def a_model(folder: Path, name: str, layout: Layout, **spec: Any) -> Json:
    """Make an object for the model in a folder. Its pods go to nodes with as many GPUs as a tensor group has."""
    source = {"hostPath": {"path": str(folder)}}
    model = {"name": f"test/{folder.name}", "servedName": "tiny", "source": source}
    variables = ON_CPU | ({"VLLM_PLUGINS": PLUGIN} if layout.data > 1 else {})
    return {
        "apiVersion": "shardwise.dev/v1alpha1",
        "kind": "ShardedModel",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "model": {
                **model,
                "config": json.loads((folder / "config.json").read_text()),
                "contextLength": 512,
                "concurrency": 2,
            },
            "gpuBudget": {"total": 2 * layout.world_size},
            "parallelism": _degrees(layout),
            "placement": {"nodeSelector": {"pool": "narrow" if layout.tensor == 1 else "wide"}},
            "restartPolicy": {"window": "1s"},
            "engine": {"env": [{"name": key, "value": value} for key, value in variables.items()]},
            **spec,
        },
    }


def _degrees(layout: Layout) -> Json:
    """Pin the degrees. The data degree is said only if there are data ranks: older builds have no such field."""
    degrees = {"tensor": layout.tensor, "pipeline": layout.pipeline}
    return degrees | ({"data": layout.data} if layout.data > 1 else {})


def in_roles(folder: Path, name: str) -> Json:
    """Make an object whose prefill and decode are groups of a single process each."""
    made = a_model(folder, name, Layout(1, 1))
    degrees = made["spec"].pop("parallelism")
    made["spec"]["roles"] = [{"name": role, "replicas": 1, "parallelism": degrees} for role in ("prefill", "decode")]
    made["spec"]["transfer"] = {"connector": "nixl"}
    return made
