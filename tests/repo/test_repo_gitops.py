"""The files for Argo CD and Flux: the health of every status that there is, and what the files name exists."""

import copy
import re
from collections.abc import Iterator
from typing import Any, Final

import jsonschema
import pytest
import yaml
from lupa.lua51 import LuaRuntime
from tests.reconcile.test_reconcile_reasons import SCENARIOS
from tests.support.repository import ROOT, project

from shardwise.api import crd
from shardwise.domain.reasons import Reason

Json = dict[str, Any]

GITOPS: Final = ROOT / "gitops"
HEALTH: Final = "resource.customizations.health.shardwise.dev_ShardedModel"
BY_CONDITION: Final = {"Ready": "Healthy", "Reconciling": "Progressing", "Stalled": "Degraded"}
STANDARD_LIBRARIES: Final = ("string", "math", "io", "debug", "coroutine", "os", "package", "require")


def documents(*names: str) -> Iterator[Json]:
    for name in names:
        yield from yaml.safe_load_all((GITOPS / name).read_text())


def of_kind(kind: str, *names: str) -> Json:
    (found,) = [document for document in documents(*names) if document["kind"] == kind]
    return found


def health(obj: Json) -> tuple[str, str]:
    """Run the script as Argo CD runs it: Lua 5.1, the object as a table, no library but the tables'."""
    lua = LuaRuntime(unpack_returned_tuples=True, register_eval=False)
    for name in STANDARD_LIBRARIES:
        lua.globals()[name] = None
    lua.execute("getmetatable('').__index = nil")
    lua.globals()["obj"] = lua.table_from(obj, recursive=True)
    answer = lua.execute(of_kind("ConfigMap", "argocd/argocd-cm.yaml")["data"][HEALTH])
    return answer["status"], answer["message"]


def an_object(status: Json | None, generation: int = 1) -> Json:
    """Give an object as Argo CD gets it."""
    obj: Json = {"kind": "ShardedModel", "metadata": {"name": "llama", "generation": generation}, "spec": {}}
    return obj if status is None else obj | {"status": copy.deepcopy(status)}


def statuses(name: str) -> list[Json]:
    """Give every status of a scenario, in order."""
    return SCENARIOS[name]().statuses


def true_condition(status: Json) -> Json:
    found: list[Json] = [
        condition
        for condition in status["conditions"]
        if condition["type"] in BY_CONDITION and condition["status"] == "True"
    ]
    (holds,) = found
    return holds


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_argo_cd_shows_every_status_as_its_condition_says(scenario: str) -> None:
    """In every scenario of the operator's decisions, after each of its steps, with the message of the object."""
    seen = statuses(scenario)
    assert seen
    for status in seen:
        condition = true_condition(status)
        expected = "Suspended" if condition["reason"] == Reason.PAUSED else BY_CONDITION[condition["type"]]
        found, message = health(an_object(status, status["observedGeneration"]))
        assert (found, bool(message)) == (expected, True), condition


def test_the_scenarios_show_every_health_that_the_script_knows() -> None:
    every = (status for scenario in SCENARIOS for status in statuses(scenario))
    found = {health(an_object(status, status["observedGeneration"]))[0] for status in every}
    script = of_kind("ConfigMap", "argocd/argocd-cm.yaml")["data"][HEALTH]
    assert found == set(re.findall(r'status = "(\w+)"', script))


READY: Final = {
    "observedGeneration": 2,
    "conditions": [
        {"type": "Ready", "status": "True", "reason": "AllReplicasReady", "message": "2 of 2 replicas serve"},
        {"type": "Degraded", "status": "True", "reason": "NodeFaulty", "message": "node h100-1 has a faulty GPU"},
    ],
}


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        pytest.param(an_object(None), ("Progressing", "the operator has not seen this edit yet"), id="no status"),
        pytest.param(
            an_object({"observedGeneration": -1}),
            ("Progressing", "the operator has not seen this edit yet"),
            id="the default of the schema",
        ),
        pytest.param(
            an_object(READY, 3), ("Progressing", "the operator has not seen this edit yet"), id="an edit not seen yet"
        ),
        pytest.param(an_object(READY, 2), ("Healthy", "node h100-1 has a faulty GPU"), id="serves, with a caution"),
        pytest.param(
            an_object({"observedGeneration": 1}),
            ("Progressing", "the object has no condition that says how it stands"),
            id="no condition",
        ),
    ],
)
def test_argo_cd_shows(obj: Json, expected: tuple[str, str]) -> None:
    assert health(obj) == expected


def test_argo_cd_shows_an_object_that_goes_as_progressing() -> None:
    obj = an_object(READY, 2)
    obj["metadata"]["deletionTimestamp"] = "2027-01-15T08:00:00Z"
    assert health(obj) == ("Progressing", "the object is being deleted")


def test_the_script_runs_where_lua_has_no_libraries() -> None:
    """As a check of this test: a script that uses them fails."""
    lua = LuaRuntime(register_eval=False)
    for name in STANDARD_LIBRARIES:
        lua.globals()[name] = None
    lua.execute("getmetatable('').__index = nil")
    for line in ("return string.find('a', 'a')", "return ('a'):find('a')", "return os.time()"):
        with pytest.raises(Exception, match="attempt to"):
            lua.execute(line)


def test_the_files_name_the_kind_and_the_chart_as_they_are() -> None:
    """The health check by group and kind, the expressions by version, the chart by its path, the release by its tag."""
    definition = crd.definition()["spec"]
    group, kind = definition["group"], definition["names"]["kind"]
    assert f"resource.customizations.health.{group}_{kind}" == HEALTH
    (exprs,) = of_kind("Kustomization", "flux/models.yaml")["spec"]["healthCheckExprs"]
    assert (exprs["apiVersion"], exprs["kind"]) == (f"{group}/{definition['versions'][0]['name']}", kind)
    application = of_kind("Application", "argocd/operator.yaml")["spec"]
    release = of_kind("HelmRelease", "flux/operator.yaml")["spec"]
    for chart in (application["source"]["path"], release["chart"]["spec"]["chart"]):
        assert (ROOT / chart / "Chart.yaml").is_file()
    tag = f"v{project()['project']['version']}"
    repository = of_kind("GitRepository", "flux/operator.yaml")["spec"]
    assert application["source"]["targetRevision"] == repository["ref"]["tag"] == tag


def test_the_values_in_the_files_are_values_of_the_chart() -> None:
    """A misspelt value fails here and not in the cluster."""
    schema = yaml.safe_load((ROOT / "charts" / "shardwise" / "values.schema.json").read_text())
    for values in (
        of_kind("Application", "argocd/operator.yaml")["spec"]["source"]["helm"]["valuesObject"],
        of_kind("HelmRelease", "flux/operator.yaml")["spec"]["values"],
    ):
        jsonschema.Draft7Validator(schema).validate(values)
        assert values


def test_flux_upgrades_the_definition_with_the_chart() -> None:
    """By default it would install it once and leave it so."""
    release = of_kind("HelmRelease", "flux/operator.yaml")["spec"]
    assert release["install"]["crds"] == release["upgrade"]["crds"] == "CreateReplace"
