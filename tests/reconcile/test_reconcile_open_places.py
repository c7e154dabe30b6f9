"""Groups whose nodes the scheduler picks: what binds its choice, what they hold until then, and what came of it."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from tests.reconcile.support import World, two_nodes_wide, wants
from tests.support.fleets import a_fleet, gb200_rack, h100s
from tests.support.models import LLAMA_405B, a_demand

from shardwise.domain.demand import Operator, Requirement
from shardwise.domain.fleet import Fleet, Node
from shardwise.domain.launch import GangScheduler, GangSystem, LaunchSite, PlacedBy, Wanted
from shardwise.domain.platforms import Level
from shardwise.explain.standing import standing_text
from shardwise.queues import Phase, QueuedGroup
from shardwise.reconcile.observed import GangSeen
from shardwise.reconcile.standing import standing_of

Json = dict[str, Any]

PRODUCT = "nvidia.com/gpu.product"
CLIQUE = "nvidia.com/gpu.clique"
H100 = "NVIDIA-H100-80GB-HBM3"
SCHEDULER = PlacedBy.SCHEDULER


def labelled(nodes: Iterable[Node], **more: Any) -> list[Node]:
    """Give nodes the labels that they were read by."""
    made = []
    for node in nodes:
        labels = {"kubernetes.io/hostname": node.name, PRODUCT: node.product} | more.get(node.name, {})
        if node.domain != node.name:
            labels[CLIQUE] = node.domain
        made.append(node._replace(labels=tuple(sorted(labels.items()))))
    return made


def a_world(wanted: Wanted | None = None, fleet: Fleet | None = None) -> World:
    return World(wanted or two_nodes_wide(placed_by=SCHEDULER), fleet or a_fleet(labelled(h100s(4))))


def required(pod: Json) -> list[Json]:
    affinity = pod["spec"]["affinity"]["nodeAffinity"]
    found: list[Json] = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    return found


def bind(world: World, **nodes: str) -> None:
    """Bind pods as the scheduler likes, and let their engines be ready."""
    for name, pod in world.pods.items():
        chosen = nodes.get(name.replace("-", "_"))
        if chosen:
            pod["spec"]["nodeName"] = chosen
            pod["status"] = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}


def test_pods_name_the_product_and_no_node() -> None:
    world = a_world()
    world.settle()
    expected = [{"matchExpressions": [{"key": PRODUCT, "operator": "In", "values": [H100]}]}]
    assert [required(pod) for pod in world.pods.values()] == [expected, expected]


def test_nothing_is_held_until_the_pods_are_bound_and_then_their_nodes_are() -> None:
    """The nodes of the plan only show that there is room: the status does not name them as the place."""
    world = a_world()
    world.settle()
    (group,) = world.status["groups"]
    assert (group["state"], group.get("nodes"), group["plannedNodes"]) == (
        "Starting",
        None,
        ["h100-00", "h100-01"],
    )
    assert dict(world.observe().status.holdings) == {}
    assert world.observe().status.coming == 16
    assert "the scheduler picks the nodes" in world.condition("Planned")["message"]
    bind(world, llama_0_0_0="h100-03")
    world.settle()
    assert dict(world.observe().status.holdings) == {}, "the ledger counts the bound pod itself"
    bind(world, llama_0_0_0="h100-03", llama_0_0_1="h100-02")
    world.settle()
    (group,) = world.status["groups"]
    assert (group["state"], group["nodes"]) == ("Ready", ["h100-03", "h100-02"])
    assert dict(world.observe().status.holdings) == {"h100-02": 8, "h100-03": 8}
    assert world.observe().status.coming == 0
    assert "h100-03, h100-02" in world.condition("Ready")["message"]
    assert [event.message for event in world.events if event.reason == "Planned"] == [
        world.condition("Planned")["message"]
    ], "told once, with the nodes that came of it"


RACKS = {"h100-00": "r1", "h100-01": "r1", "h100-02": "r2", "h100-03": "r3"}
WIDER = (
    "the scheduler chose other nodes than the plan (h100-00, h100-01), in 2 racks instead of 1: the speed may be below "
    "the estimate"
)
LANDED = {
    "as planned": ("h100-00", "h100-01", ""),
    "the other way round": ("h100-01", "h100-00", ""),
    "in more racks": (
        "h100-02",
        "h100-03",
        WIDER,
    ),
}


def in_racks() -> Fleet:
    nodes = [node._replace(places=(RACKS[node.name],)) for node in labelled(h100s(4))]
    return replace(a_fleet(nodes), levels=("rack",))


@pytest.mark.parametrize(("first", "second", "said"), LANDED.values(), ids=LANDED)
def test_the_status_tells_whether_the_estimate_still_holds(first: str, second: str, said: str) -> None:
    world = a_world(fleet=in_racks())
    world.settle()
    bind(world, llama_0_0_0=first, llama_0_0_1=second)
    world.settle()
    assert world.status["groups"][0].get("message", "") == said


def test_the_choice_may_be_as_near_as_the_plan() -> None:
    world = a_world()
    world.settle()
    bind(world, llama_0_0_0="h100-02", llama_0_0_1="h100-03")
    world.settle()
    assert world.status["groups"][0]["message"].endswith("as near to each other: the estimate holds")
    before = world.status
    assert (world.step().actions, world.status) == ((), before), "nothing more is written"


def test_explain_tells_the_nodes_that_came_of_it_and_the_estimate() -> None:
    """Before the pods are bound, it names no node."""
    world = a_world(fleet=in_racks())
    world.settle()
    text = standing_text(standing_of(world.wanted, world.observe(), world.now), "llama")
    assert "TP8×PP2 on 16 NVIDIA-H100-80GB-HBM3 (the scheduler picks the nodes)" in text
    assert text.count("on a node that the scheduler picks") == 2
    bind(world, llama_0_0_0="h100-02", llama_0_0_1="h100-03")
    world.settle()
    text = standing_text(standing_of(world.wanted, world.observe(), world.now), "llama")
    assert "TP8×PP2 on 16 NVIDIA-H100-80GB-HBM3 (h100-02, h100-03)" in text
    assert WIDER in text


def test_a_tensor_group_over_trays_stays_in_its_domain() -> None:
    """By the label of the clique; the plan has fixed which."""
    fleet = a_fleet(labelled(gb200_rack(4)))
    world = a_world(wants(a_demand(LLAMA_405B, budget=8), placed_by=SCHEDULER), fleet)
    world.settle()
    domain = fleet.nodes[0].domain
    expressions = [term["matchExpressions"] for pod in world.pods.values() for term in required(pod)]
    assert len(expressions) == 2
    assert {"key": CLIQUE, "operator": "In", "values": [domain]} in expressions[0]
    assert expressions[0] == expressions[1]


def test_a_gang_names_the_label_of_its_domain_where_the_scheduler_understands_it() -> None:
    """Where each pod names its node, the label would add nothing, and such groups preempt no others."""
    gangs = (GangScheduler(GangSystem.NATIVE, topology=True),)
    site = LaunchSite(gangs=gangs, gang=GangSystem.NATIVE)
    expected = {SCHEDULER: {"topology": [{"key": CLIQUE}]}, PlacedBy.SHARDWISE: None}
    for owner, constraints in expected.items():
        wanted = wants(a_demand(LLAMA_405B, budget=8), placed_by=owner, site=site)
        world = a_world(wanted, a_fleet(labelled(gb200_rack(4))))
        there = {"llama-0-0": QueuedGroup(Phase.WAITING)}
        world.gang = GangSeen({GangSystem.NATIVE: "scheduling.k8s.io/v1alpha2"})
        world.step()
        world.gang = replace(world.gang, groups=there)
        world.settle()
        assert world.companions["PodGroup", "llama-0-0"]["spec"].get("schedulingConstraints") == constraints


def test_wishes_of_the_object_bind_the_scheduler_too() -> None:
    """Where Shardwise picks the nodes, only the plan needs them."""
    demand = a_demand(
        LLAMA_405B,
        budget=16,
        node_selector=(("pool", "a"),),
        node_affinity=((Requirement("zone", Operator.EXISTS),), (Requirement("age", Operator.GREATER, ("2",)),)),
        within="rack",
    )
    more = {f"h100-0{number}": {"pool": "a", "zone": "z", "net/rack": "r1", "net/row": "b"} for number in range(4)}
    nodes = [node._replace(places=("r1", "b")) for node in labelled(h100s(4), **more)]
    fleet = replace(a_fleet(nodes), levels=("rack", "row"))
    wanted = wants(demand, placed_by=SCHEDULER)
    levels = (Level("rack", ("net/rack",)), Level("row", ("net/row",)))
    world = a_world(replace(wanted, site=replace(wanted.site, levels=levels)), fleet)
    world.settle()
    fixed = [
        {"key": PRODUCT, "operator": "In", "values": [H100]},
        {"key": "net/rack", "operator": "In", "values": ["r1"]},
        {"key": "net/row", "operator": "In", "values": ["b"]},
    ]
    pod = world.pods["llama-0-0-0"]
    assert pod["spec"]["nodeSelector"] == {"pool": "a"}
    assert required(pod) == [
        {"matchExpressions": [{"key": "zone", "operator": "Exists"}, *fixed]},
        {"matchExpressions": [{"key": "age", "operator": "Gt", "values": ["2"]}, *fixed]},
    ]


def test_a_node_without_the_label_of_its_product_is_named() -> None:
    """Its GPUs are known from ResourceSlices or the configuration: no label tells the scheduler of them."""
    world = a_world(fleet=a_fleet(h100s(4)))
    world.settle()
    assert [required(pod)[0]["matchFields"][0]["values"] for pod in world.pods.values()] == [["h100-00"], ["h100-01"]]


def test_no_node_is_blamed_for_a_pod_that_finds_no_place() -> None:
    """The plan did not choose it."""
    world = a_world()
    world.settle()
    for name in list(world.pods):
        world.unscheduled(name)
    world.now += 61
    world.step()
    assert "shunnedNodes" not in world.status
    assert world.status["groups"][0]["message"] == (
        "pod 0 found no place: not scheduled: 0/4 nodes are available: Insufficient cpu"
    )


def test_an_attempt_goes_on_although_others_take_the_nodes_of_the_plan() -> None:
    """It was never bound to them."""
    world = a_world()
    world.step()
    del world.pods["llama-0-0-1"]
    taken = [node._replace(free=0) for node in world.fleet.nodes[:2]]
    world.fleet = world.fleet.with_nodes(taken)
    world.settle()
    assert (world.states(), sorted(world.pods)) == (["Starting 0"], ["llama-0-0-0", "llama-0-0-1"])


def test_a_node_that_failed_twice_is_excluded() -> None:
    world = a_world()
    for attempt in range(2):
        world.settle()
        bind(world, **{f"llama_0_{attempt}_0": "h100-03", f"llama_0_{attempt}_1": "h100-02"})
        world.settle()
        world.crash(f"llama-0-{attempt}-1")
        world.settle()
        world.now += 60
    world.settle()
    avoided = {"key": "kubernetes.io/hostname", "operator": "NotIn", "values": ["h100-02"]}
    assert avoided in required(world.pods["llama-0-2-0"])[0]["matchExpressions"]


def test_a_lost_status_is_found_again_from_bound_pods() -> None:
    world = a_world()
    world.settle()
    bind(world, llama_0_0_0="h100-03", llama_0_0_1="h100-02")
    world.settle()
    world.status = {}
    world.settle()
    assert (world.states(), world.nodes()) == (["Ready 0"], [["h100-03", "h100-02"]])


@pytest.mark.parametrize("first", [PlacedBy.SCHEDULER, PlacedBy.SHARDWISE])
def test_a_change_of_the_owner_replaces_the_replica(first: PlacedBy) -> None:
    """In place: there are no GPUs for a second."""
    other = PlacedBy.SHARDWISE if first is SCHEDULER else SCHEDULER
    world = a_world(two_nodes_wide(placed_by=first), a_fleet(labelled(h100s(2))))
    world.settle()
    bind(world, llama_0_0_0="h100-00", llama_0_0_1="h100-01")
    world.settle()
    world.launch(placed_by=other)
    world.settle()
    (group,) = world.status["groups"]
    assert (group["state"], group["attempt"], "plannedNodes" in group) == ("Starting", 1, other is SCHEDULER)
