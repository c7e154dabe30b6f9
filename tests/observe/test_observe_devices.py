"""Random mixes of device plugins, slices, requests and claims: no GPU counts twice, in whatever order things come."""

import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.devices import a_claim, a_class, a_device, a_part, a_slice, names
from tests.support.examples import examples
from tests.support.models import LLAMA_8B, a_demand

from shardwise.domain.plan import Plan
from shardwise.domain.refusal import Refusal
from shardwise.domain.site import FleetSite
from shardwise.observe import STRANGERS, Key, Store, field_problems, key_of, store_of
from shardwise.observe.kinds import DEVICE_CLASS, NODE, POD, RESOURCE_CLAIM, RESOURCE_SLICE, Kind
from shardwise.planner import plan
from shardwise_sandbox import h100_node

Json = dict[str, Any]
GPUS = 8
OURS: Key = ("default", "llama")


@dataclass(frozen=True)
class Mix:
    """A node, and everything that takes its GPUs. ``plugin``: its device plugin offers them; ``claims``: pods claim."""

    plugin: bool
    slices: bool
    claims: bool
    requests: tuple[int, ...]
    claimed: tuple[tuple[frozenset[int], bool, int], ...]

    @property
    def site(self) -> FleetSite:
        """The configuration."""
        return FleetSite(device_class="gpu.nvidia.com" if self.claims else None)

    @property
    def by_slices(self) -> bool:
        """Whether requests of pods are served from slices."""
        return self.slices and not self.plugin

    def objects(self, node: str = "n") -> dict[Kind, list[Json]]:
        """Give everything as files would hold it; requests that slices serve come with their claims."""
        pods, held = [], []
        for number, gpus in enumerate(self.requests):
            pods.append(a_pod(f"{node}-p{number}", gpus, node, ours=number % 2 == 0))
        for number, (devices, admin, users) in enumerate(self.claimed):
            own = [f"{node}-c{number}-{user}" for user in range(users)]
            pods += [a_pod(name, 0, node, ours=number % 3 == 0) for name in own]
            held.append(a_claim(f"{node}-claim{number}", node, names(*sorted(devices)), *own, adminAccess=admin))
        if self.by_slices:
            first = 0
            for number, gpus in enumerate(self.requests):
                served = names(*range(first, first + gpus))
                held.append(a_claim(f"{node}-own{number}", node, served, f"{node}-p{number}", by_resource=True))
                first += gpus
        return {
            DEVICE_CLASS: [a_class(resource="nvidia.com/gpu")],
            RESOURCE_SLICE: [a_slice(node if self.slices else f"no-{node}", GPUS)],
            NODE: [h100_node(node, GPUS if self.plugin else 0)],
            POD: pods,
            RESOURCE_CLAIM: held,
        }

    def taken(self) -> int:
        """Count the GPUs that are held: requests that the plugin serves, and devices in claims, each device once."""
        held = {device for devices, admin, _ in self.claimed if not admin for device in devices}
        if self.by_slices:
            return len(held | set(range(sum(self.requests))))
        return sum(self.requests) + len(held)

    @property
    def crossed(self) -> bool:
        """Whether strangers hold GPUs in the way that our pods do not use, on a node that offers them in both."""
        first = {
            device: number
            for number, (devices, admin, _) in reversed(list(enumerate(self.claimed)))
            for device in devices
            if not admin
        }
        by_claim = not all(map(self._is_ours, first.values()))
        return self.plugin and self.slices and (len(self.requests) > 1 if self.claims else by_claim)

    def _is_ours(self, claim: int) -> bool:
        return claim % 3 == 0 and self.claimed[claim][2] > 0

    def offered(self) -> int:
        """Count the GPUs that pods may get."""
        if self.crossed:
            return 0
        return GPUS if (self.slices or (self.plugin and not self.claims)) else 0

    def free(self) -> int:
        """Count the GPUs that pods may get now."""
        return max(0, self.offered() - self.taken())


MIXES = st.builds(
    Mix,
    plugin=st.booleans(),
    slices=st.booleans(),
    claims=st.booleans(),
    requests=st.lists(st.integers(1, 2), max_size=3).map(tuple),
    claimed=st.lists(
        st.tuples(st.frozensets(st.integers(0, GPUS - 1), min_size=1, max_size=3), st.booleans(), st.integers(0, 2)),
        max_size=3,
    ).map(tuple),
)


def a_pod(name: str, gpus: int, node: str = "n", *, ours: bool) -> Json:
    metadata: Json = {"name": name, "namespace": "default", "uid": name}
    if ours:
        metadata["labels"] = {"app.kubernetes.io/managed-by": "shardwise", "shardwise.dev/model": "llama"}
        metadata["ownerReferences"] = [{"kind": "ShardedModel", "name": "llama"}]
    limits = {"nvidia.com/gpu": str(gpus)} if gpus else {}
    return {
        "metadata": metadata,
        "spec": {"nodeName": node, "containers": [{"resources": {"limits": limits}}]},
        "status": {"phase": "Running"},
    }


def free(store: Store, without: Key | None = None) -> int:
    (node,) = store.fleet(without).nodes
    return node.free


def read(mix: Mix) -> Store:
    return store_of(mix.objects(), mix.site)


@given(MIXES)
@examples(150)
def test_no_gpu_is_counted_twice_and_none_is_forgotten(mix: Mix) -> None:
    assert free(read(mix)) == mix.free()


@given(st.lists(MIXES, min_size=1, max_size=3), st.booleans())
@examples(60)
def test_plans_take_every_free_gpu_of_a_mixed_cluster_and_none_that_is_held(mixes: list[Mix], claims: bool) -> None:
    """Nodes with a device plugin, with slices and with both: a replica for each free GPU, and not one more."""
    found: dict[Kind, list[Json]] = {}
    mixes = [replace(mix, claims=claims) for mix in mixes]
    for number, mix in enumerate(mixes):
        for kind, objects in mix.objects(f"n{number}").items():
            found[kind] = objects if kind is DEVICE_CLASS else [*found.get(kind, ()), *objects]
    free = {f"n{number}": mix.free() for number, mix in enumerate(mixes) if mix.free()}
    fleet = store_of(found, mixes[0].site).fleet()
    wanted = sum(free.values())
    if wanted:
        made = plan(a_demand(LLAMA_8B, budget=wanted, replicas=wanted), fleet)
        assert isinstance(made, Plan)
        assert Counter(pod.node for group in made.groups for pod in group.pods) == free
    assert isinstance(plan(a_demand(LLAMA_8B, budget=wanted + 1, replicas=wanted + 1), fleet), Refusal)


@given(MIXES)
@examples(100)
def test_each_held_gpu_has_one_holder(mix: Mix) -> None:
    """What objects and strangers hold adds up to what is taken."""
    held = read(mix).ledger.holdings("n")
    assert set(held) <= {OURS, STRANGERS}
    assert sum(held.values()) == mix.taken()


@given(MIXES, st.randoms(use_true_random=False), st.data())
@examples(100)
def test_the_order_of_events_does_not_matter(mix: Mix, chance: Any, data: st.DataObject) -> None:
    """Watches race, and objects come and go: the end is as if the rest had been read from files."""
    store = Store(mix.site)
    store.read_devices(known=True)
    shelves = {
        DEVICE_CLASS: store.devices.classes,
        RESOURCE_SLICE: store.devices.slices,
        NODE: store.nodes,
        POD: store.pods,
        RESOURCE_CLAIM: store.devices.claims,
    }
    events = [(kind, obj) for kind, found in mix.objects().items() for obj in found]
    chance.shuffle(events)
    for kind, obj in events:
        shelves[kind].show(obj)
    assert free(store) == free(read(mix))
    gone = data.draw(st.sets(st.integers(0, max(0, len(events) - 1))))
    left: dict[Kind, list[Json]] = {}
    for number, (kind, obj) in enumerate(events):
        if number in gone and kind in (POD, RESOURCE_CLAIM):
            shelves[kind].remove(key_of(obj), 1)
        else:
            left.setdefault(kind, []).append(obj)
    files = store_of(left, mix.site)
    assert free(store) == free(files)
    assert Counter(store.ledger.holdings("n")).total() == Counter(files.ledger.holdings("n")).total()


def test_a_claim_stays_with_its_object_until_it_is_gone() -> None:
    """Kubernetes takes a claim away a moment after its pod: meanwhile no stranger holds the GPUs."""
    store = Store(FleetSite(device_class="gpu.nvidia.com"))
    store.read_devices(known=True)
    store.nodes.show(h100_node("n", 0))
    store.devices.slices.show(a_slice("n"))
    store.devices.classes.show(a_class())
    store.sharded_models.show({"metadata": {"name": "llama", "namespace": "default"}, "spec": {}})
    pod, claim = a_pod("llama-0-2-0", 0, ours=True), a_claim("c", "n", names(0, 1), owner="llama-0-2-0")
    store.pods.show(pod)
    store.devices.claims.show(claim)
    assert (free(store), free(store, OURS)) == (6, 8)
    store.pods.remove(key_of(pod), 1)
    assert (free(store), free(store, OURS)) == (6, 8)
    store.devices.claims.remove(key_of(claim), 1)
    assert (free(store), store.ledger.holdings("n")) == (8, {})


def test_a_claim_that_a_stranger_still_uses_is_the_strangers() -> None:
    store = read(Mix(plugin=False, slices=True, claims=True, requests=(), claimed=()))
    ours, stranger = a_pod("p", 0, ours=True), a_pod("s", 0, ours=False)
    store.pods.show(ours)
    store.pods.show(stranger)
    store.devices.claims.show(a_claim("c", "n", names(0), "p", "s"))
    assert (free(store), free(store, OURS)) == (7, 8)
    store.pods.remove(key_of(ours), 1)
    assert (free(store), free(store, OURS)) == (7, 7)


def test_devices_that_may_no_longer_be_read_are_forgotten() -> None:
    """And known again once they may: a list of older objects is taken in."""
    store = read(Mix(plugin=True, slices=True, claims=True, requests=(), claimed=((frozenset({0}), False, 0),)))
    assert free(store) == 7
    store.read_devices(known=False)
    assert (free(store), store.devices.claims.objects) == (8, {})
    store.read_devices(known=True)
    assert free(store) == 0
    listed = a_slice("n")
    listed["metadata"]["resourceVersion"] = "1"
    store.devices.slices.sweep([listed], 9)
    store.devices.classes.sweep([a_class() | {"metadata": {"name": "gpu.nvidia.com", "resourceVersion": "2"}}], 9)
    assert free(store) == 8


def paths(value: object, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Give the path of every field and item of a document."""
    found = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in found:
        yield (*at, key)
        yield from paths(inner, (*at, key))


def without(document: Json, path: tuple[Any, ...]) -> Json:
    made: Json = copy.deepcopy(document)
    place: Any = made
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = None
    return made


PART = a_part(0, 0, consumesCounters=[{"counterSet": "s", "counters": {"memory": {"value": "1"}}}])
TAINTED = a_device(0, taints=[{"key": "k", "value": "v", "effect": "NoSchedule"}], allowMultipleAllocations=True)
SETS = [{"name": "s", "counters": {"memory": {"value": "8"}}}]
WHOLE_DOCUMENTS: dict[str, tuple[Kind, Json]] = {
    "slice": (RESOURCE_SLICE, a_slice("n", [PART, TAINTED], sharedCounters=SETS)),
    "claim": (RESOURCE_CLAIM, a_claim("c", "n", names(0), "p", by_resource=True, owner="p")),
    "class": (DEVICE_CLASS, a_class(resource="nvidia.com/gpu")),
}


@pytest.mark.parametrize("name", WHOLE_DOCUMENTS)
def test_any_field_may_be_null(name: str) -> None:
    """As in Kubernetes: null means absent. A file by hand ends no command."""
    kind, document = WHOLE_DOCUMENTS[name]
    others = {RESOURCE_SLICE: [a_slice("n", name="other")], NODE: [h100_node("n", 0)]}
    for path in paths(document):
        broken = without(document, path)
        if not field_problems(kind, broken):
            for site in (FleetSite(), FleetSite(device_class="gpu.nvidia.com")):
                assert len(store_of({**others, kind: [*others.get(kind, []), broken]}, site).fleet().nodes) == 1
