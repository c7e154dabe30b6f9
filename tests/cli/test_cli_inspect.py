"""`shardwise inspect`: a config.json or a model's id in, facts and legal degrees out."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cli.support import Ran, shardwise
from tests.support.models import CONFIGS, config

from shardwise.domain.site import HubSite
from shardwise.hub import HubError, HubFacts, HubQuestion

R1 = CONFIGS / "deepseek-ai__DeepSeek-R1.json"
LLAMA = "meta-llama/Llama-3.1-8B"


def inspect(*args: str | Path) -> Ran:
    return shardwise("inspect", *args)


def test_a_file_is_told_to_people() -> None:
    ran = inspect(R1)
    assert (ran.status, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0] == "`deepseek-ai/DeepSeek-R1`: DeepseekV3ForCausalLM, 61 layers"
    assert "  vllm          TP 1, 2, 4, 8, 16; PP 1 to 61; EP 2, 4, 8, 16; DP 2, 4, 8, 16, 32, 64, 128, 256" in lines
    assert f"  facts         from {R1}" in lines


ROLES = {
    "vllm": "prefill TP 1, 2, 4, 8 with decode TP 1, 2, 4, 8, 16, 32; prefill TP 16 with decode TP 16, 32; "
    "prefill TP 32 with decode TP 32; prefill PP 1 to 32; decode no PP; "
    "by nixl (0.32.0 or later), mooncake (0.33.0 or later)",
    "sglang": "the same TP in prefill and decode; prefill PP 1 to 32; decode no PP, or the same PP; "
    "by nixl (0.5.23 or later), mooncake (0.5.23 or later)",
    "tensorrt-llm": "any TP of prefill with any TP of decode; prefill PP 1 to 32; decode PP 1 to 32; "
    "by nixl (1.2.0 or later)",
}


@pytest.mark.parametrize("engine", ROLES)
def test_the_layouts_that_exchange_caches_are_told_below_each_engine(engine: str) -> None:
    """Grouped attention has eight heads here: prefill of vLLM is wider only beside a decode as wide."""
    lines = inspect(LLAMA).out.splitlines()
    (place,) = [number for number, line in enumerate(lines) if line.startswith(f"  {engine} ")]
    assert lines[place + 1] == f"{'':16}roles: {ROLES[engine]}"


def test_the_layouts_that_exchange_caches_are_data() -> None:
    """A model with layers of several kinds keeps its prefill of vLLM in one stage."""
    roles = inspect(CONFIGS / "openai__gpt-oss-20b.json", "-o", "json").data["roles"]
    assert roles["vllm"]["prefill"] == {"pipeline": [1], "pipelineAsOther": [1]}
    assert roles["sglang"]["decode"] == {"pipeline": [1], "pipelineAsOther": list(range(1, 25))}
    assert roles["vllm"]["pairs"] == [{"prefill": [1, 2, 4, 8], "decode": [1, 2, 4, 8]}]
    assert roles["tensorrt-llm"]["connectors"] == {"nixl": "1.2.0"}


def test_a_file_is_told_to_machines() -> None:
    document = inspect(R1, "-o", "json").data
    assert document["architecture"] == "DeepseekV3ForCausalLM"
    assert document["parameters"] == 671_026_404_352
    assert document["kvBytesPerToken"] == 70_272
    assert document["quantization"] == "fp8"
    assert document["legal"]["sglang"] == {
        "tensor": [1, 2, 4, 8, 16],
        "pipeline": list(range(1, 62)),
        "expert": [2, 4, 8, 16],
        "data": [2, 4, 8, 16, 32, 64, 128, 256],
    }


@pytest.mark.parametrize("named", ["folder", "folder/config.json"])
def test_the_index_in_the_folder_states_the_size_of_the_checkpoint(tmp_path: Path, named: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config("Qwen/Qwen3-8B")))
    (folder / "model.safetensors.index.json").write_text('{"metadata": {"total_size": 17000000000}}')
    document = inspect(tmp_path / named, "-o", "json").data
    assert document["checkpointBytes"] == 17_000_000_000
    assert [note for note in document["notes"] if "the checkpoint has 15.8 GiB" in note]


def test_yaml_says_what_json_says() -> None:
    assert yaml.safe_load(inspect(R1, "-o", "yaml").out) == inspect(R1, "-o", "json").data


def test_a_known_id_needs_no_file_and_no_network() -> None:
    document = inspect(LLAMA, "-o", "json").data
    assert (document["name"], document["origin"]) == (LLAMA, "catalog")
    assert document["weightBytes"] == 16_060_522_496


def test_another_id_is_looked_up_on_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fetch(question: HubQuestion, _: HubSite) -> HubFacts:
        asked.append(question.repo)
        return HubFacts(config("Qwen/Qwen3-8B"), 16_381_516_776)

    monkeypatch.setattr("shardwise.hub.fetch.fetch_config", fetch)
    document = inspect("Qwen/Qwen3-8B-Base", "-o", "json").data
    assert asked == ["Qwen/Qwen3-8B-Base"]
    assert (document["origin"], document["checkpointBytes"]) == ("hub", 16_381_516_776)


def test_a_hub_that_knows_nothing_is_told_with_what_would_help(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(question: HubQuestion, _: HubSite) -> HubFacts:
        raise HubError(f"`{question.repo}` is not a model on the Hub, or is private", retryable=False)

    monkeypatch.setattr("shardwise.hub.fetch.fetch_config", fetch)
    ran = inspect("nobody/nothing")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err == (
        "error: `nobody/nothing` is not a model on the Hub, or is private; a path to its config.json needs no network\n"
    )


@pytest.mark.parametrize("folder", ["try", "./try", "try/", "a/b/try"])
def test_a_folder_without_a_config_is_no_model_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(folder).mkdir(parents=True)
    ran = inspect(folder)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err == f"error: the folder {folder} has no config.json: name a checkpoint's folder, or a file\n"


@pytest.mark.parametrize(
    ("kind", "size"), [("auto", 2), ("none", 2), ("fp8", 1), ("int8", 1), ("nvfp4", 0.5625), ("int4", 0.515625)]
)
def test_a_quantisation_may_be_asked_for_as_in_the_object(kind: str, size: float) -> None:
    document = inspect(LLAMA, "--quantization", kind, "-o", "json").data
    ends = 2 * 128256 * 4096 + 65 * 4096
    assert document["weightBytes"] == pytest.approx(ends * 2 + (8_030_261_248 - ends) * size, rel=1e-6)
    assert document["quantization"] == ("none" if kind == "auto" else kind)


def test_a_quantisation_nobody_knows_is_refused() -> None:
    ran = inspect(LLAMA, "--quantization", "fp7")
    assert ran.status == 2
    assert "'fp7' is not one of 'auto', 'none', 'fp8', 'int8', 'int4', 'mxfp4', 'nvfp4'" in ran.err


NAMES: dict[str, tuple[str, dict[str, Any], str]] = {
    "its own, with an organisation": ("org__model.json", {}, "org/model"),
    "its own, before what the config says": ("org__model.json", {"_name_or_path": "other/name"}, "org/model"),
    "what the config says": ("copy.json", {"_name_or_path": "other/name"}, "other/name"),
    "its own, where the config names a folder": ("copy.json", {"_name_or_path": "/data/ckpt"}, "copy"),
    "its own, where the config names no model": ("copy.json", {"_name_or_path": "llama_super"}, "copy"),
    "its folder's": ("config.json", {}, "folder"),
}


@pytest.mark.parametrize(("file", "changes", "name"), NAMES.values(), ids=NAMES)
def test_a_file_gives_a_model_its_name(tmp_path: Path, file: str, changes: dict[str, Any], name: str) -> None:
    path = tmp_path / "folder" / file
    path.parent.mkdir()
    path.write_text(json.dumps(config("Qwen/Qwen3-8B") | changes))
    assert inspect(path, "-o", "json").data["name"] == name


WRONG: dict[str, tuple[bytes | None, str]] = {
    "no file": (None, "cannot be read: No such file or directory"),
    "no JSON": (b"{", "not JSON: "),
    "a list": (b"[1]", "a config.json is an object, not `[1]`"),
    "bytes": (b"\x80\x81", "not JSON: "),
    "nested without end": (b'{"a":' * 100_000, "not JSON: "),
    "no sizes": (b'{"model_type": "llama"}', "config of `model` lacks `hidden_size`"),
    "a wrong size": (
        b'{"model_type": "llama", "hidden_size": "8"}',
        "`hidden_size: '8'`: a whole number of at least 1",
    ),
    "not a number": (b'{"model_type": "llama", "hidden_size": NaN}', "`hidden_size: nan`: a whole number"),
}


@pytest.mark.parametrize(("content", "message"), WRONG.values(), ids=WRONG)
def test_what_is_no_config_is_told_in_one_line(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "model.json"
    if content is not None:
        path.write_bytes(content)
    ran = inspect(path)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("error: ")
    assert message in ran.err
    assert ran.err.count("\n") == 1


def test_the_command_needs_a_model() -> None:
    ran = inspect()
    assert ran.status == 2
    assert "Missing argument 'MODEL'" in ran.err


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*__*.json")), ids=lambda path: path.stem)
def test_every_config_in_the_data_folder_is_inspected(path: Path) -> None:
    ran = inspect(path)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.startswith(f"`{path.stem.replace('__', '/', 1)}`: ")
