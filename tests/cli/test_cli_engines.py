"""``shardwise render`` for each engine, complete enough to apply where no operator runs."""

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cli.support import Json, Ran, changed, shardwise, write

from shardwise.domain.engine import EngineName
from shardwise_sandbox import Sandbox, compute_domain_definition, sample_fleet
from shardwise_sandbox.demo import object_documents

OBJECTS = {document["metadata"]["name"]: document for document in object_documents()}
ENGINE_NAMES = [engine.value for engine in EngineName]


def render(tmp_path: Path, fleet: Path, document: Json, *more: str | Path) -> Ran:
    return shardwise("render", "-f", write(tmp_path / "o.yaml", document), "--fleet", fleet, *more)


def manifests(ran: Ran) -> list[Json]:
    return list(yaml.safe_load_all(ran.out))


def served_by(engine: str, name: str) -> Json:
    return changed(OBJECTS[name], spec__engine={"name": engine})


@pytest.mark.parametrize("name", OBJECTS)
@pytest.mark.parametrize("engine", ENGINE_NAMES)
def test_what_is_rendered_starts_a_working_group_without_an_operator(
    tmp_path: Path, fleet: Path, engine: str, name: str
) -> None:
    """Everything pods refer to is there, the scheduler binds them all, and the group gets ready."""
    ran = render(tmp_path, fleet, served_by(engine, name))
    assert ran.status == 0, ran.err
    made = manifests(ran)
    cluster = Sandbox(objects=[compute_domain_definition(), *sample_fleet()])
    for manifest in made:
        cluster.apply(manifest, manager="kubectl")
    cluster.settle()
    found = cluster.list("pods")
    assert [pod for pod in found if not is_ready(pod)] == []
    assert len(found) == sum(manifest["kind"] == "Pod" for manifest in made) > 0
    present = {(manifest["kind"], manifest["metadata"]["name"]) for manifest in made}
    assert references(made) <= present


def is_ready(pod: Json) -> bool:
    conditions = {condition["type"]: condition["status"] for condition in pod["status"].get("conditions", ())}
    return conditions.get("Ready") == "True"


def references(made: list[Json]) -> set[tuple[str, str]]:
    """Give what pods refer to, but for claims of channels, whose template the driver makes from the ComputeDomain."""
    found: set[tuple[str, str]] = set()
    for pod in (manifest for manifest in made if manifest["kind"] == "Pod"):
        found.add(("Service", pod["spec"]["subdomain"]))
        for volume in pod["spec"]["volumes"]:
            if "configMap" in volume:
                found.add(("ConfigMap", volume["configMap"]["name"]))
            if "secret" in volume:
                found.add(("Secret", volume["secret"]["secretName"]))
    return found


def test_keys_are_in_the_output_and_the_reader_is_told(tmp_path: Path, fleet: Path) -> None:
    """Whoever applies it needs them; whoever commits it should not. Each call makes others."""
    document = served_by("tensorrt-llm", "llama-405b")
    one, other = render(tmp_path, fleet, document), render(tmp_path, fleet, document)
    secrets = [found for ran in (one, other) for found in manifests(ran) if found["kind"] == "Secret"]
    assert len(secrets) == 2
    assert secrets[0]["data"] != secrets[1]["data"]
    assert b"OPENSSH PRIVATE KEY" in base64.b64decode(secrets[0]["data"]["id"])
    name = secrets[0]["metadata"]["name"]
    assert one.err == (
        f"note: Secret default/{name} holds private keys made just now; keep it out of version control\n"
    )


@pytest.mark.parametrize(
    ("engine", "name"), [("vllm", "llama-405b"), ("sglang", "llama-405b"), ("tensorrt-llm", "llama-8b")]
)
def test_no_keys_are_made_where_nobody_talks_ssh(tmp_path: Path, fleet: Path, engine: str, name: str) -> None:
    ran = render(tmp_path, fleet, served_by(engine, name))
    assert ran.err == ""
    assert [manifest for manifest in manifests(ran) if manifest["kind"] == "Secret"] == []


CONFIGURED = {
    "launch": {
        "images": {"sglang": "mirror.example/sglang:v0.5.9"},
        "interface": "eth3",
        "hostPaths": ["/mnt/models"],
        "sharedMemory": "64Gi",
    }
}


def test_the_operators_configuration_is_honoured_offline(tmp_path: Path, fleet: Path) -> None:
    """The same file as the operator's, the same manifests."""
    config = write(tmp_path / "config.yaml", CONFIGURED)
    source = {"hostPath": {"path": "/mnt/models/llama"}}
    document = changed(served_by("sglang", "llama-8b"), spec__model__source=source)
    refused = render(tmp_path, fleet, document)
    assert refused.status == 2
    assert "`/mnt/models/llama` is not allowed" in refused.err
    ran = render(tmp_path, fleet, document, "--config", config)
    assert (ran.status, ran.err) == (0, "")
    (pod,) = [manifest for manifest in manifests(ran) if manifest["kind"] == "Pod"]
    (container,) = pod["spec"]["containers"]
    assert container["image"] == "mirror.example/sglang:v0.5.9"
    assert {"name": "GLOO_SOCKET_IFNAME", "value": "eth3"} in container["env"]
    assert pod["spec"]["volumes"][0]["emptyDir"]["sizeLimit"] == "64Gi"


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a name TensorRT-LLM cannot give": (
        {"spec__engine": {"name": "tensorrt-llm"}, "spec__model__servedName": "chat"},
        "spec.model.servedName: `chat` cannot be used",
    ),
    "an options file where none is read": (
        {"spec__engine": {"name": "sglang", "options": {"a": 1}}},
        "spec.engine.options: `sglang` has no options file",
    ),
    "an abbreviation of SGLang's": (
        {"spec__engine": {"name": "sglang", "args": ["--tp", "8"]}},
        "spec.engine.args.0: `--tp` would contradict the plan; use `spec.parallelism.tensor`",
    ),
    "an entry of the options file": (
        {"spec__engine": {"name": "tensorrt-llm", "options": {"tensor_parallel_size": 8}}},
        "spec.engine.options.tensor_parallel_size: would contradict the plan; use `spec.parallelism.tensor`",
    ),
}


@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG)
def test_what_an_engine_cannot_honour_is_one_line(
    tmp_path: Path, fleet: Path, changes: dict[str, Any], message: str
) -> None:
    """The field first."""
    ran = render(tmp_path, fleet, changed(OBJECTS["llama-8b"], **changes))
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith(f"error: default/llama-8b: {message}")
