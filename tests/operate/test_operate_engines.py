"""Engines under the whole operator: keys, files and ComputeDomains on the in-memory API, from first to last."""

import base64
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.devices import a_class, a_slice
from tests.support.operating import Operating, a_large_model, a_model, operating

from shardwise.domain.launch import LaunchSite
from shardwise.domain.site import FleetSite, Site
from shardwise_sandbox import compute_domain_definition, h100_node

Json = dict[str, Any]

TENSORRT_LLM: Json = {"engine": {"name": "tensorrt-llm"}}


@pytest.fixture
async def operator(tmp_path: Path) -> AsyncIterator[Operating]:
    async with operating(tmp_path) as running:
        yield running


def a_rack_model(name: str = "rack", **spec: Any) -> Json:
    """Make a model whose layers are shared over two trays."""
    budget = {"products": ["NVIDIA-GB200"]}
    return a_model(name, "deepseek-ai/DeepSeek-R1", 8, budget=budget, model_contextLength=8192, **spec)


@pytest.mark.parametrize("name", ["vllm", "sglang", "tensorrt-llm"])
async def test_every_engine_gets_ready_over_two_nodes(operator: Operating, name: str) -> None:
    """The Service to the leaders leads to the port the engine serves on."""
    operator.cluster.create(a_large_model(engine={"name": name}))
    await operator.ready("large")
    assert operator.nodes_of("large") == ["h100-1", "h100-2"]
    service = operator.cluster.get("Service", "default", "large")
    leader = operator.pods("large")[0]["spec"]["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in leader["ports"]}
    port = {"vllm": 8000, "sglang": 30000, "tensorrt-llm": 8000}[name]
    assert ports[service["spec"]["ports"][0]["targetPort"]] == port
    assert leader["startupProbe"]["httpGet"]["port"] == port


async def test_keys_are_made_once_kept_over_attempts_and_go_with_their_object(operator: Operating) -> None:
    operator.cluster.create(a_large_model(**TENSORRT_LLM))
    await operator.ready("large")
    (secret,) = operator.cluster.list("secrets")
    assert secret["metadata"]["ownerReferences"][0]["name"] == "large"
    assert b"OPENSSH PRIVATE KEY" in base64.b64decode(secret["data"]["id"])
    operator.cluster.delete("Pod", "default", "large-0-0-1")
    await operator.ready("large", restarts=1)
    assert operator.cluster.list("secrets") == [secret]
    operator.cluster.delete("ShardedModel", "default", "large")
    await operator.until(lambda: not operator.cluster.list("secrets"), "the Secret gone")
    assert operator.cluster.list("configmaps") == []


async def test_keys_are_never_read_and_never_logged(operator: Operating, caplog: pytest.LogCaptureFixture) -> None:
    """The only call on Secrets is to create one."""
    with caplog.at_level(logging.DEBUG):
        operator.cluster.create(a_large_model(**TENSORRT_LLM))
        await operator.ready("large")
        operator.cluster.delete("Pod", "default", "large-0-0-0")
        await operator.ready("large", restarts=1)
    calls = {request.method for request in operator.cluster.requests if "/secrets" in request.path}
    assert calls == {"POST"}
    (secret,) = operator.cluster.list("secrets")
    told = caplog.text + str(operator.status("large")) + str(operator.cluster.list("events"))
    assert not [name for name, text in secret["data"].items() if text in told]
    assert "PRIVATE KEY" not in told


async def test_a_secret_that_is_there_already_is_kept(operator: Operating) -> None:
    """After a crash between making it and making the pods."""
    operator.cluster.create(a_large_model(**TENSORRT_LLM))
    await operator.ready("large")
    (before,) = operator.cluster.list("secrets")
    await operator.stop()
    for pod in operator.pod_names("large"):
        operator.cluster.delete("Pod", "default", pod)
    await operator.start()
    await operator.ready("large")
    assert operator.cluster.list("secrets") == [before]


async def test_a_changed_options_file_takes_the_place_of_the_old_one(operator: Operating) -> None:
    operator.cluster.create(a_large_model(**TENSORRT_LLM))
    await operator.ready("large")
    (before,) = operator.cluster.names("configmaps")
    spec = {"engine": {"name": "tensorrt-llm", "options": {"print_iter_log": True}}}
    operator.cluster.patch("ShardedModel", "default", "large", {"spec": spec})
    await operator.until(lambda: operator.cluster.names("configmaps") not in ([before], []), "other files")
    await operator.until(lambda: len(operator.cluster.names("configmaps")) == 1, "the old files gone")
    await operator.ready("large")
    assert operator.cluster.names("configmaps") != [before]


async def test_a_compute_domain_comes_and_goes_with_its_replica(operator: Operating) -> None:
    operator.cluster.create(a_rack_model())
    await operator.ready("rack")
    (domain,) = operator.cluster.list("computedomains")
    assert domain["spec"]["numNodes"] == 2
    channel = domain["spec"]["channel"]["resourceClaimTemplate"]["name"]
    for pod in operator.pods("rack"):
        assert [claim["resourceClaimTemplateName"] for claim in pod["spec"]["resourceClaims"]] == [channel]
    operator.cluster.patch("ShardedModel", "default", "rack", {"spec": {"replicas": 0}})
    await operator.until(lambda: not operator.cluster.list("computedomains"), "the ComputeDomain gone")


async def test_without_the_driver_the_object_says_so_and_goes_on_once_it_is_there(tmp_path: Path) -> None:
    """It finds out with the next list of everything. The pin asks for tensor groups that are wider than a tray."""
    async with operating(tmp_path, compute_domains=False) as operator:
        operator.cluster.create(a_rack_model(parallelism={"tensor": 8}))
        found = await operator.condition("rack", "Reconciling", reason="ComputeDomainsMissing")
        assert "install NVIDIA's DRA driver" in found["message"]
        assert operator.pods("rack") == []
        await operator.stop()
        operator.cluster.create(compute_domain_definition())
        await operator.start()
        await operator.ready("rack")


async def test_the_configuration_reaches_the_pods(tmp_path: Path) -> None:
    """Of the operator's, as the command line reads it."""
    site = Site(launch=LaunchSite(interface="eth7", rdma=(("rdma/ib", "1"),), host_paths=("/data",)))
    source = {"hostPath": {"path": "/data/llama"}}
    nodes = [h100_node("h100-1"), h100_node("h100-2")]
    for node in nodes:
        node["status"]["allocatable"]["rdma/ib"] = "1"
    async with operating(tmp_path, site=site, nodes=nodes) as operator:
        operator.cluster.create(a_large_model(model_source=source))
        await operator.condition("large", "Launched")
        for pod in operator.pods("large"):
            container = pod["spec"]["containers"][0]
            assert {"name": "NCCL_SOCKET_IFNAME", "value": "eth7"} in container["env"]
            assert container["resources"]["limits"]["rdma/ib"] == "1"
            assert {"name": "model", "hostPath": {"path": "/data/llama", "type": "Directory"}} in pod["spec"]["volumes"]


async def test_gpus_held_by_claims_are_held(tmp_path: Path) -> None:
    """Pods that name no resource still count: nobody else is given their GPUs."""
    site = Site(FleetSite(device_class="gpu.nvidia.com"), LaunchSite(gpu_device_class="gpu.nvidia.com"))
    nodes = [part for name in ("h100-1", "h100-2") for part in (h100_node(name, 0), a_slice(name))]
    async with operating(tmp_path, site=site, nodes=[*nodes, a_class()]) as operator:
        operator.cluster.create(a_large_model())
        await operator.ready("large")
        await operator.stop()
        await operator.start()
        operator.cluster.create(a_large_model("second"))
        await operator.condition("second", "Planned", "False")
        assert operator.pods("second") == []
