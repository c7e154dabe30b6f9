"""The chart, as far as it can be checked without Helm: rights, values, versions, templates, the CRD."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from tests.support.repository import ROOT, project

from shardwise.api import values
from shardwise.observe.kinds import KINDS, LEASE

CHART = ROOT / "charts" / "shardwise"
TEMPLATES = sorted((CHART / "templates").iterdir())

_OPENED = re.compile(r"{{-?\s*(?:if|with|range|define|block)\b")
_CLOSED = re.compile(r"{{-?\s*end\b")
_VALUE = re.compile(r"\.Values\.([A-Za-z.]+)")
_INCLUDED = re.compile(r'include "([^"]+)"')
_DEFINED = re.compile(r'define "([^"]+)"')

OWNER_REFERENCES = ("shardwise.dev", "shardedmodels/finalizers", ("update",))
"""No call of ours: where the API server checks it, blockOwnerDeletion in an owner reference asks for it."""

Right = tuple[str, str, tuple[str, ...]]


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


def _granted() -> Iterator[Right]:
    """Read the rules of the ClusterRole, which hold no template words."""
    document = _template("rbac.yaml").split("\n---\n")[0]
    for rule in yaml.safe_load(document[document.index("\nrules:") :])["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                yield group, resource, tuple(rule["verbs"])


def _used() -> Iterator[Right]:
    for kind in KINDS:
        yield kind.group, kind.plural, kind.verbs
        if kind.status_verbs:
            yield kind.group, f"{kind.plural}/status", kind.status_verbs


def _leaves(values: dict[str, Any], path: str = "") -> Iterator[str]:
    for key, value in values.items():
        here = f"{path}.{key}".lstrip(".")
        if isinstance(value, dict) and value and key != "resources":
            yield from _leaves(value, here)
        else:
            yield here


def test_the_cluster_role_grants_what_the_operator_uses_and_no_more() -> None:
    """A verb too many is a risk, one too few an outage."""
    assert sorted(_granted()) == sorted([*_used(), OWNER_REFERENCES])


def test_the_lease_is_allowed_in_the_namespace_of_the_operator_alone() -> None:
    """By a Role: other namespaces' Leases are nobody's business here."""
    (role,) = [one for one in _template("rbac.yaml").split("\n---\n") if "\nkind: Role\n" in one]
    (rule,) = yaml.safe_load(role[role.index("\nrules:") :])["rules"]
    assert rule == {"apiGroups": [LEASE.group], "resources": [LEASE.plural], "verbs": list(LEASE.verbs)}
    assert "namespace: {{ .Release.Namespace }}" in role


def test_the_cluster_role_has_no_wildcard_and_reads_no_secret() -> None:
    """Tokens are handed to pods by reference, keys are made and never read; nor are ConfigMaps of others."""
    for group, resource, verbs in _granted():
        assert "*" not in (group, resource, *verbs)
        assert resource != "pods/exec"
        assert resource not in {"secrets", "configmaps"} or not {"get", "list", "watch", "update"} & set(verbs)
        assert resource != "secrets" or verbs == ("create",)


def test_the_chart_has_the_version_of_the_package() -> None:
    """One release, one number."""
    version = project()["project"]["version"]
    assert (_meta()["version"], str(_meta()["appVersion"])) == (version, version)


def test_the_example_on_the_charts_card_is_a_valid_object() -> None:
    """Artifact Hub shows it as it is."""
    from shardwise.api import parse  # noqa: PLC0415 - pydantic is slow to import, and only this test asks for it

    for example in yaml.safe_load(_meta()["annotations"]["artifacthub.io/crdsExamples"]):
        assert parse(example).metadata.name == "llama-70b"


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
    ],
)
def test_the_schema_refuses(wrong: dict[str, Any]) -> None:
    """A misspelt value would otherwise do nothing, in silence."""
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(_schema()).validate(wrong)


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
    "line",
    [
        "runAsNonRoot: true",
        "readOnlyRootFilesystem: true",
        "allowPrivilegeEscalation: false",
        "capabilities: {drop: [ALL]}",
        "seccompProfile: {type: RuntimeDefault}",
        "--leader-elect",
    ],
)
def test_the_deployment_holds_to(line: str) -> None:
    """What the restricted pod security standard asks, and never two operators that act."""
    assert line in _template("deployment.yaml")


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


def test_the_chart_has_no_hooks() -> None:
    """Argo CD maps some and ignores others; an install must need none."""
    assert [path.name for path in TEMPLATES if "helm.sh/hook" in path.read_text()] == []


def test_the_chart_carries_the_custom_resource_definition() -> None:
    """The same file as in crds/, byte for byte."""
    assert [path.read_bytes() for path in sorted((CHART / "crds").iterdir())] == [
        path.read_bytes() for path in sorted((ROOT / "crds").glob("*.yaml"))
    ]


def test_the_charts_readme_names_every_value() -> None:
    """By its first word, in backticks."""
    text = (CHART / "README.md").read_text()
    assert [name for name in _values() if not re.search(rf"`{name}[.`]", text)] == []
