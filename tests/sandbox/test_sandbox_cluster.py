"""The sandbox as a whole: its fleet, its conveniences, waiting, settling, and kubectl where it is installed."""

import asyncio
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.sandbox.support import Clock, config_map, pod, widget

import shardwise_sandbox
from shardwise_sandbox import ApiError, Sandbox, gb200_tray, h100_node, l40s_node, sample_fleet
from shardwise_sandbox.resources import Registry
from shardwise_sandbox.routes import route


def test_the_sample_fleet_is_what_the_demo_says() -> None:
    fleet = {node["metadata"]["name"]: node for node in sample_fleet()}
    assert {name: node["status"]["allocatable"]["nvidia.com/gpu"] for name, node in fleet.items()} == {
        "h100-1": "8",
        "h100-2": "8",
        "gb200-r1-t1": "4",
        "gb200-r1-t2": "4",
        "gb200-r1-t3": "4",
        "gb200-r1-t4": "4",
        "l40s-1": "4",
    }
    assert not any(node["spec"] for node in fleet.values())


PRODUCTS: dict[str, tuple[Any, str, str, str, str]] = {
    "H100": (h100_node("n"), "NVIDIA-H100-80GB-HBM3", "81559", "amd64", "8"),
    "GB200": (gb200_tray("n"), "NVIDIA-GB200", "189471", "arm64", "4"),
    "L40S": (l40s_node("n"), "NVIDIA-L40S", "46068", "amd64", "4"),
}


@pytest.mark.parametrize(("node", "product", "memory", "arch", "count"), PRODUCTS.values(), ids=PRODUCTS)
def test_a_sample_node_carries_the_labels_of_a_real_one(
    node: Any, product: str, memory: str, arch: str, count: str
) -> None:
    labels = node["metadata"]["labels"]
    assert (labels["nvidia.com/gpu.product"], labels["nvidia.com/gpu.memory"]) == (product, memory)
    assert (labels["kubernetes.io/arch"], labels["nvidia.com/gpu.count"]) == (arch, count)
    assert labels["kubernetes.io/hostname"] == "n"


def test_only_gb200_trays_have_a_clique_and_those_of_one_rack_share_it() -> None:
    cliques = {
        node["metadata"]["name"]: node["metadata"]["labels"].get("nvidia.com/gpu.clique") for node in sample_fleet()
    }
    assert {name for name, clique in cliques.items() if clique} == {f"gb200-r1-t{tray}" for tray in range(1, 5)}
    assert len(set(cliques.values()) - {None}) == 1
    assert gb200_tray("n", "other.2")["metadata"]["labels"]["nvidia.com/gpu.clique"] == "other.2"


NAMES = {
    "Widget": "widgets",
    "widget": "widgets",
    "wd": "widgets",
    "widgets.test.dev": "widgets",
    "Pod": "pods",
    "po": "pods",
    "PDB": "poddisruptionbudgets",
    "crd": "customresourcedefinitions",
}


@pytest.mark.parametrize(("text", "plural"), NAMES.items())
def test_a_kind_goes_by_many_names(still: Sandbox, text: str, plural: str) -> None:
    assert still.store.registry.named(text).plural == plural


def test_an_unknown_kind_is_refused(still: Sandbox) -> None:
    with pytest.raises(ApiError, match='does not have a resource type "gadget"'):
        still.list("gadget")


ROUTES: dict[str, tuple[str, str, str, str]] = {
    "/api/v1/nodes": ("nodes", "", "", ""),
    "/api/v1/nodes/n/status": ("nodes", "", "n", "status"),
    "/api/v1/namespaces": ("namespaces", "", "", ""),
    "/api/v1/namespaces/a": ("namespaces", "", "a", ""),
    "/api/v1/namespaces/a/status": ("namespaces", "", "a", "status"),
    "/api/v1/namespaces/a/pods": ("pods", "a", "", ""),
    "/api/v1/namespaces/a/pods/p/eviction": ("pods", "a", "p", "eviction"),
    "/apis/policy/v1/poddisruptionbudgets": ("poddisruptionbudgets", "", "", ""),
    "/apis/policy/v1/namespaces/a/poddisruptionbudgets/b": ("poddisruptionbudgets", "a", "b", ""),
}


@pytest.mark.parametrize(("path", "expected"), ROUTES.items(), ids=ROUTES)
def test_a_path_is_about(path: str, expected: tuple[str, str, str, str]) -> None:
    found = route(Registry(), path)
    assert found is not None
    assert (found.resource.plural, found.namespace, found.name, found.subresource) == expected


@pytest.mark.parametrize("path", ["/", "/api", "/api/v1", "/apis", "/apis/policy", "/apis/policy/v1", "/version"])
def test_documents_are_no_resources(path: str) -> None:
    assert route(Registry(), path) is None


def test_the_public_names_are_documented() -> None:
    aliases = {"FaultHook"}
    assert [name for name in shardwise_sandbox.__all__ if not getattr(shardwise_sandbox, name).__doc__] == [*aliases]


def test_conveniences_read_and_write_without_a_server(still: Sandbox) -> None:
    still.create_all([config_map("a", k="1"), config_map("b", "kube-system")])
    assert still.names("cm") == ["a", "b"]
    assert still.names("cm", "default") == ["a"]
    assert [item["metadata"]["name"] for item in still.list("cm", fields="metadata.name=b")] == ["b"]
    assert still.patch("cm", "default", "a", {"data": {"k": "2"}})["data"] == {"k": "2"}
    assert still.find("cm", "default", "none") is None
    assert still.url == ""


def test_an_object_can_be_created_with_its_status(still: Sandbox) -> None:
    created = still.create({**widget(), "status": {"replicas": 2}})
    assert created["status"] == {"observedGeneration": -1, "replicas": 2}


def test_settling_ends_even_when_nothing_can_be_done(fleet: Sandbox) -> None:
    fleet.create(pod("p", 99))
    fleet.settle()
    assert not any(controller.pending for controller in (fleet.scheduler, fleet.kubelet, fleet.api.collector))


def test_settling_gives_up_when_controllers_chase_each_other(fleet: Sandbox) -> None:
    flips = iter(range(10**9))
    fleet.kubelet.is_ready = lambda _: next(flips) % 2 == 0
    fleet.create(pod("p", probe=True))
    with pytest.raises(RuntimeError, match="still find work"):
        fleet.settle()


def test_two_runs_of_the_same_story_are_the_same_byte_for_byte() -> None:
    def story() -> Any:
        cluster = Sandbox(now=Clock(), objects=sample_fleet())
        for name in ("leader", "worker"):
            cluster.create(pod(name, 8, group="g", probe=name == "leader"))
        cluster.settle()
        cluster.kubelet.fail("default", "worker", exit_code=2)
        cluster.settle()
        return [cluster.list(kind) for kind in ("nodes", "pods", "ns")]

    assert story() == story()


async def test_waiting_returns_what_the_predicate_gave(served: Sandbox) -> None:
    waiting = asyncio.create_task(served.wait_for(lambda: served.get("cm", "default", "late"), what="a config map"))
    await asyncio.sleep(0)
    served.create(config_map("late", k="v"))
    assert (await waiting)["data"] == {"k": "v"}


async def test_waiting_in_vain_says_for_what_and_what_was_there(served: Sandbox) -> None:
    with pytest.raises(TimeoutError, match="in vain for: the impossible; last answer: False; last requests: none"):
        await served.wait_for(lambda: False, what="the impossible", timeout=0.01)


async def test_waiting_in_vain_for_what_is_missing_shows_the_refusal(served: Sandbox) -> None:
    with pytest.raises(TimeoutError, match='configmaps "none" not found'):
        await served.wait_for(lambda: served.get("cm", "default", "none"), timeout=0.01)


async def test_controllers_run_by_themselves_while_the_sandbox_is_entered(served: Sandbox) -> None:
    owner = served.create(widget())
    child = config_map("child")
    reference = {"apiVersion": "test.dev/v1", "kind": "Widget", "name": "w", "uid": owner["metadata"]["uid"]}
    child["metadata"]["ownerReferences"] = [reference]
    served.create(child)
    served.create(pod("p", 8))
    await served.wait_for(lambda: served.get("pod", "default", "p")["status"]["phase"] == "Running", what="the pod")
    served.delete("wd", "default", "w")
    await served.wait_for(lambda: not served.names("cm"), what="the garbage to go")


async def test_a_readiness_that_changes_outside_is_seen_on_recheck(served: Sandbox) -> None:
    answer = [False]
    served.kubelet.is_ready = lambda _: answer[0]
    served.create(pod("p", probe=True))
    await served.wait_for(lambda: served.get("pod", "default", "p")["status"]["phase"] == "Running", what="the pod")
    answer[0] = True
    served.kubelet.recheck()
    await served.wait_for(
        lambda: served.get("pod", "default", "p")["status"]["containerStatuses"][0]["ready"], what="readiness"
    )


async def test_controllers_can_be_left_out(clock: Clock) -> None:
    async with Sandbox(now=clock, controllers=False, objects=sample_fleet()) as cluster:
        cluster.create(pod("p", 8))
        await asyncio.sleep(0)
        assert cluster.scheduler.pending
        cluster.settle()
        assert cluster.get("pod", "default", "p")["status"]["phase"] == "Running"


async def test_the_kubeconfig_leads_to_the_server(served: Sandbox, tmp_path: Path) -> None:
    written = yaml.safe_load(served.write_kubeconfig(tmp_path / "kubeconfig").read_text(encoding="utf-8"))
    assert written["clusters"][0]["cluster"]["server"] == served.url
    assert written["contexts"][0]["context"]["namespace"] == "default"


async def test_a_sandbox_can_be_entered_again(clock: Clock) -> None:
    cluster = Sandbox(now=clock)
    for _ in range(2):
        async with cluster:
            assert cluster.url.startswith("http://127.0.0.1:")


KUBECTL = shutil.which("kubectl")
COMMANDS: dict[str, tuple[list[str], int, str]] = {
    "lists custom objects by short name": (["get", "wd"], 0, "old    1"),
    "lists by category": (["get", "testing"], 0, "old"),
    "shows pods with nodes": (["get", "pods", "-o", "wide"], 0, "h100-1"),
    "describes a pod": (["describe", "pod", "p"], 0, "Node:             h100-1/"),
    "explains a field": (["explain", "wd.spec.mode"], 0, "string"),
    "scales": (["scale", "wd/old", "--replicas=3"], 0, "scaled"),
    "labels a built-in object": (["label", "pod", "p", "a=b"], 0, "labeled"),
    "waits for a condition": (["wait", "--for=condition=Ready", "pod/p"], 0, "condition met"),
    "deletes and waits": (["delete", "pod", "p"], 0, "deleted"),
    "deletes a namespace": (["delete", "ns", "kube-public"], 0, "deleted"),
    "applies": (["apply", "-f", "new.yaml"], 0, "created"),
    "applies server-side": (["apply", "--server-side", "-f", "new.yaml"], 0, "serverside-applied"),
    "is told of unknown fields": (["apply", "-f", "bogus.yaml"], 1, 'unknown field "spec.bogus"'),
    "is told of invalid values": (["apply", "-f", "invalid.yaml"], 1, "should be less than or equal to 10"),
    "is told of conflicts": (
        ["apply", "--server-side", "--field-manager=me", "-f", "old.yaml"],
        1,
        'conflict with "sandbox"',
    ),
}


@pytest.mark.skipif(KUBECTL is None, reason="there is no kubectl on this machine")
@pytest.mark.parametrize(("arguments", "code", "words"), COMMANDS.values(), ids=COMMANDS)
async def test_kubectl(served: Sandbox, tmp_path: Path, arguments: list[str], code: int, words: str) -> None:
    served.create(widget("old"))
    served.create(pod("p", 8))
    await served.wait_for(lambda: served.get("pod", "default", "p")["status"].get("podIP"), what="the pod")
    bodies = {
        "new": widget("new"),
        "old": widget("old", size=2),
        "bogus": widget("new", bogus=1),
        "invalid": widget("new", size=11),
    }
    for name, body in bodies.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(body), encoding="utf-8")
    environment = {
        **os.environ,
        "KUBECONFIG": str(served.write_kubeconfig(tmp_path / "kubeconfig")),
        "HOME": str(tmp_path),
    }
    process = await asyncio.create_subprocess_exec(
        str(KUBECTL), *arguments, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert (process.returncode, words in output.decode()) == (code, True), output.decode()
