"""Manifests of plans made by hand, and what a cluster makes of them: names by DNS, arguments by the kubelet."""

import copy
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import jsonschema
import kubernetes_validate
from tests.engines.support import a_plan, wants

from shardwise.domain.launch import Wanted
from shardwise.domain.layout import Layout
from shardwise.domain.plan import Plan
from shardwise.render.bundle import bundle, group
from shardwise.render.manifest import Manifest
from shardwise_sandbox import Sandbox, WriteOptions, compute_domain_definition

ONE_GPU = a_plan(Layout(1, 1))
ONE_NODE = a_plan(Layout(8, 1))
TWO_NODES = a_plan(Layout(8, 2), 8, 8)
DATA_ON_TWO_NODES = a_plan(Layout(1, 1, True, 16), 8, 8)
TWO_TRAYS = a_plan(Layout(8, 1), 4, 4)
TWO_REPLICAS = a_plan(Layout(8, 2), 8, 8, replicas=2)


def pods(plan: Plan, wanted: Wanted | None = None, *, replica: int = 0, attempt: int = 0) -> list[Manifest]:
    """Render the pods of one attempt of one replica."""
    return list(group(wanted or wants(), plan, replica, attempt).pods)


def leader(plan: Plan, **changes: Any) -> Manifest:
    """Render a group for an object that has fields of ``Launch`` changed, and give its first pod."""
    return pods(plan, wants(**changes))[0]


def engine(pod: Manifest) -> Manifest:
    """Give the one container that runs the engine."""
    (container,) = pod["spec"]["containers"]
    found: Manifest = container
    return found


def containers(manifests: Iterable[Manifest]) -> list[Manifest]:
    """Give all containers of all pods, those that only wait included."""
    specs = [manifest["spec"] for manifest in manifests if manifest["kind"] == "Pod"]
    return [container for spec in specs for container in (*spec.get("initContainers", ()), *spec["containers"])]


def of_kind(kind: str, manifests: Iterable[Manifest]) -> list[Manifest]:
    """Give the manifests of a kind."""
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def everything(plan: Plan, wanted: Wanted | None = None) -> tuple[Manifest, ...]:
    """Render all for an object."""
    return bundle(wanted or wants(), plan)


def selects(service: Manifest, pod: Manifest) -> bool:
    """Tell whether a Service reaches a pod."""
    return bool(service["spec"]["selector"].items() <= pod["metadata"]["labels"].items())


def names_in_dns(manifests: Iterable[Manifest]) -> dict[str, str]:
    """Give the pod behind each name that Kubernetes publishes before anything is ready.

    A pod has a name if a headless Service of its namespace is called as its subdomain says, selects it, and does not
    wait for it to be ready.
    """
    listed = list(manifests)
    return {
        f"{pod['spec']['hostname']}.{pod['spec']['subdomain']}.{pod['metadata']['namespace']}.svc": _name(pod)
        for pod in of_kind("Pod", listed)
        for service in of_kind("Service", listed)
        if service["spec"].get("clusterIP") == "None"
        and service["spec"].get("publishNotReadyAddresses") is True
        and service["metadata"]["namespace"] == pod["metadata"]["namespace"]
        and _name(service) == pod["spec"]["subdomain"]
        and selects(service, pod)
    }


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """Expand as the kubelet does arguments and values (third_party/forked/golang/expansion/expand.go)."""
    done, rest = "", text
    while "$" in rest:
        before, _, after = rest.partition("$")
        done += before
        if after.startswith("$"):
            done, rest = done + "$", after[1:]
        elif after.startswith("(") and ")" in after:
            name, _, rest = after[1:].partition(")")
            done += variables.get(name, f"$({name})")
        else:
            done, rest = done + "$", after
    return done + rest


def _name(manifest: Manifest) -> str:
    return str(manifest["metadata"]["name"])


def a_cluster(**changes: Any) -> Sandbox:
    """Give a cluster with a clock that stands."""
    return Sandbox(now=lambda: datetime(2027, 1, 15, tzinfo=UTC), **changes)


def check(manifest: Manifest, release: str) -> None:
    """Hold a manifest to the published schema of its kind; a ComputeDomain to its own."""
    if manifest["kind"] == "ComputeDomain":
        (version,) = compute_domain_definition()["spec"]["versions"]
        jsonschema.validate(manifest, closed(version["schema"]["openAPIV3Schema"], "apiVersion", "kind", "metadata"))
    elif manifest["kind"] != "ResourceClaimTemplate" or release >= "1.34":
        assert kubernetes_validate.validate(manifest, release, strict=True) == release


def closed(schema: Manifest, *more: str) -> Manifest:
    """Refuse unknown fields at every depth."""
    if "properties" not in schema:
        return schema
    properties = {name: closed(one) for name, one in schema["properties"].items()} | {name: {} for name in more}
    return schema | {"properties": properties, "additionalProperties": False}


def create_strictly(cluster: Sandbox, manifest: Manifest) -> Manifest:
    """Create as a client does that wants unknown fields refused."""
    resource = cluster.store.registry.of(manifest)
    namespace = manifest["metadata"]["namespace"]
    created = cluster.api.writer.create(resource, namespace, copy.deepcopy(manifest), WriteOptions(validation="Strict"))
    found: Manifest = copy.deepcopy(created)
    return found
