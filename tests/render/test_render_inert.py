"""Hostile text stays text: no shell sees it, the kubelet expands nothing of it, and it moves no field."""

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.engines.support import wants
from tests.render.support import TWO_NODES, containers, engine, everything, expanded, of_kind

from shardwise.domain.launch import EnvVar, Source, SourceKind, Wanted
from shardwise.engines.meeting import ARRIVE_SCRIPT, GATHER_SCRIPT
from shardwise.render.containers import literal

SCRIPTS = {"wait-for-followers": GATHER_SCRIPT, "wait-for-leader": ARRIVE_SCRIPT}
LEADER, FOLLOWER = (f"llama-0-0-{index}.llama-0-0.default.svc" for index in range(2))

HOSTILE = [
    "; rm -rf /",
    "$(HF_TOKEN)",
    "`id`",
    "a && b | c > d",
    'it\'s "quoted"',
    "two\nlines",
    "--- \nkind: Pod",
    "{{ .Values.x }}",
    "${HOME}",
    "$(A)$(B)",
    "$$(HF_TOKEN)",
    "a$$b",
    "$(unclosed",
    "\\$(X)",
    "$",
    "ends in $",
    "null",
    "yes",
    "0x10",
    "café ☕\t",
]
VARIABLES = dict.fromkeys(("HF_TOKEN", "A", "B", "X", "HOME", ""), "EXPANDED")

text = st.text(alphabet="$(){}AX \n'\"`;-", max_size=12)


def a_hostile_object(word: str) -> Wanted:
    """Put a text wherever an object takes free text."""
    return wants(
        served_name=word,
        args=("--chat-template", word),
        env=(EnvVar("TEXT", value=word),),
        annotations=(("example.com/text", word),),
        source=Source(SourceKind.HOST_PATH, location=f"/{word}"),
    )


@pytest.mark.parametrize("word", HOSTILE)
def test_the_engine_hears_hostile_text_as_it_was_written(word: str) -> None:
    """After the kubelet's own expansion, with variables that would match."""
    for pod in of_kind("Pod", everything(TWO_NODES, a_hostile_object(word))):
        heard = [expanded(arg, VARIABLES) for arg in engine(pod)["args"]]
        assert heard[2] == word
        assert heard[-2:] == ["--chat-template", word]
        (variable,) = [variable["value"] for variable in engine(pod)["env"] if variable["name"] == "TEXT"]
        assert expanded(variable, VARIABLES) == word
        assert pod["metadata"]["annotations"]["example.com/text"] == word


@given(text)
def test_no_text_is_expanded(word: str) -> None:
    """Any text of the characters that matter gets through the kubelet unchanged."""
    assert expanded(literal(word), VARIABLES) == word


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("$(X)", "EXPANDED"),
        ("$$(X)", "$(X)"),
        ("$$$(X)", "$EXPANDED"),
        ("$(Y)", "$(Y)"),
        ("$(X", "$(X"),
        ("$X", "$X"),
        ("$$", "$"),
        ("a$", "a$"),
    ],
)
def test_the_kubelet_of_these_tests_expands_as_the_real_one(written: str, read: str) -> None:
    """The cases of its own table (expand_test.go), as far as they matter here."""
    assert expanded(written, VARIABLES) == read


@pytest.mark.parametrize("word", HOSTILE)
def test_no_shell_is_ever_started(word: str) -> None:
    """Commands are constant lists; what comes from the object stands only in arguments."""
    for container in containers(everything(TWO_NODES, a_hostile_object(word))):
        command, args = container["command"], container["args"]
        if container["name"] == "engine":
            assert command == ["vllm", "serve"]
        else:
            assert command == ["python3", "-c", SCRIPTS[container["name"]]]
            assert [word for word in args if not word.isdecimal()] in ([LEADER], [FOLLOWER])
        assert all(isinstance(one, str) for one in (*command, *args))
        assert not {"sh", "bash", "/bin/sh", "/bin/bash", "-lc"} & {*command, *args}


@pytest.mark.parametrize("word", HOSTILE)
def test_hostile_text_survives_yaml_and_json(word: str) -> None:
    """What `shardwise render` prints is what the operator applies."""
    made = list(everything(TWO_NODES, a_hostile_object(word)))
    assert list(yaml.safe_load_all(yaml.safe_dump_all(made, allow_unicode=True))) == made
    assert json.loads(json.dumps(made)) == made


@pytest.mark.parametrize("word", HOSTILE)
def test_hostile_text_changes_nothing_but_its_own_fields(word: str) -> None:
    """All else is as for a harmless text."""
    harmless = [shape_of(manifest) for manifest in everything(TWO_NODES, a_hostile_object("harmless"))]
    assert [shape_of(manifest) for manifest in everything(TWO_NODES, a_hostile_object(word))] == harmless


def shape_of(value: Any) -> Any:
    """Give a manifest with its texts left out, and its names kept."""
    if isinstance(value, dict):
        return {key: shape_of(one) for key, one in value.items()}
    if isinstance(value, list):
        return [shape_of(one) for one in value]
    return type(value).__name__
