"""The product's tables of engines hold what the real engines answered: tests/data/engines, by `make check-engines`."""

import json
from functools import cache
from typing import Any

import pytest
from tests.engines_check.probes import PROBES
from tests.support.models import DATA

from shardwise.checkpoint import from_config
from shardwise.data import table
from shardwise.domain.engine import RELEASES, EngineName
from shardwise.domain.model import ModelFacts, Quantization
from shardwise.domain.version import dotted, parse_version
from shardwise.engines import ENGINES
from shardwise.planner.architecture_support import ArchitectureRow, ClassState, class_in
from shardwise.planner.capability_support import CapabilityRow, takes
from shardwise.planner.method_support import MethodRow, least_capability, needed_words, unloadable
from shardwise.planner.on_load import quantises_to
from shardwise.planner.pipeline_support import PipelineRow, can_pipeline

READ = [EngineName.VLLM, EngineName.SGLANG]
"""The engines that can be asked without the vendor's own index of packages."""


@cache
def recorded(name: str) -> dict[str, Any]:
    """Give a file of recorded answers."""
    found: dict[str, Any] = json.loads((DATA / "engines" / f"{name}.json").read_text())
    return found


@cache
def probed(name: str) -> ModelFacts:
    """Read a probe as the product reads a checkpoint."""
    return from_config(PROBES[name], name="probe", origin="tests/engines_check")


ASKED = [pytest.param(engine, name, id=f"{engine.value} {name}") for engine in READ for name in PROBES]
"""Every probe, of every engine."""


@pytest.mark.parametrize("engine", READ)
def test_the_answers_are_those_of_the_release_that_the_tables_are_for(engine: EngineName) -> None:
    assert recorded(engine.value)["release"] == dotted(RELEASES[engine])
    assert recorded(f"{engine.value}-history")["releases"][-1] == dotted(RELEASES[engine])
    assert recorded(engine.value)["probes"].keys() == PROBES.keys()


@pytest.mark.parametrize(("engine", "name"), ASKED)
def test_a_checkpoint_is_loaded_exactly_where_the_engine_loads_it(engine: EngineName, name: str) -> None:
    method = probed(name).method
    refused = method is not None and unloadable(engine, RELEASES[engine], method) is not None
    assert refused is ("refused" in recorded(engine.value)["probes"][name]["as stated"])


@pytest.mark.parametrize(("engine", "name"), ASKED)
def test_a_method_asks_for_the_compute_capability_that_the_engine_asks_for(engine: EngineName, name: str) -> None:
    """The oldest GPU that is tried has 7.5, the oldest that the engines' wheels are built for."""
    said = recorded(engine.value)["probes"][name]["as stated"]
    method = probed(name).method
    if method is None or "refused" in said:
        return
    least = least_capability(engine, method)
    assert least is not None
    assert max(least, (7, 5)) == divmod(said["least"], 10)


@pytest.mark.parametrize(("engine", "name"), ASKED)
def test_the_word_of_a_deprecated_method_is_given_where_the_engine_wants_it(engine: EngineName, name: str) -> None:
    said = recorded(engine.value)["probes"][name]["as stated"].get("method", "")
    method = probed(name).method
    if method is None or unloadable(engine, RELEASES[engine], method) is None:
        assert bool(needed_words(engine, RELEASES[engine], method)) is said.endswith("(deprecated)")


@pytest.mark.parametrize(("engine", "name"), ASKED)
def test_fp8_is_asked_for_only_where_the_engine_makes_it(engine: EngineName, name: str) -> None:
    """The word is for unquantised checkpoints alone. For others an engine refuses or ignores it."""
    said = recorded(engine.value)["probes"][name]["fp8"]
    model = probed(name)
    if model.method is None:
        assert said.get("method") == "fp8"
        assert quantises_to(engine, Quantization.FP8)
    elif model.quantization is not Quantization.FP8:
        assert said.get("method") != "fp8"


@pytest.mark.parametrize("engine", READ)
def test_every_class_and_when_it_came_and_went_stands_in_the_table(engine: EngineName) -> None:
    """Both ways; a class of the oldest release that was read counts from the oldest that Shardwise starts."""
    history = recorded(f"{engine.value}-history")
    row = table("architectures.json", ArchitectureRow)[engine.value]
    oldest, first = history["releases"][0], dotted(ENGINES[engine].OLDEST)
    spans = {
        name: tuple(first if release == oldest else release for release in span)
        for name, span in history["architectures"].items()
    }
    assert row.classes == spans
    assert list(row.fallback) == recorded(engine.value)["fallback"]


@pytest.mark.parametrize("engine", READ)
def test_the_newest_registry_is_that_of_the_engine_itself(engine: EngineName) -> None:
    """The history is read from sources, the registry of the release that is run from the engine."""
    said = set(recorded(engine.value)["architectures"])
    row = table("architectures.json", ArchitectureRow)[engine.value]
    own = {name for name in row.classes if class_in(engine, RELEASES[engine], name).state is ClassState.OWN}
    assert said <= own
    assert {name for name in own if len(row.classes[name]) % 2} == said


@pytest.mark.parametrize("engine", READ)
def test_a_class_is_split_into_stages_exactly_where_the_engine_splits_it(engine: EngineName) -> None:
    """Generative classes: drafts and encoders are never planned. ``None``: the class needs a library of its own."""
    said = recorded(engine.value)["architectures"]
    generative = {name: can for name, can in said.items() if can is not None and _is_generative(name)}
    assert {name: can for name, can in generative.items() if can_pipeline(engine, name) is not can} == {}
    row = table("pipeline.toml", PipelineRow)[engine.value]
    assert set(row.can or row.cannot) <= said.keys()


def _is_generative(name: str) -> bool:
    plain = name.endswith(("ForCausalLM", "ForConditionalGeneration", "LMHeadModel"))
    return plain and not any(part in name for part in ("Eagle", "EAGLE", "DFlash", "Draft", "DSpark", "Peagle", "MTP"))


@pytest.mark.parametrize("engine", READ)
def test_when_a_method_came_and_went_agrees_with_the_releases(engine: EngineName) -> None:
    """For methods that the engine lists under the name that checkpoints have."""
    history = recorded(f"{engine.value}-history")["methods"]
    oldest = recorded(f"{engine.value}-history")["releases"][0]
    for entry, row in table("methods.toml", MethodRow).items():
        name = entry.partition(" ")[2]
        if not entry.startswith(f"{engine.value} ") or name not in history or name in RENAMED.get(engine, ()):
            continue
        came, *went = history[name]
        assert (row.since or oldest) == came, entry
        assert ([row.before] if row.before else []) == went[:1], entry


RENAMED: dict[EngineName, tuple[str, ...]] = {
    EngineName.VLLM: ("auto-round",),  # loaded as `inc` since 0.15.0
    EngineName.SGLANG: ("bitsandbytes", "gptq"),  # taken from an installed vLLM before 0.5.5; as `gptq_marlin` later
}
"""Methods that a release loads under another name than the checkpoint's."""


@pytest.mark.parametrize("engine", READ)
def test_every_release_of_the_history_is_read_as_a_release(engine: EngineName) -> None:
    found = [parse_version(release) for release in recorded(f"{engine.value}-history")["releases"]]
    assert None not in found
    assert found == sorted(found, key=lambda release: release or (0, 0, 0))


TRIED = (75, 80, 86, 89, 90, 100, 120)
"""The compute capabilities for which the engines are asked, as numbers: 90 is 9.0."""


def test_sparse_latent_attention_is_taken_exactly_where_vllm_has_a_backend() -> None:
    """Its backends for DeepSeek V3.2 and GLM 5; those of V4 are chosen by the model."""
    row = table("capabilities.toml", CapabilityRow)["vllm sparse-latent-attention"]
    backends = recorded("vllm")["backends"]
    chosen = {name for name, said in backends.items() if said["latent"] and said["sparse"] and "DSV4" not in name}
    has = {level for name in chosen for level in backends[name]["capabilities"]}
    assert {level for level in TRIED if takes(row, RELEASES[EngineName.VLLM], divmod(level, 10)) is None} == has


def test_a_16_bit_cache_of_sparse_attention_is_taken_exactly_where_a_backend_lists_it() -> None:
    row = table("capabilities.toml", CapabilityRow)["vllm 16-bit-sparse-cache"]
    backends = recorded("vllm")["backends"]
    sparse = [said for name, said in backends.items() if said["latent"] and said["sparse"] and "DSV4" not in name]
    has = {level for said in sparse if "bfloat16" in said["caches"] for level in said["capabilities"]}
    untaken = {level for level in (90, 100, 120) if takes(row, RELEASES[EngineName.VLLM], divmod(level, 10))}
    assert untaken == {90, 100, 120} - has


def test_an_fp8_cache_of_latent_attention_is_taken_only_where_a_backend_lists_it() -> None:
    """Triton's backend lists fp8 for every GPU, and refuses it under 8.9 when its kernels are made."""
    row = table("capabilities.toml", CapabilityRow)["vllm fp8-latent-cache"]
    backends = recorded("vllm")["backends"]
    dense = [said for said in backends.values() if said["latent"] and not said["sparse"] and "fp8" in said["caches"]]
    listed = {level for said in dense for level in said["capabilities"]}
    taken = {level for level in TRIED if takes(row, RELEASES[EngineName.VLLM], divmod(level, 10)) is None}
    assert taken == {level for level in listed if level >= 89}
