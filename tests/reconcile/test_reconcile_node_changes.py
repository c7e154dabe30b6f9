"""Nodes that change under a group that serves: told in the status and by `explain`, and the group serves on."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.reconcile.support import World, two_nodes_wide, wants
from tests.support.fleets import GB200, a_fleet, a_node, gb200_rack, h100s
from tests.support.models import LLAMA_8B, LLAMA_405B, a_demand

from shardwise.domain.demand import Pins
from shardwise.domain.fleet import Exclusion, Fleet
from shardwise.domain.node_changes import NodeChange, NodeFact
from shardwise.explain.node_changes import node_change_answer, node_changes_message
from shardwise.explain.standing import standing_answer, standing_text
from shardwise.reconcile.actions import Emit
from shardwise.reconcile.standing import standing_of


def alter(world: World, node: str, **changes: Any) -> None:
    nodes = (found._replace(**changes) if found.name == node else found for found in world.fleet.nodes)
    world.fleet = Fleet(tuple(nodes), world.fleet.levels, world.fleet.kinds)


def whole_node() -> World:
    world = World(wants(a_demand(LLAMA_8B, budget=8, pins=Pins(8))), a_fleet(h100s(1)))
    world.run()
    return world


def half_node() -> World:
    world = World(wants(a_demand(LLAMA_8B, budget=4, pins=Pins(4))), a_fleet(h100s(1)))
    world.run()
    return world


def rack() -> World:
    world = World(wants(a_demand(LLAMA_405B, budget=8), model=LLAMA_405B), a_fleet(gb200_rack(2)))
    world.run()
    return world


H100 = "NVIDIA-H100-80GB-HBM3"
CHANGES: dict[str, tuple[Callable[[], World], dict[str, Any], str]] = {
    "a GPU less": (whole_node, {"gpus": 7, "free": 7}, "`{node}` had 8 GPUs and has 7"),
    "a GPU less, which nobody holds": (half_node, {"gpus": 7, "free": 7}, ""),
    "a GPU less, with others on the node": (half_node, {"gpus": 7, "free": 3}, "`{node}` had 8 GPUs and has 7"),
    "no GPU at all": (
        whole_node,
        {"gpus": 0, "free": 0, "exclusion": Exclusion.OFFERS_NONE},
        "`{node}` had 8 GPUs and has 0",
    ),
    "another product": (
        whole_node,
        {"product": "NVIDIA-H200"},
        f"`{{node}}` had the GPU product {H100} and has NVIDIA-H200",
    ),
    "no product label": (
        whole_node,
        {"product": "", "free": 0, "exclusion": Exclusion.NO_PRODUCT},
        f"`{{node}}` had the GPU product {H100} and has no product label",
    ),
    "GPUs shared": (
        whole_node,
        {"free": 0, "exclusion": Exclusion.SHARED},
        "`{node}` shares its GPUs (time-slicing, MPS, HAMi or DRA)",
    ),
    "cordoned": (whole_node, {"free": 0, "exclusion": Exclusion.CORDONED}, ""),
    "another label": (whole_node, {"labels": (("a", "b"),)}, ""),
    "another domain, of a group inside the node": (whole_node, {"domain": "x"}, ""),
    "another domain, of a group over two nodes": (
        rack,
        {"domain": "other"},
        "`{node}` was in the NVLink domain of `{first}` and is in `other`",
    ),
    "no domain": (rack, {"domain": "{node}"}, "`{node}` was in the NVLink domain of `{first}` and is in none"),
}


@pytest.mark.parametrize(("serving", "changes", "words"), CHANGES.values(), ids=CHANGES)
def test_a_node_that_changes_under_a_group_is_told_and_the_group_serves_on(
    serving: Callable[[], World], changes: dict[str, Any], words: str
) -> None:
    """The fact first: the node, as it was and as it is."""
    world = serving()
    nodes, pods = world.nodes()[0], dict(world.pods)
    first, node = nodes[0], nodes[-1]
    filled = {key: value.format(node=node) if isinstance(value, str) else value for key, value in changes.items()}
    alter(world, node, **filled)
    decision = world.step()
    said = words.format(node=node, first=first)
    degraded = world.condition("Degraded")
    if said:
        assert degraded["message"] == f"{said}; the replicas there keep serving"
        assert (degraded["status"], degraded["reason"]) == ("True", "NodeChanged")
    else:
        assert (degraded["status"], degraded["reason"]) == ("False", "AsPlanned")
    assert [action for action in decision.actions if not isinstance(action, Emit)] == []
    assert world.told().count("NodeChanged") == bool(said)
    assert (world.pods, world.nodes(), world.standing()) == (pods, [nodes], "Ready/AllReplicasReady")
    standing = standing_of(world.wanted, world.observe(), world.now)
    assert f"nodes    {said}" in standing_text(standing, "llama") or not said
    assert bool(standing_answer(standing)["changedNodes"]) is bool(said)
    before = world.status
    assert (world.step().written, world.told().count("NodeChanged")) == (before, bool(said))


def test_a_node_that_is_as_before_again_is_told_no_more() -> None:
    world = whole_node()
    (node,) = world.nodes()[0]
    alter(world, node, gpus=7, free=7)
    world.step()
    alter(world, node, gpus=8, free=8)
    world.step()
    assert world.condition("Degraded")["reason"] == "AsPlanned"


def test_a_pod_of_a_stranger_on_the_planned_node_is_no_change_of_the_node() -> None:
    """The scheduler was faster with it: our pod is not bound yet."""
    world = World(wants(a_demand(LLAMA_8B, budget=8, pins=Pins(8))), a_fleet(h100s(1)))
    world.settle()
    alter(world, world.nodes()[0][0], free=4)
    world.settle()
    assert "had" not in str(world.condition("Degraded"))


def test_a_tensor_group_pinned_over_nodes_without_nvlink_has_lost_nothing() -> None:
    world = World(wants(a_demand(LLAMA_405B, budget=16, pins=Pins(16)), model=LLAMA_405B), a_fleet(h100s(2)))
    world.run()
    assert world.condition("Degraded")["reason"] == "AsPlanned"


def test_a_group_of_old_content_is_not_compared_with_the_new_plan() -> None:
    world = World(two_nodes_wide())
    world.run()
    world.demand(products=("NVIDIA-H200",))
    world.step()
    assert world.condition("Degraded")["reason"] != "NodeChanged"


def test_many_changes_are_counted_and_given_as_data() -> None:
    changes = [NodeChange(f"n{number}", NodeFact.GPUS, "8", "7") for number in range(7)]
    message = node_changes_message(changes)
    assert message.startswith("`n0` had 8 GPUs and has 7; `n1`")
    assert "`n5`" not in message
    assert node_change_answer(NodeChange("n", NodeFact.PRODUCT, "A", "")) == {
        "node": "n",
        "fact": "Product",
        "was": "A",
        "is": None,
    }


def test_nodes_that_a_pin_joins_without_nvlink_have_not_changed() -> None:
    """A group of two trays without labels spans two domains from its first day."""
    trays = [a_node(f"tray-{at}", product=GB200, gpus=4) for at in range(2)]
    world = World(wants(a_demand(LLAMA_8B, budget=8, pins=Pins(8))), a_fleet(trays))
    world.run()
    assert world.status["plan"]["joined"] is True
    assert standing_of(world.wanted, world.observe(), world.now).changed_nodes == ()
