"""Clusters with dynamic resource allocation, by the kinds of public reports: planned on as their scheduler would.

Reports: NVIDIA/gpu-operator#2699, kubernetes-sigs/dra-driver-nvidia-gpu#1244 (no device plugin beside DRA).
"""

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cli.support import Json, Ran, a_list, shardwise, write
from tests.support.devices import a_claim, a_class, a_device, a_slice, names
from tests.support.operating import a_model

from shardwise_sandbox import gb200_tray, h100_node

CLAIMS: Json = {"launch": {"gpuClaims": {}}}
LLAMA_70B = "meta-llama/Llama-3.3-70B-Instruct"


def asked(folder: Path, *fleet: Json, site: Json | None = CLAIMS, command: str = "fleet", **fields: Any) -> Ran:
    files = {"f": a_list(list(fleet)), "o": a_model("llama", LLAMA_70B, 8, model_contextLength=8192, **fields)}
    paths = {name: write(folder / f"{name}.yaml", document) for name, document in files.items()}
    (folder / "c.yaml").write_text(yaml.safe_dump(site or {}))
    given = () if command == "fleet" else ("-f", paths["o"])
    form = () if command == "render" else ("-o", "json")
    return shardwise(command, *given, "--fleet", paths["f"], "--config", folder / "c.yaml", *form)


def a_dra_node(name: str, *, tray: bool = False) -> Json:
    return gb200_tray(name, gpus=0) if tray else h100_node(name, gpus=0)


def test_a_cluster_without_a_device_plugin_is_planned_on(tmp_path: Path) -> None:
    nodes = [part for name in ("dra-0", "dra-1") for part in (a_dra_node(name), a_slice(name))]
    (answer,) = asked(tmp_path, *nodes, command="plan").data
    assert answer["fits"]
    assert sum(pod["gpus"] for group in answer["plan"]["groups"] for pod in group["pods"]) == 4
    assert {pod["node"] for group in answer["plan"]["groups"] for pod in group["pods"]} == {"dra-0"}


def test_the_fleet_says_what_offers_the_gpus(tmp_path: Path) -> None:
    nodes = [a_dra_node("dra"), h100_node("both"), h100_node("plugin")]
    fleet = write(tmp_path / "f.yaml", a_list([*nodes, a_slice("dra"), a_slice("both")]))
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(CLAIMS))
    ran = shardwise("fleet", "--fleet", fleet, "--config", tmp_path / "c.yaml")
    why = "offers no GPUs of the DeviceClass of `launch.gpuClaims` (no ResourceSlice lists a GPU of it)"
    assert [line.strip() for line in ran.out.splitlines()[2:]] == [
        "both    □□□□□□□□  8 of 8 free   by device plugin and DRA",
        "dra     □□□□□□□□  8 of 8 free   by DRA",
        f"plugin            0 of 0 free   {why}",
    ]


def test_the_fleet_says_which_gpus_are_withheld_and_who_holds_others(tmp_path: Path) -> None:
    devices = [a_device(0, taints=[{"key": "gpu.nvidia.com/xid", "value": "79", "effect": "NoSchedule"}])]
    devices += map(a_device, range(1, 8))
    claim = a_claim("c", "dra", names(1, 2), "p")
    fleet = write(tmp_path / "f.yaml", a_list([a_dra_node("dra"), a_slice("dra", devices), claim]))
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(CLAIMS))
    said = shardwise("fleet", "--fleet", fleet, "--config", tmp_path / "c.yaml")
    assert said.out.splitlines()[-1].strip() == (
        "dra  ■■□□□□□  5 of 7 free   others 2   1 GPU tainted (gpu.nvidia.com/xid=79:NoSchedule)   by DRA"
    )
    (node,) = shardwise("fleet", "--fleet", fleet, "--config", tmp_path / "c.yaml", "-o", "json").data["nodes"]
    assert node["offeredBy"] == "dra"
    assert node["withheld"] == [{"gpus": 1, "reason": "tainted", "detail": "gpu.nvidia.com/xid=79:NoSchedule"}]


def test_a_plan_uses_no_gpu_that_a_claim_holds(tmp_path: Path) -> None:
    held = a_claim("training", "dra-0", names(*range(6)))
    nodes = [a_dra_node("dra-0"), a_slice("dra-0"), held]
    (answer,) = asked(tmp_path, *nodes, command="plan", parallelism={"tensor": 4}).data
    assert not answer["fits"]
    assert "2 free" in str(answer["refusal"])


def test_a_class_that_serves_the_extended_resource_needs_no_setting(tmp_path: Path) -> None:
    """NVIDIA's chart has written `extendedResourceName` since v25.12.0; Kubernetes 1.36 serves it."""
    nodes = [a_dra_node("dra-0"), a_slice("dra-0"), a_class(resource="nvidia.com/gpu")]
    (answer,) = asked(tmp_path, *nodes, command="plan", site=None).data
    assert answer["fits"]


def test_racks_by_dra_keep_their_nvlink_domain(tmp_path: Path) -> None:
    """The driver lists no clique: the label of GPU feature discovery, or of the driver's ComputeDomain part, does."""
    trays = [f"t{number}" for number in range(4)]
    listed = [a_device(number, product="NVIDIA GB200", memory="198674743296") for number in range(4)]
    nodes = [part for name in trays for part in (a_dra_node(name, tray=True), a_slice(name, listed))]
    found = asked(tmp_path, *nodes).data
    assert [(domain["gpus"], len(domain["nodes"])) for domain in found["domains"]] == [(16, 4)]


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("driver", 4, "ResourceSlice `dra-gpu.nvidia.com`: spec.driver: `4` is not a string"),
        ("devices", "all", "ResourceSlice `dra-gpu.nvidia.com`: spec.devices: `all` is not a list"),
        ("pool", {"name": "dra", "generation": "x"}, "spec.pool.generation: `x` is not a whole number"),
    ],
)
def test_a_slice_that_no_api_server_would_give(tmp_path: Path, field: str, value: object, words: str) -> None:
    listed = a_slice("dra")
    listed["spec"][field] = value
    ran = asked(tmp_path, a_dra_node("dra"), listed)
    assert ran.status == 2
    assert words in ran.err


def test_trays_whose_channel_a_stranger_holds_are_not_shared(tmp_path: Path) -> None:
    """NVIDIA's driver gives a single pod of a node a channel; a daemon's claim is no channel."""
    driver, pinned = "compute-domain.nvidia.com", {"tensor": 8}
    trays = [gb200_tray(f"t{number}") for number in range(4)]
    held = [a_claim(f"c{number}", f"t{number}", ["channel-0"], driver=driver) for number in (0, 1)]
    held.append(a_claim("daemon", "t2", ["daemon-0"], driver=driver))
    (answer,) = asked(tmp_path, *trays, *held, site=None, command="plan", parallelism=pinned).data
    assert {pod["node"] for group in answer["plan"]["groups"] for pod in group["pods"]} == {"t2", "t3"}
    held.append(a_claim("c2", "t2", ["channel-0"], driver=driver))
    (refused,) = asked(tmp_path, *trays, *held, site=None, command="plan", parallelism=pinned).data
    assert "IMEX channel" in str(refused["refusal"])
