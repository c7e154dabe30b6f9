"""Subresources other than status: the scale of custom resources, and the binding and eviction of pods."""

from typing import Final

from shardwise_sandbox import selectors
from shardwise_sandbox.admission import WriteOptions
from shardwise_sandbox.deletion import DeleteOptions, Deleter, read_options
from shardwise_sandbox.errors import ApiError, StatusCause, bad_request, conflict
from shardwise_sandbox.objects import JsonObject, condition, dig, labels_of, meta, name_of, with_meta
from shardwise_sandbox.patching import MERGE
from shardwise_sandbox.resources import ResourceType
from shardwise_sandbox.selectors import Selection
from shardwise_sandbox.store import ObjectStore, Ref
from shardwise_sandbox.writes import Target, Writer

_SCALE: Final = "autoscaling/v1"


def _at(obj: JsonObject, json_path: str) -> object:
    return dig(obj, *json_path.strip(".").split("."))


def scale_of(resource: ResourceType, obj: JsonObject) -> JsonObject:
    """Return the ``Scale`` of an object."""
    paths = resource.scale
    status: JsonObject = {"replicas": _at(obj, paths["statusReplicasPath"]) or 0}
    if paths.get("labelSelectorPath"):
        status["selector"] = _at(obj, paths["labelSelectorPath"]) or ""
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": _SCALE,
        "metadata": {key: meta(obj)[key] for key in kept if key in meta(obj)},
        "spec": {"replicas": _at(obj, paths["specReplicasPath"]) or 0},
        "status": status,
    }


def set_scale(writer: Writer, target: Target, scale: JsonObject, options: WriteOptions) -> JsonObject:
    """Set the number of replicas of an object. Return the object."""
    wanted = dig(scale, "spec", "replicas")
    if not isinstance(wanted, int) or wanted < 0:
        raise bad_request(f"spec.replicas of a Scale is a whole number of at least 0, not {wanted!r}")
    patch: JsonObject = {}
    node = patch
    *above, last = target.resource.scale["specReplicasPath"].strip(".").split(".")
    for step in above:
        node = node.setdefault(step, {})
    node[last] = wanted
    version = meta(scale).get("resourceVersion")
    if version:
        patch["metadata"] = {"resourceVersion": version}
    return writer.patch(Target(target.resource, target.ref, "scale"), MERGE, patch, options)


class PodActions:
    """The binding and the eviction of pods."""

    def __init__(self, store: ObjectStore, writer: Writer, deleter: Deleter) -> None:
        self._store = store
        self._writer = writer
        self._deleter = deleter
        self._pods = store.registry.named("pods")
        self._budgets = store.registry.named("poddisruptionbudgets")

    def bind(self, ref: Ref, node: str) -> JsonObject:
        """Bind a pod to a node. Refuse a pod that is bound already."""
        pod = self._store.get(self._pods, ref)
        bound = dig(pod, "spec", "nodeName")
        if bound:
            raise conflict(self._pods, ref[1], f"pod {ref[1]} is already assigned to node {bound}")
        if dig(pod, "spec", "schedulingGates"):
            raise conflict(self._pods, ref[1], "pod has non-empty .spec.schedulingGates")
        spec = {**pod["spec"], "nodeName": node}
        generation = meta(pod)["generation"] + 1
        bound_pod = with_meta({**pod, "spec": spec, "status": self._scheduled(pod)}, generation=generation)
        return self._store.update(self._pods, bound_pod)

    def _scheduled(self, pod: JsonObject) -> JsonObject:
        status = pod.get("status") or {}
        others = [item for item in status.get("conditions") or () if item["type"] != "PodScheduled"]
        bound = {"type": "PodScheduled", "status": "True", "lastTransitionTime": self._store.now()}
        return {**status, "conditions": [*others, bound]}

    def evict(self, ref: Ref, body: JsonObject) -> None:
        """Delete a pod. Raises ``ApiError`` 429 if a disruption budget forbids it."""
        pod = self._store.get(self._pods, ref)
        for budget in self._store.all(self._budgets.key):
            if _covers(budget, pod) and self._allowed(budget) <= 0:
                message = "Cannot evict pod as it would violate the pod's disruption budget."
                said = f"The disruption budget {name_of(budget)} needs its pods healthy"
                causes = [StatusCause("DisruptionBudget", said).body()]
                raise ApiError(429, "TooManyRequests", message, {"causes": causes})
        asked = body.get("deleteOptions") or {}
        self._deleter.delete(self._pods, ref, read_options(asked, {}) if asked else DeleteOptions())

    def _allowed(self, budget: JsonObject) -> int:
        pods = [pod for pod in self._store.all(self._pods.key) if _covers(budget, pod)]
        healthy = sum(condition(pod, "Ready").get("status") == "True" for pod in pods)
        spec = budget["spec"]
        if "maxUnavailable" in spec:
            wanted = len(pods) - _share(spec["maxUnavailable"], len(pods))
        else:
            wanted = _share(spec.get("minAvailable", 0), len(pods))
        return int(healthy - wanted)


def _covers(budget: JsonObject, pod: JsonObject) -> bool:
    inside = Selection(namespace=meta(budget)["namespace"]).matches(pod)
    return inside and selectors.all_hold(selectors.from_object(dig(budget, "spec", "selector")), labels_of(pod))


def _share(amount: int | str, count: int) -> int:
    if isinstance(amount, int):
        return amount
    # Percentages round up, as on the server, for both minAvailable and maxUnavailable.
    return -(-int(amount.rstrip("%")) * count // 100)
