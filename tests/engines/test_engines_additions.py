"""Volumes, containers and users that an object adds to its pods: those that are refused, and those that are not."""

from typing import Any

import pytest
from tests.engines.support import VLLM, wants_of

from shardwise.domain.allowed import Allowed
from shardwise.domain.launch import LaunchSite
from shardwise.engines import problems
from shardwise.engines.additions import VOLUME_KINDS

Json = dict[str, Any]

PROXY: Json = {"name": "proxy", "image": "envoy:v1"}
SCRATCH: Json = {"name": "scratch", "emptyDir": {}}
TOKEN: Json = {
    "name": "t",
    "projected": {"sources": [{"configMap": {"name": "a"}}, {"serviceAccountToken": {"path": "t"}}]},
}
HERE = "in namespace `default`"
LISTS = "of the operator's configuration lists"


def refused(site: LaunchSite | None = None, **changes: Any) -> list[str]:
    """Give the problems of an object, as ``field: message``."""
    return [f"{field}: {message}" for field, message in problems(wants_of(VLLM, site=site or LaunchSite(), **changes))]


def sidecar(**fields: Any) -> Json:
    return {"sidecars": (PROXY | fields,)}


REFUSED: dict[str, tuple[Json, str]] = {
    "a folder of the nodes": (
        {"volumes": ({"name": "root", "hostPath": {"path": "/"}},)},
        "spec.podTemplate.volumes.0.hostPath.path: `/` is not allowed",
    ),
    "a folder of the nodes without a path": (
        {"volumes": ({"name": "root", "hostPath": None},)},
        "spec.podTemplate.volumes.0.hostPath.path: `` is not allowed",
    ),
    "an export of a server": (
        {"volumes": ({"name": "nfs", "nfs": {"server": "a", "path": "/"}},)},
        "spec.podTemplate.volumes.0: exactly one of",
    ),
    "a volume of two kinds": (
        {"volumes": (SCRATCH | {"secret": {"secretName": "a"}},)},
        "spec.podTemplate.volumes.0: exactly one of",
    ),
    "a volume of no kind": ({"volumes": ({"name": "a"},)}, "spec.podTemplate.volumes.0: exactly one of"),
    "a volume without a name": ({"volumes": ({"emptyDir": {}},)}, "spec.podTemplate.volumes.0.name: `` is no name"),
    "a volume with a name of ours": (
        {"volumes": (SCRATCH | {"name": "keys"},)},
        "spec.podTemplate.volumes.0.name: `keys` is no name for a volume of your own",
    ),
    "two volumes of a name": (
        {"volumes": (SCRATCH, SCRATCH)},
        "spec.podTemplate.volumes: the name `scratch` is given twice",
    ),
    "the token of an account that nobody named": (
        {"volumes": (TOKEN,)},
        "spec.podTemplate.volumes.0.projected.sources.1.serviceAccountToken: needs `spec.placement.serviceAccountName`",
    ),
    "a mount of a volume that is not there": (
        {"volume_mounts": ({"name": "a", "mountPath": "/a"},)},
        "spec.podTemplate.volumeMounts.0.name: `a` is no volume of `spec.podTemplate.volumes`",
    ),
    "a mount of our keys": (
        {"volume_mounts": ({"name": "keys", "mountPath": "/a"},)},
        "spec.podTemplate.volumeMounts.0.name: `keys` is no volume",
    ),
    "a mount over our cache": (
        {"volumes": (SCRATCH,), "volume_mounts": ({"name": "scratch", "mountPath": "/cache/"},)},
        "spec.podTemplate.volumeMounts.0.mountPath: `/cache/` is taken",
    ),
    "a mount at no absolute path": (
        {"volumes": (SCRATCH,), "volume_mounts": ({"name": "scratch", "mountPath": "a"},)},
        "spec.podTemplate.volumeMounts.0.mountPath: `a` is not an absolute path",
    ),
    "variables from nowhere": (
        {"env_from": ({"prefix": "A_"},)},
        "spec.podTemplate.envFrom.0: exactly one of `secretRef` and `configMapRef` is needed, none given",
    ),
    "variables from two places": (
        {"env_from": ({"secretRef": {"name": "a"}, "configMapRef": {"name": "a"}},)},
        "spec.podTemplate.envFrom.0: exactly one of `secretRef` and `configMapRef` is needed, `secretRef` and",
    ),
    "a container with a name of ours": (
        sidecar(name="engine"),
        "spec.podTemplate.sidecars.0.name: `engine` is no name for a container of your own",
    ),
    "a container without a name": (sidecar(name=None), "spec.podTemplate.sidecars.0.name: `` is no name"),
    "a container without an image": (sidecar(image=""), "spec.podTemplate.sidecars.0.image: an image is needed"),
    "a privileged container": (
        sidecar(securityContext={"privileged": True}),
        "spec.podTemplate.sidecars.0.securityContext.privileged: may give a container more rights",
    ),
    "a container that may get more rights": (
        sidecar(securityContext={"allowPrivilegeEscalation": True}),
        "spec.podTemplate.sidecars.0.securityContext.allowPrivilegeEscalation: `true` is not allowed",
    ),
    "a capability": (
        sidecar(securityContext={"capabilities": {"add": ["SYS_ADMIN"]}}),
        "spec.podTemplate.sidecars.0.securityContext.capabilities.add: capabilities can only be dropped",
    ),
    "no seccomp": (
        sidecar(securityContext={"seccompProfile": {"type": "Unconfined"}}),
        "spec.podTemplate.sidecars.0.securityContext.seccompProfile.type: `Unconfined` is not allowed",
    ),
    "a port of the node": (
        sidecar(ports=[{"containerPort": 80}, {"containerPort": 81, "hostPort": 81}]),
        "spec.podTemplate.sidecars.0.ports.1.hostPort: opens a port of the node",
    ),
    "a GPU that nobody planned": (
        sidecar(resources={"limits": {"nvidia.com/gpu": "1"}}),
        "spec.podTemplate.sidecars.0.resources.limits.nvidia.com/gpu: GPUs are set by the plan",
    ),
    "a claim": (
        sidecar(resources={"claims": [{"name": "gpus"}]}),
        "spec.podTemplate.sidecars.0.resources.claims: devices are claimed by the plan alone",
    ),
    "the volume with our ssh keys": (
        sidecar(volumeMounts=[{"name": "keys", "mountPath": "/keys"}]),
        "spec.podTemplate.sidecars.0.volumeMounts.0.name: `keys` is no volume that it may mount",
    ),
    "mounts that reach the node": (
        sidecar(volumeMounts=[{"name": "cache", "mountPath": "/c", "mountPropagation": "Bidirectional"}]),
        "spec.podTemplate.sidecars.0.volumeMounts.0.mountPropagation: changes mounts of the node",
    ),
    "a restart policy, which is ours": (
        {"init_containers": (PROXY | {"restartPolicy": "Always"},)},
        "spec.podTemplate.initContainers.0.restartPolicy: is not allowed in a further container",
    ),
    "two containers of a name": (
        {"sidecars": (PROXY,), "init_containers": (PROXY,)},
        "spec.podTemplate.sidecars: the name `proxy` is given twice",
    ),
    "the network of the nodes": (
        {"host_network": True},
        f"spec.podTemplate.hostNetwork: `true` is not allowed {HERE}; `allow.hostNetwork` {LISTS} `false`",
    ),
    "root that may not be root": (
        {"security_context": {"runAsNonRoot": True, "runAsUser": 0}},
        "spec.podTemplate.securityContext.runAsUser: `0` is root, which `runAsNonRoot: true` forbids",
    ),
    "a gate that holds GPUs": (
        {"scheduling_gates": ("example.com/hold",)},
        (
            f"spec.podTemplate.schedulingGates: `example.com/hold` is not allowed {HERE}; "
            f"`allow.schedulingGates` {LISTS} nothing"
        ),
    ),
}


@pytest.mark.parametrize(("changes", "line"), REFUSED.values(), ids=REFUSED)
def test_an_addition_is_refused_that_reaches_too_far_or_cannot_be(changes: Json, line: str) -> None:
    """One problem, with the field and the reason."""
    (found,) = refused(**changes)
    assert found.startswith(line)


ALLOWED: dict[str, Json] = {
    "volumes of every kind but folders of nodes": {
        "volumes": tuple({"name": kind.lower(), kind: {}} for kind in VOLUME_KINDS if kind not in ("hostPath", "image"))
    },
    "a volume in the engine": {
        "volumes": (SCRATCH,),
        "volume_mounts": ({"name": "scratch", "mountPath": "/cache/x"}, {"name": "scratch", "mountPath": "/scratch"}),
    },
    "a sidecar that reads the weights": sidecar(
        volumeMounts=[{"name": "cache", "mountPath": "/cache", "readOnly": True}],
        securityContext={"runAsUser": 1000, "capabilities": {"drop": ["ALL"]}, "allowPrivilegeEscalation": False},
        resources={"requests": {"cpu": "1"}},
        ports=[{"containerPort": 9000}],
    ),
    "the token of an account that is named": {"volumes": (TOKEN,), "service_account_name": "runner"},
    "users and groups": {"security_context": {"runAsUser": 0, "fsGroup": 5}},
    "variables of a Secret": {"env_from": ({"secretRef": {"name": "a"}},)},
    "a policy of names": {"dns_policy": "Default"},
}


@pytest.mark.parametrize("changes", ALLOWED.values(), ids=ALLOWED)
def test_an_addition_that_a_creator_of_pods_may_make_is_allowed(changes: Json) -> None:
    assert refused(**changes) == []


def test_the_configuration_allows_folders_gates_and_the_network_of_the_nodes() -> None:
    allowed = Allowed(scheduling_gates=("example.com/*",), host_network=True)
    site = LaunchSite(host_paths=("/models",), allowed=allowed)
    changes: Json = {
        "volumes": ({"name": "models", "hostPath": {"path": "/models/a"}},),
        "scheduling_gates": ("example.com/hold",),
        "host_network": True,
    }
    assert refused(site, **changes) == []


def test_names_of_the_cluster_are_resolved_on_the_host_network() -> None:
    """With `ClusterFirst`, Kubernetes takes the resolver of the node there, which knows no pod by name."""
    site = LaunchSite(allowed=Allowed(host_network=True))
    (found,) = refused(site, host_network=True, dns_policy="ClusterFirst")
    assert found.startswith("spec.podTemplate.dnsPolicy: `ClusterFirst` finds no names of the cluster")
    assert refused(site, host_network=True, dns_policy="ClusterFirstWithHostNet") == []


def test_the_images_of_all_containers_and_volumes_are_held_to_the_list() -> None:
    """Else a sidecar would run what the list keeps out."""
    site = LaunchSite(allowed=Allowed(images=("mirror.example.com/*",)))
    changes: Json = {
        "image": "mirror.example.com/vllm:v0.33.0",
        "sidecars": (PROXY,),
        "init_containers": ({"name": "ours", "image": "mirror.example.com/a"}, {"name": "b", "image": "b"}),
        "volumes": ({"name": "data", "image": {"reference": "c"}},),
    }
    fields = [line.partition(": ")[0] for line in refused(site, **changes)]
    assert fields == [
        "spec.podTemplate.sidecars.0.image",
        "spec.podTemplate.initContainers.1.image",
        "spec.podTemplate.volumes.0.image.reference",
    ]
