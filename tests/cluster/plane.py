"""A real control plane on loopback: etcd, kube-apiserver, controller-manager, scheduler, and KWOK for the nodes.

It has its own keys, RBAC on, free ports, and lives in one folder. No process outlives the test run: each is ended with
it, and dies with its parent where the kernel can see to that.
"""

import contextlib
import ctypes
import json
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import trustme
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.cluster import binaries

LIMIT: Final = 60.0
"""Seconds anything may take to become so; all together take about 5."""

_PDEATHSIG: Final = 1
_TAIL: Final = 40
_SERVICES: Final = "10.0.0.0/24"
_STAGES: Final = ("node/fast/node-initialize", "node/heartbeat-with-lease/node-heartbeat-with-lease")
_ADMIN: Final = "admin"


def wait_until(so: Callable[[], Any], what: str, limit: float = LIMIT) -> Any:
    """Ask until something is so. Raises ``TimeoutError`` that says what was waited for, and what was answered last."""
    deadline = time.monotonic() + limit
    last: object = None
    while True:
        try:
            last = so()
        except (OSError, AssertionError, subprocess.CalledProcessError) as error:
            last, failed = error, True
        else:
            failed = False
        if last and not failed:
            return last
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {limit:g} s in vain for: {what}; last answer: {last!r}")
        time.sleep(0.05)


@dataclass
class ControlPlane:
    """The processes and how to reach them."""

    folder: Path
    port: int = 0
    _ports: dict[str, int] = field(default_factory=dict)
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Give the API server's address."""
        return f"https://127.0.0.1:{self._port('api')}"

    @property
    def kubeconfig(self) -> Path:
        """Give the administrator's kubeconfig."""
        return self.folder / f"{_ADMIN}.kubeconfig"

    @property
    def audit_log(self) -> Path:
        """Give the file with every request, its user and its answer's code, one JSON object a line."""
        return self.folder / "audit.log"

    def start(self) -> None:
        """Start everything; ready once the default ServiceAccount is there, which pods need."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._make_keys()
        self._start_etcd()
        self.start_api_server()
        self._start_controllers()
        wait_until(lambda: self.kubectl("get", "serviceaccount", "default"), "the default ServiceAccount")

    def stop(self) -> None:
        """End every process, the servers last."""
        for name in ("kwok", "kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd"):
            self.stop_one(name)

    def stop_one(self, name: str, how: signal.Signals = signal.SIGKILL) -> None:
        """End one process and wait for it."""
        process = self._processes.pop(name, None)
        if process is not None:
            process.send_signal(how)
            process.wait(LIMIT)

    def start_api_server(self) -> None:
        """Start the API server, and wait until it is ready."""
        keys = self.folder
        self._run(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{self._port('etcd')}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",
            f"--secure-port={self._port('api')}",
            f"--tls-cert-file={keys / 'serving.crt'}",
            f"--tls-private-key-file={keys / 'serving.key'}",
            f"--client-ca-file={keys / 'ca.crt'}",
            "--authorization-mode=Node,RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={keys / 'accounts.key'}",
            f"--service-account-signing-key-file={keys / 'accounts.key'}",
            f"--service-cluster-ip-range={_SERVICES}",
            f"--audit-policy-file={self._audit_policy()}",
            f"--audit-log-path={self.audit_log}",
            f"--cert-dir={keys / 'generated'}",
        )
        wait_until(self._is_ready, "the API server")

    def kubectl(self, *args: str, given: object = None, check: bool = True) -> str:
        """Run kubectl as administrator; ``given`` is put to its standard input as JSON. Gives what it printed."""
        return self._ran("kubectl", args, None if given is None else json.dumps(given), check=check)

    def helm(self, *args: str, check: bool = True) -> str:
        """Run Helm as administrator, and give what it printed."""
        return self._ran("helm", args, check=check)

    def _ran(self, name: str, args: Sequence[str], given: str | None = None, *, check: bool) -> str:
        """Run a program whose caches lie in our folder."""
        command = [str(binaries.find(name)), f"--kubeconfig={self.kubeconfig}", *args]
        home = {"HOME": str(self.folder)}
        ran = subprocess.run(  # noqa: S603 - built from the modules beside this file
            command, input=given, capture_output=True, text=True, check=False, timeout=2 * LIMIT, env=home
        )
        if check and ran.returncode:
            raise AssertionError(f"{name} {' '.join(args)}: {ran.stderr.strip()}")
        return ran.stdout + ("" if check else ran.stderr)

    def kubeconfig_for(self, name: str, token: str) -> Path:
        """Write a kubeconfig for somebody with a token."""
        path = self.folder / f"{name}.kubeconfig"
        path.write_text(yaml.safe_dump(self._kubeconfig({"token": token})))
        return path

    def ssl_context(self) -> ssl.SSLContext:
        """Give the administrator's TLS."""
        context = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
        context.load_cert_chain(self.folder / f"{_ADMIN}.crt", self.folder / f"{_ADMIN}.key")
        return context

    def compact(self) -> None:
        """Let etcd forget its history, so that what began before is too old to go on."""
        base = f"http://127.0.0.1:{self._port('etcd')}/v3/kv"
        at = _post(f"{base}/range", {"key": "AA=="})["header"]["revision"]
        _post(f"{base}/compaction", {"revision": at, "physical": True})

    def logs(self) -> Iterator[str]:
        """Give the last lines of every process's log."""
        for path in sorted(self.folder.glob("*.log")):
            if path != self.audit_log:
                yield f"--- {path.name}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-_TAIL:])

    def _is_ready(self) -> bool:
        process = self._processes["kube-apiserver"]
        if process.poll() is not None:
            raise RuntimeError("the API server ended:\n" + "\n".join(self.logs()))
        with urllib.request.urlopen(f"{self.url}/readyz", context=self.ssl_context(), timeout=5) as answer:  # noqa: S310 - our own https
            return bool(answer.status == 200)

    def _start_etcd(self) -> None:
        client, peer = (f"http://127.0.0.1:{self._port(name)}" for name in ("etcd", "etcd-peer"))
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
            f"--service-account-private-key-file={self.folder / 'accounts.key'}",
            f"--root-ca-file={self.folder / 'ca.crt'}",
            "--node-monitor-period=2s",
            "--node-monitor-grace-period=20s",
            "--leader-elect=false",
            f"--secure-port={self._port('controller-manager')}",
            f"--cert-dir={self.folder / 'generated'}",
            "--bind-address=127.0.0.1",
        )
        scheduler = self.folder / "scheduler.yaml"
        scheduler.write_text(yaml.safe_dump(self._scheduler()))
        self._run(
            "kube-scheduler",
            f"--config={scheduler}",
            f"--secure-port={self._port('scheduler')}",
            f"--cert-dir={self.folder / 'generated'}",
            "--bind-address=127.0.0.1",
        )
        self.start_kwok()

    def start_kwok(self) -> None:
        """Start what plays the kubelets of nodes labelled ``type: kwok``."""
        stages = binaries.kwok_stages()
        configs = [f"--config={stages / f'{name}.yaml'}" for name in _STAGES]
        own = Path(__file__).parent / "stages.yaml"
        self._run(
            "kwok",
            f"--kubeconfig={self.kubeconfig}",
            "--manage-all-nodes=false",
            "--manage-nodes-with-label-selector=type=kwok",
            "--node-lease-duration-seconds=10",
            "--node-ip=127.0.0.1",
            f"--node-port={self._port('kwok')}",
            f"--server-address=127.0.0.1:{self._port('kwok-server')}",
            *configs,
            f"--config={own}",
        )

    def _scheduler(self) -> dict[str, Any]:
        return {
            "apiVersion": "kubescheduler.config.k8s.io/v1",
            "kind": "KubeSchedulerConfiguration",
            "clientConnection": {"kubeconfig": str(self.folder / "scheduler.kubeconfig")},
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
        authority = trustme.CA(organization_name="Shardwise testbed")
        authority.cert_pem.write_to_path(str(self.folder / "ca.crt"))
        self._write("serving", authority.issue_cert("127.0.0.1", "localhost"))
        for name, user, group in (
            (_ADMIN, "admin", "system:masters"),
            ("controller-manager", "system:kube-controller-manager", "system:kube-controller-manager"),
            ("scheduler", "system:kube-scheduler", "system:kube-scheduler"),
        ):
            self._write(name, authority.issue_cert("127.0.0.1", common_name=user, organization_name=group))
            user_keys = {
                "client-certificate": str(self.folder / f"{name}.crt"),
                "client-key": str(self.folder / f"{name}.key"),
            }
            (self.folder / f"{name}.kubeconfig").write_text(yaml.safe_dump(self._kubeconfig(user_keys)))
        accounts = rsa.generate_private_key(65537, 2048).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        (self.folder / "accounts.key").write_bytes(accounts)

    def _write(self, name: str, issued: trustme.LeafCert) -> None:
        issued.private_key_pem.write_to_path(str(self.folder / f"{name}.key"))
        issued.cert_chain_pems[0].write_to_path(str(self.folder / f"{name}.crt"))

    def _kubeconfig(self, user: Mapping[str, str]) -> dict[str, Any]:
        cluster = {"server": self.url, "certificate-authority": str(self.folder / "ca.crt")}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "testbed", "cluster": cluster}],
            "users": [{"name": "user", "user": dict(user)}],
            "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": "user"}}],
            "current-context": "testbed",
        }

    def _run(self, name: str, *args: str) -> None:
        command = [str(binaries.find(name)), *args]
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(  # noqa: S603 - built from the modules beside this file
                command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - calls the kernel only
            )

    def _port(self, name: str) -> int:
        """Give the port of a part, the same for as long as the plane lives."""
        if name not in self._ports:
            with socket.socket() as found:
                found.bind(("127.0.0.1", 0))
                self._ports[name] = found.getsockname()[1]
        return self._ports[name]


@contextlib.contextmanager
def control_plane(folder: Path) -> Iterator[ControlPlane]:
    """Run a control plane for as long as the block lasts."""
    plane = ControlPlane(folder)
    try:
        plane.start()
        yield plane
    except BaseException:
        print("\n".join(plane.logs()), file=sys.stderr)  # noqa: T201 - for whoever reads a failed run
        raise
    finally:
        plane.stop()
        shutil.rmtree(folder / "etcd", ignore_errors=True)


def as_kwok(nodes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give nodes that KWOK plays: its label, its annotation, and Ready left for it to say."""
    return [_as_kwok(node) for node in nodes]


def _as_kwok(node: dict[str, Any]) -> dict[str, Any]:
    metadata = node["metadata"]
    played = {
        "name": metadata["name"],
        "labels": {**(metadata.get("labels") or {}), "type": "kwok"},
        "annotations": {"kwok.x-k8s.io/node": "fake"},
    }
    capacity = {"cpu": "192", "memory": "2Ti", "pods": "110", **(node["status"].get("allocatable") or {})}
    status = {"allocatable": capacity, "capacity": capacity}
    return {"apiVersion": "v1", "kind": "Node", "metadata": played, "spec": node.get("spec") or {}, "status": status}


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)


def _post(url: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})  # noqa: S310 - our own http
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - as above
        return json.loads(answer.read())
