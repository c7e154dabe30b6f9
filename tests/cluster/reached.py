"""A cluster as its administrator reaches it: kubectl, Helm, kubeconfigs for others, and kubelets to play."""

import abc
import json
import socket
import ssl
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml
from tests.cluster import binaries
from tests.cluster.processes import LIMIT, Processes
from tests.cluster.waiting import wait_until

Json = dict[str, Any]

ADMIN: Final = "admin"
_STAGES: Final = ("node/fast/node-initialize", "node/heartbeat-with-lease/node-heartbeat-with-lease")


@dataclass
class Reached(abc.ABC):
    """A cluster; what is run or written for it lies in one folder."""

    folder: Path
    stages: Path = Path(__file__).parent / "stages.yaml"
    """How pods live on the fake nodes, for KWOK."""
    processes: Processes = field(init=False)
    _ports: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.processes = Processes(self.folder)

    @property
    @abc.abstractmethod
    def url(self) -> str:
        """Give an address at which the API server takes the administrator's calls."""

    @abc.abstractmethod
    def tls(self) -> ssl.SSLContext | bool:
        """Give what is needed to speak with that address as administrator."""

    @abc.abstractmethod
    def forget(self) -> None:
        """Let the server forget its history, so that what began before is too old to go on, where that can be done."""

    @property
    def kubeconfig(self) -> Path:
        """Give the administrator's kubeconfig."""
        return self.folder / f"{ADMIN}.kubeconfig"

    @property
    def audit_log(self) -> Path:
        """Give the file with every request, its user and its answer's code, a line each, where one is kept."""
        return self.folder / "audit.jsonl"

    def kubectl(self, *args: str, given: object = None, check: bool = True) -> str:
        """Run kubectl as administrator; ``given`` is put to its standard input as JSON. Gives what it printed."""
        return self._ran("kubectl", args, None if given is None else json.dumps(given), check=check)

    def helm(self, *args: str, check: bool = True) -> str:
        """Run Helm as administrator, and give what it printed."""
        return self._ran("helm", args, check=check)

    def helm3(self, *args: str) -> str:
        """Run Helm 3 as administrator, and give what it printed."""
        return self._ran("helm3", args, check=True)

    def established(self, definition: str) -> None:
        """Wait until a kind is served; kubectl gives up at once on a definition that has no conditions yet."""
        wait = ("wait", "--for=condition=Established", f"crd/{definition}", "--timeout=10s")
        wait_until(lambda: self.kubectl(*wait), f"{definition} Established")

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

    def kubeconfig_for(self, name: str, user: Mapping[str, str]) -> Path:
        """Write a kubeconfig of this cluster for somebody else: a token, or paths of a certificate and its key."""
        (cluster,) = yaml.safe_load(self.kubeconfig.read_text())["clusters"]
        path = self.folder / f"{name}.kubeconfig"
        path.write_text(yaml.safe_dump(a_kubeconfig(cluster["cluster"], user)))
        return path

    def port(self, name: str) -> int:
        """Give the port of a part: free when it is first asked for, the same from then on."""
        if name not in self._ports:
            with socket.socket() as found:
                found.bind(("127.0.0.1", 0))
                self._ports[name] = found.getsockname()[1]
        return self._ports[name]

    def start_kwok(self) -> None:
        """Start what plays the kubelets of nodes labelled ``type: kwok``."""
        stages = binaries.beside("kwok", "kustomize/stage")
        configs = [f"--config={stages / f'{name}.yaml'}" for name in _STAGES]
        self.processes.start(
            "kwok",
            str(binaries.find("kwok")),
            f"--kubeconfig={self.kubeconfig}",
            "--manage-all-nodes=false",
            "--manage-nodes-with-label-selector=type=kwok",
            "--node-lease-duration-seconds=10",
            "--node-ip=127.0.0.1",
            f"--node-port={self.port('kwok')}",
            f"--server-address=127.0.0.1:{self.port('kwok-server')}",
            *configs,
            f"--config={self.stages}",
        )


def a_kubeconfig(cluster: Mapping[str, Any], user: Mapping[str, str]) -> Json:
    """Make a kubeconfig of one context."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "testbed", "cluster": dict(cluster)}],
        "users": [{"name": "user", "user": dict(user)}],
        "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": "user"}}],
        "current-context": "testbed",
    }


def fleet(cluster: Reached, nodes: Sequence[Json]) -> None:
    """Make nodes that KWOK plays, and wait until they are Ready."""
    cluster.kubectl("create", "-f", "-", given={"apiVersion": "v1", "kind": "List", "items": as_kwok(nodes)})
    names = {node["metadata"]["name"] for node in nodes}

    def ready() -> bool:
        lines = cluster.kubectl("get", "nodes", "--no-headers", "-l", "type=kwok").splitlines()
        return names <= {name for name, state, *_ in map(str.split, lines) if state.startswith("Ready")}

    wait_until(ready, f"{len(nodes)} nodes Ready")


def as_kwok(nodes: Sequence[Json]) -> list[Json]:
    """Give nodes that KWOK plays: its label, its annotation, and Ready left for it to say."""
    return [_as_kwok(node) for node in nodes]


def _as_kwok(node: dict[str, Any]) -> dict[str, Any]:
    metadata = node["metadata"]
    played = {
        "name": metadata["name"],
        "labels": {**(metadata.get("labels") or {}), "type": "kwok"},
        "annotations": {"kwok.x-k8s.io/node": "fake"},
    }
    stated = {"cpu": "192", "memory": "2Ti", "ephemeral-storage": "7Ti", "pods": "110"}
    capacity = {**stated, **(node["status"].get("allocatable") or {})}
    status = {"allocatable": capacity, "capacity": capacity}
    return {"apiVersion": "v1", "kind": "Node", "metadata": played, "spec": node.get("spec") or {}, "status": status}
