"""Properties that hold for all writes in any order."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.sandbox.support import Clock, Json, config_map, pod, widget, widget_crd

from shardwise_sandbox import ApiError, Sandbox, builtin_schema, fields, sample_fleet
from shardwise_sandbox.managed_fields import owned, read
from shardwise_sandbox.patching import merge_patch
from shardwise_sandbox.selectors import Selection, parse_labels
from shardwise_sandbox.watch import DELETED

WIDGET = widget_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
LETTERS = st.sampled_from("abc")
PARTS = st.lists(
    st.fixed_dictionaries({"name": LETTERS}, optional={"count": st.integers(0, 3), "colour": LETTERS}),
    max_size=3,
    unique_by=lambda part: part["name"],
)
SPECS = st.fixed_dictionaries(
    {"size": st.integers(1, 3)},
    optional={
        "mode": st.sampled_from(["fast", "slow"]),
        "tags": st.dictionaries(LETTERS, LETTERS, max_size=2),
        "args": st.lists(LETTERS, max_size=2),
        "set": st.lists(LETTERS, max_size=3, unique=True),
        "parts": PARTS,
    },
)
APPLIES = st.lists(st.tuples(st.sampled_from(["one", "two", "three"]), SPECS), min_size=1, max_size=6)


def applied(steps: list[tuple[str, Json]]) -> tuple[Sandbox, Json]:
    cluster = Sandbox(now=Clock(), objects=[widget_crd()])
    last: Json = {}
    for manager, spec in steps:
        try:
            last = cluster.apply(widget(**spec), manager=manager, force=True)
        except ApiError as error:
            # Two managers may together own more tags than the schema allows.
            assert "Too many" in error.message  # noqa: PT017 - any other refusal is a failure
    return cluster, last


@given(APPLIES)
def test_applying_twice_is_applying_once(steps: list[tuple[str, Json]]) -> None:
    cluster, _ = applied(steps)
    version = cluster.store.version
    manager, spec = steps[-1]
    try:
        cluster.apply(widget(**spec), manager=manager, force=True)
    except ApiError:
        return
    assert cluster.store.version == version


@given(APPLIES)
def test_what_is_applied_is_there_and_owned(steps: list[tuple[str, Json]]) -> None:
    _, last = applied(steps)
    if not last:
        return
    present = owned(WIDGET, last)
    for share in read(last).values():
        assert share.fields <= present.keys()


@given(SPECS, SPECS)
def test_a_manager_alone_can_say_anything_and_take_it_back(first: Json, second: Json) -> None:
    cluster = Sandbox(now=Clock(), objects=[widget_crd()])
    cluster.apply(widget(**first), manager="one")
    changed = cluster.apply(widget(**second), manager="one")
    fresh = Sandbox(now=Clock(), objects=[widget_crd()]).apply(widget(**second), manager="one")
    assert ordered(changed["spec"]) == ordered(fresh["spec"])


def ordered(spec: Json) -> Json:
    """Sort sets and keyed lists: a merge keeps the order of the old items."""
    known: Json = {**spec}
    known["set"] = sorted(spec.get("set", []))
    known["parts"] = sorted(spec.get("parts", []), key=lambda part: part["name"])
    return {key: value for key, value in known.items() if value not in ([], {})}


@given(SPECS)
def test_fields_v1_loses_nothing(spec: Json) -> None:
    paths = frozenset(fields.leaves(WIDGET, {"spec": spec}))
    assert fields.decode(fields.encode(paths)) == paths


@given(SPECS, st.data())
def test_removing_an_owned_path_leaves_it_unowned(spec: Json, data: st.DataObject) -> None:
    value = {"spec": spec}
    paths = sorted(path for path in fields.leaves(WIDGET, value) if path[-1] != "f:name")
    left = fields.remove(WIDGET, value, path := data.draw(st.sampled_from(paths)))
    assert path not in fields.leaves(WIDGET, left)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | LETTERS,
    lambda below: st.lists(below, max_size=2) | st.dictionaries(LETTERS, below, max_size=3),
    max_leaves=8,
)


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return value


@given(JSON, JSON)
def test_merging_twice_is_merging_once(target: Any, patch: Any) -> None:
    once = merge_patch(target, patch)
    assert merge_patch(once, patch) == once


@given(JSON)
def test_a_patch_of_nothing_is_the_value_without_nulls(value: Any) -> None:
    assert merge_patch({}, value) == without_nulls(value)


ACTIONS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["x", "y", "", "delete"])), max_size=12)


@given(ACTIONS, st.sampled_from(["", "app", "app=x", "app!=x", "!app"]))
def test_replaying_a_watch_gives_the_list(actions: list[tuple[str, str]], text: str) -> None:
    cluster = Sandbox(now=Clock())
    for name, value in actions:
        body = config_map(name)
        body["metadata"]["labels"] = {"app": value or None}
        if value == "delete":
            if cluster.find("cm", "default", name):
                cluster.delete("cm", "default", name)
        elif cluster.find("cm", "default", name):
            cluster.patch("cm", "default", name, body)
        else:
            body["metadata"]["labels"] = {"app": value} if value else {}
            cluster.create(body)
    selection = Selection(labels=parse_labels(text))
    seen: dict[str, Json] = {}
    for change in cluster.store.log.since(("", "configmaps"), 0):
        kind, name = change.seen_by(selection), change.obj["metadata"]["name"]
        assert kind != "ADDED" or name not in seen
        if kind == DELETED:
            del seen[name]
        elif kind:
            seen[name] = change.obj
    assert [seen[name] for name in sorted(seen)] == cluster.list("cm", labels=text)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 8)), max_size=12))
def test_no_node_is_ever_given_more_pods_than_it_holds(wanted: list[tuple[int, int]]) -> None:
    cluster = Sandbox(now=Clock(), objects=sample_fleet())
    for number, gpus in wanted:
        name = f"p{number}"
        if cluster.find("pod", "default", name):
            cluster.delete("pod", "default", name)
        else:
            cluster.create(pod(name, gpus))
        cluster.settle()
    used: dict[str, int] = {}
    for found in cluster.list("pods"):
        asked = int(found["spec"]["containers"][0]["resources"]["requests"]["nvidia.com/gpu"])
        node = found["spec"].get("nodeName", "")
        used[node] = used.get(node, 0) + asked
    for node in cluster.list("nodes"):
        assert used.get(node["metadata"]["name"], 0) <= int(node["status"]["allocatable"]["nvidia.com/gpu"])


def test_merging_of_built_in_kinds_is_described_for_metadata_everywhere() -> None:
    described = (builtin_schema.POD, builtin_schema.SERVICE, builtin_schema.NODE, builtin_schema.ANY)
    assert all(schema["properties"]["metadata"] is builtin_schema.METADATA for schema in described)
