"""A cluster that is there already, such as kind's: only where its context is named, and only if nothing is in the way.

The tests install the chart, CRDs and cluster roles, make fake GPU nodes and delete all of it again. On a cluster that
somebody uses that would do harm, so it is refused there.
"""

import contextlib
import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.cluster import binaries
from tests.cluster.processes import LIMIT
from tests.cluster.reached import Reached
from tests.cluster.waiting import wait_until

OURS: Final = {
    "crd": ("shardedmodels.shardwise.dev", "widgets.test.dev", "computedomains.resource.nvidia.com"),
    "namespace": ("shardwise", "second"),
    "clusterrole,clusterrolebinding": ("shardwise", "second-shardwise"),
}
"""What the tests make under names of their own, besides nodes and labelled namespaces."""

PLAYED: Final = "type=kwok"
LABEL: Final = "made-by=shardwise-conformance"
"""The label of the namespaces that the conformance suite makes."""

_KIND: Final = "kind-"


class NotOurs(Exception):
    """A cluster the tests must not touch, and why."""


@dataclass
class Existing(Reached):
    """A cluster somebody else runs, through a proxy of kubectl's, whatever the administrator's credentials are."""

    @property
    def url(self) -> str:
        """Give the proxy's address."""
        return f"http://127.0.0.1:{self.port('proxy')}"

    def tls(self) -> bool:
        """Give nothing: the proxy takes plain calls on loopback."""
        return False

    def forget(self) -> None:
        """Do nothing: its etcd is not ours to compact."""

    def start(self) -> None:
        """Start the proxy, and what plays the kubelets of the fake nodes."""
        proxy = ("proxy", f"--port={self.port('proxy')}")
        kubectl = str(binaries.find("kubectl"))
        self.processes.start("kubectl-proxy", kubectl, f"--kubeconfig={self.kubeconfig}", *proxy)
        self.start_kwok()

    def is_ready(self) -> bool:
        """Tell whether the API server answers through the proxy."""
        with urllib.request.urlopen(f"{self.url}/readyz", timeout=5) as answer:  # noqa: S310 - our own http
            return bool(answer.status == 200)

    def refuse_if_used(self) -> None:
        """Raise :class:`NotOurs` where GPUs are, or what the tests would make and delete is there already."""
        nodes = json.loads(self.kubectl("get", "nodes", "-o", "json"))["items"]
        gpus = [node["metadata"]["name"] for node in nodes if "nvidia.com/gpu" in node["status"].get("allocatable", {})]
        if gpus:
            raise NotOurs(f"node {gpus[0]} has GPUs: the tests bring fake nodes, and would plan on yours")
        found = [name for kind, names in OURS.items() for name in self._there(kind, *names)]
        found += self._there("nodes", "-l", PLAYED) + self._there("namespaces", "-l", LABEL)
        if found:
            raise NotOurs(f"{', '.join(found)} is there: the tests would delete it")

    def clean(self) -> None:
        """Delete what the tests made."""
        for kind, names in OURS.items():
            self.kubectl("delete", kind, *names, "--ignore-not-found")
        self.kubectl("delete", "namespaces", "-l", LABEL)
        self.kubectl("delete", "nodes", "-l", PLAYED)

    def _there(self, kind: str, *args: str) -> list[str]:
        return self.kubectl("get", kind, *args, "--ignore-not-found", "-o", "name").split()


@contextlib.contextmanager
def existing_cluster(folder: Path, context: str) -> Iterator[Existing]:
    """Use a cluster by the name of its context for as long as the block lasts, and leave it as it was.

    Raises :class:`NotOurs` for one that is not kind's, and for one that is used.
    """
    if not context.startswith(_KIND):
        raise NotOurs(f"context `{context}` is not one of kind's (`{_KIND}…`): the tests change a whole cluster")
    cluster = Existing(folder)
    folder.mkdir(parents=True, exist_ok=True)
    cluster.kubeconfig.write_text(_configuration_of(context))
    cluster.refuse_if_used()
    try:
        cluster.start()
        wait_until(cluster.is_ready, "kubectl's proxy")
        yield cluster
    finally:
        try:
            cluster.clean()
        finally:
            cluster.processes.stop_all()


def _configuration_of(context: str) -> str:
    """Give the one context of the user's kubeconfig, with what its files hold. Raises :class:`NotOurs` without it."""
    kubectl = str(binaries.find("kubectl"))
    command = [kubectl, "config", "view", "--raw", "--minify", "--flatten", f"--context={context}"]
    shown = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT, env=os.environ)  # noqa: S603 - built from the modules beside this file
    if shown.returncode:
        raise NotOurs(f"context `{context}`: {shown.stderr.strip()}")
    return shown.stdout
