"""The kinds the operator deals with, their paths, and the verbs it needs on each: all that RBAC has to allow."""

from dataclasses import dataclass
from typing import Final

from shardwise.render import companions
from shardwise.render.attachments import ATTACHMENTS


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object. ``verbs`` are those the operator uses, ``status_verbs`` those on its status.

    A plural such as ``localqueues/pendingworkloads`` is a part of the objects of another kind, which has their names.
    """

    name: str
    group: str
    version: str
    plural: str
    namespaced: bool
    verbs: tuple[str, ...]
    status_verbs: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        """``v1``, or ``group/version``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Give the path of an object, of a namespace's objects, or of all objects of the kind."""
        inside = f"/namespaces/{namespace}" if namespace and self.namespaced else ""
        plural, _, of_each = self.plural.partition("/")
        return "/".join(part for part in (f"{self.root()}{inside}/{plural}", name, of_each, subresource) if part)

    def root(self) -> str:
        """Give the path of the group's version, which lists its kinds."""
        return f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"


_WATCHED: Final = ("get", "list", "watch")
_MADE: Final = ("create", "patch", "delete")
"""For objects named by their content, which belong to nobody else: they need not be read, and so may not be."""

_OWNED: Final = (*_WATCHED, "create", "patch", "delete")

LEASE: Final = Kind("Lease", "coordination.k8s.io", "v1", "leases", True, ("get", "create", "update"))
"""Of the operator's own namespace alone: a Role, not the ClusterRole, allows it."""

KINDS: Final = (
    Kind("ShardedModel", "shardwise.dev", "v1alpha1", "shardedmodels", True, _WATCHED, ("get", "patch")),
    Kind("Pod", "", "v1", "pods", True, _OWNED),
    Kind("Service", "", "v1", "services", True, _OWNED),
    Kind("PodDisruptionBudget", "policy", "v1", "poddisruptionbudgets", True, _OWNED),
    Kind("Node", "", "v1", "nodes", False, _WATCHED),
    Kind("PriorityClass", "scheduling.k8s.io", "v1", "priorityclasses", False, _WATCHED),
    # How many GPUs a namespace may hold. Without this right, the operator meets quotas only when it makes pods.
    Kind("ResourceQuota", "", "v1", "resourcequotas", True, _WATCHED),
    Kind("ConfigMap", "", "v1", "configmaps", True, _MADE),
    # Keys are made and handed to pods by reference: nothing in a Secret is ever read.
    Kind("Secret", "", "v1", "secrets", True, ("create",)),
    Kind("ComputeDomain", "resource.nvidia.com", "v1beta1", "computedomains", True, _MADE),
    Kind("ResourceClaimTemplate", "resource.k8s.io", "v1", "resourceclaimtemplates", True, _MADE),
    # The GPUs that dynamic resource allocation offers, and who holds them. Watched only where they are served.
    Kind("ResourceSlice", "resource.k8s.io", "v1", "resourceslices", False, _WATCHED),
    Kind("ResourceClaim", "resource.k8s.io", "v1", "resourceclaims", True, _WATCHED),
    Kind("DeviceClass", "resource.k8s.io", "v1", "deviceclasses", False, _WATCHED),
    # Kueue, where it is configured: how far groups have come, and the nodes that their queues offer.
    Kind("Workload", "kueue.x-k8s.io", "v1beta2", "workloads", True, (*_WATCHED, "delete")),
    Kind("LocalQueue", "kueue.x-k8s.io", "v1beta2", "localqueues", True, _WATCHED),
    Kind("ClusterQueue", "kueue.x-k8s.io", "v1beta2", "clusterqueues", False, _WATCHED),
    Kind("ResourceFlavor", "kueue.x-k8s.io", "v1beta2", "resourceflavors", False, _WATCHED),
    # The positions of groups in queues of Kueue, where Kueue tells them.
    *(
        Kind(
            "PendingWorkloadsSummary",
            "visibility.kueue.x-k8s.io",
            version,
            "localqueues/pendingworkloads",
            True,
            ("get",),
        )
        for version in ("v1beta2", "v1beta1")
    ),
    # Gang schedulers, where they are configured: the groups that we make for them, and what becomes of those.
    *(
        Kind(name, api_version.partition("/")[0], api_version.partition("/")[2], "podgroups", True, _OWNED)
        for api_version, name in companions.POD_GROUPS
    ),
    # What connects models with add-ons, where it is configured: routes to them, and scalers.
    Kind("InferencePool", "inference.networking.k8s.io", "v1", "inferencepools", True, _OWNED),
    Kind("HTTPRoute", "gateway.networking.k8s.io", "v1", "httproutes", True, _OWNED),
    Kind("ScaledObject", "keda.sh", "v1alpha1", "scaledobjects", True, _OWNED),
    Kind("HorizontalPodAutoscaler", "autoscaling", "v2", "horizontalpodautoscalers", True, _OWNED),
    Kind("Event", "", "v1", "events", True, ("create", "patch")),
    # kopf finds out which namespaces and resources there are before it watches anything.
    Kind("Namespace", "", "v1", "namespaces", False, _WATCHED),
    Kind(
        "CustomResourceDefinition",
        "apiextensions.k8s.io",
        "v1",
        "customresourcedefinitions",
        False,
        _WATCHED,
    ),
)


def kind_of(api_version: str, name: str) -> Kind:
    """Look a kind up. Raises ``LookupError`` for a kind the operator does not deal with."""
    for kind in KINDS:
        if (kind.api_version, kind.name) == (api_version, name):
            return kind
    raise LookupError(f"the operator does not deal with {api_version} {name}")


SHARDED_MODEL: Final = KINDS[0]
POD: Final = KINDS[1]
SERVICE: Final = KINDS[2]
NODE: Final = kind_of("v1", "Node")
BUDGET: Final = kind_of("policy/v1", "PodDisruptionBudget")
PRIORITY_CLASS: Final = kind_of("scheduling.k8s.io/v1", "PriorityClass")
RESOURCE_QUOTA: Final = kind_of("v1", "ResourceQuota")
COMPUTE_DOMAIN: Final = kind_of("resource.nvidia.com/v1beta1", "ComputeDomain")
RESOURCE_SLICE: Final = kind_of("resource.k8s.io/v1", "ResourceSlice")
RESOURCE_CLAIM: Final = kind_of("resource.k8s.io/v1", "ResourceClaim")
DEVICE_CLASS: Final = kind_of("resource.k8s.io/v1", "DeviceClass")
WORKLOAD: Final = kind_of("kueue.x-k8s.io/v1beta2", "Workload")
LOCAL_QUEUE: Final = kind_of("kueue.x-k8s.io/v1beta2", "LocalQueue")
CLUSTER_QUEUE: Final = kind_of("kueue.x-k8s.io/v1beta2", "ClusterQueue")
FLAVOR: Final = kind_of("kueue.x-k8s.io/v1beta2", "ResourceFlavor")
KUEUE: Final = (FLAVOR, CLUSTER_QUEUE, LOCAL_QUEUE, WORKLOAD)
PENDING_WORKLOADS: Final = tuple(kind for kind in KINDS if kind.name == "PendingWorkloadsSummary")
POD_GROUPS: Final = tuple(kind for kind in KINDS if kind.name == "PodGroup")
ATTACHED: Final = tuple(kind_of(module.API_VERSION, name) for name, module in ATTACHMENTS.items())
"""The kinds of attachments."""

NAMESPACE: Final = kind_of("v1", "Namespace")
DEFINITION: Final = kind_of("apiextensions.k8s.io/v1", "CustomResourceDefinition")


def is_served(kind: Kind) -> bool:
    """Tell whether the operator reads a kind only in the namespaces that it serves.

    It reads the pods and claims of all namespaces, because all of them hold GPUs.
    """
    return kind.namespaced and kind not in (POD, RESOURCE_CLAIM)
