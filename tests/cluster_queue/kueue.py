"""Kueue's controller beside the control plane, with its webhooks: the queue whose guest Shardwise is.

It runs outside the cluster; the API server calls its webhooks on loopback.
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
VERSION: Final = "kueue.x-k8s.io/v1beta2"
CERTIFICATES: Final = Path("/etc/kueue/metrics/certs")
"""Kueue v0.19.2 reads its metrics' key here if it does not make its own keys; the folder cannot be chosen."""

_HOOKS: Final = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")


@contextlib.contextmanager
def kueue(plane: ControlPlane) -> Iterator[None]:
    """Serve Kueue for as long as the block lasts."""
    for definition in _definitions(plane):
        plane.kubectl("apply", "--server-side", "-f", "-", given=definition)
        plane.established(definition["metadata"]["name"])
    plane.kubectl("create", "namespace", NAMESPACE)
    with _certificates(plane):
        _start(plane)
        plane.kubectl("apply", "-f", "-", given={"apiVersion": "v1", "kind": "List", "items": _webhooks(plane)})
        try:
            yield
        finally:
            plane.processes.stop("kueue")


@contextlib.contextmanager
def _certificates(plane: ControlPlane) -> Iterator[None]:
    """Put keys where Kueue reads them."""
    folder = plane.folder / "kueue"
    folder.mkdir(exist_ok=True)
    plane.keys.issue("kueue/tls", None)
    there = CERTIFICATES.parents[1].exists()
    CERTIFICATES.mkdir(parents=True, exist_ok=True)
    for name in ("tls.crt", "tls.key"):
        shutil.copy(folder / name, CERTIFICATES / name)
    try:
        yield
    finally:
        shutil.rmtree(CERTIFICATES if there else CERTIFICATES.parents[1], ignore_errors=True)


def _start(plane: ControlPlane) -> None:
    config = plane.folder / "kueue.yaml"
    config.write_text(yaml.safe_dump(_configuration(plane)))
    plane.processes.start(
        "kueue",
        str(binaries.find("kueue")),
        f"--kubeconfig={plane.kubeconfig}",
        f"--config={config}",
        "--feature-gates=VisibilityOnDemand=false",
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
        "clientConnection": {"qps": 300, "burst": 500},
        "integrations": {"frameworks": ["pod"]},
    }


def _is_ready(plane: ControlPlane) -> bool:
    if not plane.processes.alive("kueue"):
        raise RuntimeError("Kueue ended:\n" + "\n".join(plane.processes.last_words()))
    with urllib.request.urlopen(f"http://127.0.0.1:{plane.port('kueue-health')}/readyz", timeout=5) as answer:
        return bool(answer.status == 200)


def _reached(plane: ControlPlane, path: str) -> Json:
    bundle = base64.b64encode(plane.keys.authority.read_bytes()).decode()
    return {"url": f"https://127.0.0.1:{plane.port('kueue-webhook')}{path}", "caBundle": bundle}


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


def a_team(gpus: int) -> list[Json]:
    """Make a queue ``team`` with quota for some GPUs of nodes labelled ``pool: serving``, and two PriorityClasses."""
    resources = {"nvidia.com/gpu": str(gpus), "cpu": "1000", "memory": "10Ti", "ephemeral-storage": "10Ti"}
    quota = [{"name": name, "nominalQuota": amount} for name, amount in resources.items()]
    groups = [{"coveredResources": list(resources), "flavors": [{"name": "serving", "resources": quota}]}]
    classes = (("high", 1000), ("low", -1000))
    return [
        {
            "apiVersion": VERSION,
            "kind": "ResourceFlavor",
            "metadata": {"name": "serving"},
            "spec": {"nodeLabels": {"pool": "serving"}},
        },
        {
            "apiVersion": VERSION,
            "kind": "ClusterQueue",
            "metadata": {"name": "team"},
            "spec": {
                "namespaceSelector": {},
                "preemption": {"withinClusterQueue": "LowerPriority"},
                "resourceGroups": groups,
            },
        },
        {
            "apiVersion": VERSION,
            "kind": "LocalQueue",
            "metadata": {"name": "team", "namespace": "default"},
            "spec": {"clusterQueue": "team"},
        },
        *(
            {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value}
            for name, value in classes
        ),
    ]
