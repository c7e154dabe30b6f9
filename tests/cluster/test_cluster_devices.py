"""GPUs by dynamic resource allocation: the real scheduler gives them out, and the operator counts each once."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cli.support import shardwise
from tests.cluster.installed import MODELS, Installed, Running
from tests.cluster.reached import Reached, fleet
from tests.support.devices import a_class, a_device, a_slice
from tests.support.operating import a_model

from shardwise_sandbox.sample_nodes import node

Json = dict[str, Any]
NODES = ("dra-0", "dra-1")
LLAMA_70B = "meta-llama/Llama-3.3-70B-Instruct"
KINDS = "nodes,pods,resourceslices,resourceclaims,deviceclasses,shardedmodels"


@pytest.fixture(scope="module")
def devices(plane: Reached) -> Iterator[Reached]:
    """Give the control plane with two nodes whose GPUs only ResourceSlices list: no device plugin, no labels."""
    fleet(plane, [node(name, cpus=192, memory="2Ti") for name in NODES])
    made = [*(a_slice(name) for name in NODES), a_class(resource="nvidia.com/gpu")]
    plane.kubectl("apply", "-f", "-", given=listed(*made))
    yield plane
    plane.kubectl("delete", "-f", "-", given=listed(*made))
    plane.kubectl("delete", "nodes", *NODES)


@pytest.fixture
def claiming(devices: Reached, installed: Installed) -> Iterator[Running]:
    """Give an operator whose pods claim GPUs."""
    path = devices.folder / "claims.yaml"
    path.write_text(yaml.safe_dump({"launch": {"gpuClaims": {}}}))
    with installed.running(arguments=(f"--config={path}",)) as operator:
        yield operator


def listed(*objects: Json) -> Json:
    return {"apiVersion": "v1", "kind": "List", "items": list(objects)}


def a_pod(name: str, *claims: str, gpus: int = 0) -> Json:
    """Give a stranger's pod on the first node, with claims of its own templates, or with a request."""
    resources: Json = {"claims": [{"name": claim} for claim in claims]}
    if gpus:
        resources["limits"] = {"nvidia.com/gpu": str(gpus)}
    spec: Json = {
        "nodeSelector": {"kubernetes.io/hostname": NODES[0]},
        "containers": [{"name": "c", "image": "x", "resources": resources}],
        "resourceClaims": [{"name": claim, "resourceClaimName": claim} for claim in claims],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": MODELS}, "spec": spec}


def a_request(name: str, count: int) -> Json:
    exactly = {"deviceClassName": "gpu.nvidia.com", "allocationMode": "ExactCount", "count": count}
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {"name": name, "namespace": MODELS},
        "spec": {"devices": {"requests": [{"name": "gpus", "exactly": exactly}]}},
    }


def claimed(running: Running) -> list[str]:
    """Name the devices that claims hold, each as often as it is held."""
    found = running.get("resourceclaims")["items"]
    allocations = ((claim.get("status") or {}).get("allocation") or {} for claim in found)
    results = (result for each in allocations for result in (each.get("devices") or {}).get("results") or ())
    return sorted(f"{result['pool']}/{result['device']}" for result in results)


def seen(running: Running, folder: Path, *config: str) -> dict[str, tuple[int, int]]:
    """Give the free and held GPUs of our nodes, the same from a dump and from the cluster itself."""
    dump = folder / "dump.json"
    dump.write_text(running.plane.kubectl("get", KINDS, "-A", "-o", "json"))
    told = [
        shardwise("fleet", *given, *config, "-o", "json").data["nodes"]
        for given in (("--fleet", dump), ("--kubeconfig", running.plane.kubeconfig))
    ]
    assert told[0] == told[1]
    ours = [found for found in told[0] if found["name"] in NODES]
    return {found["name"]: (found["free"], sum(held["gpus"] for held in found["held"])) for found in ours}


def test_claims_are_allocated_by_the_real_scheduler(claiming: Running, tmp_path: Path) -> None:
    """A group on each node; the fleet says who holds which GPUs, and a third group waits."""
    config = ("--config", str(claiming.plane.folder / "claims.yaml"))
    pinned = {"tensor": 8}
    for name in ("first", "second"):
        claiming.apply(a_model(name, LLAMA_70B, 8, parallelism=pinned))
        claiming.ready(name)
    assert {pod["spec"]["nodeName"] for name in ("first", "second") for pod in claiming.pods(name)} == set(NODES)
    assert claimed(claiming) == sorted(f"{node}/gpu-{number}" for node in NODES for number in range(8))
    assert seen(claiming, tmp_path, *config) == dict.fromkeys(NODES, (0, 8))
    claiming.apply(a_model("third", LLAMA_70B, 8, parallelism=pinned))
    claiming.until(lambda: claiming.condition("third", "Planned").get("status") == "False", "third waits")
    claiming.plane.kubectl("delete", "shardedmodel", "first", "-n", MODELS)
    claiming.ready("third")
    assert claiming.forbidden() == []


def test_a_strangers_claim_is_held_and_let_go(claiming: Running, tmp_path: Path) -> None:
    """Two pods share it; it counts once. A tainted GPU is left out meanwhile."""
    config = ("--config", str(claiming.plane.folder / "claims.yaml"))
    claiming.apply(a_request("shared", 2), a_pod("one", "shared"), a_pod("two", "shared"))
    claiming.until(lambda: len(claimed(claiming)) == 2, "the claim allocated")
    assert seen(claiming, tmp_path, *config) == {"dra-0": (6, 2), "dra-1": (8, 0)}
    taint = {"key": "gpu.nvidia.com/xid", "value": "79", "effect": "NoSchedule"}
    broken = [a_device(0, taints=[taint]), *map(a_device, range(1, 8))]
    claiming.apply(a_slice("dra-1", broken))
    assert seen(claiming, tmp_path, *config) == {"dra-0": (6, 2), "dra-1": (7, 0)}
    claiming.apply(a_model("eight", LLAMA_70B, 8, parallelism={"tensor": 8}))
    claiming.until(lambda: claiming.condition("eight", "Planned").get("status") == "False", "it waits")
    claiming.plane.kubectl("delete", "pod", "one", "two", "-n", MODELS)
    claiming.plane.kubectl("delete", "resourceclaim", "shared", "-n", MODELS)
    claiming.ready("eight")
    assert {pod["spec"]["nodeName"] for pod in claiming.pods("eight")} == {"dra-0"}
    claiming.apply(a_slice("dra-1"))


def test_requests_that_slices_serve_count_once(devices: Reached, running: Running, tmp_path: Path) -> None:
    """The class serves nvidia.com/gpu: the scheduler makes a claim for each pod that requests it."""
    running.apply(a_pod("stranger", gpus=2))
    running.until(lambda: len(claimed(running)) == 2, "the stranger's claim")
    assert seen(running, tmp_path) == {"dra-0": (6, 2), "dra-1": (8, 0)}
    pinned = {"nodeSelector": {"kubernetes.io/hostname": "dra-0"}}
    running.apply(a_model("beside", LLAMA_70B, 4, parallelism={"tensor": 4}, placement=pinned))
    running.ready("beside")
    assert seen(running, tmp_path) == {"dra-0": (2, 6), "dra-1": (8, 0)}
    assert len(claimed(running)) == len(set(claimed(running))) == 6
    running.plane.kubectl("delete", "pod", "stranger", "-n", MODELS)


def test_nothing_is_written_once_all_is_well(claiming: Running) -> None:
    claiming.apply(a_model("quiet", LLAMA_70B, 4, parallelism={"tensor": 4}))
    claiming.ready("quiet")
    claiming.count_anew()
    claiming.plane.kubectl("annotate", "node", "dra-0", "seen=again", "--overwrite")
    claiming.apply(a_request("other", 1))
    claiming.apply(a_pod("other", "other"))
    claiming.until(lambda: len(claimed(claiming)) == 5, "a stranger's claim allocated")
    written = [call["requestURI"] for call in claiming.calls() if call["verb"] not in ("get", "list", "watch")]
    assert written == []
    claiming.plane.kubectl("delete", "pod", "other", "-n", MODELS)
    claiming.plane.kubectl("delete", "resourceclaim", "other", "-n", MODELS)


def test_a_group_starts_again_on_the_gpus_that_its_claims_held(claiming: Running) -> None:
    """Its old claims are there a moment longer than its pods: no stranger seems to hold them, and the place is kept."""
    claiming.apply(a_model("again", LLAMA_70B, 8, parallelism={"tensor": 8}))
    claiming.ready("again")
    (before,) = claiming.pods("again")
    claiming.fail(before["metadata"]["name"], "CUDA error")
    claiming.until(lambda: claiming.status("again").get("restarts") == 1, "a restart")
    claiming.ready("again")
    (after,) = claiming.pods("again")
    assert (after["metadata"]["name"], after["spec"]["nodeName"]) == ("again-0-1-0", before["spec"]["nodeName"])
    claiming.until(lambda: len(claimed(claiming)) == 8, "the old claims gone")


def test_a_node_that_gives_its_gpus_in_two_ways_is_left_out(claiming: Running, tmp_path: Path) -> None:
    """The real scheduler gives the same GPUs to a pod by the device plugin and to a pod by a claim."""
    config = ("--config", str(claiming.plane.folder / "claims.yaml"))
    offered = {"status": {"allocatable": {"nvidia.com/gpu": "8"}, "capacity": {"nvidia.com/gpu": "8"}}}
    patch = ("patch", "node", NODES[0], "--subresource=status", "-p")
    claiming.plane.kubectl(*patch, json.dumps(offered))
    claiming.apply(a_pod("by-plugin", gpus=8), a_request("eight", 8), a_pod("by-claim", "eight"))
    claiming.until(lambda: len(claimed(claiming)) == 8, "the claim allocated")
    bound = claiming.get("pods")["items"]
    assert {pod["metadata"]["name"] for pod in bound if pod["spec"].get("nodeName") == NODES[0]} >= {
        "by-plugin",
        "by-claim",
    }
    assert seen(claiming, tmp_path, *config)[NODES[0]][0] == 0
    claiming.plane.kubectl("delete", "pod", "by-claim", "-n", MODELS)
    claiming.plane.kubectl("delete", "resourceclaim", "eight", "-n", MODELS)
    claiming.until(lambda: claimed(claiming) == [], "the claim gone")
    assert seen(claiming, tmp_path, *config)[NODES[0]] == (0, 8)
    claiming.plane.kubectl("delete", "pod", "by-plugin", "-n", MODELS)
    assert seen(claiming, tmp_path, *config)[NODES[0]] == (8, 0)
    gone = {"status": {"allocatable": {"nvidia.com/gpu": None}, "capacity": {"nvidia.com/gpu": None}}}
    claiming.plane.kubectl(*patch, json.dumps(gone))
