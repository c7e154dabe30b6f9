"""A real control plane on loopback: etcd, kube-apiserver, controller-manager, scheduler, and KWOK for the nodes.

It has its own keys, RBAC on, free ports, and lives in one folder. No process of it outlives the test run.
"""

import contextlib
import json
import shutil
import ssl
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml
from tests.cluster import binaries
from tests.cluster.keys import FRONT_PROXY, Keys
from tests.cluster.reached import ADMIN, Reached, a_kubeconfig
from tests.cluster.waiting import wait_until

_SERVICES: Final = "10.0.0.0/20"
_CALLS_A_SECOND: Final = 1000
"""What the controllers may make: by default 20, and whoever waits for them would wait for that."""


@dataclass
class ControlPlane(Reached):
    """The processes and how to reach them."""

    flags: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Further flags of each program, such as feature gates."""
    keys: Keys = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.keys = Keys(self.folder)

    @property
    def url(self) -> str:
        """Give the API server's address."""
        return f"https://127.0.0.1:{self.port('api')}"

    def tls(self) -> ssl.SSLContext:
        """Give the administrator's TLS."""
        context = ssl.create_default_context(cafile=str(self.keys.authority))
        context.load_cert_chain(self.folder / f"{ADMIN}.crt", self.folder / f"{ADMIN}.key")
        return context

    def start(self) -> None:
        """Start everything; ready once the default ServiceAccount is there, which pods need."""
        self.start_servers()
        self._start_controllers()
        self.start_kwok()
        wait_until(lambda: self.kubectl("get", "serviceaccount", "default"), "the default ServiceAccount")

    def start_servers(self, *flags: str) -> None:
        """Start etcd and the API server, with further flags of its own; ready, but nobody acts on what is written."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._make_keys()
        self._start_etcd()
        self.start_api_server(*flags)

    def start_api_server(self, *flags: str) -> None:
        """Start the API server, and wait until it is ready."""
        self._run(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{self.port('etcd')}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",
            f"--secure-port={self.port('api')}",
            f"--tls-cert-file={self.folder / 'serving.crt'}",
            f"--tls-private-key-file={self.folder / 'serving.key'}",
            f"--client-ca-file={self.keys.clients}",
            "--authorization-mode=Node,RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self.keys.accounts}",
            f"--service-account-signing-key-file={self.keys.accounts}",
            f"--service-cluster-ip-range={_SERVICES}",
            f"--audit-policy-file={self._audit_policy()}",
            f"--audit-log-path={self.audit_log}",
            "--audit-log-maxsize=10000",  # megabytes: a log that begins anew would lose the calls of a test
            f"--cert-dir={self.folder / 'generated'}",
            *self._aggregation(),
            *flags,
        )
        wait_until(self._is_ready, "the API server")

    def _aggregation(self) -> Iterator[str]:
        """Give the flags by which the API server hands on calls to the servers of other APIs, as kubeadm sets them."""
        yield f"--proxy-client-cert-file={self.folder / FRONT_PROXY}.crt"
        yield f"--proxy-client-key-file={self.folder / FRONT_PROXY}.key"
        yield f"--requestheader-client-ca-file={self.keys.authority}"
        yield f"--requestheader-allowed-names={FRONT_PROXY}"
        yield "--requestheader-username-headers=X-Remote-User"
        yield "--requestheader-group-headers=X-Remote-Group"
        yield "--requestheader-extra-headers-prefix=X-Remote-Extra-"

    def forget(self) -> None:
        """Let etcd forget its history."""
        base = f"http://127.0.0.1:{self.port('etcd')}/v3/kv"
        at = _post(f"{base}/range", {"key": "AA=="})["header"]["revision"]
        _post(f"{base}/compaction", {"revision": at, "physical": True})

    def _is_ready(self) -> bool:
        if not self.processes.alive("kube-apiserver"):
            raise RuntimeError("the API server ended:\n" + "\n".join(self.processes.last_words()))
        with urllib.request.urlopen(f"{self.url}/readyz", context=self.tls(), timeout=5) as answer:  # noqa: S310 - our own https
            return bool(answer.status == 200)

    def _start_etcd(self) -> None:
        client, peer = (f"http://127.0.0.1:{self.port(name)}" for name in ("etcd", "etcd-peer"))
        self._run(
            "etcd",
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
        )

    def _start_controllers(self) -> None:
        self._run(
            "kube-controller-manager",
            f"--kubeconfig={self.folder / 'controller-manager.kubeconfig'}",
            "--use-service-account-credentials",
            f"--service-account-private-key-file={self.keys.accounts}",
            f"--root-ca-file={self.keys.authority}",
            "--node-monitor-period=2s",
            "--node-monitor-grace-period=20s",
            "--node-eviction-rate=10",
            "--horizontal-pod-autoscaler-sync-period=2s",
            "--horizontal-pod-autoscaler-downscale-stabilization=2s",
            "--leader-elect=false",
            f"--kube-api-qps={_CALLS_A_SECOND}",
            f"--kube-api-burst={_CALLS_A_SECOND}",
            f"--secure-port={self.port('controller-manager')}",
            f"--cert-dir={self.folder / 'generated'}",
            "--bind-address=127.0.0.1",
        )
        self.start_scheduler()

    def start_scheduler(self) -> None:
        """Start the scheduler."""
        scheduler = self.folder / "scheduler.yaml"
        scheduler.write_text(yaml.safe_dump(self._scheduler()))
        self._run(
            "kube-scheduler",
            f"--config={scheduler}",
            f"--secure-port={self.port('scheduler')}",
            f"--cert-dir={self.folder / 'generated'}",
            "--bind-address=127.0.0.1",
        )

    def _scheduler(self) -> dict[str, Any]:
        return {
            "apiVersion": "kubescheduler.config.k8s.io/v1",
            "kind": "KubeSchedulerConfiguration",
            "clientConnection": {
                "kubeconfig": str(self.folder / "scheduler.kubeconfig"),
                "qps": _CALLS_A_SECOND,
                "burst": _CALLS_A_SECOND,
            },
            "leaderElection": {"leaderElect": False},
            "podInitialBackoffSeconds": 1,
            "podMaxBackoffSeconds": 1,
        }

    def _audit_policy(self) -> Path:
        path = self.folder / "audit.yaml"
        policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "Metadata"}]}
        path.write_text(yaml.safe_dump(policy | {"omitStages": ["RequestReceived"]}))
        return path

    def _make_keys(self) -> None:
        self.keys.make()
        cluster = {"server": self.url, "certificate-authority": str(self.keys.authority)}
        for name, user, group in (
            (ADMIN, "admin", "system:masters"),
            ("controller-manager", "system:kube-controller-manager", "system:kube-controller-manager"),
            ("scheduler", "system:kube-scheduler", "system:kube-scheduler"),
        ):
            made = a_kubeconfig(cluster, self.keys.issue(name, user, group))
            (self.folder / f"{name}.kubeconfig").write_text(yaml.safe_dump(made))

    def _run(self, name: str, *args: str) -> None:
        self.processes.start(name, str(binaries.find(name)), *args, *self.flags.get(name, ()))


@contextlib.contextmanager
def control_plane(folder: Path, **settings: Any) -> Iterator[ControlPlane]:
    """Run a control plane for as long as the block lasts. ``settings`` are fields of it."""
    plane = ControlPlane(folder, **settings)
    try:
        plane.start()
        yield plane
    except BaseException:
        print("\n".join(plane.processes.last_words()), file=sys.stderr)  # noqa: T201 - for whoever reads a failed run
        raise
    finally:
        plane.processes.stop_all()
        shutil.rmtree(folder / "etcd", ignore_errors=True)


def _post(url: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})  # noqa: S310 - our own http
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - as above
        return json.loads(answer.read())
