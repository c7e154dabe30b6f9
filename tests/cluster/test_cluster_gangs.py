"""Gangs on a real API server: Kubernetes' own with its scheduler, and the objects of the others with their CRDs."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cluster import binaries
from tests.cluster.installed import MODELS, Installed, Running, chart_installed
from tests.cluster.plane import ControlPlane, control_plane
from tests.cluster.reached import Reached, fleet
from tests.support.operating import a_model

from shardwise_sandbox import gb200_tray, h100_node, pod_group_definition

Json = dict[str, Any]

GATES = "--feature-gates=GenericWorkload=true"
SCHEDULES = f"{GATES},GangScheduling=true,TopologyAwareWorkloadScheduling=true"
FLAGS = {
    "kube-apiserver": (SCHEDULES, "--runtime-config=scheduling.k8s.io/v1alpha2=true"),
    "kube-controller-manager": (GATES,),
    "kube-scheduler": (SCHEDULES,),
}
KAI = "scheduling.run.ai/v2alpha2"
QUEUED = {"queue": "team"}
GANGS = {"native": {"topology": True}, "volcano": QUEUED, "kai": QUEUED, "coscheduling": {}}
CONFIG = {"launch": {"gangs": GANGS, "nodeNvlink": "provided"}}


@pytest.fixture(scope="module")
def gang_plane(plane: Reached, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Give a control plane with the feature gates of Kubernetes' gangs, and two nodes."""
    del plane
    with control_plane(tmp_path_factory.mktemp("gangs"), flags=dict(FLAGS)) as running:
        fleet(running, [h100_node(f"h100-{number}") for number in range(2)])
        yield running


@pytest.fixture(scope="module")
def gang_chart(gang_plane: ControlPlane) -> Iterator[Installed]:
    with chart_installed(gang_plane) as release:
        yield release


def configured(folder: Path) -> tuple[str, ...]:
    path = folder / "gangs.yaml"
    path.write_text(yaml.safe_dump(CONFIG))
    return (f"--config={path}",)


@pytest.fixture
def ganging(gang_plane: ControlPlane, gang_chart: Installed) -> Iterator[Running]:
    """Give an operator that is told of all gang schedulers, with the rights of the chart."""
    with gang_chart.running(arguments=configured(gang_plane.folder)) as operator:
        yield operator


def ganged(name: str, system: str = "native") -> Json:
    layout = {"tensor": 8, "pipeline": 2}
    return a_model(name, gpus=16, model_contextLength=8192, parallelism=layout, placement={"gang": system})


def placed_by_the_scheduler(name: str, **placement: Any) -> Json:
    made = ganged(name)
    made["spec"]["placement"] = {"owner": "scheduler", **placement}
    return made


def pod_groups(operator: Running, group: str = "scheduling.k8s.io") -> list[Json]:
    found: list[Json] = operator.get(f"podgroups.{group}")["items"]
    return found


def writes(operator: Running) -> list[str]:
    verbs = {"create", "update", "patch", "delete"}
    calls = [call for call in operator.calls() if call["verb"] in verbs and "leases" not in call["requestURI"]]
    return [f"{call['verb']} {call['requestURI']}" for call in calls]


def test_the_scheduler_binds_a_replica_as_a_gang_and_nothing_more_is_written(ganging: Running) -> None:
    ganging.apply(ganged("gang"))
    ganging.ready("gang")
    (group,) = pod_groups(ganging)
    assert (group["metadata"]["name"], group["spec"]["schedulingPolicy"]) == ("gang-0-0", {"gang": {"minCount": 2}})
    named = {pod["spec"]["schedulingGroup"]["podGroupName"] for pod in ganging.pods("gang")}
    assert named == {"gang-0-0"}
    ganging.until(lambda: ganging.condition("gang", "Degraded")["status"] == "False", "no gate is off")
    ganging.count_anew()
    ganging.plane.kubectl("annotate", "shardedmodel", "gang", "-n", MODELS, "look=again")
    ganging.plane.kubectl("label", "node", "h100-0", "look=again")
    assert writes(ganging) == []
    ganging.fail(ganging.pod_names("gang")[-1], "CUDA error")
    ganging.until(lambda: ganging.status("gang")["groups"][0]["attempt"] == 1, "the next attempt")
    ganging.ready("gang")
    names = {"gang-0-1"}
    ganging.until(lambda: {found["metadata"]["name"] for found in pod_groups(ganging)} == names, "its group alone")


def a_hermit(node: str) -> Json:
    """Make a pod next to which the scheduler puts no pod of ours, for a reason that no plan can know."""
    ours = {"matchLabels": {"app.kubernetes.io/managed-by": "shardwise"}}
    apart = [{"labelSelector": ours, "topologyKey": "kubernetes.io/hostname"}]
    spec: Json = {
        "nodeSelector": {"kubernetes.io/hostname": node},
        "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": apart}},
        "containers": [{"name": "c", "image": "x"}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "hermit", "namespace": MODELS}, "spec": spec}


def test_no_pod_of_a_gang_is_bound_while_one_has_no_node(ganging: Running) -> None:
    """Each says that it is Unschedulable, and the one without a node why. Then room comes, and all are bound."""
    ganging.apply(a_hermit("h100-1"))
    ganging.until(lambda: ganging.get("pod", "hermit")["spec"].get("nodeName"), "the hermit has its node")
    ganging.apply(ganged("held"))

    def refusals() -> dict[str, str]:
        found = {}
        for pod in ganging.pods("held"):
            conditions = (pod.get("status") or {}).get("conditions") or ()
            told: Json = next((one for one in conditions if one["type"] == "PodScheduled"), {})
            found[pod["metadata"]["name"]] = str(told.get("message") or "")
        return found

    ganging.until(lambda: len(refusals()) == 2 and all(refusals().values()), "both pods are refused")
    said = refusals()
    assert [pod["spec"].get("nodeName") for pod in ganging.pods("held")] == [None, None]
    assert "waiting for minCount pods from a gang to be scheduled" in said["held-0-0-0"]
    assert "anti-affinity" in said["held-0-0-1"]
    ganging.plane.kubectl("delete", "pod", "hermit", "-n", MODELS, "--wait=true")
    ganging.ready("held")
    assert ganging.status("held")["groups"][0]["attempt"] == 0


def test_a_group_that_is_deleted_before_its_pods_are_bound_is_made_again(ganging: Running) -> None:
    """Else they would stay Pending, and nobody would say why."""
    ganging.apply(a_hermit("h100-1"))
    ganging.apply(ganged("lost"))
    ganging.until(lambda: len(pod_groups(ganging)) == 1 and len(ganging.pods("lost")) == 2, "the pods wait")
    (group,) = pod_groups(ganging)
    clear = json.dumps({"metadata": {"finalizers": None}})
    ganging.plane.kubectl("delete", "podgroup", "lost-0-0", "-n", MODELS, "--wait=false")
    ganging.plane.kubectl("patch", "podgroup", "lost-0-0", "-n", MODELS, "--type=merge", "-p", clear, check=False)
    uid = group["metadata"]["uid"]
    ganging.until(lambda: [found for found in pod_groups(ganging) if found["metadata"]["uid"] != uid], "it is back")
    ganging.plane.kubectl("delete", "pod", "hermit", "-n", MODELS, "--wait=true")
    ganging.ready("lost")


@pytest.fixture
def more_nodes(gang_plane: ControlPlane) -> Iterator[None]:
    """Give two nodes more, which come after the others by name, and one of another product."""
    names = ("h100-2", "h100-3", "h200-0")
    nodes = [h100_node(name) for name in names]
    nodes[-1]["metadata"]["labels"]["nvidia.com/gpu.product"] = "NVIDIA-H200"
    fleet(gang_plane, nodes)
    yield
    gang_plane.kubectl("delete", "nodes", *names)


@pytest.mark.usefixtures("more_nodes")
def test_the_scheduler_picks_the_nodes_and_the_status_tells_which(ganging: Running) -> None:
    """A hermit that no plan knows of keeps one of the planned nodes: only who picks the nodes can step aside."""
    ganging.apply(a_hermit("h100-1"))
    ganging.until(lambda: ganging.get("pod", "hermit")["spec"].get("nodeName"), "the hermit has its node")
    ganging.apply(placed_by_the_scheduler("free", gang="native"))
    ganging.ready("free")
    (group,) = ganging.status("free")["groups"]
    pods = ganging.pods("free")
    assert group["nodes"] == [pod["spec"]["nodeName"] for pod in pods]
    assert group["plannedNodes"] == ["h100-0", "h100-1"]
    assert not {"h100-1", "h200-0"} & set(group["nodes"])
    said = ganging.status("free")["groups"][0]["message"]
    assert said == (
        "the scheduler chose other nodes than the plan (h100-0, h100-1), as near to each other: the estimate holds"
    )
    (told,) = [event for event in ganging.events("free") if event["reason"] == "Planned"]
    assert ", ".join(group["nodes"]) in told["message"]
    ganging.apply(ganged("named"))
    ganging.until(lambda: ganging.condition("named", "Reconciling").get("status") == "True", "it is decided on")
    held = set(group["nodes"])
    ganging.until(lambda: ganging.status("named").get("message"), "it says why it waits")
    assert not held & set((ganging.status("named").get("groups") or [{}])[0].get("nodes", [])), "no GPU twice"
    ganging.plane.kubectl("delete", "pod", "hermit", "-n", MODELS, "--wait=true")


@pytest.mark.usefixtures("more_nodes")
def test_without_a_gang_the_scheduler_picks_them_one_by_one(ganging: Running) -> None:
    ganging.apply(placed_by_the_scheduler("single"))
    ganging.ready("single")
    (group,) = ganging.status("single")["groups"]
    assert group["nodes"] == [pod["spec"]["nodeName"] for pod in ganging.pods("single")]
    assert all("schedulingGroup" not in pod["spec"] for pod in ganging.pods("single"))
    ganging.fail(ganging.pod_names("single")[0], "CUDA error")
    ganging.until(lambda: ganging.status("single")["groups"][0]["attempt"] == 1, "the next attempt")
    ganging.ready("single")


@pytest.fixture
def trays(gang_plane: ControlPlane) -> Iterator[None]:
    """Give two racks of two trays, joined by NVLink inside each rack."""
    rack = "0a0a0a0a-0000-4000-8000-000000000001"
    nodes = [gb200_tray(f"gb200-{number}", f"{rack}.{1 + number // 2}") for number in range(4)]
    fleet(gang_plane, nodes)
    yield
    gang_plane.kubectl("delete", "nodes", *(tray["metadata"]["name"] for tray in nodes))


@pytest.mark.usefixtures("trays")
def test_a_tensor_group_over_trays_stays_in_its_domain(ganging: Running) -> None:
    """By the label on its pods, and by the constraint of its group, which the scheduler understands."""
    made = placed_by_the_scheduler("rack", gang="native", tolerations=[{"operator": "Exists"}])
    made["spec"]["gpuBudget"] = {"total": 8, "products": ["NVIDIA-GB200"]}
    made["spec"]["parallelism"] = {"tensor": 8, "pipeline": 1}
    ganging.apply(made)
    ganging.ready("rack")
    (group,) = pod_groups(ganging)
    assert group["spec"]["schedulingConstraints"] == {"topology": [{"key": "nvidia.com/gpu.clique"}]}
    nodes = {pod["spec"]["nodeName"] for pod in ganging.pods("rack")}
    assert nodes in ({"gb200-0", "gb200-1"}, {"gb200-2", "gb200-3"})


def test_a_scheduler_without_the_gate_is_noticed(ganging: Running, gang_plane: ControlPlane) -> None:
    """It binds the pods one by one, and says nothing of their group."""
    gang_plane.processes.stop("kube-scheduler")
    gates = gang_plane.flags.pop("kube-scheduler")
    gang_plane.start_scheduler()
    try:
        ganging.apply(ganged("ignored"))
        ganging.ready("ignored")
        ganging.until(lambda: ganging.condition("ignored", "Degraded")["reason"] == "GangIgnored", "it is said")
        said = ganging.condition("ignored", "Degraded")["message"]
        assert "the scheduler has bound the pods and says nothing of their PodGroup" in said
    finally:
        gang_plane.processes.stop("kube-scheduler")
        gang_plane.flags["kube-scheduler"] = gates
        gang_plane.start_scheduler()


@pytest.fixture
def telling(plane: Reached, installed: Installed) -> Iterator[Running]:
    """Give an operator that is told of all gang schedulers, on a cluster without any."""
    with installed.running(arguments=configured(plane.folder)) as operator:
        yield operator


MISSING = {
    "native": "`scheduling.k8s.io/v1beta1` and no `scheduling.k8s.io/v1alpha2`",
    "volcano": "`scheduling.volcano.sh/v1beta1`",
    "kai": f"`{KAI}`",
    "coscheduling": "`scheduling.x-k8s.io/v1alpha1`",
}


def test_what_is_missing_is_named_with_group_and_version(telling: Running) -> None:
    telling.apply(*(ganged(f"no-{system}", system) for system in MISSING))
    for system, versions in MISSING.items():
        name = f"no-{system}"
        telling.until(lambda name=name: telling.condition(name, "Reconciling").get("reason") == "GangMissing", name)  # type: ignore[misc]
        assert f"the cluster serves no PodGroup of {versions}" in telling.status(name)["message"]
        assert telling.pods(name) == []


@pytest.fixture
def definitions(plane: Reached) -> Iterator[None]:
    """Serve the PodGroups of Volcano, coscheduling and KAI: with the CRDs of their releases, KAI's reduced to ours."""
    found = [yaml.safe_load(binaries.definition(name).read_text()) for name in ("volcano", "coscheduling")]
    found.append(pod_group_definition(KAI))
    for made in found:
        plane.kubectl("apply", "--server-side", "-f", "-", given=made)
        plane.established(made["metadata"]["name"])
    yield
    for made in found:
        plane.kubectl("delete", "crd", made["metadata"]["name"])


SPECS = {
    "volcano": ("scheduling.volcano.sh", {"minMember": 2, "queue": "team"}),
    "kai": ("scheduling.run.ai", {"minMember": 2, "queue": "team"}),
    "coscheduling": ("scheduling.x-k8s.io", {"minMember": 2}),
}


@pytest.mark.parametrize("system", SPECS)
@pytest.mark.usefixtures("definitions")
def test_groups_are_taken_as_they_are_written(plane: Reached, installed: Installed, system: str) -> None:
    """An API server prunes fields that a CRD does not know: nothing that was written is lost."""
    group, spec = SPECS[system]
    with installed.running(arguments=configured(plane.folder)) as operator:
        operator.apply(ganged("taken", system))
        operator.until(lambda: len(operator.pods("taken")) == 2, "its pods")
        (made,) = pod_groups(operator, group)
        resources = made["spec"].pop("minResources", None)
        assert made["spec"] == spec
        assert (resources or {}).get("nvidia.com/gpu") == ("16" if system == "volcano" else None)
        assert {pod["spec"].get("nodeName") for pod in operator.pods("taken")} == {None}, "nobody schedules them here"
        operator.plane.kubectl("delete", "shardedmodel", "taken", "-n", MODELS)
        operator.until(lambda: pod_groups(operator, group) == [], "the group goes with its object")
