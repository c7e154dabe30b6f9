"""Legal tensor degrees are those for which vLLM builds its own model class: tests/data/engines/vllm-legality.json."""

import json
from typing import Any

import pytest
from tests.support.models import DATA, config, facts

from shardwise.domain.engine import EngineName
from shardwise.planner.legality import legal_tensors

RECORDED: dict[str, Any] = json.loads((DATA / "engines" / "vllm-legality.json").read_text())["built"]

BUILT = {name: degrees for name, degrees in RECORDED.items() if "" not in degrees}
"""Models that vLLM knows. Of the others the checkpoint brings the code."""


@pytest.mark.parametrize("name", BUILT)
def test_a_degree_is_legal_exactly_where_the_engine_builds_the_model(name: str) -> None:
    tried = {int(degree) for degree in BUILT[name]}
    builds = {int(degree) for degree, said in BUILT[name].items() if not said}
    assert set(legal_tensors(facts(name), EngineName.VLLM)) & tried == builds


def test_most_models_of_the_test_data_are_built() -> None:
    assert len(BUILT) >= 25
    assert all(config(name)["architectures"] for name in BUILT)
