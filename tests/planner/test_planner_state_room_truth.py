"""Caches of hybrid models are cut into the pages that vLLM cuts them into: tests/data/engines/vllm-pages.json."""

import json
from typing import Any

import pytest
from tests.checkpoint.support import Json, counted
from tests.support.models import DATA, a_demand, config, config_names

from shardwise.checkpoint import from_config
from shardwise.domain.hardware import ComputeCapability
from shardwise.planner.state_room import page

RECORDED: dict[str, dict[str, Any]] = json.loads((DATA / "engines" / "vllm-pages.json").read_text())["pages"]
CAPABILITIES: dict[str, ComputeCapability] = {"H100": (9, 0), "A10": (8, 6)}
CUT = [
    (name, gpu, int(degree), tuple(said))
    for name, of_gpus in RECORDED.items()
    for gpu, of_degrees in of_gpus.items()
    for degree, said in of_degrees.items()
    if isinstance(said, list)
]
"""Model, product, tensor degree, and the tokens and bytes of a page. vLLM refused the others."""


def published(name: str) -> Json:
    if name in config_names():
        return config(name)
    return next(row["config"] | {"torch_dtype": "bfloat16"} for row in counted() if row["class"] == name)


@pytest.mark.parametrize(("name", "gpu", "tensor", "said"), CUT, ids=[f"{row[0]}-{row[1]}-{row[2]}" for row in CUT])
def test_a_page_has_the_tokens_and_bytes_of_vllms_own(name: str, gpu: str, tensor: int, said: tuple[int, int]) -> None:
    model = from_config(published(name), name=name, origin="test")
    assert page(a_demand(model), tensor, CAPABILITIES[gpu]) == said


def test_vllm_cut_the_caches_of_most_classes() -> None:
    assert len({name for name, *_ in CUT}) >= 8
    assert len(CUT) >= 40
