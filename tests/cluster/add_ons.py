"""What connects models with a cluster: the add-ons' own CRDs, and custom metrics for a HorizontalPodAutoscaler."""

import contextlib
import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlparse

import yaml
from tests.cluster import binaries
from tests.cluster.plane import ControlPlane
from tests.cluster.reached import Reached
from tests.cluster.waiting import wait_until

Json = dict[str, Any]


def install(plane: Reached, *names: str) -> None:
    """Let the API server serve the kinds of add-ons."""
    for name in names:
        made = yaml.safe_load(binaries.definition(name).read_text())
        plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", given=made)
        plane.established(made["metadata"]["name"])


def uninstall(plane: Reached, *names: str) -> None:
    """Take the kinds of add-ons and their objects away."""
    kinds = [yaml.safe_load(binaries.definition(name).read_text())["metadata"]["name"] for name in names]
    plane.kubectl("delete", "crd", "--ignore-not-found", *kinds)


_API: Final = "custom.metrics.k8s.io"
_VERSION: Final = f"{_API}/v1beta2"


@dataclass
class Metrics:
    """Custom metrics of pods, as an adapter serves them: the same value for every pod that is asked about."""

    plane: ControlPlane
    values: dict[str, str] = field(default_factory=dict)
    """By the name of a metric."""

    def answer(self, path: str) -> Json | None:
        """Answer a request of the API server; ``None`` where there is nothing."""
        url = urlparse(path)
        if url.path == f"/apis/{_VERSION}":
            return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": _VERSION, "resources": []}
        parts = [unquote(part) for part in url.path.split("/")]
        if parts[:4] != ["", "apis", _API, "v1beta2"] or len(parts) != 9 or parts[8] not in self.values:
            return None
        selector = parse_qs(url.query).get("labelSelector", [""])[0]
        listed = self.plane.kubectl("get", "pods", "-n", parts[5], "-l", selector, "-o", "name").split()
        items = [self._item(parts[5], name.removeprefix("pod/"), parts[8]) for name in listed]
        return {"kind": "MetricValueList", "apiVersion": _VERSION, "metadata": {}, "items": items}

    def _item(self, namespace: str, pod: str, metric: str) -> Json:
        return {
            "describedObject": {"kind": "Pod", "namespace": namespace, "name": pod, "apiVersion": "/v1"},
            "metric": {"name": metric, "selector": None},
            "timestamp": "2027-01-15T08:00:00Z",
            "value": self.values[metric],
        }


@contextlib.contextmanager
def custom_metrics(plane: ControlPlane) -> Iterator[Metrics]:
    """Serve custom metrics through the API server, whose aggregator finds our server by a Service of another name."""
    metrics = Metrics(plane)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(metrics))
    plane.keys.issue("metrics", None)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(plane.folder / "metrics.crt", plane.folder / "metrics.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    objects = list(_registered(server.server_address[1]))
    try:
        plane.kubectl("apply", "-f", "-", given={"apiVersion": "v1", "kind": "List", "items": objects})
        wait_until(lambda: _API in plane.kubectl("api-versions"), "custom metrics served")
        yield metrics
    finally:
        plane.kubectl("delete", "apiservice", f"v1beta2.{_API}")
        plane.kubectl("delete", "service", "custom-metrics", "-n", "default")
        server.shutdown()
        server.server_close()
        thread.join()


def _registered(port: int) -> Iterator[Json]:
    yield {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "custom-metrics", "namespace": "default"},
        "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]},
    }
    yield {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": f"v1beta2.{_API}"},
        "spec": {
            "group": _API,
            "version": "v1beta2",
            "service": {"name": "custom-metrics", "namespace": "default", "port": port},
            "insecureSkipTLSVerify": True,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
        },
    }


def _handler(metrics: Metrics) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Answers the API server in JSON."""

        def do_GET(self) -> None:
            found = metrics.answer(self.path)
            self._send(404 if found is None else 200, found or {"kind": "Status", "apiVersion": "v1", "code": 404})

        def _send(self, code: int, body: Mapping[str, Any]) -> None:
            content = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - a name of the base class
            del format, args

    return Handler
