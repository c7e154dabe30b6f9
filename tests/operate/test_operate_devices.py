"""GPUs by dynamic resource allocation as the operator hears of them: who is woken, and what is planned."""

from pathlib import Path
from typing import Any

import pytest
from pytest_mock import MockerFixture
from tests.controller.support import at
from tests.operate.test_operate_relist import Scene
from tests.support.devices import a_claim, a_class, a_device, a_part, a_slice, names
from tests.support.operating import a_model, operating

from shardwise.domain.launch import LaunchSite
from shardwise.domain.site import FleetSite, Site
from shardwise.observe import Store
from shardwise.operate import Changes
from shardwise.operate.queue import Queue
from shardwise_sandbox import h100_node

Json = dict[str, Any]
SITE = Site(FleetSite(device_class="gpu.nvidia.com"), LaunchSite(gpu_device_class="gpu.nvidia.com"))
KINDS = ("resourceslices", "resourceclaims", "deviceclasses")
PINNED: Json = {"parallelism": {"tensor": 8}}
LLAMA_70B = "meta-llama/Llama-3.3-70B-Instruct"


class Heard:
    """A store of an empty node by DRA, and changes that wake a queue which nobody serves."""

    def __init__(self, mocker: MockerFixture) -> None:
        self.store = Store(SITE.fleet)
        self.store.read_devices(known=True)
        self.queue = mocker.create_autospec(Queue, instance=True)
        self.changes = Changes(self.store, self.queue)
        for number, (take, obj) in enumerate(
            (
                (self.changes.node, h100_node("n", 0)),
                (self.changes.device_class, a_class()),
                (self.changes.resource_slice, a_slice("n")),
            )
        ):
            take(at(number + 1, obj), False)
        self.store.hold(("default", "planned"), {"n": 2})
        self.queue.reset_mock()

    @property
    def free(self) -> int:
        """The free GPUs of the node."""
        (node,) = self.store.fleet().nodes
        return node.free

    def woken(self) -> tuple[list[str], bool]:
        """Name the objects that were woken, and tell whether all that wait were; and forget it."""
        found = [call.args[0][1] for call in self.queue.add.call_args_list], self.queue.sweep.called
        self.queue.reset_mock()
        return found


@pytest.fixture
def heard(mocker: MockerFixture) -> Heard:
    return Heard(mocker)


def test_a_slice_that_changes_a_node_wakes_its_holders_and_those_that_wait(heard: Heard) -> None:
    taint = {"key": "k", "value": "v", "effect": "NoSchedule"}
    heard.changes.resource_slice(at(9, a_slice("n", [a_device(0, taints=[taint]), *map(a_device, range(1, 8))])), False)
    assert (heard.free, heard.woken()) == (5, (["planned"], True))
    heard.changes.resource_slice(at(10, a_slice("n")), True)
    assert (heard.free, heard.woken()) == (0, (["planned"], True))


def test_a_slice_that_says_nothing_new_wakes_nobody(heard: Heard) -> None:
    """Drivers write their slices again and again; other drivers' slices are not kept."""
    heard.changes.resource_slice(at(9, a_slice("n")), False)
    heard.changes.resource_slice(at(10, a_slice("n", 4, driver="dra.net")), False)
    assert (heard.woken(), len(heard.store.devices.slices.objects)) == (([], False), 1)


def test_gpus_that_a_claim_lets_go_wake_those_that_wait(heard: Heard) -> None:
    claim = a_claim("c", "n", names(0, 1))
    heard.changes.resource_claim(at(9, claim), False)
    assert (heard.free, heard.woken()) == (4, ([], False))
    heard.changes.resource_claim(at(10, {**claim, "status": {}}), False)
    assert (heard.free, heard.woken()) == (6, ([], True))
    assert heard.store.devices.claims.objects == {}


def test_a_claim_of_other_devices_is_not_kept(heard: Heard) -> None:
    heard.changes.resource_claim(at(9, a_claim("c", "n", ["eth0"], driver="dra.net")), False)
    heard.changes.resource_claim(at(10, a_claim("c", "n", ["eth0"], driver="dra.net")), True)
    assert (heard.store.devices.claims.objects, heard.woken()) == ({}, ([], False))


def test_another_class_may_select_other_gpus(heard: Heard) -> None:
    heard.changes.device_class(at(9, a_class("gpu.nvidia.com", "device.driver == 'other'")), False)
    assert (heard.free, heard.woken()[1]) == (0, True)
    heard.changes.device_class(at(10, a_class("unrelated")), False)
    assert heard.woken() == ([], False)


async def test_a_relist_takes_in_what_holds_gpus(mocker: MockerFixture) -> None:
    scene = Scene(mocker)
    scene.cluster.serves.return_value = True
    held = [a_claim("c", "n", names(0)), a_claim("nic", "n", ["eth0"], driver="dra.net")]
    slices = [a_slice("n", [a_device(0), a_device(1), a_part(2, 0)]), a_slice("n", 1, driver="dra.net")]
    scene.lists = {
        "nodes": [at(1, h100_node("n", 0))],
        "resourceslices": [at(2, found) for found in slices],
        "resourceclaims": [at(3, found) for found in held],
        "deviceclasses": [at(4, a_class())],
    }
    store = Store(SITE.fleet)
    await scene.relist(store)
    (node,) = store.fleet().nodes
    assert (node.gpus, node.free, len(store.devices.slices.objects), len(store.devices.claims.objects)) == (2, 1, 1, 1)


@pytest.mark.parametrize("lacking", ["not served", *KINDS])
async def test_a_cluster_without_devices_is_read_as_before(mocker: MockerFixture, lacking: str) -> None:
    """By allocatable alone, and nothing is asked of kinds that are not served."""
    scene = Scene(mocker)
    scene.cluster.serves.return_value = lacking != "not served"
    scene.forbidden = {lacking}
    scene.lists = {"nodes": [at(1, h100_node("n"))], "resourceslices": [at(2, a_slice("n", 2))]}
    store = Store(SITE.fleet)
    await scene.relist(store)
    (node,) = store.fleet().nodes
    assert (node.free, store.devices.index.known) == (8, False)
    assert any(kind in scene.selectors for kind in KINDS) is (lacking != "not served")


async def test_an_object_is_planned_on_gpus_by_dra_and_waits_for_those_that_claims_hold(tmp_path: Path) -> None:
    nodes = [h100_node("dra", 0), a_slice("dra"), a_class(), h100_node("plugin")]
    async with operating(tmp_path, site=SITE, nodes=nodes) as operator:
        operator.cluster.create(a_claim("training", "dra", names(3)))
        operator.cluster.create(a_model("llama", LLAMA_70B, 8, **PINNED))
        await operator.condition("llama", "Planned", "False")
        operator.cluster.delete("ResourceClaim", "default", "training")
        await operator.ready("llama")
        assert operator.nodes_of("llama") == ["dra"]
