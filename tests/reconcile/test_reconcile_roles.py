"""Objects with roles: planned together, groups on their own, one budget and status, and pairs through updates."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from tests.reconcile.support import World, deleted, wants
from tests.support.fleets import a_fleet, a_node, h100s
from tests.support.launches import changed_launch
from tests.support.models import LLAMA_8B, a_demand, pinned

from shardwise.domain.engine import EngineName
from shardwise.domain.launch import Wanted
from shardwise.domain.roles import Connector, Half, Role, RoleName
from shardwise.reconcile.status_data import read_status
from shardwise.render.manifest import ROUTER_ROLE, SERVING_ROLE

PREFILL, DECODE = RoleName


def a_part(name: RoleName, *, counted: bool = False, within: str | None = None, **changes: Any) -> Wanted:
    """Give a role: a replica of a GPU, unless said."""
    role = Role(name, Connector.NIXL, within)
    given: dict[str, Any] = {"budget": 8, "pins": pinned(1, 1)} | changes
    demand = a_demand(LLAMA_8B, **given)
    part = wants(replace(demand, half=Half(role, counted=counted)))
    asked = f"{name.value} {demand.pins} {demand.gpu_budget} {demand.engine}"
    return replace(part, launch=replace(part.launch, role=role), asks=asked, content=f"{part.content} {name.value}")


def an_object(decode: dict[str, Any] | None = None, prefill: dict[str, Any] | None = None, **both: Any) -> Wanted:
    """Give an object of both roles, with changes of each."""
    roles = (a_part(DECODE, **both, **(decode or {})), a_part(PREFILL, **both, **(prefill or {})))
    return replace(roles[0], roles=roles)


def a_world(wanted: Wanted | None = None, **changes: Any) -> World:
    return World(wanted or an_object(), **changes)


def started(wanted: Wanted | None = None, **changes: Any) -> World:
    """Give an object all of whose groups serve."""
    world = a_world(wanted, **changes)
    world.settle()
    world.start()
    world.settle()
    return world


def edited(world: World) -> None:
    """Edit an argument of the engine: all pods are of old content then."""
    roles = tuple(
        replace(
            part,
            launch=changed_launch(part.launch, args=("--seed=7",)),
            content=f"{part.content} again",
            generation=2,
        )
        for part in world.wanted.roles
    )
    world.wanted = replace(roles[0], roles=roles)


def roles_of(world: World) -> Counter[str]:
    return Counter(pod["metadata"]["labels"][SERVING_ROLE] for pod in world.pods.values())


def gpus_of(world: World) -> int:
    return sum(read_status(world.status).holdings.values())


def test_both_roles_start_side_by_side_and_serve() -> None:
    world = a_world()
    world.settle()
    assert roles_of(world) == {"decode": 1, "prefill": 1}
    world.start()
    world.settle()
    assert (world.status["replicas"], world.status["readyReplicas"]) == (2, 2)
    assert {kind: world.condition(kind)["status"] for kind in ("Ready", "Reconciling", "Stalled", "Degraded")} == {
        "Ready": "True",
        "Reconciling": "False",
        "Stalled": "False",
        "Degraded": "False",
    }


def test_the_status_tells_each_role_and_its_plan() -> None:
    world = started(an_object({"replicas": 2}, {"pins": pinned(2, 1)}, budget=8))
    roles = {role["name"]: role for role in world.status["roles"]}
    assert {name: (role["wantedReplicas"], role["readyReplicas"]) for name, role in roles.items()} == {
        "decode": (2, 2),
        "prefill": (1, 1),
    }
    assert {name: role["plan"]["tensor"] for name, role in roles.items()} == {"decode": 1, "prefill": 2}
    assert "plan" not in world.status
    assert [(group["replica"], group["role"]) for group in world.status["groups"]] == [
        (0, "decode"),
        (1, "decode"),
        (2, "prefill"),
    ]
    assert gpus_of(world) == 4
    assert world.status["message"].startswith("decode: ")


def test_nothing_is_left_to_do_once_both_serve() -> None:
    world = started()
    decision = world.step()
    assert decision.actions == ()
    assert decision.written == world.status


def test_clients_reach_decode_and_routers_find_both() -> None:
    world = started()
    (service,) = [one for name, one in world.services.items() if name == "llama"]
    assert service["spec"]["selector"][SERVING_ROLE] == "decode"
    assert {pod["metadata"]["labels"][ROUTER_ROLE] for pod in world.pods.values()} == {"decode", "prefill"}
    assert len(world.labelled()) == 2


def test_an_engine_that_needs_a_router_has_no_endpoint() -> None:
    world = started(an_object(engine=EngineName.SGLANG))
    assert "llama" not in world.services
    assert world.status["endpoint"] == ""


def test_one_disruption_budget_covers_both_roles() -> None:
    world = started(an_object({"replicas": 2}))
    (budget,) = world.budgets.values()
    assert budget["spec"]["minAvailable"] == 2


def test_the_groups_of_both_roles_never_share_a_gpu() -> None:
    world = started(an_object({"replicas": 4}, {"replicas": 4}), fleet=a_fleet(h100s(1)))
    assert gpus_of(world) == 8
    assert len({group["replica"] for group in world.status["groups"]}) == 8


def test_a_group_lives_and_dies_alone() -> None:
    """The other role goes on; the status says who lacks."""
    world = started()
    (prefill,) = [name for name, pod in world.pods.items() if pod["metadata"]["labels"][SERVING_ROLE] == "prefill"]
    world.crash(prefill)
    world.step()
    states = {group["role"]: group["state"] for group in world.status["groups"]}
    assert states == {"decode": "Ready", "prefill": "Pending"}
    assert world.condition("Degraded")["status"] == "True"
    assert world.condition("Ready")["status"] == "False"


def test_decode_is_scaled_by_itself() -> None:
    world = started()
    old = set(world.pods)
    roles = tuple(
        replace(part, demand=replace(part.demand, replicas=3)) if part.demand.half == Half(Role(DECODE)) else part
        for part in world.wanted.roles
    )
    world.wanted = replace(roles[0], roles=roles)
    world.settle()
    assert roles_of(world) == {"decode": 3, "prefill": 1}
    assert old < set(world.pods)


def test_a_budget_for_less_than_a_pair_is_told_with_the_budget_for_all_replicas() -> None:
    """Nothing begins; each role repeats the refusal of the pair."""
    world = a_world(an_object({"replicas": 3}, budget=1))
    world.settle()
    assert world.pods == {}
    assert "`spec.gpuBudget.total` allows 1, and prefill takes 1" in world.status["message"]
    assert "hint: with `spec.gpuBudget.total: 4`" in world.status["message"]


def test_a_role_without_gpus_in_the_budget_says_what_there_is_and_who_takes_it() -> None:
    """The object states three replicas of decode; prefill may have one, and the budget three."""
    world = a_world(an_object({"replicas": 3}, budget=3))
    world.settle()
    said = "3 GPUs needed for 3 replicas of decode, `spec.gpuBudget.total` allows 3, and prefill takes 1"
    assert said in world.status["message"]
    assert roles_of(world)["prefill"] == 1


def test_a_role_leaves_the_other_its_replicas_of_the_budget() -> None:
    """Decode asks for more than there is; prefill still gets its replica."""
    world = started(an_object({"replicas": 9}, budget=4))
    assert roles_of(world) == {"decode": 3, "prefill": 1}
    assert world.condition("Ready")["status"] == "False"
    assert "decode" in world.status["message"]


def test_without_room_for_both_nothing_begins() -> None:
    """A pair is worth more than a half that takes the GPUs of the other."""
    world = a_world(fleet=a_fleet(h100s(1, free=[1])))
    world.settle()
    assert world.pods == {}
    assert world.condition("Planned")["status"] == "False"
    assert world.status["waitingSince"]
    world.fleet = a_fleet(h100s(1, free=[2]))
    world.settle()
    assert roles_of(world) == {"decode": 1, "prefill": 1}


def test_counted_replicas_stay_as_they_were_planned() -> None:
    world = started(an_object(counted=True, budget=8))
    found = roles_of(world)
    assert sum(found.values()) > 1
    world.now += 3600
    world.settle()
    assert roles_of(world) == found
    assert {role["name"]: role["wantedReplicas"] for role in world.status["roles"]} == dict(found)


def test_both_roles_stay_in_the_place_of_their_groups() -> None:
    """A group that comes later does not leave the rack, although another rack has more room."""
    nodes = [a_node(f"{rack}-0", places=(rack,)) for rack in ("a", "b")]
    fleet = a_fleet(nodes[0]._replace(free=3), nodes[1]._replace(free=2), levels=("rack",))
    world = started(an_object(within="rack"), fleet=fleet)
    assert {name for group in world.status["groups"] for name in group["nodes"]} == {"a-0"}
    world.fleet = a_fleet(*nodes, levels=("rack",))
    roles = tuple(replace(part, demand=replace(part.demand, replicas=2)) for part in world.wanted.roles)
    world.wanted = replace(roles[0], roles=roles)
    world.settle()
    assert {name for group in world.status["groups"] for name in group["nodes"]} == {"a-0"}
    assert len(world.status["groups"]) == 4


def test_an_edit_of_a_role_plans_that_role_alone() -> None:
    world = started()
    (decode,) = [name for name, pod in world.pods.items() if pod["metadata"]["labels"][SERVING_ROLE] == "decode"]
    roles = (world.wanted.roles[0], a_part(PREFILL, pins=pinned(2, 1)))
    world.wanted = replace(roles[0], roles=roles)
    world.settle()
    assert decode in world.pods
    plans = {role["name"]: role["plan"]["tensor"] for role in world.status["roles"]}
    assert plans == {"decode": 1, "prefill": 2}


def test_an_object_that_gets_roles_keeps_its_groups_as_decode() -> None:
    """They are of old content, and serve until groups with roles do."""
    plain = replace(a_part(DECODE), roles=(), asks="plain", content="plain")
    plain = replace(plain, launch=replace(plain.launch, role=None), demand=replace(plain.demand, half=None))
    world = started(plain)
    (old,) = world.pods
    world.wanted = an_object()
    world.step()
    assert old in world.pods
    world.start()
    world.settle()
    world.start()
    world.settle()
    assert old not in world.pods
    assert roles_of(world) == {"decode": 1, "prefill": 1}


def test_an_object_that_loses_its_roles_keeps_a_group_that_serves() -> None:
    world = started()
    plain = replace(a_part(DECODE), roles=(), asks="plain", content="plain", generation=2)
    world.wanted = replace(plain, launch=replace(plain.launch, role=None), demand=replace(plain.demand, half=None))
    world.settle()
    world.start()
    world.settle()
    assert [pod["metadata"]["labels"].get(SERVING_ROLE) for pod in world.pods.values()] == [None]
    assert "roles" not in world.status
    assert [group.get("role") for group in world.status["groups"]] == [None]


def is_new(pod: Mapping[str, Any]) -> bool:
    """Tell whether a pod has the argument of the edit."""
    return "--seed=7" in pod["spec"]["containers"][0]["args"]


def pairs(world: World) -> set[bool]:
    """Give the contents, new or old, of which a group of each role serves."""
    serving = {
        (group["replica"], group["attempt"])
        for group in world.status["groups"]
        if group["state"] in ("Ready", "Unready")
    }
    found: dict[str, set[bool]] = {"decode": set(), "prefill": set()}
    for pod in world.pods.values():
        labels = pod["metadata"]["labels"]
        if (int(labels["shardwise.dev/replica"]), int(labels["shardwise.dev/attempt"])) in serving:
            found[labels[SERVING_ROLE]].add(is_new(pod))
    return found["decode"] & found["prefill"]


def start_one(world: World) -> None:
    """Let the first pod that is not ready be ready."""
    waiting = [name for name, pod in sorted(world.pods.items()) if not (pod.get("status") or {}).get("conditions")]
    world.start(waiting[:1])


@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_an_update_keeps_a_pair_of_one_content_serving(replicas: int) -> None:
    """With room for new groups beside the old ones: the last old group of a role waits for the new of the other."""
    world = started(an_object({"replicas": replicas}, {"replicas": replicas}, budget=16), fleet=a_fleet(h100s(2)))
    edited(world)
    for _ in range(40):
        world.step()
        assert pairs(world)
        start_one(world)
        world.now += 30
    world.settle()
    assert all(map(is_new, world.pods.values()))
    assert roles_of(world) == {"decode": replicas, "prefill": replicas}
    assert world.condition("Ready")["status"] == "True"


def test_an_update_without_room_goes_on_with_prefill_first() -> None:
    """Decode serves alone meanwhile, and is replaced when the new prefill serves."""
    world = started(fleet=a_fleet(h100s(1, free=[2])), wanted=an_object(budget=2))
    edited(world)
    world.step()
    world.step()
    states = {group["role"]: group["state"] for group in world.status["groups"]}
    assert states["decode"] == "Ready"
    assert states["prefill"] != "Ready"
    for _ in range(6):
        world.settle()
        world.start()
    world.settle()
    assert world.condition("Ready")["status"] == "True"
    assert all(group["attempt"] == 1 for group in world.status["groups"])


def test_a_paused_object_is_left_alone() -> None:
    world = started()
    world.wanted = replace(world.wanted, paused=True)
    decision = world.step()
    assert decision.actions == ()
    assert [role["name"] for role in world.status["roles"]] == ["decode", "prefill"]


def test_events_name_the_role() -> None:
    world = started()
    said = [event.message for event in world.events]
    assert any(message.startswith("prefill: replica 1 serves") for message in said)
    assert all(message.startswith(("prefill: ", "decode: ")) for message in said)


def test_no_service_of_the_other_role_is_taken_for_a_leftover() -> None:
    world = started()
    assert deleted(world.step(), "Service") == []
    assert {"llama", "llama-0-0", "llama-1-0"} == set(world.services)
