"""The chart by Helm 3, which many clusters still have: the same objects as by Helm 4, from the install to the end."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from tests.cluster.installed import CHART, Installed
from tests.cluster.reached import Reached
from tests.cluster.test_cluster_chart import deployment, everything
from tests.cluster.waiting import wait_until

pytestmark = pytest.mark.cluster

Json = dict[str, Any]

VALUES: dict[str, tuple[str, ...]] = {
    "the default": (),
    "single namespaces": ("--set", "namespaces={a,b}"),
    "locked down": ("--set", "networkPolicy.create=true", "--set", "podAntiAffinity=required"),
    "all of Prometheus": tuple(
        word
        for part in ("serviceMonitor", "podMonitor", "rules", "dashboard")
        for word in ("--set", f"metrics.{part}.create=true")
    ),
    "one operator": ("--set", "replicas=1"),
}
RELEASE = ("third-helm", "-n", "third-helm")
WAIT = ("--wait", "--timeout=60s")


@pytest.fixture
def empty(installed: Installed) -> Iterator[Reached]:
    """Give the cluster with an empty namespace."""
    plane = installed.plane
    plane.kubectl("create", "namespace", "third-helm")
    plane.kubectl("wait", "--for=create", "serviceaccount/default", "configmap/kube-root-ca.crt", "-n", "third-helm")
    yield plane
    plane.kubectl("delete", "namespace", "third-helm")


def objects(text: str) -> list[Json]:
    return [document for document in yaml.safe_load_all(text) if document]


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_both_render_the_same_objects(installed: Installed, values: tuple[str, ...]) -> None:
    """In the same order, from the chart that both find nothing wrong with."""
    plane, chart = installed.plane, ("template", "shardwise", str(CHART), "-n", "shardwise", *values)
    assert "0 chart(s) failed" in plane.helm3("lint", "--strict", str(CHART), *values)
    made = objects(plane.helm3(*chart))
    assert made == objects(plane.helm(*chart))
    assert "Deployment" in {document["kind"] for document in made}


def test_helm_3_installs_upgrades_takes_back_and_uninstalls(empty: Reached) -> None:
    """Its last word leaves no object, as that of Helm 4 does."""
    before = everything(empty)
    empty.helm3("install", RELEASE[0], str(CHART), *RELEASE[1:], "--set", "workers=3", *WAIT)
    kept = ("--reset-then-reuse-values", "--set", "podLabels.team=serving")
    empty.helm3("upgrade", RELEASE[0], str(CHART), *RELEASE[1:], *kept, *WAIT)
    assert workers_and_team(empty) == ("--workers=3", "serving")
    empty.helm3("rollback", RELEASE[0], "1", *RELEASE[1:], *WAIT)
    assert workers_and_team(empty) == ("--workers=3", None)
    empty.helm3("uninstall", *RELEASE, "--wait", "--cascade=foreground", "--timeout=180s")
    wait_until(lambda: everything(empty) == before, "the objects of before")


def test_a_release_of_helm_3_goes_on_with_helm_4(empty: Reached) -> None:
    """With the values that were set, and until its end."""
    empty.helm3("install", RELEASE[0], str(CHART), *RELEASE[1:], "--set", "workers=3", *WAIT)
    kept = ("--reset-then-reuse-values", "--set", "podLabels.team=serving")
    empty.helm("upgrade", RELEASE[0], str(CHART), *RELEASE[1:], *kept, *WAIT)
    assert workers_and_team(empty) == ("--workers=3", "serving")
    empty.helm("uninstall", *RELEASE, *WAIT)
    assert empty.kubectl("get", "deployments,leases", "-n", "third-helm", "-o", "name") == ""


def workers_and_team(plane: Reached) -> tuple[str, str | None]:
    """Read the number of workers and the label of the team off the Deployment."""
    template = deployment(plane, "third-helm-shardwise", "third-helm")["spec"]["template"]
    (workers,) = [word for word in template["spec"]["containers"][0]["args"] if word.startswith("--workers=")]
    return workers, template["metadata"]["labels"].get("team")
