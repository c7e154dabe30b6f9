"""The schema of the status is the form of the data that the operator writes: every field, both ways."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tests.api.support import PLAIN
from tests.support.statuses import FULL

from shardwise.api import crd
from shardwise.domain.cache_tokens import CacheTokens
from shardwise.domain.notes import Remark
from shardwise.reconcile.object_status import GroupStatus, RoleStatus, Status
from shardwise.reconcile.recorded_plan import RecordedPlan
from shardwise.reconcile.records import Record
from shardwise.reconcile.status_data import write_status
from shardwise_sandbox import Sandbox

Json = dict[str, Any]
KINDS = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
SCHEMA: Json = crd.object_schema()["properties"]["status"]


def of_schema(node: Json, path: str) -> Iterator[tuple[str, str]]:
    """Give the path and the kind of each field of a schema."""
    yield path, "time" if node.get("format") == "date-time" else node["type"]
    for name, below in (node.get("properties") or {}).items():
        yield from of_schema(below, f"{path}.{name}")
    if "items" in node:
        yield from of_schema(node["items"], f"{path}[]")


def is_time(value: object) -> bool:
    return isinstance(value, str) and value.startswith("2027-") and value.endswith("Z")


def of_data(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Give the path and the kind of each field of data. No list may be empty."""
    yield path, "time" if is_time(value) else KINDS[type(value)]
    if isinstance(value, dict):
        for name, below in value.items():
            yield from of_data(below, f"{path}.{name}")
    elif isinstance(value, list):
        assert value, path
        for below in value:
            yield from of_data(below, f"{path}[]")


def required(node: Json, path: str) -> Iterator[str]:
    """Give the path of each field that must be there if its parent is."""
    yield from (f"{path}.{name}" for name in node.get("required") or ())
    for name, below in (node.get("properties") or {}).items():
        yield from required(below, f"{path}.{name}")
    if "items" in node:
        yield from required(node["items"], f"{path}[]")


def test_schema_and_data_have_the_same_fields_of_the_same_kinds() -> None:
    assert set(of_schema(SCHEMA, "status")) == set(of_data(write_status(FULL), "status"))


def _sparse() -> Status:
    """Give a status with an entry in each list, and every other field empty."""
    assert FULL.plan is not None
    plan = RecordedPlan(
        replace(FULL.plan.plan, notes=(Remark("x"),), resource="nvidia.com/gpu"), alternatives=FULL.plan.alternatives
    )
    return Status(
        groups=(GroupStatus(Record(0, since=1.0, cache=CacheTokens(1, 1))),),
        plan=plan,
        roles=(RoleStatus("decode", plan=plan),),
        shuns=FULL.shuns,
        conditions=FULL.conditions,
    )


def test_a_field_that_the_schema_requires_is_always_written() -> None:
    """The API server would refuse the write, and the object would stand still."""
    written = {path for path, _ in of_data(write_status(_sparse()), "status")}
    assert set(required(SCHEMA, "status")) <= written


def test_the_api_server_stores_a_status_unchanged() -> None:
    """Anything pruned or filled in would be written again with every look."""
    cluster = Sandbox(objects=[crd.definition()])
    metadata = cluster.create(PLAIN)["metadata"]
    stored = cluster.patch(
        "ShardedModel", metadata["namespace"], metadata["name"], {"status": write_status(FULL)}, "status"
    )
    assert stored["status"] == write_status(FULL)
