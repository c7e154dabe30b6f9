"""The chart on clusters that are locked down: the restricted standard, single namespaces, one operator a node."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cluster.installed import CHART, Installed, Running
from tests.cluster.reached import Reached
from tests.support.chart_rules import SERVED, rights
from tests.support.operating import a_model

Json = dict[str, Any]

LOCKED = {
    "podAntiAffinity": "required",
    "topologySpreadConstraints": [
        {"topologyKey": "kubernetes.io/hostname", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}
    ],
    "networkPolicy": {"create": True, "from": [{"namespaceSelector": {"matchLabels": {"team": "monitoring"}}}]},
    "extraVolumes": [{"name": "scratch", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "scratch", "mountPath": "/tmp"}],  # noqa: S108 - of a container
    "imagePullSecrets": [{"name": "registry"}],
}


@pytest.fixture
def namespaces(installed: Installed) -> Iterator[Reached]:
    """Give the cluster with three namespaces of a test: one for a release, two for models."""
    plane = installed.plane
    for name in ("release", "team-a", "team-b"):
        plane.kubectl("create", "namespace", name)
        plane.kubectl("wait", "--for=create", "serviceaccount/default", "-n", name)
    yield plane
    plane.helm("uninstall", "locked", "-n", "release", "--wait", "--cascade=foreground", check=False)
    plane.kubectl("delete", "namespace", "release", "team-a", "team-b")


def install(plane: Reached, folder: Path, values: Json) -> None:
    written = folder / "values.yaml"
    written.write_text(yaml.safe_dump(values))
    plane.helm("install", "locked", str(CHART), "-n", "release", "-f", str(written), "--wait", "--timeout=60s")


def test_all_pods_of_the_chart_are_admitted_as_restricted(namespaces: Reached, tmp_path: Path) -> None:
    """By the admission of the API server: two operators on two nodes, with every option that adds to them."""
    enforce = "pod-security.kubernetes.io/enforce=restricted"
    namespaces.kubectl("label", "namespace", "release", enforce)
    install(namespaces, tmp_path, LOCKED)
    pods = json.loads(namespaces.kubectl("get", "pods", "-n", "release", "-o", "json"))["items"]
    assert len({pod["spec"]["nodeName"] for pod in pods}) == len(pods) == 2
    budget = json.loads(namespaces.kubectl("get", "pdb", "locked-shardwise", "-n", "release", "-o", "json"))
    assert budget["spec"]["maxUnavailable"] == 1


def test_the_pod_of_helm_test_is_admitted_as_restricted(namespaces: Reached) -> None:
    """A warning of the admission would be an error here; a pod that is not restricted is refused, as a check of it."""
    namespaces.kubectl("label", "namespace", "release", "pod-security.kubernetes.io/enforce=restricted")
    made = namespaces.helm("template", "locked", str(CHART), "-n", "release", "-s", "templates/tests/leads.yaml")
    pod = yaml.safe_load(made)
    assert "created" in namespaces.kubectl("create", "--dry-run=server", "-f", "-", given=pod)
    pod["spec"]["securityContext"]["runAsNonRoot"] = False
    refused = namespaces.kubectl("create", "--dry-run=server", "-f", "-", given=pod, check=False)
    assert 'violates PodSecurity "restricted:latest": runAsNonRoot != true' in refused


def test_the_budget_goes_with_the_second_operator(namespaces: Reached, tmp_path: Path) -> None:
    """For a single operator it would block the drain of its node."""
    install(namespaces, tmp_path, {"replicas": 1})
    assert namespaces.kubectl("get", "pdb", "-n", "release", "-o", "name") == ""


def test_an_operator_of_one_namespace_serves_it_and_asks_for_no_more(namespaces: Reached, tmp_path: Path) -> None:
    """With the rights of its Role alone, by the audit log; the same object in another namespace is left alone."""
    install(namespaces, tmp_path, {"namespaces": ["team-a"]})
    account = "system:serviceaccount:release:locked-shardwise"
    for group, resource, verbs in rights(SERVED):
        plural, _, subresource = resource.partition("/")
        for namespace, answer in (("team-a", "true"), ("team-b", "false")):
            asked = {"verb": verbs[-1], "group": group, "resource": plural, "subresource": subresource}
            review = _review(account, asked | {"namespace": namespace})
            allowed = namespaces.kubectl("create", "-f", "-", "-o", "jsonpath={.status.allowed}", given=review)
            assert allowed == answer, (asked, namespace)
    token = namespaces.kubectl("create", "token", "locked-shardwise", "-n", "release").strip()
    operator = Running(
        namespaces, namespaces.kubeconfig_for("scoped", {"token": token}), ("--namespace=team-a",), "scoped", account
    )
    for namespace in ("team-a", "team-b"):
        namespaces.kubectl("apply", "-n", namespace, "-f", "-", given=_anywhere(a_model("scoped")))
    operator.start()
    try:
        of_a = ("get", "shardedmodel", "scoped", "-n", "team-a", "-o", "jsonpath={.status.readyReplicas}")
        operator.until(lambda: namespaces.kubectl(*of_a) == "1", "the model of team-a serving")
        found = json.loads(namespaces.kubectl("get", "shardedmodel", "scoped", "-n", "team-b", "-o", "json"))
        assert found["status"] == {"observedGeneration": -1}
        assert operator.forbidden() == []
    finally:
        operator.stop()
        namespaces.kubectl("delete", "shardedmodel", "scoped", "-n", "team-a")
        namespaces.kubectl("delete", "shardedmodel", "scoped", "-n", "team-b")


def test_who_may_edit_a_namespace_may_write_models_there(namespaces: Reached, tmp_path: Path) -> None:
    """By the roles that the cluster has for its users."""
    install(namespaces, tmp_path, {})
    for role in ("edit", "view"):
        bound = ("create", "rolebinding", role, f"--clusterrole={role}", f"--user={role}or", "-n", "team-a")
        namespaces.kubectl(*bound)
    may = {
        (user, verb): _may(namespaces, user, verb)
        for user in ("editor", "viewor")
        for verb in ("get", "create", "delete")
    }
    assert {key for key, answer in may.items() if answer} == {
        ("editor", "get"),
        ("editor", "create"),
        ("editor", "delete"),
        ("viewor", "get"),
    }


def _review(user: str, attributes: Json) -> Json:
    """Ask for a right as the API server judges it: ``kubectl auth can-i`` guesses kinds that the server lacks."""
    spec = {"user": user, "resourceAttributes": attributes}
    return {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}


def _may(plane: Reached, user: str, verb: str) -> bool:
    asked = ("auth", "can-i", verb, "shardedmodels.shardwise.dev", f"--as={user}", "-n", "team-a")
    return plane.kubectl(*asked, check=False).split()[-1] == "yes"


def _anywhere(model: Json) -> Json:
    return model | {"metadata": {"name": model["metadata"]["name"]}}
