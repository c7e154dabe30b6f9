"""Fields of Services and disruption budgets that somebody changed: found one by one, and put back."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from tests.reconcile.support import START, World, wants
from tests.support.models import LLAMA_8B, a_demand

from shardwise.domain.drift import Drift, FieldPath
from shardwise.explain.drift import drift_message
from shardwise.reconcile.actions import Apply, Decision, Delete
from shardwise.reconcile.drift import drifts, in_the_way
from shardwise.reconcile.mends import CALM, Mend, next_mend

Json = dict[str, Any]
Change = Callable[[Json], None]

REVISION = "shardwise.dev/revision"


def two() -> World:
    """Give two replicas that serve, with the defaults of an API server in their Services and their budget."""
    world = World(wants(a_demand(LLAMA_8B, budget=2, replicas=2)))
    world.run()
    fill(world)
    return world


def fill(world: World) -> None:
    for service in world.services.values():
        service |= {"spec": copy.deepcopy(service["spec"]), "metadata": copy.deepcopy(service["metadata"])}
        spec = service["spec"]
        spec |= {"sessionAffinity": "None", "ipFamilies": ["IPv4"], "internalTrafficPolicy": "Cluster"}
        spec.setdefault("clusterIP", "10.0.0.7")
        spec.setdefault("type", "ClusterIP")
        for port in spec["ports"]:
            port.setdefault("targetPort", port["port"])
        service["metadata"]["uid"] = f"uid-{service['metadata']['name']}"
    for budget in world.budgets.values():
        budget |= {"spec": copy.deepcopy(budget["spec"]), "metadata": copy.deepcopy(budget["metadata"])}
        budget["status"] = {"currentHealthy": 2}


def put(path: str, value: object) -> Change:
    def change(obj: Json) -> None:
        *before, last = path.split("/")
        found: Any = obj
        for step in before:
            found = found[int(step) if step.isdigit() else step.replace("~", "/")]
        found[last.replace("~", "/")] = value

    return change


def take(path: str) -> Change:
    def change(obj: Json) -> None:
        *before, last = path.split("/")
        found: Any = obj
        for step in before:
            found = found[int(step) if step.isdigit() else step]
        del found[last.replace("~", "/")]

    return change


def made(decision: Decision) -> list[str]:
    found = []
    for action in decision.actions:
        match action:
            case Apply(manifest):
                found.append(f"+{manifest['kind']} {manifest['metadata']['name']}")
            case Delete(kind, name, uid):
                found.append(f"-{kind} {name} {uid}")
            case _:
                pass
    return found


CLIENTS, GROUP, BUDGET = ("services", "llama"), ("services", "llama-0-0"), ("budgets", "llama")
SERVICE = ["+Service llama"]
DRIFTS: dict[str, tuple[tuple[str, str], Change, list[str]]] = {
    "a selector that selects nobody": (CLIENTS, put("spec/selector", {"shardwise.dev/role": "nobody"}), SERVICE),
    "a selector with a label more": (CLIENTS, put("spec/selector/a", "b"), SERVICE),
    "no selector": (CLIENTS, take("spec/selector"), SERVICE),
    "another port": (CLIENTS, put("spec/ports/0/port", 81), SERVICE),
    "another protocol": (CLIENTS, put("spec/ports/0/protocol", "UDP"), SERVICE),
    "another name of the port": (CLIENTS, put("spec/ports/0/name", "web"), SERVICE),
    "another target of the port": (CLIENTS, put("spec/ports/0/targetPort", 22), SERVICE),
    "no ports": (CLIENTS, take("spec/ports"), SERVICE),
    "another type": (CLIENTS, put("spec/type", "LoadBalancer"), SERVICE),
    "a label of ours changed": (CLIENTS, put("metadata/labels/app.kubernetes.io~name", "x"), SERVICE),
    "a label of ours gone": (CLIENTS, take("metadata/labels/app.kubernetes.io~name"), SERVICE),
    "the owner does not control it": (CLIENTS, put("metadata/ownerReferences/0/controller", False), SERVICE),
    "a group's selector": (GROUP, put("spec/selector", {"a": "b"}), ["+Service llama-0-0"]),
    "a group's pods that are not ready": (GROUP, put("spec/publishNotReadyAddresses", False), ["+Service llama-0-0"]),
    "a group's ports": (GROUP, put("spec/ports/0/port", 1), ["+Service llama-0-0"]),
    "a group's label": (GROUP, put("metadata/labels/shardwise.dev~group", "x"), ["+Service llama-0-0"]),
    "a group's Service with an address": (
        GROUP,
        put("spec/clusterIP", "10.0.0.9"),
        ["-Service llama-0-0 uid-llama-0-0", "+Service llama-0-0"],
    ),
    "a budget that keeps none": (BUDGET, put("spec/minAvailable", 0), ["+PodDisruptionBudget llama"]),
    "a budget by percent": (BUDGET, put("spec/minAvailable", "50%"), ["+PodDisruptionBudget llama"]),
    "a budget of others' pods": (
        BUDGET,
        put("spec/selector/matchLabels/a", "b"),
        ["+PodDisruptionBudget llama"],
    ),
    "a budget that keeps sick pods": (BUDGET, take("spec/unhealthyPodEvictionPolicy"), ["+PodDisruptionBudget llama"]),
}


@pytest.mark.parametrize(("which", "change", "expected"), DRIFTS.values(), ids=DRIFTS)
def test_a_field_that_somebody_changed_is_put_back_at_once(
    which: tuple[str, str], change: Change, expected: list[str]
) -> None:
    world = two()
    before = copy.deepcopy(getattr(world, which[0])[which[1]])
    change(getattr(world, which[0])[which[1]])
    assert made(world.step()) == expected
    after = getattr(world, which[0])[which[1]]
    assert drifts(after, before) == ()
    assert made(world.step()) == []
    assert world.standing() == "Ready/AllReplicasReady"


THEIRS: dict[str, tuple[tuple[str, str], Change]] = {
    "an annotation": (CLIENTS, put("metadata/annotations", {"a": "b"})),
    "a label": (CLIENTS, put("metadata/labels/team", "serving")),
    "another owner": (
        CLIENTS,
        lambda service: service["metadata"].setdefault("ownerReferences", []).append({"kind": "X", "uid": "x"}),
    ),
    "a port of their own": (
        CLIENTS,
        lambda service: service["spec"]["ports"].append({"name": "metrics", "port": 9, "protocol": "TCP"}),
    ),
    "a node port": (CLIENTS, put("spec/ports/0/nodePort", 31000)),
    "session affinity": (CLIENTS, put("spec/sessionAffinity", "ClientIP")),
    "a group's traffic policy": (GROUP, put("spec/internalTrafficPolicy", "Local")),
}


@pytest.mark.parametrize(("which", "change"), THEIRS.values(), ids=THEIRS)
def test_a_field_that_the_operator_does_not_set_stays_theirs(which: tuple[str, str], change: Change) -> None:
    world = two()
    change(getattr(world, which[0])[which[1]])
    assert made(world.step()) == []


def test_defaults_of_the_api_server_are_no_drift() -> None:
    world = two()
    assert made(world.step()) == []
    assert world.decide().retry_after is None


def test_an_object_that_is_being_deleted_is_waited_for() -> None:
    world = two()
    world.services["llama"]["metadata"]["deletionTimestamp"] = "2027-01-15T08:00:00Z"
    world.services["llama"]["spec"]["selector"] = {}
    assert made(world.step()) == []


def test_nothing_of_a_paused_object_is_put_back() -> None:
    world = two()
    world.services["llama"]["spec"]["selector"] = {}
    world.edit(paused=True)
    assert made(world.step()) == []


def owned_by(manager: str, *path: str) -> list[Json]:
    fields: Json = {}
    for step in reversed(path):
        fields = {step: fields}
    return [{"manager": manager, "fieldsV1": fields}]


def fight(world: World, seconds: float = 1.0) -> Decision:
    """Let another manager change the selector, and decide."""
    world.now += seconds
    fill(world)
    world.services["llama"]["spec"]["selector"] = {"role": "nobody"}
    world.services["llama"]["metadata"]["managedFields"] = owned_by("meddler", "f:spec", "f:selector")
    return world.step()


def test_the_operator_does_not_fight_for_ever_and_says_who_changes_the_field() -> None:
    """Three times at once; then it waits, twice as long each time, and the status names field and manager."""
    world = two()
    assert [made(fight(world)) for _ in range(3)] == [SERVICE] * 3
    degraded = world.condition("Degraded")
    assert (degraded["status"], degraded["reason"]) == ("True", "FieldsContested")
    assert degraded["message"] == (
        'Service `llama`: `spec.selector` is `{"role": "nobody"}`, not `{"shardwise.dev/model": "llama", '
        '"shardwise.dev/role": "leader", "shardwise.dev/…` (changed by `meddler`); '
        "the operator put this back 3 times in a row and now tries less often"
    )
    assert world.standing() == "Ready/AllReplicasReady"
    assert world.told().count("FieldsContested") == 1
    last = fight(world)
    assert (made(last), last.retry_after) == ([], 9.0)
    assert made(fight(world, 9)) == SERVICE
    assert [made(fight(world, 19)), made(fight(world, 1))] == [[], SERVICE]
    assert world.told().count("FieldsContested") == 1


def test_a_fight_costs_a_write_each_five_minutes_at_most() -> None:
    world = two()
    writes = sum(made(fight(world, 1)) == SERVICE for _ in range(3600))
    assert writes <= 3 + 5 + 3600 // 300


def test_the_status_stays_the_same_while_a_field_is_contested() -> None:
    """Or each try would be two writes more."""
    world = two()
    for _ in range(4):
        fight(world)
    before = world.status
    for seconds in (10, 5, 20, 5, 40, 80):
        fight(world, seconds)
        assert world.status == before


def test_what_is_calm_for_a_quarter_of_an_hour_is_forgotten() -> None:
    world = two()
    for _ in range(3):
        fight(world)
    assert world.decide().retry_after == 10.0
    world.now += CALM - 1
    assert (made(world.step()), world.condition("Degraded")["reason"]) == ([], "FieldsContested")
    assert world.decide().retry_after == 1.0
    world.now += 1
    assert (made(world.step()), world.condition("Degraded")["reason"]) == ([], "AsPlanned")
    assert world.decide().retry_after is None
    assert made(fight(world)) == SERVICE


def test_another_object_is_put_back_while_one_is_contested() -> None:
    world = two()
    for _ in range(4):
        fight(world)
    world.budgets["llama"]["spec"]["minAvailable"] = 0
    assert made(fight(world)) == ["+PodDisruptionBudget llama"]


def test_another_field_is_put_back_while_one_is_contested_and_each_is_counted_for_itself() -> None:
    """The writes of one who changes many fields are bounded, too."""
    world = two()
    for _ in range(4):
        fight(world)
    for times in range(5):
        world.services["llama"]["spec"]["type"] = "NodePort"
        assert made(world.step()) == (SERVICE if times < 3 else [])
        fill(world)
    message = world.condition("Degraded")["message"]
    assert ("`spec.selector`" in message, "`spec.type`" in message) == (True, True)


def test_an_edit_is_no_drift_however_often_it_comes() -> None:
    world = two()
    for port in (81, 82, 83, 84, 85):
        world.launch(port=port)
        assert made(world.step()) == SERVICE
        fill(world)
    assert (world.mends, world.condition("Degraded")["reason"]) == ({}, "AsPlanned")


def test_a_label_of_the_content_that_another_manager_wrote_is_drift() -> None:
    """By the label alone, a running group's Service would look like another version's."""
    world = two()
    service = world.services["llama-0-0"]
    service["metadata"]["labels"][REVISION] = "0badcafe00"
    assert made(world.step()) == []
    service["metadata"]["managedFields"] = owned_by("meddler", "f:metadata", "f:labels", f"f:{REVISION}")
    assert made(world.step()) == ["+Service llama-0-0"]


PORT = {"name": "http", "port": 80, "protocol": "TCP", "targetPort": "http"}
RIVAL = {"name": "http", "port": 81, "protocol": "TCP", "targetPort": "http"}
OTHER = {"name": "metrics", "port": 9, "protocol": "TCP"}
K81, K9 = 'k:{"port":81,"protocol":"TCP"}', 'k:{"port":9,"protocol":"TCP"}'


def a_service(*ports: Json, fields: list[Json] | None = None) -> Json:
    metadata: Json = {"name": "s", "uid": "u", "managedFields": fields or [], "labels": {}}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": list(ports)}}


RIVALS: dict[str, tuple[Json, list[Json] | None]] = {
    "our port": (a_service(PORT), None),
    "a port of theirs beside it": (a_service(PORT, OTHER, fields=owned_by("x", "f:spec", "f:ports", K9)), None),
    "an old port of ours, which the apply takes away": (a_service(RIVAL), None),
    "their port of our port's name": (a_service(RIVAL, fields=owned_by("x", "f:spec", "f:ports", K81)), [PORT]),
    "and another port": (a_service(RIVAL, OTHER, fields=owned_by("x", "f:spec", "f:ports", K81)), [PORT, OTHER]),
}


@pytest.mark.parametrize(("live", "ports"), RIVALS.values(), ids=RIVALS)
def test_a_port_of_others_that_bears_our_ports_name_is_taken_away_first(live: Json, ports: list[Json] | None) -> None:
    """An apply cannot take it away, and the API server refuses two ports of the same name."""
    found = in_the_way(a_service(PORT), live)
    assert found == (None if ports is None else {"spec": {"ports": ports}, "metadata": {"uid": "u"}})


def test_the_other_number_of_a_budget_is_taken_away_first() -> None:
    world = two()
    budget = world.budgets["llama"]
    budget["spec"] = {key: value for key, value in budget["spec"].items() if key != "minAvailable"}
    budget["spec"]["maxUnavailable"] = 2
    (action,) = [action for action in world.decide().actions if isinstance(action, Apply)]
    assert action.first == {"spec": {"maxUnavailable": None, "minAvailable": 1}}


WORDS: dict[str, tuple[Drift, str]] = {
    "changed by a manager": (
        Drift(("f:spec", "f:type"), "NodePort", "ClusterIP", ("kubectl-edit",)),
        '`spec.type` is `"NodePort"`, not `"ClusterIP"` (changed by `kubectl-edit`)',
    ),
    "nobody's": (
        Drift(("f:spec", "f:type"), "NodePort", "ClusterIP"),
        (
            '`spec.type` is `"NodePort"`, not `"ClusterIP"` '
            "(no other manager owns it: an admission webhook or policy may change it)"
        ),
    ),
    "absent": (
        Drift(("f:metadata", "f:labels", "f:a/c"), None, "d"),
        '`metadata.labels[a/c]` is absent, not `"d"`',
    ),
    "of a list": (
        Drift(("f:spec", "f:ports", K81, "f:name"), "a", "b", ("x", "y")),
        '`spec.ports[port=81,protocol=TCP].name` is `"a"`, not `"b"` (changed by `x`, `y`)',
    ),
}


@pytest.mark.parametrize(("drift", "words"), WORDS.values(), ids=WORDS)
def test_a_drift_is_told_with_field_values_and_manager(drift: Drift, words: str) -> None:
    assert drift_message("Service", "s", [drift]) == f"Service `s`: {words}"


def test_a_long_value_and_a_long_list_are_cut() -> None:
    long = Drift(("f:spec", "f:selector"), {"a": "b" * 200}, {})
    message = drift_message("Service", "s", [long] * 7)
    assert message.count("`spec.selector`") == 5
    assert "b" * 100 not in message
    assert message.endswith("2 others")


TYPE: FieldPath = ("f:spec", "f:type")


def test_the_next_look_is_when_the_wait_ends_or_all_is_calm() -> None:
    mends = {("Service", "a", TYPE): Mend(1, START, ""), ("Service", "b", TYPE): Mend(4, START, "")}
    assert [next_mend(mends, START + after) for after in (0, 19, 20)] == [20.0, 1.0, CALM - 20]
    assert next_mend({("Service", "a", TYPE): Mend(2, START, "")}, START) is None
