"""The kinds the operator deals with: where each lives, and what it may do to it."""

import pytest

from shardwise.observe.kinds import KINDS, kind_of

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
MODELS = "/apis/shardwise.dev/v1alpha1"
NVIDIA = "/apis/resource.nvidia.com/v1beta1"
CLAIMS = "/apis/resource.k8s.io/v1"
POLICY = "/apis/policy/v1"
SCHEDULING = "/apis/scheduling.k8s.io/v1"
KUEUE = "kueue.x-k8s.io"
QUEUES = f"/apis/{KUEUE}/v1beta2"
PATHS = [
    ("shardwise.dev/v1alpha1", "ShardedModel", f"{MODELS}/shardedmodels", f"{MODELS}/namespaces/ns/shardedmodels/x"),
    ("v1", "Pod", "/api/v1/pods", "/api/v1/namespaces/ns/pods/x"),
    ("v1", "Service", "/api/v1/services", "/api/v1/namespaces/ns/services/x"),
    (
        "policy/v1",
        "PodDisruptionBudget",
        f"{POLICY}/poddisruptionbudgets",
        f"{POLICY}/namespaces/ns/poddisruptionbudgets/x",
    ),
    ("v1", "Node", "/api/v1/nodes", "/api/v1/nodes/x"),
    ("scheduling.k8s.io/v1", "PriorityClass", f"{SCHEDULING}/priorityclasses", f"{SCHEDULING}/priorityclasses/x"),
    ("v1", "ResourceQuota", "/api/v1/resourcequotas", "/api/v1/namespaces/ns/resourcequotas/x"),
    ("v1", "ConfigMap", "/api/v1/configmaps", "/api/v1/namespaces/ns/configmaps/x"),
    ("v1", "Secret", "/api/v1/secrets", "/api/v1/namespaces/ns/secrets/x"),
    (
        "resource.nvidia.com/v1beta1",
        "ComputeDomain",
        f"{NVIDIA}/computedomains",
        f"{NVIDIA}/namespaces/ns/computedomains/x",
    ),
    (
        "resource.k8s.io/v1",
        "ResourceClaimTemplate",
        f"{CLAIMS}/resourceclaimtemplates",
        f"{CLAIMS}/namespaces/ns/resourceclaimtemplates/x",
    ),
    ("resource.k8s.io/v1", "ResourceSlice", f"{CLAIMS}/resourceslices", f"{CLAIMS}/resourceslices/x"),
    ("resource.k8s.io/v1", "ResourceClaim", f"{CLAIMS}/resourceclaims", f"{CLAIMS}/namespaces/ns/resourceclaims/x"),
    ("resource.k8s.io/v1", "DeviceClass", f"{CLAIMS}/deviceclasses", f"{CLAIMS}/deviceclasses/x"),
    (f"{KUEUE}/v1beta2", "Workload", f"{QUEUES}/workloads", f"{QUEUES}/namespaces/ns/workloads/x"),
    (f"{KUEUE}/v1beta2", "LocalQueue", f"{QUEUES}/localqueues", f"{QUEUES}/namespaces/ns/localqueues/x"),
    (f"{KUEUE}/v1beta2", "ClusterQueue", f"{QUEUES}/clusterqueues", f"{QUEUES}/clusterqueues/x"),
    (f"{KUEUE}/v1beta2", "ResourceFlavor", f"{QUEUES}/resourceflavors", f"{QUEUES}/resourceflavors/x"),
    *(
        (
            f"visibility.{KUEUE}/{version}",
            "PendingWorkloadsSummary",
            f"/apis/visibility.{KUEUE}/{version}/localqueues/pendingworkloads",
            f"/apis/visibility.{KUEUE}/{version}/namespaces/ns/localqueues/x/pendingworkloads",
        )
        for version in ("v1beta2", "v1beta1")
    ),
    *(
        (version, "PodGroup", f"/apis/{version}/podgroups", f"/apis/{version}/namespaces/ns/podgroups/x")
        for version in (
            "scheduling.k8s.io/v1beta1",
            "scheduling.k8s.io/v1alpha2",
            "scheduling.volcano.sh/v1beta1",
            "scheduling.run.ai/v2alpha2",
            "scheduling.x-k8s.io/v1alpha1",
        )
    ),
    *(
        (version, name, f"/apis/{version}/{plural}", f"/apis/{version}/namespaces/ns/{plural}/x")
        for version, name, plural in (
            ("inference.networking.k8s.io/v1", "InferencePool", "inferencepools"),
            ("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes"),
            ("keda.sh/v1alpha1", "ScaledObject", "scaledobjects"),
            ("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
        )
    ),
    ("v1", "Event", "/api/v1/events", "/api/v1/namespaces/ns/events/x"),
    ("v1", "Namespace", "/api/v1/namespaces", "/api/v1/namespaces/x"),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition", CRDS, f"{CRDS}/x"),
]


@pytest.mark.parametrize(("api_version", "name", "all_of_them", "one"), PATHS, ids=[name for _, name, _, _ in PATHS])
def test_a_kind_lives_at(api_version: str, name: str, all_of_them: str, one: str) -> None:
    """A namespace in the path of a kind that has none would be a path that is not there."""
    kind = kind_of(api_version, name)
    assert (kind.path(), kind.path("ns", "x")) == (all_of_them, one)
    assert kind.path("ns", "x", "status") == f"{one}/status"


def test_every_kind_stands_in_the_table() -> None:
    assert [(kind.api_version, kind.name) for kind in KINDS] == [(version, name) for version, name, _, _ in PATHS]


def test_only_what_groups_are_made_of_is_deleted() -> None:
    """Nothing of the user's: not the object, not a node, not a namespace; and no Secret, which the object owns."""
    deleted = {kind.name for kind in KINDS if "delete" in kind.verbs}
    made = {"Pod", "Service", "PodDisruptionBudget", "ConfigMap", "ComputeDomain", "ResourceClaimTemplate", "PodGroup"}
    attached = {"InferencePool", "HTTPRoute", "ScaledObject", "HorizontalPodAutoscaler"}
    assert deleted == made | attached | {"Workload"}, "Kueue's object for a group of ours goes with the group"


def test_no_secret_is_ever_read() -> None:
    assert next(kind.verbs for kind in KINDS if kind.name == "Secret") == ("create",)


def test_only_our_status_is_written() -> None:
    assert {kind.name: kind.status_verbs for kind in KINDS if kind.status_verbs} == {"ShardedModel": ("get", "patch")}


@pytest.mark.parametrize(
    ("api_version", "name"), [("v2", "Secret"), ("apps/v1", "Pod"), ("v1", "pod"), ("shardwise.dev/v1", "ShardedModel")]
)
def test_another_version_or_spelling_is_another_kind(api_version: str, name: str) -> None:
    with pytest.raises(LookupError, match=f"the operator does not deal with {api_version} {name}"):
        kind_of(api_version, name)
