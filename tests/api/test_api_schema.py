"""The CRD: what the API server fills in, prunes and refuses is what reading an object fills in, knows and refuses."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.api.support import PLAIN, RIGHT, changed, wrong_objects

from shardwise.api import InvalidObject, crd, parse
from shardwise.api.rules import RULES
from shardwise_sandbox import ApiError, Sandbox

Json = dict[str, Any]
WRONG = wrong_objects()


def schema() -> Json:
    (version,) = crd.definition()["spec"]["versions"]
    return dict(version["schema"]["openAPIV3Schema"])


def nodes(node: Json, path: str = "") -> Iterator[tuple[str, Json]]:
    yield path, node
    for name, below in (node.get("properties") or {}).items():
        yield from nodes(below, f"{path}.{name}".lstrip("."))
    for word in ("items", "additionalProperties"):
        if isinstance(node.get(word), dict):
            yield from nodes(node[word], f"{path}.{word}")


NODES = dict(nodes(schema()))
FIELDS = [path for path in NODES if path.rpartition(".")[2] not in ("", "items", "additionalProperties")]


@pytest.fixture
def cluster() -> Sandbox:
    """Give an API server that knows our kind."""
    return Sandbox(objects=[crd.definition()])


@pytest.mark.parametrize("path", FIELDS)
def test_every_field_says_what_it_is(path: str) -> None:
    """For kubectl explain."""
    if path.startswith(("spec", "status")) or path in ("spec", "status"):
        assert NODES[path].get("description"), path


@pytest.mark.parametrize("path", NODES, ids=lambda path: path or "root")
def test_every_node_is_structural(path: str) -> None:
    """It has a type, and says nothing a structural schema may not say."""
    node = NODES[path]
    assert "type" in node or node.get("x-kubernetes-preserve-unknown-fields") or node.get("x-kubernetes-int-or-string")
    assert not {"$ref", "anyOf", "oneOf", "allOf", "not", "definitions", "title", "examples"} & set(node)
    assert not (node.get("properties") and node.get("additionalProperties"))


@pytest.mark.parametrize("path", [path for path, node in NODES.items() if node.get("type") == "array"])
def test_lists_of_the_spec_are_bounded(path: str) -> None:
    """Rules walk them: without a bound the API server would refuse their cost."""
    assert path.startswith("status") or "maxItems" in NODES[path]


def test_an_object_reads_the_same_before_and_after_the_api_server_filled_it_in(cluster: Sandbox) -> None:
    """The defaults of the CRD are those of the models."""
    stored = cluster.create(PLAIN)
    assert parse(stored).spec == parse(PLAIN).spec
    filled = json.loads(parse(PLAIN).spec.model_dump_json(by_alias=True, exclude_none=True))
    assert stored["spec"] == filled


def test_a_new_object_is_not_taken_for_observed(cluster: Sandbox) -> None:
    """kstatus: a generation below the first."""
    assert cluster.create(PLAIN)["status"] == {"observedGeneration": -1}


def test_the_versions_say_what_they_serve() -> None:
    """Status and scale subresources, and columns that answer the first questions."""
    (version,) = crd.definition()["spec"]["versions"]
    assert version["subresources"]["status"] == {}
    assert version["subresources"]["scale"] == {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
    columns = [column["name"] for column in version["additionalPrinterColumns"]]
    assert {"Ready", "Age"} <= set(columns)


SPANNING = {rule.field for rule in RULES}
SEEN_BY_SCHEMA = [
    name
    for name, (path, _, message) in WRONG.items()
    if path.startswith("spec") and message.split(":")[0] not in SPANNING and "unknown field" not in message
]


@pytest.mark.parametrize("name", SEEN_BY_SCHEMA)
def test_what_reading_refuses_the_api_server_refuses_too(cluster: Sandbox, name: str) -> None:
    """All but what spans fields, which its CEL rules refuse, and unknown fields, which it prunes."""
    path, value, _ = WRONG[name]
    with pytest.raises(ApiError, match="is invalid"):
        cluster.create(changed(path, value))


@pytest.mark.parametrize(("path", "value"), RIGHT.values(), ids=RIGHT)
def test_what_is_right_is_taken_by_both_and_kept(cluster: Sandbox, path: str, value: object) -> None:
    """Nothing is pruned, and what comes back reads the same."""
    given = changed(path, value)
    assert parse(cluster.create(given)).spec == parse(given).spec


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.field + "/" + rule.message[:20])
def test_every_rule_that_spans_fields_is_in_the_schema(rule: Any) -> None:
    """As CEL, at its place, with a message."""
    path = ".".join(rule.at)
    written = NODES[path]["x-kubernetes-validations"]
    assert {"rule": rule.cel, "message": rule.message} in written


def test_the_name_is_bound_where_the_api_server_would_allow_more() -> None:
    """As CEL at the root, the one place from which a name can be read."""
    (rule,) = crd.object_schema()["x-kubernetes-validations"]
    assert "self.metadata.name" in rule["rule"]


def test_a_wrong_spec_is_refused_before_facts_are_asked_for() -> None:
    """No Hub is asked for an object that is refused anyway."""
    with pytest.raises(InvalidObject):
        parse(changed("spec.replicas", -1))


def test_nothing_in_a_status_is_filled_in_but_that_nobody_has_seen_it() -> None:
    """What is filled in differs from what was decided, and would be written again with every look."""
    (version,) = crd.definition()["spec"]["versions"]
    status = version["schema"]["openAPIV3Schema"]["properties"]["status"]
    assert status["default"] == {"observedGeneration": -1}
    assert json.dumps(status).count('"default"') == 1


@pytest.mark.parametrize(("field", "value"), [("replicas", 2), ("parallelism", {"tensor": 2})])
def test_an_object_with_roles_has_no_degrees_of_its_own(field: str, value: object) -> None:
    """They would be honoured for no role."""
    given = changed("spec.roles", [{"name": "prefill"}, {"name": "decode"}])
    given["spec"][field] = value
    with pytest.raises(InvalidObject) as caught:
        parse(given)
    said = f"spec.roles: with roles, each role has its own: use `spec.roles[].{field}` instead of `spec.{field}`"
    assert str(caught.value) == said
