"""Why nodes are left out, to the letter: after the name of a node, and after a count."""

import pytest

from shardwise.domain.exclusions import (
    ClaimsUnread,
    LeftOut,
    Mismatch,
    NoFlavor,
    NoLabel,
    NoPlace,
    OtherVendor,
    TooSmall,
    Untolerated,
)
from shardwise.domain.fleet import Exclusion, Taint
from shardwise.domain.units import GIB
from shardwise.explain.exclusions import exclusion, worded

SAID: dict[LeftOut, tuple[str, str]] = {
    Exclusion.NO_GPUS: ("has no GPUs", "have no GPUs"),
    Exclusion.OFFERS_NONE: ("offers none of its GPUs", "offer none of their GPUs"),
    Exclusion.NO_PRODUCT: ("lacks the label of its GPU product", "lack the label of their GPU product"),
    Exclusion.NO_MEMORY: ("lacks the label of its GPU memory", "lack the label of their GPU memory"),
    Exclusion.MIXED: ("has GPUs of several products", "have GPUs of several products"),
    Exclusion.UNSETTLED: (
        "changes its GPU product back and forth",
        "change their GPU product back and forth",
    ),
    Exclusion.SHARED: (
        "shares its GPUs (time-slicing, MPS, HAMi or DRA)",
        "share their GPUs (time-slicing, MPS, HAMi or DRA)",
    ),
    Exclusion.PARTITIONED: ("has its GPUs in MIG partitions", "have their GPUs in MIG partitions"),
    Exclusion.NOT_READY: ("is not Ready", "are not Ready"),
    Exclusion.CORDONED: ("is cordoned", "are cordoned"),
    Exclusion.FAULTY: ("reports a GPU fault", "report a GPU fault"),
    Exclusion.NO_DEVICES: (
        "offers no GPUs of the DeviceClass of `launch.gpuClaims`",
        "offer no GPUs of the DeviceClass of `launch.gpuClaims`",
    ),
    Exclusion.CLASS_UNREAD: (
        "has GPUs, and the DeviceClass of `launch.gpuClaims` cannot be read",
        "have GPUs, and the DeviceClass of `launch.gpuClaims` cannot be read",
    ),
    Exclusion.INCOMPLETE: (
        "has not published all ResourceSlices of its GPUs",
        "have not published all ResourceSlices of their GPUs",
    ),
    Exclusion.TWO_ALLOCATORS: (
        "has GPUs that a device plugin and DRA both give to pods",
        "have GPUs that a device plugin and DRA both give to pods",
    ),
    Exclusion.TAINTED: ("has taints on all of its GPUs", "have taints on all of their GPUs"),
    Mismatch.UNLISTED_PRODUCT: (
        "has a product that `spec.gpuBudget.products` does not list",
        "have a product that `spec.gpuBudget.products` does not list",
    ),
    Mismatch.OTHER_PRODUCT: ("has another product than the plan", "have another product than the plan"),
    Mismatch.NODE_SELECTOR: (
        "does not match `spec.placement.nodeSelector`",
        "do not match `spec.placement.nodeSelector`",
    ),
    Mismatch.NODE_AFFINITY: (
        "does not match `spec.placement.nodeAffinity`",
        "do not match `spec.placement.nodeAffinity`",
    ),
    OtherVendor("amd.com/gpu"): (
        "offers amd.com/gpu: `spec.gpuBudget.products` must list it, `spec.engine.image` run on it",
        "offer amd.com/gpu: `spec.gpuBudget.products` must list it, `spec.engine.image` run on it",
    ),
    NoPlace("rack"): (
        "has no place at the level `rack` of `spec.placement.within`",
        "have no place at the level `rack` of `spec.placement.within`",
    ),
    NoLabel("example.com/rack"): (
        "lacks the label `example.com/rack` of `spec.placement.within`",
        "lack the label `example.com/rack` of `spec.placement.within`",
    ),
    NoLabel("rock", ("node", "domain", "rack")): (
        "lacks the label `rock` of `spec.placement.within`, and no level has this name (known are node, domain, rack)",
        "lack the label `rock` of `spec.placement.within`, and no level has this name (known are node, domain, rack)",
    ),
    NoFlavor("team", ("pool=serving",)): (
        "is in no flavour of the queue `team` (`pool=serving`)",
        "are in no flavour of the queue `team` (`pool=serving`)",
    ),
    NoFlavor("team", ("a=1", "a=2", "a=3", "a=4", "a=5")): (
        "is in no flavour of the queue `team` (`a=1` or `a=2` or `a=3` or of 2 more)",
        "are in no flavour of the queue `team` (`a=1` or `a=2` or `a=3` or of 2 more)",
    ),
    TooSmall("ephemeral-storage", 640 * GIB * 1000, 89 * GIB * 1000): (
        (
            "offers too little `ephemeral-storage`: 640.0 GiB asked for a pod, 89.0 GiB allocatable "
            "(fetched weights need none in a cache that is no emptyDir)"
        ),
        (
            "offer too little `ephemeral-storage`: 640.0 GiB asked for a pod, 89.0 GiB allocatable "
            "(fetched weights need none in a cache that is no emptyDir)"
        ),
    ),
    TooSmall("cpu", 2000, 1930): (
        "offers too little `cpu`: 2 asked for a pod, 1.93 allocatable",
        "offer too little `cpu`: 2 asked for a pod, 1.93 allocatable",
    ),
    ClaimsUnread("nvidia.com/gpu"): (
        "counts no GPUs as allocatable `nvidia.com/gpu`, and nothing is known of its ResourceSlices",
        "count no GPUs as allocatable `nvidia.com/gpu`, and nothing is known of their ResourceSlices",
    ),
    Untolerated(Taint("team", "ml", "NoSchedule")): (
        "has the taint `team=ml:NoSchedule`",
        "have the taint `team=ml:NoSchedule`",
    ),
}


@pytest.mark.parametrize(("why", "words"), SAID.items(), ids=str)
def test_a_reason_is_said_of_a_node_and_of_several(why: LeftOut, words: tuple[str, str]) -> None:
    assert (exclusion(why), exclusion(why, 2)) == words


def test_every_reason_there_is_has_its_words_here() -> None:
    """A new reason needs its row."""
    assert {*Exclusion, *Mismatch} < set(SAID)
    assert {type(why) for why in SAID} == set(LeftOut.__args__)


def test_reasons_are_listed_in_the_order_of_their_words() -> None:
    counted = [(Exclusion.FAULTY, 2), (Exclusion.CORDONED, 1)]
    assert worded(counted) == [("is cordoned", 1), ("reports a GPU fault", 2)]
