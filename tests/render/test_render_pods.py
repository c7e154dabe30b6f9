"""What holds for the pods of every plan: GPUs, ranks, nodes, roles, and what Kubernetes may not do to them."""

import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from tests.engines.support import a_plan, options, wants
from tests.render.support import (
    ONE_GPU,
    ONE_NODE,
    TWO_NODES,
    TWO_REPLICAS,
    containers,
    engine,
    everything,
    leader,
    names_in_dns,
    of_kind,
    pods,
    selects,
)

from shardwise.domain.launch import Owner
from shardwise.domain.layout import Layout
from shardwise.domain.plan import Plan
from shardwise.render.bundle import group, serving


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Draw a plan: one to four pods of one to eight GPUs, whole tensor groups or parts of one, several replicas."""
    pods, gpus = draw(st.integers(1, 4)), draw(st.sampled_from([1, 2, 4, 8]))
    tensor = draw(st.sampled_from([degree for degree in (1, 2, 4, 8, 16, 32) if (pods * gpus) % degree == 0]))
    layout = Layout(tensor, pods * gpus // tensor, draw(st.booleans()))
    return a_plan(layout, *(gpus,) * pods, replicas=draw(st.integers(1, 3)))


@given(plans())
def test_gpu_requests_of_a_group_sum_to_its_world_size(plan: Plan) -> None:
    """Limits say the same, as the device plugin demands; only the engine asks for any."""
    for placed in plan.groups:
        made = pods(plan, replica=placed.replica)
        asked = [engine(pod)["resources"] for pod in made]
        assert sum(int(one["requests"]["nvidia.com/gpu"]) for one in asked) == plan.layout.world_size
        devices = [{"nvidia.com/gpu": one["requests"]["nvidia.com/gpu"]} for one in asked]
        assert devices == [one["limits"] for one in asked]
        assert not [
            container for container in containers(made) if "resources" in container and container["name"] != "engine"
        ]


@given(plans())
def test_the_ranks_of_a_group_are_all_ranks_once_each(plan: Plan) -> None:
    """As the pods are annotated, in the order of their index."""
    for placed in plan.groups:
        found: list[int] = []
        for index, pod in enumerate(pods(plan, replica=placed.replica)):
            first, last = pod["metadata"]["annotations"]["shardwise.dev/ranks"].split("-")
            assert pod["metadata"]["labels"]["shardwise.dev/index"] == str(index)
            found += range(int(first), int(last) + 1)
        assert found == list(range(plan.layout.world_size))


@given(plans())
def test_each_pod_may_run_on_exactly_its_planned_node(plan: Plan) -> None:
    """By the node's name and nothing else; the cluster's scheduler binds it, so taints and free GPUs still count."""
    for placed in plan.groups:
        for pod, place in zip(pods(plan, replica=placed.replica), placed.pods, strict=True):
            required = {"key": "metadata.name", "operator": "In", "values": [place.node]}
            terms = {"nodeSelectorTerms": [{"matchFields": [required]}]}
            node_affinity = {"requiredDuringSchedulingIgnoredDuringExecution": terms}
            assert pod["spec"]["affinity"] == {"nodeAffinity": node_affinity}
            assert not {"nodeName", "nodeSelector"} & set(pod["spec"])


@given(plans())
def test_followers_find_their_leader_by_dns_before_anything_is_ready(plan: Plan) -> None:
    """Workers cannot become ready before they meet: names that wait for readiness would be a deadlock."""
    made = everything(plan)
    found = names_in_dns(made)
    assert sorted(found.values()) == sorted(pod["metadata"]["name"] for pod in of_kind("Pod", made))
    for pod in of_kind("Pod", made):
        group_label = pod["metadata"]["labels"]["shardwise.dev/group"]
        address = options(engine(pod)["args"]).get("--master-addr")
        if len(plan.groups[0].pods) == 1:
            assert address is None
        else:
            assert found[str(address)] == f"{group_label}-0"


@given(plans())
def test_the_pods_of_a_group_meet_in_the_image_of_the_engine(plan: Plan) -> None:
    """The leader names all followers, and each follower the leader: a pod that has met has its image."""
    for placed in plan.groups:
        first, *rest = made = pods(plan, replica=placed.replica)
        waiting = [container for pod in made for container in pod["spec"].get("initContainers", ())]
        assert len(waiting) == (len(made) if rest else 0)
        assert {container["image"] for container in waiting} <= {engine(first)["image"]}
        for container in waiting[1:]:
            said = options(engine(rest[0])["args"])
            assert container["args"] == ["29599", said["--master-addr"], said["--master-port"]]
            assert int(said["--master-port"]) in [port["containerPort"] for port in engine(first)["ports"]]
        assert [len(container["args"]) for container in waiting[:1]] == [len(made)] * bool(rest)


@given(plans())
def test_only_leaders_are_probed_and_reached_by_clients(plan: Plan) -> None:
    """The Service to the leaders selects one pod a replica, at the port where its probes ask."""
    made = everything(plan)
    front = serving(wants())
    for pod in of_kind("Pod", made):
        leads = pod["metadata"]["labels"]["shardwise.dev/index"] == "0"
        probes = {key for key in engine(pod) if key.endswith("Probe")}
        assert probes == ({"startupProbe", "readinessProbe", "livenessProbe"} if leads else set())
        assert pod["metadata"]["labels"]["shardwise.dev/role"] == ("leader" if leads else "worker")
        assert selects(front, pod) == leads
        (port,) = front["spec"]["ports"]
        named = {port["name"]: port["containerPort"] for port in engine(pod)["ports"]}
        probed = {engine(pod)[key]["httpGet"]["port"] for key in probes if "httpGet" in engine(pod)[key]}
        assert probed == ({named[port["targetPort"]]} if leads else set())


@given(plans())
def test_the_leader_of_several_pods_looks_for_all_of_them(plan: Plan) -> None:
    """By the group's own name, at the port of its engine; the leader of a single pod has nobody to look for."""
    for placed in plan.groups:
        leader = engine(pods(plan, replica=placed.replica)[0])
        probe = leader["readinessProbe"]
        if len(placed.pods) == 1:
            assert probe["httpGet"]["path"] == "/health"
        else:
            words = probe["exec"]["command"][3:]
            assert words == ["8000", "/health", "5", f"llama-{placed.replica}-0.default.svc", str(len(placed.pods))]


@given(plans())
def test_a_groups_service_reaches_its_own_pods_only(plan: Plan) -> None:
    """Neither another replica's, nor another attempt's."""
    made = everything(plan)
    for placed in plan.groups:
        service = group(wants(), plan, placed.replica, 0).service
        own = [pod["metadata"]["name"] for pod in pods(plan, replica=placed.replica)]
        assert [pod["metadata"]["name"] for pod in of_kind("Pod", made) if selects(service, pod)] == own
        assert not [pod for pod in pods(plan, replica=placed.replica, attempt=1) if selects(service, pod)]


@given(plans())
def test_every_pod_is_such_as_a_group_needs(plan: Plan) -> None:
    """Nothing restarts in place, no variables from Services, memory to share, and soon off a node that is lost."""
    for pod in of_kind("Pod", everything(plan)):
        spec = pod["spec"]
        assert spec["restartPolicy"] == "Never"
        assert spec["enableServiceLinks"] is False
        assert spec["automountServiceAccountToken"] is False
        assert {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": "16Gi"}} in spec["volumes"]
        assert {"name": "shared-memory", "mountPath": "/dev/shm"} in engine(pod)["volumeMounts"]  # noqa: S108 - NCCL's
        assert {"nvidia.com/gpu"} == {
            toleration["key"] for toleration in spec["tolerations"] if "tolerationSeconds" not in toleration
        }
        lost = {
            toleration["key"]: toleration["tolerationSeconds"]
            for toleration in spec["tolerations"]
            if "tolerationSeconds" in toleration
        }
        assert lost == {"node.kubernetes.io/not-ready": 30, "node.kubernetes.io/unreachable": 30}
        assert spec["terminationGracePeriodSeconds"] == (60 if "startupProbe" in engine(pod) else 2)


@given(plans())
def test_every_pod_knows_its_own_address(plan: Plan) -> None:
    """The engine would guess it by a route to the internet; every variable is given once."""
    for pod in of_kind("Pod", everything(plan)):
        env = engine(pod)["env"]
        assert {"name": "VLLM_HOST_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}} in env
        assert len({variable["name"] for variable in env}) == len(env)


@given(plans())
def test_everything_belongs_to_the_object_and_to_nobody_else(plan: Plan) -> None:
    """The garbage collector takes it with its owner; GitOps tools find no label by which to adopt it."""
    owner = {"apiVersion": "shardwise.dev/v1alpha1", "kind": "ShardedModel", "name": "llama", "uid": "uid-1"}
    for manifest in everything(plan):
        assert manifest["metadata"]["namespace"] == "default"
        assert manifest["metadata"]["ownerReferences"] == [owner | {"controller": True, "blockOwnerDeletion": True}]
        assert manifest["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "shardwise"
        assert manifest["metadata"]["labels"]["shardwise.dev/model"] == "llama"
        assert "app.kubernetes.io/instance" not in manifest["metadata"]["labels"]


def test_what_is_on_no_cluster_is_owned_by_nobody() -> None:
    """An owner without uid would be taken for one that is gone."""
    wanted = wants(owner=Owner("llama", "default", ""))
    assert not [manifest for manifest in everything(TWO_NODES, wanted) if "ownerReferences" in manifest["metadata"]]


@given(plans())
def test_rendering_is_the_same_byte_for_byte(plan: Plan) -> None:
    """And plain JSON: nothing is lost on the wire."""
    once, again = everything(plan), everything(plan)
    assert json.dumps(once) == json.dumps(again)
    assert json.loads(json.dumps(once)) == list(once)


def test_a_bundle_is_the_front_and_then_each_group() -> None:
    """In the order it can be applied in: Services before the pods that need their names."""
    kinds = [(manifest["kind"], manifest["metadata"]["name"]) for manifest in everything(TWO_REPLICAS)]
    assert kinds == [
        ("Service", "llama"),
        ("Service", "llama-0-0"),
        ("Pod", "llama-0-0-0"),
        ("Pod", "llama-0-0-1"),
        ("Service", "llama-1-0"),
        ("Pod", "llama-1-0-0"),
        ("Pod", "llama-1-0-1"),
    ]


def test_a_later_attempt_has_names_of_its_own() -> None:
    """Pods of the attempt before may still be ending, and must not be found by their names."""
    names = [
        (manifest["metadata"]["name"], manifest["metadata"]["labels"]["shardwise.dev/attempt"])
        for manifest in group(wants(), TWO_NODES, 0, 3).manifests
    ]
    assert names == [("llama-0-3", "3"), ("llama-0-3-0", "3"), ("llama-0-3-1", "3")]
    address = options(engine(pods(TWO_NODES, attempt=3)[1])["args"])["--master-addr"]
    assert address == "llama-0-3-0.llama-0-3.default.svc"


def test_a_lone_pod_is_annotated_with_its_layout() -> None:
    """For people; a single rank is a range of one."""
    annotations = leader(ONE_GPU)["metadata"]["annotations"]
    assert annotations == {"shardwise.dev/layout": "TP1×PP1", "shardwise.dev/ranks": "0-0"}


def test_a_plan_on_amd_asks_for_amds_gpus_and_tolerates_their_taint() -> None:
    """And for no one else's."""
    (pod,) = pods(replace(ONE_NODE, resource="amd.com/gpu"))
    resources = engine(pod)["resources"]
    assert resources["limits"]["amd.com/gpu"] == resources["requests"]["amd.com/gpu"] == "8"
    keys = [toleration.get("key") for toleration in pod["spec"]["tolerations"]]
    assert "amd.com/gpu" in keys
    assert "nvidia.com/gpu" not in [*keys, *resources["limits"], *resources["requests"]]
