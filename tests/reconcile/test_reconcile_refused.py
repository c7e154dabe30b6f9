"""What the API server refuses to let us make: told, tried again, taken back; it changes nothing else."""

from tests.reconcile.support import World, applied, two_nodes_wide, wants
from tests.support.fleets import a_fleet, h100s

from shardwise.reconcile.actions import Apply, Emit

QUOTA = "cannot apply Pod default/llama-0-0-1: exceeded quota: gpus, used: requests.nvidia.com/gpu=8"
WEBHOOK = "cannot apply Pod default/llama-0-0-1: admission webhook said no"


def half_made(refused: str = QUOTA) -> World:
    """Give a group of which everything but the second pod could be made."""
    world = World(two_nodes_wide())
    second = next(
        position
        for position, action in enumerate(world.decide().actions)
        if isinstance(action, Apply) and action.manifest["metadata"]["name"] == "llama-0-0-1"
    )
    world.step(keep=lambda position: position != second)
    world.refused = refused
    return world


def tried_in_vain(world: World) -> None:
    """Decide once more; nothing can be made, Events are recorded."""
    actions = world.decide().actions
    world.step(keep=lambda position: isinstance(actions[position], Emit))


def test_a_refusal_is_told_once_and_its_words_stand_in_the_status() -> None:
    world = half_made()
    for _ in range(3):
        tried_in_vain(world)
    assert world.told() == ["Planned", "WriteRefused"]
    assert world.standing() == "Reconciling/WriteRefused"
    assert world.status["message"] == f"0 of 1 replicas serve; {QUOTA}"


def test_another_refusal_is_told_again() -> None:
    """Each needs something else of the user."""
    world = half_made()
    tried_in_vain(world)
    world.refused = WEBHOOK
    tried_in_vain(world)
    assert [event.message for event in world.events if event.reason == "WriteRefused"] == [QUOTA, WEBHOOK]
    assert world.status["message"].endswith(WEBHOOK)


def test_what_was_refused_is_wanted_still() -> None:
    """The refusal is words alone: the same is to be made as without it."""
    world, other = half_made(), half_made(refused="")
    assert applied(world.decide(), "Pod") == applied(other.decide(), "Pod") == ["llama-0-0-1"]


def test_a_refusal_that_is_over_leaves_no_trace() -> None:
    world = half_made()
    world.step()
    world.refused = ""
    world.run()
    assert world.standing() == "Ready/AllReplicasReady"
    assert "quota" not in str(world.status)
    assert world.status["restarts"] == 0


def test_a_refusal_does_not_hide_that_a_group_is_held() -> None:
    """Stalled is what needs somebody; that something could not be deleted may be because of it."""
    world = World(wants(max_restarts=0))
    world.settle()
    world.crash("llama-0-0-0")
    world.settle()
    world.refused = QUOTA
    world.settle()
    assert world.standing() == "Stalled/RestartsExhausted"


def test_a_refusal_does_not_hide_that_gpus_are_missing() -> None:
    world = World(two_nodes_wide(), a_fleet(h100s(2, free=[8, 0])), refused=QUOTA)
    world.settle()
    assert world.standing() == "Reconciling/CapacityShort"


def test_the_words_of_a_refusal_are_cut_to_what_a_condition_holds() -> None:
    world = World(wants(), refused="cannot apply: " + "x" * 5000)
    world.settle()
    assert len(world.condition("Ready")["message"]) == 1024
