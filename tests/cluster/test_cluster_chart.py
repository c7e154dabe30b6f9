"""The chart and the CRD on a real API server: install, upgrade, uninstall, and what is left."""

import json
from pathlib import Path
from typing import Any

import yaml
from tests.cluster.installed import CHART, NAMESPACE, Installed, Running
from tests.cluster.reached import Reached
from tests.cluster.waiting import wait_until
from tests.support.operating import a_model
from tests.support.repository import ROOT

from shardwise.api import crd

Json = dict[str, Any]

CRD = "shardedmodels.shardwise.dev"
COMES_AND_GOES = {"events", "events.events.k8s.io", "leases.coordination.k8s.io"}
"""Kinds others write all the time."""


def everything(plane: Reached) -> set[str]:
    """Name every object of every kind the API server serves, but what comes and goes."""
    kinds = plane.kubectl("api-resources", "--verbs=list", "-o", "name").split()
    listed = ",".join(sorted(set(kinds) - COMES_AND_GOES))
    columns = "-o=custom-columns=:kind,:.metadata.namespace,:.metadata.name"
    return {" ".join(line.split()) for line in plane.kubectl("get", listed, "-A", columns).splitlines() if line}


def deployment(plane: Reached, name: str = "shardwise", namespace: str = NAMESPACE) -> Json:
    return dict(json.loads(plane.kubectl("get", "deployment", name, "-n", namespace, "-o", "json")))


def test_an_installed_chart_runs_its_deployment(installed: Installed) -> None:
    """Helm waited for it; its pods were scheduled under the account whose rights the tests use."""
    found = deployment(installed.plane)
    assert found["status"]["readyReplicas"] == 2
    assert found["spec"]["template"]["spec"]["serviceAccountName"] == "shardwise"


def test_an_upgrade_changes_what_was_asked_and_no_model(running: Running, installed: Installed) -> None:
    """Neither their objects nor their pods; what was set before is kept where that is asked, and can be taken back."""
    running.apply(a_model("kept"))
    running.ready("kept")
    before = [running.get("shardedmodel", "kept")["metadata"]["uid"], running.pods("kept")[0]["metadata"]["uid"]]
    helm, wait = installed.plane.helm, ("-n", NAMESPACE, "--wait", "--timeout=60s")
    helm("upgrade", "shardwise", str(CHART), "--set", "workers=2", *wait)
    helm("upgrade", "shardwise", str(CHART), "--reuse-values", "--set", "podLabels.team=serving", *wait)
    template = deployment(installed.plane)["spec"]["template"]
    assert "--workers=2" in template["spec"]["containers"][0]["args"]
    assert template["metadata"]["labels"]["team"] == "serving"
    helm("rollback", "shardwise", "1", *wait)
    template = deployment(installed.plane)["spec"]["template"]
    assert "--workers=4" in template["spec"]["containers"][0]["args"]
    assert "team" not in template["metadata"]["labels"]
    after = [running.get("shardedmodel", "kept")["metadata"]["uid"], running.pods("kept")[0]["metadata"]["uid"]]
    assert after == before


def an_older_chart(folder: Path) -> Path:
    """Give a chart of before that has the values of before alone, and makes a part of the objects."""
    older = folder / "shardwise"
    (older / "templates").mkdir(parents=True)
    for name in ("Chart.yaml", "templates/_helpers.tpl", "templates/serviceaccount.yaml", "templates/configmap.yaml"):
        (older / name).write_bytes((CHART / name).read_bytes())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    kept = {name: value for name, value in values.items() if name in ("image", "replicas", "serviceAccount", "config")}
    (older / "values.yaml").write_text(yaml.safe_dump(kept | {"hub": values["hub"], "workers": 4}))
    return older


def test_an_upgrade_to_a_chart_with_more_values_keeps_those_that_were_set(installed: Installed, tmp_path: Path) -> None:
    """With the flag that docs/updates.md names; the flag that it warns of fails, and changes nothing."""
    plane, helm, release = installed.plane, installed.plane.helm, ("older", "-n", "older")
    helm("install", release[0], str(an_older_chart(tmp_path)), *release[1:], "--create-namespace", "--set", "workers=3")
    said = helm("upgrade", release[0], str(CHART), *release[1:], "--reuse-values", check=False)
    assert "nil pointer evaluating" in said
    text = (ROOT / "docs" / "updates.md").read_text()
    assert "--namespace shardwise --reset-then-reuse-values\n" in text
    helm("upgrade", release[0], str(CHART), *release[1:], "--reset-then-reuse-values", "--wait", "--timeout=60s")
    found = deployment(plane, "older-shardwise", "older")
    assert "--workers=3" in found["spec"]["template"]["spec"]["containers"][0]["args"]
    assert plane.kubectl("get", "pdb", "-n", "older", "-o", "name").strip().endswith("/older-shardwise")
    helm("uninstall", *release, "--wait", "--timeout=60s")
    plane.kubectl("delete", "namespace", "older")


def test_a_wrong_value_is_refused_before_anything_is_changed(installed: Installed) -> None:
    """By the chart's schema, with the value's name."""
    before = deployment(installed.plane)["metadata"]["generation"]
    said = installed.plane.helm("upgrade", "shardwise", str(CHART), "-n", NAMESPACE, "--set", "worker=2", check=False)
    assert "UPGRADE FAILED" in said
    assert "'worker'" in said
    assert deployment(installed.plane)["metadata"]["generation"] == before


def test_uninstalling_leaves_nothing_but_the_models_and_their_kind(installed: Installed) -> None:
    """A second release beside the first, changed once: of every kind there is, the objects are those of before."""
    plane, helm = installed.plane, installed.plane.helm
    plane.kubectl("create", "namespace", "second")
    plane.kubectl("wait", "--for=create", "serviceaccount/default", "configmap/kube-root-ca.crt", "-n", "second")
    plane.kubectl("apply", "-f", "-", given=a_model("stays", gpus=99))
    going = ("get", "pods", "-A", "-o", "jsonpath={.items[*].metadata.deletionTimestamp}")
    wait_until(lambda: plane.kubectl(*going) == "", "no pod of an earlier upgrade on its way out")
    before = everything(plane)
    helm("install", "second", str(CHART), "-n", "second", "--wait", "--timeout=60s")
    helm("upgrade", "second", str(CHART), "-n", "second", "--set", "workers=2", "--wait", "--timeout=60s")
    made = {line.split()[0] for line in everything(plane) - before}
    assert made >= {
        "Deployment",
        "Pod",
        "ServiceAccount",
        "ClusterRole",
        "ClusterRoleBinding",
        "Role",
        "RoleBinding",
        "Secret",
    }
    helm("uninstall", "second", "-n", "second", "--wait", "--cascade=foreground", "--timeout=180s")
    wait_until(lambda: everything(plane) == before, "the objects of before")
    assert {f"CustomResourceDefinition <none> {CRD}", "ShardedModel default stays"} <= before
    plane.kubectl("delete", "shardedmodel", "stays", "-n", "default")
    plane.kubectl("delete", "namespace", "second")


def test_the_lease_goes_with_the_release_also_while_its_operator_runs(installed: Installed) -> None:
    """It comes with the chart, empty: the operator takes it, an upgrade leaves it with who holds it."""
    plane, helm = installed.plane, installed.plane.helm
    release, lease = ("third", str(CHART), "-n", "third"), "third-shardwise"
    helm("install", *release, "--create-namespace", "--wait", "--timeout=60s")
    token = plane.kubectl("create", "token", lease, "-n", "third").strip()
    operator = Running(
        plane, plane.kubeconfig_for("third", {"token": token}), ("--leader-elect", "--lease", f"third/{lease}"), "third"
    )
    operator.start()
    try:
        leader = operator.until(lambda: holder(plane, lease, "third"), "a leader")
        helm("upgrade", *release, "--set", "workers=2", "--wait", "--timeout=60s")
        assert holder(plane, lease, "third") == leader
        helm("uninstall", "third", "-n", "third", "--wait", "--timeout=60s")
        operator.until(lambda: "cannot be held" in operator.log.read_text(), "a renewal after the end")
    finally:
        operator.stop()
    assert plane.kubectl("get", "leases", "-n", "third", "-o", "name") == ""
    plane.kubectl("delete", "namespace", "third")


def holder(plane: Reached, lease: str, namespace: str) -> str:
    return plane.kubectl("get", "lease", lease, "-n", namespace, "-o", "jsonpath={.spec.holderIdentity}")


def test_the_crd_can_be_applied_either_way(installed: Installed) -> None:
    """As people do, from the file, and as GitOps tools do, server-side; each finds nothing to do the second time."""
    plane, folder = installed.plane, ("-f", str(ROOT / "crds"))
    for way in (folder, ("--server-side", "--force-conflicts", *folder), folder):
        plane.kubectl("apply", *way)
        before = plane.kubectl("get", "crd", CRD, "-o", "jsonpath={.metadata.resourceVersion}")
        plane.kubectl("apply", *way)
        assert plane.kubectl("get", "crd", CRD, "-o", "jsonpath={.metadata.resourceVersion}") == before
    plane.established(CRD)


def test_the_api_server_keeps_the_crd_as_it_is_written(installed: Installed) -> None:
    """It changes nothing of the schema: no rule is dropped, no default moved, and their cost is accepted."""
    found = json.loads(installed.plane.kubectl("get", "crd", CRD, "-o", "json"))
    (stored,), (written,) = found["spec"]["versions"], crd.definition()["spec"]["versions"]
    assert stored["schema"] == written["schema"]
    conditions = {condition["type"]: condition["status"] for condition in found["status"]["conditions"]}
    assert conditions.get("NonStructuralSchema", "False") == "False"
    assert conditions["Established"] == conditions["NamesAccepted"] == "True"
