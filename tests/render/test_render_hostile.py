"""Hostile text in each field of an object, for each engine: inert list items to the pod, or refused by name."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.engines.support import TENSORRT_LLM, VLLM, a_plan, wants_of
from tests.render.support import containers, engine, expanded

from shardwise.api import InvalidObject, parse
from shardwise.domain.engine import EngineName
from shardwise.domain.launch import CacheKind, EnvVar, LaunchSite, Source, SourceKind, Wanted, WeightCache
from shardwise.domain.layout import Layout
from shardwise.engines import problems
from shardwise.render.bundle import group
from shardwise.render.manifest import Manifest

HOSTILE = [
    'it\'s "quoted"',
    "$(HF_TOKEN)",
    "$$(A)",
    "`id`; rm -rf /",
    "two\nlines",
    "--headless",
    "-x",
    "ünïcode ☕",
    "a b",
    "*",
    "../..",
    "{{ .Values }}",
    "{'a': [1]}",
]
VARIABLES = {"HF_TOKEN": "EXPANDED", "A": "EXPANDED"}

FIELDS: dict[str, Callable[[str], dict[str, Any]]] = {
    "servedName": lambda text: {"served_name": text},
    "servedName on a volume": lambda text: {
        "served_name": text,
        "source": Source(SourceKind.HOST_PATH, location="/data"),
    },
    "revision": lambda text: {"source": Source(revision=text)},
    "revision, fetched first": lambda text: {"source": Source(revision=text, pre_pull=True)},
    "args": lambda text: {"args": ("--log-level", text)},
    "env": lambda text: {"env": (EnvVar("TEXT", value=text),)},
    "path in a claim": lambda text: {"source": Source(SourceKind.PERSISTENT_VOLUME_CLAIM, location="c", path=text)},
    "path in an image": lambda text: {"source": Source(SourceKind.IMAGE, location="image", path=text)},
    "host path": lambda text: {"source": Source(SourceKind.HOST_PATH, location=f"/data/{text}")},
    "host path of the cache": lambda text: {"source": Source(cache=WeightCache(CacheKind.HOST_PATH, f"/data/{text}"))},
    "annotation": lambda text: {"annotations": (("example.com/text", text),)},
}
SITES: dict[str, Callable[[str], LaunchSite]] = {
    "env of the site": lambda text: LaunchSite(env=(("TEXT", text),)),
    "interface of the site": lambda text: LaunchSite(interface=text),
    "image of the site": lambda text: LaunchSite(images=((VLLM, text), (TENSORRT_LLM, text))),
}

PLAN = {engine: a_plan(Layout(8, 2), 8, 8, engine=engine) for engine in EngineName}


def shape_of(value: Any) -> Any:
    """Give a manifest with its texts left out, and its names kept."""
    if isinstance(value, dict):
        return {key: shape_of(one) for key, one in value.items()}
    return [shape_of(one) for one in value] if isinstance(value, list) else type(value).__name__


def rendered(wanted: Wanted) -> list[Manifest]:
    return list(group(wanted, PLAN[wanted.demand.engine], 0, 0).manifests)


def texts(value: Any) -> list[str]:
    """Give all texts in a manifest."""
    if isinstance(value, dict):
        return [text for one in value.values() for text in texts(one)]
    if isinstance(value, list):
        return [text for one in value for text in texts(one)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("engine_name", list(EngineName))
def test_hostile_text_in_a_field_stays_text_or_is_refused(engine_name: EngineName, field: str) -> None:
    """Either a problem that names a field, or a manifest that differs from a harmless one in texts alone."""
    for text in HOSTILE:
        wanted = wants_of(engine_name, **FIELDS[field](text))
        found = problems(wanted)
        if found:
            assert all(path.startswith("spec.") for path, _ in found), found
            continue
        harmless = wants_of(engine_name, **FIELDS[field]("harmless"))
        if problems(harmless):  # TensorRT-LLM takes no other name for a model of the Hub at all
            continue
        assert list(map(shape_of, rendered(wanted))) == list(map(shape_of, rendered(harmless))), text


@pytest.mark.parametrize("field", SITES)
@pytest.mark.parametrize("engine_name", list(EngineName))
def test_hostile_text_in_the_configuration_stays_text(engine_name: EngineName, field: str) -> None:
    for text in HOSTILE:
        found, harmless = (rendered(wants_of(engine_name, site=SITES[field](one))) for one in (text, "harmless"))
        assert list(map(shape_of, found)) == list(map(shape_of, harmless)), text


@pytest.mark.parametrize("field", [*FIELDS, *SITES])
@pytest.mark.parametrize("engine_name", list(EngineName))
def test_no_command_holds_anything_of_an_object(engine_name: EngineName, field: str) -> None:
    """Commands are constants, and none of them is a shell; TensorRT-LLM's own launcher gets no word it would split."""
    marker = "MARKER"
    changes = FIELDS[field](marker) if field in FIELDS else {"site": SITES[field](marker)}
    wanted = wants_of(engine_name, **changes)
    for container in containers(rendered(wanted)):
        hooks = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", [])
        assert not [word for word in (*container["command"], *hooks) if marker in word]
        assert not {"sh", "bash", "/bin/sh", "/bin/bash", "-lc"} & {*container["command"], *container["args"], *hooks}


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("engine_name", list(EngineName))
def test_arguments_and_variables_are_heard_as_they_were_written(engine_name: EngineName, text: str) -> None:
    """After the kubelet's own expansion; what cannot be is refused."""
    wanted = wants_of(engine_name, args=("--log-level", text), env=(EnvVar("TEXT", value=text),))
    refused = {path for path, _ in problems(wanted)}
    assert refused <= {"spec.engine.args.1"}
    if refused:
        return
    leader = rendered(wanted)[-2]
    heard = [expanded(arg, VARIABLES) for arg in engine(leader)["args"]]
    assert heard[-2:] == ["--log-level", text]
    (variable,) = [variable["value"] for variable in engine(leader)["env"] if variable["name"] == "TEXT"]
    assert expanded(variable, VARIABLES) == text


@pytest.mark.parametrize("text", HOSTILE)
def test_any_text_may_stand_in_the_options_file(text: str) -> None:
    """It is JSON in a ConfigMap; keys and values come back as they went in."""
    wanted = wants_of(TENSORRT_LLM, options={"given": {text: text}})
    assert problems(wanted) == ()
    (found,) = [manifest for manifest in rendered(wanted) if manifest["kind"] == "ConfigMap"]
    assert json.loads(found["data"]["options.yaml"])["given"] == {text: text}


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_are_refused_when_an_object_is_read(text: str) -> None:
    """Of the object, of the model, of a variable, of a claim or a Secret, and as a release."""
    for place, make in NAMES.items():
        with pytest.raises(InvalidObject) as refused:
            parse(make(text))
        assert place in str(refused.value), text


def an_object(**spec: Any) -> dict[str, Any]:
    model = {"name": "meta-llama/Llama-3.1-8B", **spec.pop("model", {})}
    return {
        "apiVersion": "shardwise.dev/v1alpha1",
        "kind": "ShardedModel",
        "metadata": {"name": "llama", "namespace": "default"},
        "spec": {"model": model, "gpuBudget": {"total": 1}, **spec},
    }


NAMES: dict[str, Callable[[str], dict[str, Any]]] = {
    "metadata.name": lambda text: an_object() | {"metadata": {"name": text}},
    "spec.model.name": lambda text: an_object(model={"name": text}),
    "spec.engine.env.0.name": lambda text: an_object(engine={"env": [{"name": text, "value": "x"}]}),
    "spec.engine.version": lambda text: an_object(engine={"version": text}),
    "spec.model.source.persistentVolumeClaim.claimName": lambda text: an_object(
        model={"source": {"persistentVolumeClaim": {"claimName": text}}}
    ),
    "spec.model.source.huggingFace.tokenSecretRef.name": lambda text: an_object(
        model={"source": {"huggingFace": {"tokenSecretRef": {"name": text}}}}
    ),
    "spec.model.source.huggingFace.cache.persistentVolumeClaim.claimName": lambda text: an_object(
        model={"source": {"huggingFace": {"cache": {"persistentVolumeClaim": {"claimName": text}}}}}
    ),
}


def test_a_text_for_every_kind_of_harm_reaches_some_manifest() -> None:
    """So the tests above do not pass by refusing everything."""
    refused = [text for text in HOSTILE if problems(wants_of(VLLM, args=("--log-level", text)))]
    assert refused == ["--headless"]
    found = [text for manifest in rendered(wants_of(VLLM, args=("--x", "$(HF_TOKEN)"))) for text in texts(manifest)]
    assert "$$(HF_TOKEN)" in found
