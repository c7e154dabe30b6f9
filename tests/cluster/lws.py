"""LeaderWorkerSet's controller beside the control plane, with its webhooks: what Shardwise is measured against.

It runs outside the cluster; the API server calls its webhooks on loopback. They write the ``LWS_*`` variables and the
defaults of its objects.
"""

import base64
import contextlib
import os
import urllib.request
from collections.abc import Iterator
from typing import Any, Final

import yaml
from tests.cluster import binaries
from tests.cluster.plane import ControlPlane
from tests.cluster.waiting import wait_until

Json = dict[str, Any]

NAMESPACE: Final = "lws-system"
CRDS: Final = ("leaderworkersets.leaderworkerset.x-k8s.io", "disaggregatedsets.disaggregatedset.x-k8s.io")
_HOOKS: Final = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")


@contextlib.contextmanager
def leader_worker_sets(plane: ControlPlane) -> Iterator[None]:
    """Serve LeaderWorkerSets for as long as the block lasts; its objects are to be deleted before it ends."""
    plane.kubectl("apply", "--server-side", "-f", str(binaries.beside("lws", "config/crd/bases")))
    for name in CRDS:
        plane.established(name)
    plane.kubectl("create", "namespace", NAMESPACE)
    _start(plane)
    hooks = {"apiVersion": "v1", "kind": "List", "items": _webhooks(plane)}
    plane.kubectl("apply", "-f", "-", given=hooks)
    try:
        yield
    finally:
        plane.kubectl("delete", "-f", "-", given=hooks)
        plane.processes.stop("lws")
        plane.kubectl("delete", "crd", *CRDS)
        plane.kubectl("delete", "namespace", NAMESPACE)


def _start(plane: ControlPlane) -> None:
    config = plane.folder / "lws.yaml"
    config.write_text(yaml.safe_dump(_configuration(plane)))
    plane.processes.start(
        "lws",
        str(binaries.find("lws")),
        f"-kubeconfig={plane.kubeconfig}",
        f"-config={config}",
        env=os.environ | {"POD_NAMESPACE": NAMESPACE},
    )
    wait_until(lambda: _is_ready(plane), "LeaderWorkerSet's controller")


def _configuration(plane: ControlPlane) -> Json:
    hooks = plane.folder / "lws"
    hooks.mkdir(exist_ok=True)
    plane.keys.issue("lws/tls", None)
    return {
        "apiVersion": "config.lws.x-k8s.io/v1alpha1",
        "kind": "Configuration",
        "leaderElection": {"leaderElect": False},
        "internalCertManagement": {"enable": False},
        "webhook": {"host": "127.0.0.1", "port": plane.port("lws-webhook"), "certDir": str(hooks)},
        "metrics": {"bindAddress": "0"},
        "health": {"healthProbeBindAddress": f"127.0.0.1:{plane.port('lws-health')}"},
    }


def _is_ready(plane: ControlPlane) -> bool:
    """Tell whether its webhooks answer: its readiness waits for them."""
    if not plane.processes.alive("lws"):
        raise RuntimeError("LeaderWorkerSet's controller ended:\n" + "\n".join(plane.processes.last_words()))
    with urllib.request.urlopen(f"http://127.0.0.1:{plane.port('lws-health')}/readyz", timeout=5) as answer:
        return bool(answer.status == 200)


def _webhooks(plane: ControlPlane) -> list[Json]:
    """Give the module's own configurations, with the address on loopback for the Service they name."""
    written = plane.kubectl("kustomize", str(binaries.beside("lws", "config/webhook")))
    found = [one for one in yaml.safe_load_all(written) if one["kind"] in _HOOKS]
    bundle = base64.b64encode(plane.keys.authority.read_bytes()).decode()
    for hook in (hook for one in found for hook in one["webhooks"]):
        path = hook["clientConfig"]["service"]["path"]
        url = f"https://127.0.0.1:{plane.port('lws-webhook')}{path}"
        hook["clientConfig"] = {"url": url, "caBundle": bundle}
    return found
