"""What an object adds to its pods: volumes, variables, containers, users, and how the pods meet the network."""

from typing import Any

import pytest
from tests.engines.support import wants
from tests.render.support import ONE_GPU, TWO_NODES, engine, leader, pods

from shardwise.domain.launch import LaunchSite
from shardwise.domain.needs import HOST_NETWORK
from shardwise.domain.requests import needs_of
from shardwise.inventory.pods import other_requests

Json = dict[str, Any]

SCRATCH: Json = {"name": "scratch", "emptyDir": {"sizeLimit": "1Gi"}}
MOUNT: Json = {"name": "scratch", "mountPath": "/scratch"}
SECRET: Json = {"secretRef": {"name": "hub"}}


def test_volumes_mounts_and_sources_of_variables_come_after_ours() -> None:
    """The engine has them; so does the container that fetches weights have the variables: a token may be among them."""
    pod = leader(
        ONE_GPU, volumes=(SCRATCH,), volume_mounts=(MOUNT,), env_from=(SECRET,), site=LaunchSite(pre_pull=True)
    )
    assert pod["spec"]["volumes"][-1] == SCRATCH
    assert engine(pod)["volumeMounts"][-1] == MOUNT
    assert engine(pod)["envFrom"] == [SECRET]
    (weights,) = [container for container in pod["spec"]["initContainers"] if container["name"] == "weights"]
    assert weights["envFrom"] == [SECRET]
    assert MOUNT not in weights["volumeMounts"]


def test_sidecars_come_first_and_restart_then_the_users_containers_then_ours() -> None:
    """The order in which the kubelet starts them. A sidecar is an init container that restarts always."""
    first = {"name": "proxy", "image": "envoy:v1", "securityContext": {"runAsUser": 5}}
    second = {"name": "prepare", "image": "busybox"}
    made = wants(sidecars=(first,), init_containers=(second,), site=LaunchSite(pre_pull=True))
    for pod in pods(TWO_NODES, made):
        proxy, prepare, *ours = pod["spec"]["initContainers"]
        assert proxy == first | {
            "restartPolicy": "Always",
            "securityContext": {"runAsUser": 5, "allowPrivilegeEscalation": False},
        }
        assert prepare == second | {"securityContext": {"allowPrivilegeEscalation": False}}
        assert ours[0]["name"] == "weights"


def test_the_users_of_a_pod_stand_beside_our_seccomp_profile() -> None:
    pod = leader(ONE_GPU, security_context={"runAsUser": 1000, "fsGroup": 2000})
    assert pod["spec"]["securityContext"] == {
        "seccompProfile": {"type": "RuntimeDefault"},
        "runAsUser": 1000,
        "fsGroup": 2000,
    }
    assert "capabilities" not in engine(pod)["securityContext"]


def test_all_containers_of_a_pod_that_is_not_root_drop_all_capabilities() -> None:
    """As the restricted standard asks. Only the right to pin memory stays where RDMA needs it."""
    made = wants(security_context={"runAsNonRoot": True}, sidecars=({"name": "a", "image": "b"},))
    for pod in pods(TWO_NODES, made):
        for container in (*pod["spec"]["containers"], *pod["spec"]["initContainers"]):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            }


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, {}, id="nothing"),
        pytest.param({"dns_policy": "Default"}, {"dnsPolicy": "Default"}, id="names"),
        pytest.param(
            {"host_network": True}, {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}, id="host network"
        ),
        pytest.param(
            {"host_network": True, "dns_policy": "Default"},
            {"hostNetwork": True, "dnsPolicy": "Default"},
            id="host network, and names",
        ),
        pytest.param(
            {"scheduling_gates": ("a.example.com/b",)},
            {"schedulingGates": [{"name": "a.example.com/b"}]},
            id="a gate",
        ),
    ],
)
def test_network_and_gates_are_set_where_they_are_asked_for(changes: Json, expected: Json) -> None:
    spec = leader(ONE_GPU, **changes)["spec"]
    assert {name: spec[name] for name in ("hostNetwork", "dnsPolicy", "schedulingGates") if name in spec} == expected


CONTAINERS = [
    pytest.param({}, id="the engine alone"),
    pytest.param({"sidecars": ({"resources": {"requests": {"cpu": "3", "memory": "1Gi"}}},)}, id="a sidecar"),
    pytest.param({"sidecars": ({"resources": {"limits": {"cpu": "3"}}},)}, id="a sidecar with a limit alone"),
    pytest.param({"init_containers": ({"resources": {"requests": {"cpu": "1"}}},)}, id="a small init container"),
    pytest.param({"init_containers": ({"resources": {"requests": {"cpu": "64"}}},)}, id="a large init container"),
    pytest.param(
        {
            "sidecars": ({"resources": {"requests": {"cpu": "3"}}},),
            "init_containers": ({"resources": {"requests": {"cpu": "64"}}}, {"resources": {}}),
        },
        id="both",
    ),
    pytest.param({"host_network": True}, id="the host network"),
]


@pytest.mark.parametrize("changes", CONTAINERS)
def test_the_planner_counts_what_the_scheduler_will_count(changes: Json) -> None:
    """The needs of a pod, and the requests of the manifest as they are read back, are the same for a single GPU."""
    named = {
        field: tuple(
            {"name": f"{field}-{index}", "image": "i"} | container for index, container in enumerate(containers)
        )
        for field, containers in changes.items()
        if field != "host_network"
    }
    made = wants(**(changes | named))
    (pod,) = pods(ONE_GPU, made)
    needed = needs_of(made.launch, made.site, made.demand.model).of_pod(1, 1, 1)
    assert dict(needed) == dict(other_requests(pod))
    assert (HOST_NETWORK in dict(needed)) is changes.get("host_network", False)
