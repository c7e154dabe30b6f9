"""GPUs by claims: whatever call is the last before a crash, the end is the same, and no GPU is given out twice."""

import json
from collections import Counter
from pathlib import Path

import pytest
from tests.reconcile.test_reconcile_crashes import SCENARIOS, check_nothing_orphaned
from tests.support.devices import a_class, a_slice
from tests.support.driven import Driven, Harm, shared

from shardwise.cli.reading import read_files
from shardwise.domain.launch import LaunchSite
from shardwise.domain.site import FleetSite, Site
from shardwise_sandbox import h100_node

SITE = Site(FleetSite(device_class="gpu.nvidia.com"), LaunchSite(gpu_device_class="gpu.nvidia.com"))
PLAYED = ("restart", "drain", "roll in place")
HARMS = (Harm.DIES_AFTER, Harm.ANSWER_LOST)
SHAPE = "two nodes"


def by_dra() -> Driven:
    """Give four nodes whose GPUs only ResourceSlices list."""
    names = [f"h100-{number}" for number in range(1, 5)]
    fleet = [part for name in names for part in (h100_node(name, 0), a_slice(name))]
    return Driven([*fleet, a_class()], SITE)


async def played(name: str, at: int = -1, harm: Harm = Harm.DIES_AFTER) -> Driven:
    """Play a scenario, with one call harmed."""
    scenario, driven = SCENARIOS[name], by_dra()
    scenario.before(driven, SHAPE)
    await driven.settle()
    driven.arm(at, harm)
    scenario.event(driven, SHAPE)
    await driven.settle()
    return driven


def given_out(driven: Driven) -> Counter[tuple[str, str]]:
    """Count how often each device is held."""
    claims = shared(driven.sandbox, "resourceclaims")
    results = [result for claim in claims for result in claim["status"]["allocation"]["devices"]["results"]]
    return Counter((result["pool"], result["device"]) for result in results)


@pytest.mark.parametrize("name", PLAYED)
async def test_the_end_is_the_same_whenever_the_operator_dies(name: str) -> None:
    """The claims of an attempt outlive its pods for a moment: the next attempt still gets the place."""
    plain = await played(name)
    check_nothing_orphaned(plain)
    assert set(given_out(plain).values()) <= {1}
    calls = list(plain.wire.calls)
    for harm in HARMS:
        for at in range(len(calls)):
            driven = await played(name, at, harm)
            assert driven.wire.fired, (harm, at)
            assert driven.graph() == plain.graph(), f"{harm}: {calls[at]}; then {driven.wire.calls}"
            assert set(given_out(driven).values()) <= {1}


@pytest.mark.parametrize("name", ["create", "restart", "drain"])
async def test_files_show_the_same_fleet_as_the_watches(tmp_path: Path, name: str) -> None:
    """Free and held GPUs, for the object itself and for others."""
    driven = await played(name)
    kinds = ("nodes", "pods", "shardedmodels", "resourceslices", "resourceclaims", "deviceclasses")
    items = [obj for kind in kinds for obj in shared(driven.sandbox, kind)]
    path = tmp_path / "dump.json"
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    files, watched = read_files([str(path)], SITE.fleet).store, driven.operator.store
    for key in (None, ("default", "m")):
        assert files.fleet(key).nodes == watched.fleet(key).nodes
    assert given_out(driven).total() == 16
