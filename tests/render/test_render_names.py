"""Names: DNS labels that begin with a letter, never too long, and different for different things."""

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.engines.support import wants
from tests.render.support import TWO_REPLICAS, everything, names_in_dns, of_kind, pods
from tests.support.models import LLAMA_8B, a_demand

from shardwise.domain.launch import Owner
from shardwise.render.manifest import Manifest
from shardwise.render.names import group_name, hosts, is_pod_of, label_value, pod_name, serving_name

SERVICE = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
"""RFC 1035, which Services keep to; pods' names, hostnames and labels ask for less."""

BUSY = st.from_regex(r"[a-c0-1]([-.a-c0-1]{0,8}[a-c0-1])?", fullmatch=True)
LONG = st.from_regex(r"[a-z0-9]([-a-z0-9]{40,61}[a-z0-9])?", fullmatch=True)
SUBDOMAIN = st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", fullmatch=True)
names = BUSY | LONG | SUBDOMAIN
"""Short names of few letters, that meet each other's suffixes; long ones; all that may name an object at all."""

counts = st.integers(0, 3) | st.integers(0, 99_999)


@pytest.mark.parametrize(
    ("model", "pod"),
    [
        pytest.param("llama", "llama-1-2-3", id="plain"),
        pytest.param("a", "a-1-2-3", id="one letter"),
        pytest.param("llama-3-1", "llama-3-1-1-2-3", id="numbers of its own"),
        pytest.param("x" * 57, "x" * 57 + "-1-2-3", id="just short enough"),
        pytest.param("x" * 58, "x" * 48 + "-5ef8b2e5-1-2-3", id="one too long"),
        pytest.param("9b", "m-9b-e5579172-1-2-3", id="a digit first"),
        pytest.param("llama-3.1", "llama-3-1-26cd283e-1-2-3", id="a dot"),
    ],
)
def test_a_pods_name_says_model_replica_attempt_and_index(model: str, pod: str) -> None:
    """A name that cannot be kept is cut or mended, and marked with its digest."""
    assert pod_name(model, 1, 2, 3) == pod


@given(names, counts, counts, counts)
def test_every_name_is_a_dns_label(model: str, replica: int, attempt: int, index: int) -> None:
    """Of at most 63 characters, whatever the object is called."""
    made = [group_name(model, replica, attempt), pod_name(model, replica, attempt, index), serving_name(model)]
    for name in (*made, label_value(model)):
        assert SERVICE.fullmatch(name), name


@given(names, names, st.tuples(counts, counts, counts), st.tuples(counts, counts, counts))
def test_different_pods_have_different_names(
    one: str, other: str, place: tuple[int, int, int], there: tuple[int, int, int]
) -> None:
    """Of whatever object, replica, attempt and index; so have groups, and the Services of objects."""
    assume((one, place) != (other, there))
    assert pod_name(one, *place) != pod_name(other, *there)
    if (one, place[:2]) != (other, there[:2]):
        assert group_name(one, *place[:2]) != group_name(other, *there[:2])
    if one != other:
        assert serving_name(one) != serving_name(other)
        assert label_value(one) != label_value(other)


@given(names, counts, counts)
def test_the_services_of_one_object_do_not_meet(model: str, replica: int, attempt: int) -> None:
    """The one for clients is called as the object, a group's has its numbers."""
    assert serving_name(model) != group_name(model, replica, attempt)


@given(BUSY | LONG, st.integers(0, 200), st.integers(0, 10_000))
def test_the_leaders_address_is_its_first_pod_in_its_groups_subdomain(model: str, replica: int, attempt: int) -> None:
    """Three names and `svc`; the pod's search list adds the cluster's domain."""
    leader, follower = hosts(model, "team-a", replica, attempt, 2)
    pod, subdomain, *rest = leader.split(".")
    assert follower.split(".") == [pod_name(model, replica, attempt, 1), subdomain, *rest]
    assert (pod, subdomain) == (pod_name(model, replica, attempt, 0), group_name(model, replica, attempt))
    assert rest == ["team-a", "svc"]


@given(BUSY | LONG)
def test_whatever_an_object_is_called_its_pods_are_found_and_told_apart(model: str) -> None:
    """Rendered names, labels, hostnames and addresses agree, in a namespace of the object's own."""
    wanted = wants(owner=Owner(model, "team-a", "uid-1"))
    made = everything(TWO_REPLICAS, wanted)
    assert len({(manifest["kind"], manifest["metadata"]["name"]) for manifest in made}) == len(made)
    assert {manifest["metadata"]["namespace"] for manifest in made} == {"team-a"}
    addresses = names_in_dns(made)
    for replica in (0, 1):
        first, second = pods(TWO_REPLICAS, wanted, replica=replica)
        (waiting,) = second["spec"]["initContainers"]
        assert addresses[waiting["args"][1].partition(":")[0]] == first["metadata"]["name"]


@given(BUSY | LONG)
def test_whatever_an_object_is_called_its_budget_counts_its_pods(model: str) -> None:
    made = everything(TWO_REPLICAS, wants(a_demand(LLAMA_8B, replicas=2), owner=Owner(model, "team-a", "uid-1")))
    (budget,) = of_kind("PodDisruptionBudget", made)
    assert all(counts_for(budget, pod) for pod in of_kind("Pod", made))


def counts_for(budget: Manifest, pod: Manifest) -> bool:
    return bool(budget["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items())


@given(BUSY | LONG)
def test_hostname_and_labels_are_such_as_kubernetes_takes(model: str) -> None:
    """A pod's hostname is its name; label values are 63 characters at most."""
    for manifest in everything(TWO_REPLICAS, wants(owner=Owner(model, "default", "uid-1"))):
        assert all(len(value) <= 63 for value in manifest["metadata"]["labels"].values())
    for pod in of_kind("Pod", everything(TWO_REPLICAS, wants(owner=Owner(model, "default", "uid-1")))):
        assert pod["spec"]["hostname"] == pod["metadata"]["name"]
        assert SERVICE.fullmatch(pod["spec"]["subdomain"])


def models_of(manifests: list[Manifest]) -> set[str]:
    return {manifest["metadata"]["labels"]["shardwise.dev/model"] for manifest in manifests}


def test_objects_with_like_names_have_labels_of_their_own() -> None:
    """Long names that differ only where they are cut."""
    stem = "a-model-with-a-name-that-is-as-long-as-names-may-be-and-then-"
    both = [pods(TWO_REPLICAS, wants(owner=Owner(stem + last, "default", "uid"))) for last in ("ab", "cd")]
    assert len(models_of(both[0]) | models_of(both[1])) == 2
    assert not {one["metadata"]["name"] for one in both[0]} & {one["metadata"]["name"] for one in both[1]}


@pytest.mark.parametrize("name", ["llama-0-0", "llama-1-12", "a-0-0"])
def test_a_model_named_like_a_group_gets_a_service_of_its_own(name: str) -> None:
    """Else it would fight over it with the group of the model it is named like."""
    stem, replica, attempt = name.rsplit("-", 2)
    assert serving_name(name) != group_name(stem, int(replica), int(attempt)) == name
    assert serving_name(name).startswith(f"{name}-")


@pytest.mark.parametrize("model", ["llama", "llama-1", "a" * 63, "4o", "llama.v2"])
def test_the_name_of_a_pod_tells_whose_it_is(model: str) -> None:
    """Also after the pod has gone, and also where the name of the object had to be shortened."""
    assert is_pod_of(model, pod_name(model, 0, 12, 3))
    assert not is_pod_of(f"{model}x", pod_name(model, 0, 12, 3))
    for other in (group_name(model, 0, 12), model, f"{model}-0-1-x", ""):
        assert not is_pod_of(model, other)
