"""The chart, as far as it can be checked without Helm: rights, values, versions, templates, the CRD."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from tests.support.chart_rules import ATTACHED, CLUSTER, SERVED, Right, rights
from tests.support.repository import ROOT, project

from shardwise.api import values
from shardwise.observe import kinds
from shardwise.observe.kinds import KINDS, LEASE, Kind, is_served

CHART = ROOT / "charts" / "shardwise"
TEMPLATES = sorted(path for path in (CHART / "templates").rglob("*") if path.is_file())

_OPENED = re.compile(r"{{-?\s*(?:if|with|range|define|block)\b")
_CLOSED = re.compile(r"{{-?\s*end\b")
_VALUE = re.compile(r"\.Values\.([A-Za-z.]+)")
_INCLUDED = re.compile(r'include "([^"]+)"')
_DEFINED = re.compile(r'define "([^"]+)"')

OWNER_REFERENCES = ("shardwise.dev", "shardedmodels/finalizers", ("update",))
"""No call of ours: where the API server checks it, blockOwnerDeletion in an owner reference asks for it."""


def _schema() -> dict[str, Any]:
    schema: dict[str, Any] = yaml.safe_load((CHART / "values.schema.json").read_text())
    return schema


def _values() -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
    return values


def _meta() -> dict[str, Any]:
    meta: dict[str, Any] = yaml.safe_load((CHART / "Chart.yaml").read_text())
    return meta


def _template(name: str) -> str:
    return (CHART / "templates" / name).read_text()


def _used(*, cluster: bool) -> Iterator[Right]:
    """Give the rights that the operator needs in the whole cluster, or in the namespaces that it serves."""
    for kind in (kind for kind in KINDS if kind not in kinds.ATTACHED):
        reading = tuple(verb for verb in kind.verbs if verb in {"get", "list", "watch"})
        everywhere = () if is_served(kind) else kind.verbs if not kind.namespaced else reading
        verbs = everywhere if cluster else tuple(verb for verb in kind.verbs if verb not in everywhere)
        if verbs:
            yield kind.group, kind.plural, verbs
        if kind.status_verbs and is_served(kind) is not cluster:
            yield kind.group, f"{kind.plural}/status", kind.status_verbs


def _leaves(values: dict[str, Any], path: str = "") -> Iterator[str]:
    for key, value in values.items():
        here = f"{path}.{key}".lstrip(".")
        if isinstance(value, dict) and value and key != "resources":
            yield from _leaves(value, here)
        else:
            yield here


def test_the_roles_grant_what_the_operator_uses_and_no_more() -> None:
    """A verb too many is a risk, one too few an outage."""
    assert sorted(rights(CLUSTER)) == sorted(_used(cluster=True))
    assert sorted(rights(SERVED)) == sorted({*_used(cluster=False), OWNER_REFERENCES})


@pytest.mark.parametrize("kind", kinds.ATTACHED, ids=lambda kind: kind.name)
def test_a_kind_of_attachment_is_granted_by_rules_of_its_own(kind: Kind) -> None:
    """The chart includes them only where the configuration lets objects ask for the kind: tests/cluster installs it."""
    name = ATTACHED.format(kind.name)
    assert list(rights(name)) == [(kind.group, kind.plural, kind.verbs)]
    assert _template("_rules.tpl").count(f'include "{name}"') == 1


def test_what_is_granted_in_the_whole_cluster_only_reads_if_few_namespaces_are_served() -> None:
    """So an operator of some namespaces changes nothing in the others."""
    assert {verb for _, _, verbs in rights(CLUSTER) for verb in verbs} == {"get", "list", "watch"}


def test_the_rules_of_served_namespaces_are_in_the_cluster_role_or_in_a_role_of_each() -> None:
    """Never in both."""
    role, roles = _template("rbac.yaml").split("{{- range .Values.namespaces }}")
    assert 'if not .Values.namespaces }}\n  {{- include "shardwise.rules.served"' in role
    assert roles.partition("{{- end }}")[0].count('include "shardwise.rules.served"') == 1
    assert "- --namespace={{ . }}" in _template("deployment.yaml")


def test_the_lease_is_allowed_in_the_namespace_of_the_operator_alone() -> None:
    """By a Role: other namespaces' Leases are nobody's business here."""
    role = next(part for part in _template("rbac.yaml").split("\n---\n") if "coordination.k8s.io" in part)
    (rule,) = yaml.safe_load(role[role.index("\nrules:") :])["rules"]
    assert rule == {"apiGroups": [LEASE.group], "resources": [LEASE.plural], "verbs": list(LEASE.verbs)}
    assert "\nkind: Role\n" in role
    assert "namespace: {{ .Release.Namespace }}" in role


def test_the_roles_have_no_wildcard_and_read_no_secret() -> None:
    """Tokens are handed to pods by reference, keys are made and never read; nor are ConfigMaps of others."""
    for group, resource, verbs in (*rights(CLUSTER), *rights(SERVED)):
        assert "*" not in (group, resource, *verbs)
        assert resource != "pods/exec"
        assert resource not in {"secrets", "configmaps"} or not {"get", "list", "watch", "update"} & set(verbs)
        assert resource != "secrets" or verbs == ("create",)


def test_users_of_a_namespace_get_rights_on_models_by_the_roles_they_have() -> None:
    """Who may edit a namespace writes models there, never their status; who may view it reads."""
    edit, view = (part for part in _template("rbac.yaml").split("\n---\n") if "aggregate-to" in part)
    for part, aggregated in ((edit, {"admin", "edit"}), (view, {"view"})):
        assert set(re.findall(r'aggregate-to-(\w+): "true"', part)) == aggregated
    writes = yaml.safe_load(edit[edit.index("\nrules:") :])["rules"][0]
    assert writes["resources"] == ["shardedmodels", "shardedmodels/scale"]
    reads = yaml.safe_load(view[view.index("\nrules:") :].partition("{{- end")[0])["rules"][0]
    assert reads["verbs"] == ["get", "list", "watch"]


def test_the_chart_has_the_version_of_the_package() -> None:
    """One release, one number."""
    version = project()["project"]["version"]
    assert (_meta()["version"], str(_meta()["appVersion"])) == (version, version)


def test_the_example_on_the_charts_card_is_a_valid_object() -> None:
    """Artifact Hub shows it as it is."""
    from shardwise.api import parse  # noqa: PLC0415 - pydantic is slow to import, and only this test asks for it

    for example in yaml.safe_load(_meta()["annotations"]["artifacthub.io/crdsExamples"]):
        assert parse(example).metadata.name == "llama-70b"


def test_the_charts_card_names_the_image_of_the_chart_and_known_kinds_of_changes() -> None:
    """Artifact Hub scans the image and lists the changes; it drops what it cannot read."""
    card = _meta()["annotations"]
    image = _values()["image"]
    (operator,) = yaml.safe_load(card["artifacthub.io/images"])
    assert operator["image"] == f"{image['repository']}:{image['tag'] or _meta()['appVersion']}"
    kinds = {change["kind"] for change in yaml.safe_load(card["artifacthub.io/changes"])}
    assert kinds <= {"added", "changed", "deprecated", "removed", "fixed", "security"}
    assert [link for link in yaml.safe_load(card["artifacthub.io/links"]) if set(link) != {"name", "url"}] == []


def test_the_schema_of_the_values_is_a_schema() -> None:
    """Draft 7 is what Helm reads."""
    jsonschema.Draft7Validator.check_schema(_schema())


def test_the_schema_of_the_configuration_is_that_of_its_models() -> None:
    """`make crds` writes it."""
    text = (ROOT / values.FILE).read_text()
    assert values.with_configuration(text) == text


def test_the_configuration_is_mounted_where_the_operator_reads_it() -> None:
    """And its change starts the operator anew."""
    text = _template("deployment.yaml")
    assert "--config=/etc/shardwise/config.yaml" in text
    assert "{name: config, mountPath: /etc/shardwise, readOnly: true}" in text
    assert 'checksum/config: {{ include "shardwise.config" . | sha256sum }}' in text
    assert 'config.yaml: |\n    {{- include "shardwise.config" . | nindent 4 }}' in _template("configmap.yaml")


def test_the_files_of_the_hub_are_mounted_where_the_configuration_names_them() -> None:
    """Not below the folder of the configuration: nothing can be mounted into a volume that is read only."""
    helpers, text = _template("_helpers.tpl"), _template("deployment.yaml")
    for name in ("token", "ca"):
        assert f'(printf "/etc/shardwise-hub/{name}/%s"' in helpers
        assert f"{{name: hub-{name}, mountPath: /etc/shardwise-hub/{name}, readOnly: true}}" in text


def test_the_values_fit_their_schema_and_are_all_in_it() -> None:
    """Helm checks them on install."""
    jsonschema.Draft7Validator(_schema()).validate(_values())
    assert set(_values()) == set(_schema()["properties"]) - {"global"}


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"replica": 2}, id="an unknown value"),
        pytest.param({"replicas": -1}, id="fewer operators than none"),
        pytest.param({"image": {"repo": "x"}}, id="an unknown value inside another"),
        pytest.param({"image": {"repository": ""}}, id="an image without a name"),
        pytest.param({"image": {"repository": "x", "pullPolicy": "Sometimes"}}, id="an unknown pull policy"),
        pytest.param({"config": {"fleet": {"platform": "mars"}}}, id="a configuration the operator refuses"),
        pytest.param({"config": {"flet": {}}}, id="an unknown part of the configuration"),
        pytest.param({"config": {"hub": {"endpoint": "hub.example.com"}}}, id="an address without a scheme"),
        pytest.param({"hub": {"ca": {"configMap": "a", "secret": "b"}}}, id="certificates from two places"),
        pytest.param({"hub": {"tokenSecret": {"key": "../token"}}}, id="a key that leads elsewhere"),
        pytest.param({"extraEnv": [{"value": "x"}]}, id="a variable without a name"),
        pytest.param({"workers": 0}, id="no worker"),
        pytest.param({"workers": "four"}, id="a word for a number"),
        pytest.param({"relistSeconds": -1}, id="a negative time"),
        pytest.param({"nodeSelector": {"pool": 1}}, id="a label that is no string"),
        pytest.param({"rbac": {"create": "yes"}}, id="a string for a truth"),
        pytest.param({"namespaces": "team-a"}, id="one namespace that is no list"),
        pytest.param({"namespaces": ["Team A"]}, id="a namespace that cannot exist"),
        pytest.param({"podAntiAffinity": "hard"}, id="an unknown word for apart"),
        pytest.param({"topologySpreadConstraints": [{"maxSkew": 1}]}, id="a spread over nothing"),
        pytest.param({"podDisruptionBudget": {"maxUnavailable": 0}}, id="a budget that blocks every drain"),
        pytest.param({"podDisruptionBudget": {"maxUnavailable": "0%"}}, id="the same in per cent"),
        pytest.param({"networkPolicy": {"ports": [0]}}, id="a port that is none"),
        pytest.param({"runAsUser": 0}, id="root"),
        pytest.param({"extraVolumeMounts": [{"name": "a", "mountPath": "a"}]}, id="a mount at no absolute path"),
    ],
)
def test_the_schema_refuses(wrong: dict[str, Any]) -> None:
    """A misspelt value would otherwise do nothing, in silence."""
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(_schema()).validate(wrong)


def _described(properties: dict[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    for name, schema in properties.items():
        yield f"{path}{name}", schema.get("description", "") or schema.get("title", "")
        below = {**schema.get("properties", {}), **schema.get("items", {}).get("properties", {})}
        yield from _described(below, f"{path}{name}.")


def test_the_schema_describes_every_value_in_sentences() -> None:
    """Editors and Artifact Hub show it beside the value."""
    described = dict(_described(_schema()["properties"]))
    assert len(described) > 60
    assert [name for name, text in described.items() if not text.endswith((".", "`make crds`"))] == []


def test_every_value_is_used_and_every_used_value_exists() -> None:
    """Templates and values.yaml name the same things."""
    used = {name for path in TEMPLATES for name in _VALUE.findall(path.read_text())}
    assert used == set(_leaves(_values()))


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_template_blocks_are_closed(path: Path) -> None:
    """Every if, with and define has its end; braces come in pairs."""
    text = path.read_text()
    assert len(_OPENED.findall(text)) == len(_CLOSED.findall(text))
    assert text.count("{{") == text.count("}}")


def test_every_included_template_is_defined_and_every_defined_one_included() -> None:
    """Names of templates are strings, which nothing else checks."""
    texts = [path.read_text() for path in TEMPLATES]
    included = {name for text in texts for name in _INCLUDED.findall(text)}
    assert included == {name for text in texts for name in _DEFINED.findall(text)}


@pytest.mark.parametrize(
    ("template", "line"),
    [
        ("podSecurity", "runAsNonRoot: true"),
        ("podSecurity", "seccompProfile: {type: RuntimeDefault}"),
        ("containerSecurity", "readOnlyRootFilesystem: true"),
        ("containerSecurity", "allowPrivilegeEscalation: false"),
        ("containerSecurity", "capabilities: {drop: [ALL]}"),
    ],
)
def test_every_pod_of_the_chart_holds_to_the_restricted_standard(template: str, line: str) -> None:
    """The operator's pods and that of `helm test`. tests/cluster asks the real admission."""
    body = _template("_helpers.tpl").partition(f'define "shardwise.{template}"')[2].partition("{{- end -}}")[0]
    assert line in body
    for pod in ("deployment.yaml", "tests/leads.yaml"):
        assert f'securityContext: {{{{- include "shardwise.{template}" . | nindent' in _template(pod)


def test_two_operators_never_act_at_once() -> None:
    assert "--leader-elect" in _template("deployment.yaml")


def test_the_deployment_probes_the_port_the_operator_listens_on() -> None:
    """The address in the arguments, the port's name in the probes."""
    text = _template("deployment.yaml")
    assert "--health=0.0.0.0:8080" in text
    assert "{name: health, containerPort: 8080, protocol: TCP}" in text
    for probe, path in (("startup", "healthz"), ("liveness", "healthz"), ("readiness", "readyz")):
        assert f"{probe}Probe:\n            httpGet: {{path: /{path}, port: health}}" in text


def test_the_arguments_of_the_deployment_are_options_of_the_command() -> None:
    """`shardwise run` refuses an unknown one, and the pod would crash in a loop."""
    from shardwise.cli.running import operate  # noqa: PLC0415 - the whole operator comes with it

    options = {name for parameter in operate.params for name in parameter.opts}
    used = re.findall(r"- (--[a-z-]+)=", _template("deployment.yaml"))
    assert len(used) > 1
    assert set(used) <= options


def test_the_chart_has_no_hooks_but_its_test() -> None:
    """Argo CD maps some and ignores others; an install must need none."""
    hooked = {path: re.findall(r"helm\.sh/hook: (.*)", path.read_text()) for path in TEMPLATES}
    assert {path.name: hooks for path, hooks in hooked.items() if hooks} == {"leads.yaml": ["test"]}


def test_the_pod_of_the_test_is_no_operator() -> None:
    """The Service, the budget and the Deployment select operators alone."""
    labels = _template("_helpers.tpl").partition('define "shardwise.testLabels"')[2].partition("{{- end")[0]
    assert "app.kubernetes.io/name: {{ .Chart.Name }}-test" in labels
    assert 'labels: {{- include "shardwise.testLabels"' in _template("tests/leads.yaml")


def test_the_chart_carries_the_custom_resource_definition() -> None:
    """The same file as in crds/, byte for byte."""
    assert [path.read_bytes() for path in sorted((CHART / "crds").iterdir())] == [
        path.read_bytes() for path in sorted((ROOT / "crds").glob("*.yaml"))
    ]


def test_the_charts_readme_names_every_value() -> None:
    """By its first word, in backticks."""
    text = (CHART / "README.md").read_text()
    assert [name for name in _values() if not re.search(rf"`{name}[.`]", text)] == []
