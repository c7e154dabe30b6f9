"""Revisions: the same for the same content, different for different content, and blind to all that is no content."""

from dataclasses import replace

import pytest
from tests.engines.support import a_plan, wants
from tests.render.support import TWO_NODES, TWO_REPLICAS, pods

from shardwise.domain.demand import Toleration
from shardwise.domain.launch import EnvVar, Owner, Source, SourceKind, Wanted
from shardwise.domain.layout import Layout
from shardwise.domain.notes import Remark
from shardwise.domain.plan import Estimate, Plan, PodPlacement, Rule
from shardwise.render.bundle import group, revision, serving
from shardwise.render.manifest import REVISION

PLAIN = wants()


def moved(plan: Plan, index: int, **changes: object) -> Plan:
    """Change the placement of one pod of the first group."""
    first, *rest = plan.groups
    places: list[PodPlacement] = list(first.pods)
    places[index] = replace(places[index], **changes)  # type: ignore[arg-type]
    return replace(plan, groups=(replace(first, pods=tuple(places)), *rest))


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(wants(served_name="other"), id="served name"),
        pytest.param(wants(model="meta-llama/other"), id="model"),
        pytest.param(wants(source=Source(revision="v2")), id="revision of the model"),
        pytest.param(wants(source=Source(token_secret="hub")), id="token"),
        pytest.param(wants(source=Source(SourceKind.PERSISTENT_VOLUME_CLAIM, location="claim")), id="source"),
        pytest.param(wants(image="vllm/vllm-openai:v0.34.0"), id="image"),
        pytest.param(wants(image_pull_policy="Always"), id="pull policy"),
        pytest.param(wants(image_pull_secrets=("pull",)), id="pull secrets"),
        pytest.param(wants(args=("--seed", "1")), id="arguments"),
        pytest.param(wants(env=(EnvVar("A", value="1"),)), id="variables"),
        pytest.param(wants(tolerations=(Toleration("gpu", "Exists"),)), id="tolerations"),
        pytest.param(wants(priority_class_name="high"), id="priority class"),
        pytest.param(wants(scheduler_name="volcano"), id="scheduler"),
        pytest.param(wants(service_account_name="runner"), id="service account"),
        pytest.param(wants(runtime_class_name="nvidia"), id="runtime class"),
        pytest.param(wants(labels=(("team", "a"),)), id="labels"),
        pytest.param(wants(annotations=(("note", "a"),)), id="annotations"),
        pytest.param(wants(requests=(("cpu", "8"),)), id="requests"),
        pytest.param(wants(limits=(("rdma/ib", "1"),)), id="limits"),
        pytest.param(wants(shared_memory="32Gi"), id="shared memory"),
        pytest.param(wants(trust_remote_code=True), id="trust"),
        pytest.param(wants(kv_cache_dtype="fp8"), id="cache precision"),
    ],
)
def test_whatever_changes_a_pod_changes_its_revision(changed: Wanted) -> None:
    """So the group is started anew."""
    assert revision(changed, TWO_NODES, 0) != revision(PLAIN, TWO_NODES, 0)


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(a_plan(Layout(16, 1), 8, 8), id="layout"),
        pytest.param(a_plan(Layout(8, 2, expert=True), 8, 8), id="experts"),
        pytest.param(a_plan(Layout(8, 2), 4, 4, 4, 4), id="spread"),
        pytest.param(replace(TWO_NODES, context_length=4096), id="context"),
        pytest.param(a_plan(Layout(8, 2), 8, 8, weights=100 << 30), id="time to start"),
        pytest.param(moved(TWO_NODES, 1, node="elsewhere"), id="node of a follower"),
    ],
)
def test_whatever_the_plan_changes_of_a_pod_changes_its_revision(changed: Plan) -> None:
    """All pods of a group have one revision, so a follower's new node starts the leader anew, too."""
    assert revision(PLAIN, changed, 0) != revision(PLAIN, TWO_NODES, 0)


@pytest.mark.parametrize(
    ("wanted", "plan"),
    [
        pytest.param(wants(port=80), TWO_NODES, id="port of the Service"),
        pytest.param(wants(type="LoadBalancer"), TWO_NODES, id="type of the Service"),
        pytest.param(replace(PLAIN, generation=7, paused=True, asks="x", content="y"), TWO_NODES, id="generation"),
        pytest.param(PLAIN, replace(TWO_NODES, rule=Rule.PINNED, tight=True, notes=(Remark("note"),)), id="reasons"),
        pytest.param(PLAIN, replace(TWO_NODES, estimate=Estimate(9.0, 1.0)), id="estimate"),
        pytest.param(PLAIN, replace(TWO_NODES, product="NVIDIA-B200", concurrency=9), id="product"),
        pytest.param(PLAIN, moved(TWO_NODES, 0, domain="domain-1"), id="domain"),
        pytest.param(PLAIN, TWO_REPLICAS, id="another replica beside it"),
        pytest.param(wants(image="vllm/vllm-openai:v0.33.0"), TWO_NODES, id="the default, said"),
    ],
)
def test_what_changes_no_pod_keeps_its_revision(wanted: Wanted, plan: Plan) -> None:
    """So nothing is started anew."""
    assert revision(wanted, plan, 0) == revision(PLAIN, TWO_NODES, 0)


def test_the_revision_is_on_every_pod_whatever_its_attempt() -> None:
    """A restart is no change; 10 hexadecimal digits, the same in every process and on every machine."""
    for attempt in (0, 1, 12):
        labels = [pod["metadata"]["labels"][REVISION] for pod in pods(TWO_NODES, attempt=attempt)]
        assert labels == [revision(PLAIN, TWO_NODES, 0)] * 2
    assert revision(PLAIN, TWO_NODES, 0) == "2ef283ddb4"


def test_replicas_have_revisions_of_their_own() -> None:
    """Their nodes differ: one can be started anew without the other."""
    assert revision(PLAIN, TWO_REPLICAS, 0) != revision(PLAIN, TWO_REPLICAS, 1)


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        pytest.param(wants(port=80), False, id="port"),
        pytest.param(wants(type="NodePort"), False, id="type"),
        pytest.param(wants(args=("--seed", "1")), True, id="pods only"),
        pytest.param(wants(owner=Owner("llama", "default", "uid-2")), True, id="another uid"),
    ],
)
def test_a_services_revision_is_that_of_its_spec(changed: Wanted, same: bool) -> None:
    """A change shows without comparing what the API server filled in."""
    before, after = (serving(one)["metadata"]["labels"][REVISION] for one in (PLAIN, changed))
    assert (before == after) is same


def test_a_groups_service_is_the_same_whatever_its_pods_are() -> None:
    """Its content is names and ports."""
    before, after = (group(one, TWO_NODES, 0, 0).service for one in (PLAIN, wants(image="other")))
    assert before == after


def test_a_replica_that_is_not_planned_is_not_rendered() -> None:
    """By its number, in words."""
    with pytest.raises(LookupError, match="the plan has no replica 2"):
        revision(PLAIN, TWO_REPLICAS, 2)
    with pytest.raises(LookupError, match="the plan has no replica 1"):
        group(PLAIN, TWO_NODES, 1, 0)
    assert len(group(PLAIN, TWO_REPLICAS, 1, 0).pods) == 2
