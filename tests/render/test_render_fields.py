"""Where each field of an object goes in a pod or a Service, and that nothing stands there where it is not given."""

from typing import Any

import pytest
from tests.engines.support import wants
from tests.render.support import ONE_GPU, TWO_NODES, engine, leader, pods

from shardwise.domain.demand import Toleration
from shardwise.domain.launch import EnvVar
from shardwise.render.bundle import serving

OWN_TOLERATIONS = [
    {"key": "nvidia.com/gpu", "operator": "Exists"},
    {
        "key": "node.kubernetes.io/not-ready",
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": 30,
    },
    {
        "key": "node.kubernetes.io/unreachable",
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": 30,
    },
]


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        pytest.param({"priority_class_name": "high"}, "priorityClassName", "high", id="priority class"),
        pytest.param({"scheduler_name": "volcano"}, "schedulerName", "volcano", id="scheduler"),
        pytest.param({"service_account_name": "runner"}, "serviceAccountName", "runner", id="service account"),
        pytest.param({"runtime_class_name": "nvidia"}, "runtimeClassName", "nvidia", id="runtime class"),
        pytest.param(
            {"image_pull_secrets": ("a", "b")}, "imagePullSecrets", [{"name": "a"}, {"name": "b"}], id="pull secrets"
        ),
    ],
)
def test_a_field_of_the_pod_is_set_where_it_is_asked_for(changes: dict[str, Any], field: str, value: object) -> None:
    """On every pod of the group, and absent where nobody asked."""
    assert [pod["spec"][field] for pod in pods(TWO_NODES, wants(**changes))] == [value, value]
    assert not [pod for pod in pods(TWO_NODES) if field in pod["spec"]]


def test_a_token_of_the_api_is_mounted_only_for_a_service_account_that_is_named() -> None:
    """An engine has no business with the API."""
    assert leader(ONE_GPU)["spec"]["automountServiceAccountToken"] is False
    assert leader(ONE_GPU, service_account_name="runner")["spec"]["automountServiceAccountToken"] is True


@pytest.mark.parametrize(
    ("given", "written"),
    [
        pytest.param(
            Toleration("kubernetes.io/arch", "Equal", "arm64", "NoSchedule"),
            {"key": "kubernetes.io/arch", "operator": "Equal", "value": "arm64", "effect": "NoSchedule"},
            id="the arm64 of a GB200",
        ),
        pytest.param(Toleration(operator="Exists"), {"operator": "Exists"}, id="everything"),
        pytest.param(
            Toleration("maintenance", "Exists", effect="NoExecute", seconds=0),
            {"key": "maintenance", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0},
            id="for no second",
        ),
    ],
)
def test_tolerations_come_before_those_of_every_group(given: Toleration, written: dict[str, object]) -> None:
    """Empty parts are left out, as Kubernetes means them; its own default for a lost node would be five minutes."""
    assert leader(ONE_GPU, tolerations=(given,))["spec"]["tolerations"] == [written, *OWN_TOLERATIONS]
    assert leader(ONE_GPU)["spec"]["tolerations"] == OWN_TOLERATIONS


def test_resources_stand_beside_the_gpus() -> None:
    """The plan's GPUs are in both, and win. The disk is for the weights that the pod fetches."""
    asked = (("cpu", "16"), ("memory", "256Gi"), ("nvidia.com/gpu", "64"))
    pod = leader(TWO_NODES, requests=asked, limits=(("memory", "300Gi"), ("rdma/ib", "1")))
    assert engine(pod)["resources"] == {
        "requests": {"cpu": "16", "memory": "256Gi", "ephemeral-storage": "15317Mi", "nvidia.com/gpu": "8"},
        "limits": {"memory": "300Gi", "rdma/ib": "1", "nvidia.com/gpu": "8"},
    }


def test_labels_of_the_user_stand_beside_ours_and_never_for_them() -> None:
    """A Service would lose its pods, the operator its groups."""
    theirs = (("team", "a"), ("shardwise.dev/role", "idle"), ("shardwise.dev/group", "x"), ("shardwise.dev/index", "9"))
    found = leader(ONE_GPU, labels=theirs)["metadata"]["labels"]
    plain = leader(ONE_GPU)["metadata"]["labels"]
    assert found == plain | {"team": "a", "shardwise.dev/revision": found["shardwise.dev/revision"]}


def test_annotations_of_the_user_stand_beside_ours_and_never_for_them() -> None:
    """They go onto pods, not onto Services."""
    wanted = wants(annotations=(("note", "x"), ("shardwise.dev/layout", "TP99")))
    (pod,) = pods(ONE_GPU, wanted)
    assert pod["metadata"]["annotations"] == {
        "note": "x",
        "shardwise.dev/layout": "TP1×PP1",
        "shardwise.dev/ranks": "0-0",
    }
    assert "annotations" not in serving(wanted)["metadata"]


@pytest.mark.parametrize(
    ("size", "volume"),
    [
        pytest.param(None, {"medium": "Memory", "sizeLimit": "16Gi"}, id="as configured"),
        pytest.param("32Gi", {"medium": "Memory", "sizeLimit": "32Gi"}, id="32Gi"),
    ],
)
def test_shared_memory_is_as_large_as_asked_for(size: str | None, volume: dict[str, str]) -> None:
    """Memory that ranks of a pod share; it counts against the pod's memory."""
    assert leader(ONE_GPU, shared_memory=size)["spec"]["volumes"][0] == {"name": "shared-memory", "emptyDir": volume}


@pytest.mark.parametrize(
    ("given", "written"),
    [
        pytest.param(EnvVar("A", value="1"), {"name": "A", "value": "1"}, id="value"),
        pytest.param(EnvVar("A", value=""), {"name": "A", "value": ""}, id="empty value"),
        pytest.param(
            EnvVar("A", secret=("keys", "a")),
            {"name": "A", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "a"}}},
            id="Secret",
        ),
        pytest.param(
            EnvVar("A", config_map=("settings", "a")),
            {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "a"}}},
            id="ConfigMap",
        ),
    ],
)
def test_a_variable_is_written_as_its_origin_asks(given: EnvVar, written: dict[str, object]) -> None:
    """Last, after those of the launch."""
    assert engine(leader(ONE_GPU, env=(given,)))["env"][-1] == written


@pytest.mark.parametrize("policy", ["Always", "IfNotPresent", "Never"])
def test_the_pull_policy_is_for_every_container(policy: str) -> None:
    """Also for the one that waits: it is the same image. Left out, Kubernetes chooses."""
    follower = pods(TWO_NODES, wants(image_pull_policy=policy))[1]["spec"]
    assert [one["imagePullPolicy"] for one in (*follower["containers"], *follower["initContainers"])] == [policy] * 2
    plain = pods(TWO_NODES)[1]["spec"]
    assert not [one for one in (*plain["containers"], *plain["initContainers"]) if "imagePullPolicy" in one]


def test_containers_may_gain_no_rights() -> None:
    """The default profile of system calls for the pod; no escalation in any container."""
    for pod in pods(TWO_NODES):
        assert pod["spec"]["securityContext"] == {"seccompProfile": {"type": "RuntimeDefault"}}
        for container in (*pod["spec"]["containers"], *pod["spec"].get("initContainers", ())):
            assert container["securityContext"] == {"allowPrivilegeEscalation": False}


@pytest.mark.parametrize(
    ("changes", "kind", "port"),
    [({}, "ClusterIP", 8000), ({"port": 80, "type": "LoadBalancer"}, "LoadBalancer", 80)],
    ids=["as it is", "as asked for"],
)
def test_clients_reach_the_leaders_at_the_objects_own_port(changes: dict[str, Any], kind: str, port: int) -> None:
    """Whatever it is; of the engine's own they know the name alone, which each engine gives to another number."""
    spec = serving(wants(**changes))["spec"]
    assert spec["type"] == kind
    assert spec["ports"] == [{"name": "http", "port": port, "targetPort": "http", "protocol": "TCP"}]
