"""The selectors of DeviceClasses: what they select, and what is not read and never guessed at."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.devices import WHOLE, a_class, a_device, a_part, a_slice

from shardwise.inventory.device_classes import DeviceClass, class_for, read_device_class, stated_class
from shardwise.inventory.selectors import Unread, selector
from shardwise.inventory.slices import Device, pool_of, read_pool

OWN = "device.attributes['gpu.nvidia.com']"
CAPACITY = "device.capacity['gpu.nvidia.com']"


def devices(*stated: dict[str, Any]) -> tuple[Device, ...]:
    found = a_slice("n", stated)
    pool = pool_of(found)
    assert pool is not None
    return read_pool(pool, [found]).devices


(GPU,) = devices(a_device(attributes={"free": {"bool": True}, "lanes": {"int": 16}}))
(PART,) = devices(a_part(0, 1))

SELECTED: dict[str, bool] = {
    WHOLE: True,
    'device.driver == "gpu.nvidia.com"': True,
    "device.driver == 'gpu.amd.com'": False,
    f"{OWN}.productName == 'NVIDIA H100 80GB HBM3'": True,
    f"{OWN}.productName.startsWith('NVIDIA H')": True,
    f"{OWN}.productName.lowerAscii().contains('h100')": True,
    f"{OWN}.productName.matches('H100|H200')": True,
    f"{OWN}.productName.matches('^NVIDIA.*HBM3$')": True,
    f"{OWN}.productName.matches('^H100')": False,
    f"{OWN}.productName.matches('80GB$')": False,
    f"{OWN}.productName.matches('HBM3.*H100')": False,
    f"{OWN}.architecture in ['Hopper', 'Blackwell']": True,
    f"!({OWN}.architecture in ['Ada'])": True,
    f"{OWN}.cudaComputeCapability.compareTo(semver('9.0.0')) >= 0": True,
    f"{OWN}.driverVersion.isLessThan(semver('580.9.0'))": False,
    f"{CAPACITY}.memory.compareTo(quantity('40Gi')) >= 0": True,
    f"{CAPACITY}.memory.isGreaterThan(quantity('80Gi'))": False,
    f"{CAPACITY}.memory > quantity('1Gi')": True,
    f"{OWN}.free && {OWN}.lanes == 16": True,
    f"!{OWN}.free": False,
    f"!!{OWN}.free": True,
    f"{OWN}.lanes >= 17 || {OWN}.lanes < 17": True,
    "has(device.attributes['gpu.nvidia.com'].uuid)": True,
    "has(device.attributes['gpu.nvidia.com'].clique)": False,
    f"'uuid' in {OWN}": True,
    "'example.com' in device.attributes": True,
    "has(device.attributes['example.com'].model)": False,
    "device.attributes['resource.kubernetes.io'].pciBusID == '0000:00:00.0'": True,
    # A part that cannot be evaluated does not match, unless another part decides.
    f"{OWN}.clique == 'a'": False,
    f"!({OWN}.clique == 'a')": False,
    f"{OWN}.clique == 'a' || device.driver == 'gpu.nvidia.com'": True,
    f"{OWN}.clique == 'a' && device.driver == 'gpu.amd.com'": False,
    f"{OWN}.lanes == '16'": False,
    f"{OWN}.lanes.startsWith('1')": False,
    f"{OWN}.productName": False,
    "device.allowMultipleAllocations": False,
}

UNREAD: dict[str, str] = {
    "cel.bind(a, device.driver, a == 'x')": "`cel`",
    "device.driver == 'a' ? true : false": "`?`",
    f"{OWN}.productName.matches('H[12]00')": "the pattern of `matches`",
    f"{OWN}.productName.matches('(H100)+')": "the pattern of `matches`",
    f"{OWN}.productName.matches({OWN}.uuid)": "the pattern of `matches`",
    f"{OWN}.productName.split(' ')[0] == 'a'": "the function `split`",
    f"{OWN}.lanes + 1 == 17": "`+`",
    "'a\\n' == device.driver": "`'`",
    "device.driver ==": "the expression ends too early",
    "": "the expression ends too early",
    "(device.driver == 'a'": "no `)`",
    "size(device.attributes) > 1": "the function `size`",
    "(" * 50 + "true" + ")" * 50: "nested brackets",
    " || ".join(["true"] * 2000): "more than 2000 words",
}


@pytest.mark.parametrize(("expression", "selected"), SELECTED.items(), ids=str)
def test_an_expression_selects_as_the_scheduler_does(expression: str, selected: bool) -> None:
    assert read_device_class(a_class("x", expression)).selects(GPU) is selected


@pytest.mark.parametrize(("expression", "part"), UNREAD.items(), ids=range(len(UNREAD)))
def test_other_expressions_are_said_not_to_be_read(expression: str, part: str) -> None:
    assert part in read_device_class(a_class("x", expression)).unread


def test_all_selectors_of_a_class_must_match() -> None:
    both = read_device_class(a_class("x", WHOLE, f"{OWN}.architecture == 'Ada'"))
    assert not both.selects(GPU)
    assert read_device_class({"metadata": {"name": "every"}}).selects(GPU)


def test_the_class_of_the_chart_selects_no_partitions() -> None:
    found = read_device_class(a_class())
    assert (found.selects(GPU), found.selects(PART)) == (True, False)


@pytest.mark.parametrize(("name", "selects"), [("gpu.nvidia.com", True), ("gpu.amd.com", False), ("h100", True)])
def test_a_class_of_which_only_the_name_is_known(name: str, selects: bool) -> None:
    """Its name may be that of a driver; every driver's GPUs are taken otherwise."""
    assert stated_class(name).selects(GPU) is selects


def test_the_newest_class_serves_an_extended_resource() -> None:
    """Seen of the scheduler of Kubernetes 1.36.2."""
    old = DeviceClass("old", "nvidia.com/gpu", "2026-01-01T00:00:00Z")
    new = DeviceClass("new", "nvidia.com/gpu", "2026-02-01T00:00:00Z")
    unread = DeviceClass("unread", "nvidia.com/gpu", "2026-03-01T00:00:00Z", unread="`?`")
    assert class_for("nvidia.com/gpu", [new, old, unread]) == new
    assert class_for("amd.com/gpu", [new, old]) is None


@given(st.text("device.drv'\"=&|!()[]<>, 019?abc\\", max_size=60))
def test_no_text_does_more_than_be_unread(text: str) -> None:
    with contextlib.suppress(Unread):
        assert selector(text)({"driver": "d", "attributes": {}, "capacity": {}}) in (True, False)
