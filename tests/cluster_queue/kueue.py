"""Kueue's controller beside the control plane, with its webhooks and its API of waiting groups.

It is the queue whose guest Shardwise is. It runs outside the cluster; the API server calls it on loopback.
"""

import base64
import contextlib
import os
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml
from tests.cluster import binaries
from tests.cluster.plane import ControlPlane
from tests.cluster.waiting import wait_until

Json = dict[str, Any]

NAMESPACE: Final = "kueue-system"
PENDING: Final = "visibility.kueue.x-k8s.io"
"""The group of Kueue's API of waiting groups."""

VERSION: Final = "kueue.x-k8s.io/v1beta2"
CERTIFICATES: Final = (Path("/etc/kueue/metrics/certs"), Path("/visibility"))
"""Kueue v0.19.2 reads the keys of its metrics and of its API here if it does not make its own keys.

The folders cannot be chosen.
"""

_HOOKS: Final = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
_VISIBILITY: Final = "visibility-server"
"""The Service of Kueue's API of waiting groups."""


@contextlib.contextmanager
def kueue(plane: ControlPlane) -> Iterator[None]:
    """Serve Kueue for as long as the block lasts."""
    for definition in _definitions(plane):
        plane.kubectl("apply", "--server-side", "-f", "-", given=definition)
        plane.established(definition["metadata"]["name"])
    plane.kubectl("create", "namespace", NAMESPACE)
    with _certificates(plane):
        _start(plane)
        items = [*_webhooks(plane), *visibility(plane)]
        plane.kubectl("apply", "-f", "-", given={"apiVersion": "v1", "kind": "List", "items": items})
        wait_until(lambda: plane.kubectl("get", "--raw", f"/apis/{PENDING}/v1beta2"), "places told")
        try:
            yield
        finally:
            plane.processes.stop("kueue")


@contextlib.contextmanager
def _certificates(plane: ControlPlane) -> Iterator[None]:
    """Put keys where Kueue reads them, and take away afterwards what was not there before."""
    folder = plane.folder / "kueue"
    folder.mkdir(exist_ok=True)
    plane.keys.issue("kueue/tls", None, service=(f"{_VISIBILITY}.{NAMESPACE}.svc",))
    with contextlib.ExitStack() as stack:
        for place in CERTIFICATES:
            missing = next((part for part in (*reversed(place.parents), place) if not part.exists()), None)
            if missing is not None:
                stack.callback(shutil.rmtree, missing, ignore_errors=True)
            place.mkdir(parents=True, exist_ok=True)
            for name in ("tls.crt", "tls.key"):
                shutil.copy(folder / name, place / name)
        yield


def _start(plane: ControlPlane) -> None:
    config = plane.folder / "kueue.yaml"
    config.write_text(yaml.safe_dump(_configuration(plane)))
    plane.processes.start(
        "kueue",
        str(binaries.find("kueue")),
        f"--kubeconfig={plane.kubeconfig}",
        f"--config={config}",
        env=os.environ | {"POD_NAMESPACE": NAMESPACE},
    )
    wait_until(lambda: _is_ready(plane), "Kueue's controller", 60)


def _configuration(plane: ControlPlane) -> Json:
    return {
        "apiVersion": "config.kueue.x-k8s.io/v1beta2",
        "kind": "Configuration",
        "namespace": NAMESPACE,
        "leaderElection": {"leaderElect": False},
        "internalCertManagement": {"enable": False},
        "health": {"healthProbeBindAddress": f"127.0.0.1:{plane.port('kueue-health')}"},
        "metrics": {"bindAddress": "0"},
        "webhook": {"host": "127.0.0.1", "port": plane.port("kueue-webhook"), "certDir": str(plane.folder / "kueue")},
        "visibilityServer": {"bindAddress": "127.0.0.1", "bindPort": plane.port("kueue-visibility")},
        "clientConnection": {"qps": 300, "burst": 500},
        "integrations": {"frameworks": ["pod"]},
    }


def _is_ready(plane: ControlPlane) -> bool:
    if not plane.processes.alive("kueue"):
        raise RuntimeError("Kueue ended:\n" + "\n".join(plane.processes.last_words()))
    with urllib.request.urlopen(f"http://127.0.0.1:{plane.port('kueue-health')}/readyz", timeout=5) as answer:
        return bool(answer.status == 200)


def _bundle(plane: ControlPlane) -> str:
    return base64.b64encode(plane.keys.authority.read_bytes()).decode()


def _reached(plane: ControlPlane, path: str) -> Json:
    return {"url": f"https://127.0.0.1:{plane.port('kueue-webhook')}{path}", "caBundle": _bundle(plane)}


def _definitions(plane: ControlPlane) -> list[Json]:
    """Give the module's own CRDs, with the address on loopback for the Service that converts between versions."""
    written = plane.kubectl("kustomize", str(binaries.beside("kueue", "config/components/crd")))
    found = list(yaml.safe_load_all(written))
    for definition in found:
        webhook = (definition["spec"].get("conversion") or {}).get("webhook")
        if webhook:
            webhook["clientConfig"] = _reached(plane, "/convert")
    return found


def _webhooks(plane: ControlPlane) -> list[Json]:
    """Give the module's own configurations, with the address on loopback for the Service they name."""
    written = plane.kubectl("kustomize", str(binaries.beside("kueue", "config/components/webhook")))
    found = [one for one in yaml.safe_load_all(written) if one["kind"] in _HOOKS]
    for hook in (hook for one in found for hook in one["webhooks"]):
        hook["clientConfig"] = _reached(plane, hook["clientConfig"]["service"]["path"])
    return found


def visibility(plane: ControlPlane) -> list[Json]:
    """Give the module's own Service and APIServices of waiting groups, with the address on loopback.

    The API server checks the certificate by the name of the Service.
    """
    written = plane.kubectl("kustomize", str(binaries.beside("kueue", "config/components/visibility")))
    found = [part for part in yaml.safe_load_all(written) if part["kind"] in ("Service", "APIService")]
    for part in found:
        if part["kind"] == "Service":
            part["spec"] = {"type": "ExternalName", "externalName": "localhost"}
        else:
            del part["spec"]["insecureSkipTLSVerify"]
            part["spec"] |= {"caBundle": _bundle(plane)}
            part["spec"]["service"]["port"] = plane.port("kueue-visibility")
    return found


def a_team(gpus: int) -> list[Json]:
    """Make a queue ``team`` with quota for some GPUs of nodes labelled ``pool: serving``, and two PriorityClasses."""
    classes = (("high", 1000), ("low", -1000))
    return [
        a_flavor("serving"),
        a_cluster_queue("team", gpus, "serving"),
        a_local_queue("team"),
        *(
            {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value}
            for name, value in classes
        ),
    ]


def a_flavor(pool: str) -> Json:
    """Make a flavour for the nodes with a label ``pool``, and of its name."""
    labels = {"nodeLabels": {"pool": pool}}
    return {"apiVersion": VERSION, "kind": "ResourceFlavor", "metadata": {"name": pool}, "spec": labels}


def a_cluster_queue(name: str, gpus: int, flavor: str) -> Json:
    """Make a ClusterQueue with quota for some GPUs of a flavour, and for enough of everything else."""
    resources = {"nvidia.com/gpu": str(gpus), "cpu": "1000", "memory": "10Ti", "ephemeral-storage": "10Ti"}
    quota = [{"name": resource, "nominalQuota": amount} for resource, amount in resources.items()]
    groups = [{"coveredResources": list(resources), "flavors": [{"name": flavor, "resources": quota}]}]
    spec = {"namespaceSelector": {}, "preemption": {"withinClusterQueue": "LowerPriority"}, "resourceGroups": groups}
    return {"apiVersion": VERSION, "kind": "ClusterQueue", "metadata": {"name": name}, "spec": spec}


def a_local_queue(name: str, cluster_queue: str = "team") -> Json:
    """Make a LocalQueue of the namespace ``default``."""
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": VERSION, "kind": "LocalQueue", "metadata": metadata, "spec": {"clusterQueue": cluster_queue}}
