"""The defaults that the real server gives built-in objects, as far as operators compare them."""

from collections.abc import Callable, Mapping
from typing import Final

from shardwise_sandbox.objects import JsonObject, dig, name_of
from shardwise_sandbox.store import ObjectStore

CRD_FINALIZER: Final = "customresourcecleanup.apiextensions.k8s.io"


def _resources(container: JsonObject) -> None:
    resources = container.setdefault("resources", {})
    for amounts in resources.values():
        if isinstance(amounts, dict):
            amounts.update({name: str(amount) for name, amount in amounts.items()})
    if resources.get("limits"):
        # A limit without a request is also the request. Most manifests ask for GPUs by the limit alone.
        resources["requests"] = {**resources["limits"], **(resources.get("requests") or {})}


def _container(container: JsonObject) -> None:
    image = str(container.get("image") or "")
    latest = ":" not in image.rsplit("/", 1)[-1] or image.endswith(":latest")
    container.setdefault("imagePullPolicy", "Always" if latest else "IfNotPresent")
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    _resources(container)
    for port in container.get("ports") or ():
        port.setdefault("protocol", "TCP")
    for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
        if container.get(probe):
            _probe(container[probe])


def _probe(probe: JsonObject) -> None:
    for key, value in (("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)):
        probe.setdefault(key, value)
    if "httpGet" in probe:
        probe["httpGet"].setdefault("scheme", "HTTP")


def _toleration(kind: str) -> JsonObject:
    key = f"node.kubernetes.io/{kind}"
    return {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}


def _tolerations(spec: JsonObject) -> None:
    present = {toleration.get("key") for toleration in spec.get("tolerations") or ()}
    added = [_toleration(kind) for kind in ("not-ready", "unreachable")]
    spec["tolerations"] = [
        *(spec.get("tolerations") or ()),
        *(toleration for toleration in added if toleration["key"] not in present and None not in present),
    ]


def _gated(spec: JsonObject) -> JsonObject:
    """Mark a new pod with scheduling gates as waiting: schedulers ignore it."""
    if not spec.get("schedulingGates"):
        return {}
    why = {"reason": "SchedulingGated", "message": "Scheduling is blocked due to non-empty scheduling gates"}
    return {"conditions": [{"type": "PodScheduled", "status": "False", **why}]}


def pod(_: ObjectStore, obj: JsonObject, old: JsonObject | None) -> None:
    """Fill a pod."""
    del old
    spec = obj.setdefault("spec", {})
    for key, value in (
        ("restartPolicy", "Always"),
        ("dnsPolicy", "ClusterFirst"),
        ("schedulerName", "default-scheduler"),
        ("terminationGracePeriodSeconds", 30),
        ("serviceAccountName", "default"),
        ("enableServiceLinks", True),
        ("securityContext", {}),
        ("priority", 0),
        ("preemptionPolicy", "PreemptLowerPriority"),
    ):
        spec.setdefault(key, value)
    for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
        _container(container)
    _tolerations(spec)
    obj.setdefault("status", {"phase": "Pending", "qosClass": "Burstable"} | _gated(spec))


def service(store: ObjectStore, obj: JsonObject, old: JsonObject | None) -> None:
    """Fill a Service: it keeps its address, or gets a new address unless it is headless."""
    spec = obj.setdefault("spec", {})
    for key, value in (("type", "ClusterIP"), ("sessionAffinity", "None"), ("internalTrafficPolicy", "Cluster")):
        spec.setdefault(key, value)
    for port in spec.get("ports") or ():
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port["port"])
    if old is not None:
        spec.setdefault("clusterIP", dig(old, "spec", "clusterIP"))
    if not spec.get("clusterIP"):
        store.fresh_address += 1
        spec["clusterIP"] = f"10.96.{store.fresh_address // 254}.{store.fresh_address % 254 + 1}"
    spec["clusterIPs"] = [spec["clusterIP"]]
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    obj.setdefault("status", {"loadBalancer": {}})


def namespace(_: ObjectStore, obj: JsonObject, old: JsonObject | None) -> None:
    """Fill a namespace."""
    del old
    labels = obj["metadata"].get("labels") or {}
    obj["metadata"]["labels"] = {"kubernetes.io/metadata.name": name_of(obj), **labels}
    obj.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
    obj.setdefault("status", {"phase": "Active"})


def custom_resource_definition(store: ObjectStore, obj: JsonObject, old: JsonObject | None) -> None:
    """Fill a CustomResourceDefinition, and establish it at once."""
    spec = obj["spec"]
    names = spec["names"]
    names.setdefault("singular", names["kind"].lower())
    names.setdefault("listKind", f"{names['kind']}List")
    spec.setdefault("conversion", {"strategy": "None"})
    if old is None:
        # The real server adds this finalizer soon after creation, so that deleting a kind first deletes its objects.
        obj["metadata"].setdefault("finalizers", [CRD_FINALIZER])
        obj["status"] = {
            "acceptedNames": names,
            "conditions": [
                _established("NamesAccepted", "NoConflicts", store.now()),
                _established("Established", "InitialNamesAccepted", store.now()),
            ],
            "storedVersions": [version["name"] for version in spec["versions"] if version.get("storage")],
        }


def _established(kind: str, reason: str, now: str) -> JsonObject:
    return {"type": kind, "status": "True", "reason": reason, "message": "", "lastTransitionTime": now}


FILLERS: Final[Mapping[str, Callable[[ObjectStore, JsonObject, JsonObject | None], None]]] = {
    "Pod": pod,
    "Service": service,
    "Namespace": namespace,
    "CustomResourceDefinition": custom_resource_definition,
}
"""The function that fills each built-in kind. It runs on every write, and adds only absent fields."""
