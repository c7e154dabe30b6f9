"""Drift against the rules of the API: what was applied has none, and after a mend there is none and others' stays."""

import copy
from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shardwise.observe import slim_owned
from shardwise.reconcile.drift import drifts, in_the_way
from shardwise_sandbox import ApiError, Sandbox

Json = dict[str, Any]

WORDS = st.sampled_from(["a", "b", "c"])
SELECTORS = st.dictionaries(WORDS, WORDS, min_size=1, max_size=2)
PORTS = st.lists(
    st.fixed_dictionaries(
        {"name": WORDS, "port": st.integers(1, 3), "protocol": st.sampled_from(["TCP", "UDP"])},
        optional={"targetPort": st.sampled_from([80, "http"])},
    ),
    min_size=1,
    max_size=2,
    unique_by=(lambda port: port["name"], lambda port: (port["port"], port["protocol"])),
)
SERVICES = st.fixed_dictionaries(
    {"selector": SELECTORS, "ports": PORTS},
    optional={
        "type": st.sampled_from(["ClusterIP", "NodePort"]),
        "publishNotReadyAddresses": st.booleans(),
        "clusterIP": st.just("None"),
    },
)
BUDGETS = st.fixed_dictionaries(
    {"minAvailable": st.integers(0, 2), "selector": st.fixed_dictionaries({"matchLabels": SELECTORS})},
    optional={"unhealthyPodEvictionPolicy": st.just("AlwaysAllow")},
)
SERVICE_PATCHES = st.fixed_dictionaries(
    {},
    optional={
        "selector": st.one_of(st.none(), SELECTORS),
        "ports": PORTS,
        "type": st.sampled_from(["ClusterIP", "NodePort", None]),
        "publishNotReadyAddresses": st.booleans(),
        "sessionAffinity": st.sampled_from(["ClientIP", "None"]),
    },
)
BUDGET_PATCHES = st.sampled_from(
    [
        {"minAvailable": 9},
        {"minAvailable": None, "maxUnavailable": 1},
        {"selector": {"matchLabels": {"a": "z"}}},
        {"unhealthyPodEvictionPolicy": None},
        {},
    ]
)
LABELS = st.fixed_dictionaries({}, optional={"ours": st.sampled_from(["x", "y", None]), "theirs": WORDS})


def manifest(kind: str, spec: Json) -> Json:
    api_version = "v1" if kind == "Service" else "policy/v1"
    metadata = {"name": "s", "namespace": "default", "labels": {"ours": "x"}}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}


def mended(cluster: Sandbox, wanted: Json, live: Json) -> Json:
    """Put drift right as the operator does: what is in the way first, then the apply."""
    first = in_the_way(wanted, live)
    if first is not None:
        cluster.patch(wanted["kind"], "default", "s", first)
    return slim_owned(cluster.apply(copy.deepcopy(wanted), manager="shardwise", force=True))


def check(wanted: Json, labels: Json, spec: Json) -> None:
    cluster = Sandbox(controllers=False)
    live = slim_owned(cluster.apply(copy.deepcopy(wanted), manager="shardwise", force=True))
    assert drifts(wanted, live) == ()
    with suppress(ApiError):  # nobody can make an object that breaks the rules
        cluster.patch(wanted["kind"], "default", "s", {"metadata": {"labels": labels}, "spec": spec})
    live = slim_owned(cluster.get(wanted["kind"], "default", "s"))
    found = drifts(wanted, live)
    after = mended(cluster, wanted, live)
    assert drifts(wanted, after) == ()
    if not found:
        assert (after["spec"], after["metadata"]["labels"]) == (live["spec"], live["metadata"]["labels"])
    assert after["metadata"]["labels"].get("theirs") == live["metadata"]["labels"].get("theirs")
    assert after["spec"].get("sessionAffinity") == live["spec"].get("sessionAffinity")
    version = cluster.store.version
    assert drifts(wanted, mended(cluster, wanted, after)) == ()
    assert cluster.store.version == version


@given(SERVICES, LABELS, SERVICE_PATCHES)
def test_a_service_has_no_drift_after_an_apply_and_none_after_a_mend(spec: Json, labels: Json, patch: Json) -> None:
    """So a steady state has no writes: an object without drift is not written, and a mend leaves none."""
    check(manifest("Service", spec), labels, patch)


@given(BUDGETS, LABELS, BUDGET_PATCHES)
def test_a_budget_has_no_drift_after_an_apply_and_none_after_a_mend(spec: Json, labels: Json, patch: Json) -> None:
    check(manifest("PodDisruptionBudget", spec), labels, patch)
