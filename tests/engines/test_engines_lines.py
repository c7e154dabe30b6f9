"""The engines' own parsers and configurations took the command lines: tests/data/engines/*-lines.json."""

import json
from typing import Any

import pytest
from tests.engines.support import SGLANG, VLLM, known_flags
from tests.support.models import DATA

from shardwise.domain.engine import RELEASES, EngineName
from shardwise.domain.version import dotted

READ = [VLLM, SGLANG]

WITHOUT_CODE = ("XiaomiMiMo/MiMo-7B-Base", "nvidia/Llama-3_3-Nemotron-Super-49B-v1")
"""Models whose checkpoint brings the code that reads its config; the code is not there when an engine is asked."""


def recorded(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DATA / "engines" / f"{name}.json").read_text())
    return found


@pytest.mark.parametrize("engine", READ)
def test_the_engine_takes_every_line(engine: EngineName) -> None:
    answers = recorded(f"{engine.value}-lines")
    assert answers["release"] == dotted(RELEASES[engine])
    assert answers["lines"] > 3000
    assert answers["configured"] > 1900
    assert answers["of_data_ranks"] > 1300
    assert {line: said for line, said in answers["refused"].items() if not line.startswith(WITHOUT_CODE)} == {}


@pytest.mark.parametrize("engine", READ)
def test_the_options_that_tests_know_are_those_the_engine_declares(engine: EngineName) -> None:
    answers = recorded(engine.value)
    assert known_flags(engine) - {"-h", "--help"} == {*answers["flags"], *answers["short"]}
