"""What all pods of a group ask of a node, by the kinds of limits that public reports of stuck pods name."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cli.support import Json, Ran, a_list, shardwise, write
from tests.support.operating import a_model

from shardwise_sandbox import gb200_tray, h100_node

LLAMA_405B = "meta-llama/Llama-3.1-405B"
RACK = "7a1c2f4e-0b7d-4c58-9d57-5d2f6f0c1a11.2"


def offering(node: Json, **more: str) -> Json:
    """Give a node with other resources; dots in their names are written as two underscores."""
    stated = {name.replace("__", "/").replace("_", "-"): value for name, value in more.items()}
    node["status"]["allocatable"] |= stated
    return node


def a_stranger(node: str, name: str, **limits: str) -> Json:
    resources = {key.replace("__", "/").replace("_", "-"): value for key, value in limits.items()}
    container = {"name": "c", "image": "x", "resources": {"limits": resources}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "other"},
        "spec": {"nodeName": node, "containers": [container]},
        "status": {"phase": "Running"},
    }


def planned(folder: Path, obj: Json, *fleet: Json, site: Json | None = None, command: str = "plan") -> Ran:
    files = write(folder / "o.yaml", obj), write(folder / "f.yaml", a_list(list(fleet)))
    (folder / "c.yaml").write_text(yaml.safe_dump(site or {}))
    form = () if command == "render" else ("-o", "json")
    return shardwise(command, "-f", files[0], "--fleet", files[1], "--config", folder / "c.yaml", *form)


def only(ran: Ran) -> Json:
    (answer,) = ran.data
    return dict(answer)


def pods(answer: Json) -> list[tuple[str, int]]:
    return [(pod["node"], pod["gpus"]) for group in answer["plan"]["groups"] for pod in group["pods"]]


RDMA = {"launch": {"rdma": {"resources": {"rdma/ib": "8"}}}}


def test_rdma_devices_per_pod_and_not_per_gpu(tmp_path: Path) -> None:
    """Each pod of a group asks for all 8 devices of its node, so that no node gets two pods of the group."""
    fleet = [offering(h100_node(f"h100-{number}"), rdma__ib="8") for number in (1, 2)]
    obj = a_model("llama405", LLAMA_405B, 12, model_contextLength=8192)
    answer = only(planned(tmp_path, obj, *fleet, site=RDMA))
    assert pods(answer) == [("h100-1", 6), ("h100-2", 6)]
    pinned = a_model("llama405", LLAMA_405B, 12, model_contextLength=8192, parallelism={"tensor": 4})
    refused = only(planned(tmp_path, pinned, *fleet, site=RDMA))
    assert "2 pods on `h100-1` ask for 16 `rdma/ib`, 8 left" in str(refused["refusal"])


def test_rdma_devices_that_a_stranger_holds(tmp_path: Path) -> None:
    fleet = [offering(h100_node(f"h100-{number}"), rdma__ib="8") for number in (1, 2)]
    obj = a_model("llama405", LLAMA_405B, 16, model_contextLength=8192)
    refused = only(planned(tmp_path, obj, *fleet, a_stranger("h100-2", "bench", rdma__ib="1"), site=RDMA))
    assert "1 pod on `h100-2` asks for 8 `rdma/ib`, 7 left" in str(refused["refusal"])


def test_weights_larger_than_the_disk_of_a_node(tmp_path: Path) -> None:
    """They are fetched into the emptyDir of each pod. On a claim they need no disk of the node."""
    small = [offering(h100_node(f"h100-{number}"), ephemeral_storage="95551679124") for number in (1, 2)]
    obj = a_model("r1", "deepseek-ai/DeepSeek-R1", 16, model_contextLength=8192)
    refused = only(planned(tmp_path, obj, *small))
    (left_out,) = refused["refusal"]["nodes"]["excluded"]
    assert left_out["count"] == 2
    assert left_out["reason"].startswith("offers too little `ephemeral-storage`: 641.3 GiB asked for a pod, 89.0 GiB")
    shared = {"launch": {"cache": {"persistentVolumeClaim": {"claimName": "models"}}}}
    assert only(planned(tmp_path, obj, *small, site=shared))["fits"]
    large = h100_node("h100-3"), h100_node("h100-4")
    assert {node for node, _ in pods(only(planned(tmp_path, obj, *small, *large)))} == {"h100-3", "h100-4"}


def test_the_disk_for_the_weights_is_requested(tmp_path: Path) -> None:
    rendered = planned(tmp_path, a_model("llama"), h100_node("h100-1"), command="render")
    (pod,) = [manifest for manifest in yaml.safe_load_all(rendered.out) if manifest["kind"] == "Pod"]
    asked = pod["spec"]["containers"][0]["resources"]["requests"]
    assert asked == {"cpu": "2", "memory": "6G", "ephemeral-storage": "15317Mi", "nvidia.com/gpu": "1"}


def test_pods_of_a_compute_domain_are_on_trays_of_their_own(tmp_path: Path) -> None:
    """Each pod of a stage that spans trays claims a channel, and a tray has a single channel."""
    trays = [gb200_tray(f"gb200-{number}", RACK) for number in range(3)]
    held = [_holding(f"gb200-{number}", 1) for number in range(3)]
    obj = a_model("r1", "deepseek-ai/DeepSeek-R1", 8, model_contextLength=8192)
    answer = only(planned(tmp_path, obj, *trays, *held))
    assert all(gpus >= answer["plan"]["tensor"] for _, gpus in pods(answer)), "no pod claims a channel"
    pinned = a_model("r1", "deepseek-ai/DeepSeek-R1", 8, model_contextLength=8192, parallelism={"tensor": 8})
    refused = only(planned(tmp_path, pinned, *trays, *held))
    assert "3 pods on `gb200-0` ask for 3 `IMEX channel`, 1 left" in str(refused["refusal"])


def _holding(node: str, gpus: int) -> Json:
    pod = a_stranger(node, f"notebook-{node}")
    pod["spec"]["containers"][0]["resources"] = {"limits": {"nvidia.com/gpu": str(gpus)}}
    return pod


def test_a_compute_domain_counts_nodes(tmp_path: Path) -> None:
    trays = [gb200_tray(f"gb200-{number}", RACK) for number in range(3)]
    obj = a_model("r1", "deepseek-ai/DeepSeek-R1", 8, model_contextLength=8192)
    manifests = list(yaml.safe_load_all(planned(tmp_path, obj, *trays, command="render").out))
    (domain,) = [manifest for manifest in manifests if manifest["kind"] == "ComputeDomain"]
    nodes = {
        manifest["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
            "nodeSelectorTerms"
        ][0]["matchFields"][0]["values"][0]
        for manifest in manifests
        if manifest["kind"] == "Pod"
    }
    assert domain["spec"]["numNodes"] == len(nodes) == 2


def test_objects_planned_together_share_no_channel_and_no_device(tmp_path: Path) -> None:
    """The needs of the first plan are counted for the second, whose pods are not there yet either."""
    trays = [gb200_tray(f"gb200-{number}", RACK) for number in range(4)]
    held = [_holding(f"gb200-{number}", 2) for number in range(4)]
    spec: dict[str, Any] = {"model_contextLength": 8192, "parallelism": {"tensor": 4, "pipeline": 1}}
    objects = [a_model(name, "meta-llama/Llama-3.3-70B-Instruct", 4, **spec) for name in ("a", "b", "c")]
    fleet = write(tmp_path / "f.yaml", a_list([*trays, *held]))
    answers = shardwise("plan", "-f", write(tmp_path / "o.yaml", a_list(objects)), "--fleet", fleet, "-o", "json").data
    assert [answer["fits"] for answer in answers] == [True, True, False]
    used = [node for answer in answers[:2] for node, _ in pods(answer)]
    assert len(used) == len(set(used)) == 4


def test_gpus_that_only_resource_slices_count(tmp_path: Path) -> None:
    """A dump without ResourceSlices cannot tell of them; test_cli_devices.py has dumps with them."""
    node = h100_node("dra-0")
    del node["status"]["allocatable"]["nvidia.com/gpu"]
    claims = {"launch": {"gpuClaims": {"deviceClass": "gpu.nvidia.com"}}}
    refused = only(planned(tmp_path, a_model("llama70"), node, site=claims))
    (left_out,) = refused["refusal"]["nodes"]["excluded"]
    assert (
        left_out["reason"]
        == "counts no GPUs as allocatable `nvidia.com/gpu`, and nothing is known of its ResourceSlices"
    )


@pytest.mark.parametrize(
    ("resource", "value", "words"),
    [("cpu", "1930m", "2 asked for a pod, 1.93 allocatable"), ("memory", "5G", "5.6 GiB asked for a pod, 4.7 GiB")],
)
def test_nodes_too_small_for_the_requests_of_a_gpu(tmp_path: Path, resource: str, value: str, words: str) -> None:
    refused = only(planned(tmp_path, a_model("llama"), offering(h100_node("h100-1"), **{resource: value})))
    assert words in str(refused["refusal"]["nodes"])
    own = a_model("llama", podTemplate={"requests": {resource: "1"}})
    assert only(planned(tmp_path, own, offering(h100_node("h100-1"), **{resource: value})))["fits"]


def test_a_small_node_of_a_cloud_runs_a_model_beside_the_pods_of_the_cluster(tmp_path: Path) -> None:
    """As g6.xlarge on EKS: 4 vCPUs and 16 GiB, less the reservations of the node and of the cluster's pods."""
    node = offering(h100_node("g6", 1), cpu="3920m", memory="14832584Ki", ephemeral_storage="88Gi")
    system = a_stranger("g6", "daemons", cpu="190m", memory="300Mi")
    assert only(planned(tmp_path, a_model("llama"), node, system))["fits"]


def test_gpus_beside_a_stranger_that_holds_the_memory_are_idle(tmp_path: Path) -> None:
    node, stranger = h100_node("h100-1"), a_stranger("h100-1", "cache", memory="2040Gi")
    pinned = a_model(
        "llama70", "meta-llama/Llama-3.3-70B-Instruct", 4, parallelism={"tensor": 4}, model_contextLength=8192
    )
    text = shardwise(
        "plan",
        "-f",
        write(tmp_path / "o.yaml", pinned),
        "--fleet",
        write(tmp_path / "f.yaml", a_list([node, stranger])),
    ).out
    assert (
        "idle: 7 free GPUs on 1 node cannot be used for want of `memory`: 44.7 GiB asked on `h100-1`, 8.0 GiB left"
        in text
    )


ON_HOST = {"allow": {"hostNetwork": True}}


def test_a_node_has_one_place_for_ranks_on_its_network(tmp_path: Path) -> None:
    """All engines listen on the same ports: each replica gets a node of its own, and a third finds none."""
    fleet = [h100_node("h100-1"), h100_node("h100-2")]
    two = a_model("llama", gpus=4, replicas=2, podTemplate={"hostNetwork": True})
    assert pods(only(planned(tmp_path, two, *fleet, site=ON_HOST))) == [("h100-1", 1), ("h100-2", 1)]
    three = a_model("llama", gpus=4, replicas=3, podTemplate={"hostNetwork": True})
    refused = only(planned(tmp_path, three, *fleet, site=ON_HOST))
    assert not refused["fits"]
    assert "place on the host network" in str(refused["refusal"])


@pytest.mark.parametrize(("limits", "node"), [({"nvidia.com/gpu": "1"}, "h100-2"), ({}, "h100-1")])
def test_a_stranger_with_gpus_on_the_network_of_a_node_takes_the_place(
    tmp_path: Path, limits: dict[str, str], node: str
) -> None:
    """Pods without GPUs, such as those of the network itself, do not: they listen on other ports."""
    stranger = a_stranger("h100-1", "other-engine")
    stranger["spec"]["hostNetwork"] = True
    stranger["spec"]["containers"][0]["resources"]["limits"] = limits
    fleet = [h100_node("h100-1", 2), h100_node("h100-2")]
    obj = a_model("llama", podTemplate={"hostNetwork": True})
    assert pods(only(planned(tmp_path, obj, *fleet, stranger, site=ON_HOST))) == [(node, 1)]


def test_sidecars_count_when_nodes_are_looked_for(tmp_path: Path) -> None:
    """A plan on a node that cannot hold them would wait for ever."""
    sidecar = {"name": "logs", "image": "x", "resources": {"requests": {"memory": "64Gi"}}}
    fleet = [offering(h100_node("h100-1", 1), memory="32Gi"), h100_node("h100-2")]
    assert pods(only(planned(tmp_path, a_model("llama"), *fleet))) == [("h100-1", 1)]
    obj = a_model("llama", podTemplate={"sidecars": [sidecar]})
    assert pods(only(planned(tmp_path, obj, *fleet))) == [("h100-2", 1)]
