"""How GitOps tools see objects: kstatus' own rules, Flux's expressions, and the differences that they find."""

import json
import subprocess
from collections.abc import Iterable, Iterator
from typing import Any, Final

import pytest
from tests.cluster import binaries
from tests.cluster.add_ons import install, uninstall
from tests.cluster.installed import Installed, Running
from tests.cluster.reached import Reached
from tests.reconcile.test_reconcile_reasons import SCENARIOS
from tests.repo.test_repo_gitops import an_object, of_kind, true_condition
from tests.support.operating import a_model
from tests.support.repository import ROOT

Json = dict[str, Any]

pytestmark = pytest.mark.cluster

EXPECTED: Final = {"Ready": "Current", "Reconciling": "InProgress", "Stalled": "Failed"}


def answers(objects: Iterable[Json]) -> list[Json]:
    """Ask the libraries: kstatus of cli-utils, and CEL with the expressions of our Kustomization."""
    (exprs,) = of_kind("Kustomization", "flux/models.yaml")["spec"]["healthCheckExprs"]
    command = [str(binaries.find("health")), *(exprs[name] for name in ("inProgress", "failed", "current"))]
    lines = "".join(f"{json.dumps({'apiVersion': 'shardwise.dev/v1alpha1', **obj})}\n" for obj in objects)
    ran = subprocess.run(command, input=lines, capture_output=True, text=True, check=True, timeout=60)  # noqa: S603 - built from the module beside this file
    return [json.loads(line) for line in ran.stdout.splitlines()]


def test_kstatus_and_flux_take_every_status_as_its_condition_says() -> None:
    """Every status of every scenario of the operator's decisions; none is Current too early, none failed that waits."""
    seen = [status for scenario in SCENARIOS.values() for status in scenario().statuses]
    found = answers(an_object(status, status["observedGeneration"]) for status in seen)
    expected = [EXPECTED[true_condition(status)["type"]] for status in seen]
    assert [(answer["kstatus"], answer["flux"]) for answer in found] == [(state, state) for state in expected]
    assert set(expected) == set(EXPECTED.values())


def _conditions(*kinds: tuple[str, str]) -> list[Json]:
    return [{"type": kind, "status": status, "reason": "A", "message": kind} for kind, status in kinds]


@pytest.mark.parametrize(
    ("status", "generation", "kstatus", "flux"),
    [
        pytest.param({"observedGeneration": -1}, 1, "InProgress", "InProgress", id="the default of the schema"),
        pytest.param(
            {"observedGeneration": 1, "conditions": _conditions(("Ready", "True"))},
            2,
            "InProgress",
            "InProgress",
            id="an edit that was not seen, whatever the conditions say",
        ),
        pytest.param(
            None, 1, "Current", "no such attribute(s): status", id="no status, which the default of the schema prevents"
        ),
        pytest.param(
            {"observedGeneration": 1, "conditions": _conditions(("Stalled", "True"), ("Reconciling", "True"))},
            1,
            "Failed",
            "InProgress",
            id="both: the first in the list wins, which is why we set one",
        ),
        pytest.param(
            {"observedGeneration": 1, "conditions": _conditions(("Ready", "True"), ("Stalled", "True"))},
            1,
            "Failed",
            "Failed",
            id="Stalled wins over Ready",
        ),
        pytest.param(
            {"observedGeneration": 1, "conditions": [{**_conditions(("Ready", "True"))[0], "observedGeneration": 0}]},
            1,
            "Current",
            "Current",
            id="the generation of a condition is not read",
        ),
    ],
)
def test_the_traps_of_kstatus_are_as_we_think(status: Json | None, generation: int, kstatus: str, flux: str) -> None:
    """Our conditions are made around these; a new release of the library that changes one fails here."""
    (answer,) = answers([an_object(status, generation)])
    assert (answer["kstatus"], answer["flux"]) == (kstatus, flux)


def test_an_object_in_git_shows_no_difference_after_a_reconcile(running: Running) -> None:
    """Neither to a server-side apply, as Flux and Argo CD make it, nor to a client-side one."""
    model = a_model("in-git")
    running.apply(model)
    running.ready("in-git")
    dry = ("apply", "--dry-run=server", "-f", "-")
    assert "unchanged (server dry run)" in running.plane.kubectl(*dry, given=model)
    forced = ("--server-side", "--force-conflicts", "--field-manager=gitops", "-o", "json")
    applied = json.loads(running.plane.kubectl(*dry, *forced, given=model))
    assert _compared(applied) == _compared(running.get("shardedmodel", "in-git"))


def _compared(obj: Json) -> Json:
    """Give the fields that tools compare: all but those that say who manages them."""
    return obj | {"metadata": {name: value for name, value in obj["metadata"].items() if name != "managedFields"}}


@pytest.fixture
def routed(installed: Installed) -> Iterator[Reached]:
    """Give a cluster with the add-ons' own CRDs and the namespace of the examples."""
    plane, namespace = installed.plane, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "production"}}
    install(plane, "pools", "routes")
    plane.kubectl("apply", "-f", "-", given=namespace)
    try:
        yield plane
    finally:
        plane.kubectl("delete", "namespace", "production")
        uninstall(plane, "pools", "routes")


@pytest.mark.parametrize("file", ["vllm", "sglang", "tensorrt-llm"])
def test_the_api_server_takes_each_example_of_a_router(routed: Reached, file: str) -> None:
    """Every field by its schema and the rules of the add-ons, nothing left out without a word."""
    path = ROOT / "gitops" / "roles" / f"{file}.yaml"
    said = routed.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", str(path))
    assert said.count("created (server dry run)") == path.read_text().count("\nkind: ")
