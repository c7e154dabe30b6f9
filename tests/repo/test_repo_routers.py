"""The examples of routers for roles: they reach the pods that Shardwise renders of the object beside them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from tests.cli.support import shardwise
from tests.render.support import check, engine
from tests.support.repository import ROOT

from shardwise_sandbox import h100_node

Json = dict[str, Any]
Labels = dict[str, str]

ROLES: Final = ROOT / "gitops" / "roles"
ENGINES: Final = ("vllm", "sglang", "tensorrt-llm")
OF_ADD_ONS: Final = ("InferencePool", "HTTPRoute")


@dataclass(frozen=True)
class Example:
    """The objects of a file, and the manifests that Shardwise makes of its ShardedModel."""

    objects: list[Json]
    made: list[Json] = field(repr=False)

    def find(self, kind: str, name: str) -> Json:
        """Give the only object of a kind and a name."""
        (found,) = [each for each in self.objects if (each["kind"], each["metadata"]["name"]) == (kind, name)]
        return found

    def container(self) -> Json:
        """Give the container of the router, or of the picker."""
        (deployment,) = [each for each in self.objects if each["kind"] == "Deployment"]
        (found,) = deployment["spec"]["template"]["spec"]["containers"]
        assert isinstance(found, dict)
        return found

    def selected(self, labels: Labels) -> list[Json]:
        """Give the pods that have labels."""
        pods = [each for each in self.made if each["kind"] == "Pod"]
        return [pod for pod in pods if labels.items() <= pod["metadata"]["labels"].items()]

    def roles(self, labels: Labels) -> list[str]:
        """Give the role of each pod that has labels."""
        return sorted(pod["metadata"]["labels"]["shardwise.dev/serving-role"] for pod in self.selected(labels))


@pytest.fixture(scope="module")
def example(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Example:
    """Render the object of an engine on a rack of four nodes."""
    nodes = [h100_node(f"h100-{number}", labels={"topology.kubernetes.io/rack": "one"}) for number in range(4)]
    fleet: Path = tmp_path_factory.mktemp("fleet") / "fleet.yaml"
    fleet.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": nodes}))
    file = ROLES / f"{request.param}.yaml"
    ran = shardwise("render", "-f", file, "--fleet", fleet)
    assert (ran.status, ran.err) == (0, "")
    return Example(list(yaml.safe_load_all(file.read_text())), list(yaml.safe_load_all(ran.out)))


def of_engine(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("example", names, indirect=True)


def ports(container: Json) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for port in container["ports"]}


def image_tag(container: Json) -> str:
    tag: str = container["image"].rpartition(":")[2]
    return tag


def after(words: list[str], word: str) -> Labels:
    """Give the labels of the words after a word of a command line, up to the next option."""
    rest = words[words.index(word) + 1 :]
    ends = [place for place, each in enumerate(rest) if each.startswith("--")]
    return {key: value for key, _, value in (each.partition("=") for each in rest[: ends[0]])}


def option(words: list[str], word: str) -> str:
    (found,) = [each.partition("=")[2] for each in words if each.startswith(f"{word}=")]
    return found


@of_engine(*ENGINES)
def test_the_objects_are_valid_and_in_a_namespace(example: Example) -> None:
    """By the schema of Kubernetes; a typing error of a field fails here."""
    assert {each["metadata"]["namespace"] for each in example.objects} == {"production"}
    for found in (each for each in example.objects if each["kind"] not in (*OF_ADD_ONS, "ShardedModel")):
        check(found, "1.34")


@of_engine(*ENGINES)
def test_each_name_that_an_object_names_is_there(example: Example) -> None:
    """Accounts, roles, files of routers, and the picker of the pool; Services select the pods of the file."""
    for found in example.objects:
        spec = found.get("spec", {})
        pod = spec.get("template", {}).get("spec", {}) if found["kind"] == "Deployment" else {}
        for account in filter(None, [pod.get("serviceAccountName")]):
            example.find("ServiceAccount", account)
        for volume in pod.get("volumes", ()):
            example.find("ConfigMap", volume["configMap"]["name"])
        if found["kind"] == "RoleBinding":
            example.find("Role", found["roleRef"]["name"])
            for subject in found["subjects"]:
                example.find("ServiceAccount", subject["name"])
        if found["kind"] == "InferencePool":
            example.find("Service", spec["endpointPickerRef"]["name"])
        if found["kind"] == "HTTPRoute":
            (backend,) = spec["rules"][0]["backendRefs"]
            example.find(backend["kind"], backend["name"])


@of_engine("vllm")
def test_the_pool_has_the_leaders_of_both_roles_at_the_port_of_their_proxy(example: Example) -> None:
    """And the proxy sends requests on to the port of the engine."""
    (pool,) = [each["spec"] for each in example.objects if each["kind"] == "InferencePool"]
    labels = pool["selector"]["matchLabels"]
    assert example.roles(labels) == ["decode", "decode", "prefill"]
    for pod in example.selected(labels):
        (proxy,) = pod["spec"]["initContainers"]
        assert proxy["restartPolicy"] == "Always"
        assert [target["number"] for target in pool["targetPorts"]] == [ports(proxy)["proxy"]]
        assert int(option(proxy["args"], "--port")) == ports(proxy)["proxy"]
        assert int(option(proxy["args"], "--model-server-port")) == ports(engine(pod))["http"]
        assert ports(proxy)["proxy"] not in ports(engine(pod)).values()


@of_engine("vllm")
def test_the_proxy_is_of_the_release_of_the_picker(example: Example) -> None:
    """With proxies before 0.9.0 on both sides, requests get no answer (llm-d/llm-d-router#999)."""
    (release,) = {image_tag(each) for pod in example.selected({}) for each in pod["spec"]["initContainers"]}
    assert image_tag(example.container()) == release
    assert tuple(map(int, release.removeprefix("v").split("."))) >= (0, 9, 0)


@of_engine("vllm")
def test_the_picker_knows_the_pool_and_the_plugins_of_its_profiles(example: Example) -> None:
    args = example.container()["args"]
    example.find("InferencePool", option(args, "--pool-name"))
    (mount,) = example.container()["volumeMounts"]
    name = option(args, "--config-file").removeprefix(f"{mount['mountPath']}/")
    (data,) = [each["data"] for each in example.objects if each["kind"] == "ConfigMap"]
    configuration = yaml.safe_load(data[name])
    plugins = {plugin["type"] for plugin in configuration["plugins"]}
    profiles = {profile["name"]: profile["plugins"] for profile in configuration["schedulingProfiles"]}
    for role in ("prefill", "decode"):
        named = {plugin["pluginRef"] for plugin in profiles[role]}
        assert f"{role}-filter" in named
        assert named <= plugins


@of_engine("sglang")
def test_the_router_of_sglang_finds_each_role_and_its_ports(example: Example) -> None:
    """It reads the bootstrap port from an annotation."""
    args = example.container()["args"]
    assert option(args, "--service-discovery-namespace") == "production"
    for role in ("prefill", "decode"):
        labels = after(args, f"--{role}-selector")
        assert set(example.roles(labels)) == {role}
        for pod in example.selected(labels):
            assert int(option(args, "--service-discovery-port")) == ports(engine(pod))["http"]
            assert pod["metadata"]["annotations"].get("sglang.ai/bootstrap-port") == (
                str(ports(engine(pod))["bootstrap"]) if role == "prefill" else None
            )


@of_engine("tensorrt-llm")
def test_the_router_of_tensorrt_llm_lists_a_service_of_each_role(example: Example) -> None:
    (data,) = [each["data"] for each in example.objects if each["kind"] == "ConfigMap"]
    (configuration,) = map(yaml.safe_load, data.values())
    for servers, role in (("context_servers", "prefill"), ("generation_servers", "decode")):
        (url,) = configuration[servers]["urls"]
        assert configuration[servers]["num_instances"] == 1
        name, _, port = url.partition(":")
        service = example.find("Service", name)["spec"]
        (served,) = service["ports"]
        assert served["port"] == int(port)
        assert set(example.roles(service["selector"])) == {role}
        assert all(served["targetPort"] in ports(engine(pod)) for pod in example.selected(service["selector"]))
