"""The engines' own parsers and configurations took the command lines: tests/data/engines/*-lines.json."""

import json
from typing import Any

import pytest
from tests.engines.support import SGLANG, VLLM, known_flags
from tests.support.models import DATA

from shardwise.domain.engine import RELEASES, EngineName
from shardwise.domain.version import dotted, parse_version

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


def test_tensorrt_llm_takes_every_line_and_every_options_file() -> None:
    """Its release is that of the sources that were read, which need not be that of the image."""
    answers = recorded("tensorrt-llm-lines")
    assert (parse_version(answers["release"]) or ()) >= RELEASES[EngineName.TENSORRT_LLM]
    assert answers["lines"] > 1500
    assert answers["configured"] == answers["lines"]
    assert answers["of_data_ranks"] > 400
    assert answers["refused"] == {}


@pytest.mark.parametrize("engine", READ)
def test_the_options_that_tests_know_are_those_the_engine_declares(engine: EngineName) -> None:
    answers = recorded(engine.value)
    assert known_flags(engine) - {"-h", "--help"} == {*answers["flags"], *answers["short"]}
