"""The gauges of fleet and objects: what they count, and that their number is bounded while their sums are not."""

from collections import Counter
from typing import Any

import pytest
from tests.support.statuses import FULL

from shardwise.domain.fleet import Exclusion, Node
from shardwise.metrics import census, table
from shardwise.metrics.census import ModelFigures, Occupancy, figures, of_fleet, of_objects, of_waits
from shardwise.observe import STRANGERS
from shardwise.reconcile.status_data import write_status

Json = dict[str, Any]
NOW = 1_800_000_000.0
H100 = "NVIDIA-H100-80GB-HBM3"
GB200 = "NVIDIA-GB200"


def a_node(name: str, product: str = H100, gpus: int = 8, domain: str = "", why: Exclusion | None = None) -> Node:
    free = 0 if why is not None else gpus
    return Node(name, product, gpus, free, 80 * 2**30, domain or name, exclusion=why)


def some(condition: str = "Ready", reason: str = "AllReplicasReady", **fields: Any) -> ModelFigures:
    plain: dict[str, Any] = {"created": NOW, "replicas": 1, "ready": 1, "gpus": 8, "restarts": 0, "states": ("Ready",)}
    return ModelFigures(**(plain | {"condition": condition, "reason": reason, "waiting": 0.0} | fields))


def test_gpus_are_held_by_objects_or_by_others_or_free_or_left_out() -> None:
    nodes: Occupancy = [
        (a_node("a"), {("default", "llama"): 4, ("team", "qwen"): 1, STRANGERS: 2}),
        (a_node("b", why=Exclusion.CORDONED), {STRANGERS: 3}),
        (a_node("c"), {}),
        (a_node("d", "", 0, why=Exclusion.NO_GPUS), {}),
    ]
    values = of_fleet(nodes)
    states = {"held": 5, "others": 5, "free": 9, "left_out": 5}
    assert values[table.GPUS] == {(H100, state): count for state, count in states.items()}
    assert values[table.LEFT_OUT] == {(H100, "Cordoned"): 5}
    assert values[table.DOMAINS] == {(H100, "1"): 1, (H100, "0"): 1, (H100, "8"): 1}
    assert values[table.DOMAIN_GPUS] == {}


def test_a_broken_node_that_has_fewer_gpus_than_are_held_gives_no_negative_number() -> None:
    values = of_fleet([(a_node("a", gpus=7), {("default", "llama"): 8})])
    assert values[table.GPUS] == {(H100, "held"): 8, (H100, "others"): 0, (H100, "free"): 0, (H100, "left_out"): 0}


def test_a_domain_of_several_nodes_has_series_of_its_own_and_counts_once_by_its_free_gpus() -> None:
    rack: Occupancy = [(a_node(f"tray-{index}", GB200, 4, "rack-1"), {}) for index in range(3)]
    values = of_fleet([*rack, (a_node("tray-3", GB200, 4, "rack-1"), {("default", "r1"): 4})])
    shares = {"held": 4, "others": 0, "free": 12, "left_out": 0}
    assert values[table.DOMAIN_GPUS] == {("rack-1", GB200, state): count for state, count in shares.items()}
    assert values[table.DOMAINS] == {(GB200, "12"): 1}


def test_products_and_domains_beyond_the_bound_are_counted_together() -> None:
    """A cluster may name as many as it likes; Prometheus keeps every series for hours."""
    nodes: Occupancy = [
        (a_node(f"{index:04}-{half}", f"GPU-{index:04}", 4, f"rack-{index:04}"), {})
        for index in range(300)
        for half in "ab"
    ]
    values = of_fleet(nodes)
    products = {product for product, _ in values[table.GPUS]}
    domains = {domain for domain, _, _ in values[table.DOMAIN_GPUS]}
    assert (len(products), len(domains)) == (census.MOST_PRODUCTS + 1, census.MOST_DOMAINS + 1)
    assert {"other"} == products - {f"GPU-{index:04}" for index in range(300)}
    assert sum(values[table.GPUS].values()) == sum(values[table.DOMAIN_GPUS].values()) == 2400


def test_a_product_without_a_name_is_unknown() -> None:
    assert {product for product, _ in of_fleet([(a_node("a", "", why=Exclusion.NO_PRODUCT), {})])[table.GPUS]} == {
        "unknown"
    }


def test_only_the_oldest_objects_get_series_and_all_are_counted() -> None:
    known = {("default", f"m{index}"): some(created=NOW - index, gpus=1) for index in range(10)}
    values = of_objects(known, {("default", "m9"): 1}, 3)
    assert list(values[table.MODEL_GPUS]) == [("default", "m9"), ("default", "m8"), ("default", "m7")]
    assert values[table.MODEL_LEAVING] == {("default", "m9"): 1, ("default", "m8"): 0, ("default", "m7"): 0}
    assert values[table.MODELS_UNLISTED] == {(): 7}
    assert values[table.MODELS] == {("Ready", "AllReplicasReady"): 10}
    assert values[table.GROUPS][("Ready",)] == 10


def test_objects_that_wait_are_counted_with_the_longest_wait() -> None:
    waits: dict[str, Any] = {"reason": "CapacityShort", "condition": "Reconciling", "states": ()}
    known = {
        ("default", "a"): some(waiting=NOW - 30, **waits),
        ("default", "b"): some(waiting=NOW - 90, **waits),
        ("default", "c"): some(),
    }
    values = of_objects(known, {}, 9) | of_waits(known, NOW)
    assert (values[table.WAITING], values[table.LONGEST_WAIT]) == ({(): 2}, {(): 90.0})
    assert values[table.MODELS] == {("Reconciling", "CapacityShort"): 2, ("Ready", "AllReplicasReady"): 1}
    assert of_waits({}, NOW)[table.LONGEST_WAIT] == {(): 0.0}


def test_the_figures_of_an_object_are_those_of_its_status() -> None:
    metadata = {"name": "llama", "namespace": "default", "creationTimestamp": "2027-01-15T08:00:00Z"}
    found = figures({"metadata": metadata, "status": write_status(FULL)})
    status = FULL
    assert found.created == NOW
    assert (found.replicas, found.ready, found.restarts) == (status.replicas, status.ready_replicas, status.restarts)
    assert found.gpus == sum(status.holdings.values()) > 0
    assert Counter(found.states) == Counter(str(record.state) for record in status.records.values())


CONDITIONS: dict[str, tuple[list[tuple[str, str, str]], tuple[str, str]]] = {
    "an object that nobody has looked at": ([], ("New", "New")),
    "Ready": ([("Ready", "True", "AllReplicasReady")], ("Ready", "AllReplicasReady")),
    "Stalled": ([("Ready", "False", "InvalidSpec"), ("Stalled", "True", "InvalidSpec")], ("Stalled", "InvalidSpec")),
    "a reason of another version": ([("Ready", "True", "NewerReason")], ("Ready", "other")),
}


@pytest.mark.parametrize(("conditions", "expected"), CONDITIONS.values(), ids=CONDITIONS)
def test_the_condition_of_an_object_is_the_one_that_is_true(
    conditions: list[tuple[str, str, str]], expected: tuple[str, str]
) -> None:
    """With its reason, if this version knows the reason: labels are a closed set."""
    written = [{"type": kind, "status": status, "reason": reason, "message": ""} for kind, status, reason in conditions]
    found = figures({"metadata": {"name": "m"}, "status": {"conditions": written}})
    assert (found.condition, found.reason) == expected


def test_an_excluded_node_that_somebody_holds_leaves_out_only_the_rest() -> None:
    node = a_node("a", why=Exclusion.FAULTY)
    values = of_fleet([(node, {("default", "llama"): 8})])
    assert values[table.GPUS][H100, "left_out"] == 0
