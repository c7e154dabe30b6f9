"""Objects that are hostile in every way that was seen stop no other object: on a real API server, all at once."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from tests.cluster.crowd import SHUT, crowd_running, good, hostile, lease, unserved
from tests.cluster.installed import Installed, Running

Json = dict[str, Any]

GOOD: Final = 48
EACH: Final = 2
SERVED: Final = 240.0
"""Seconds until the whole crowd must be served: the machine is small, and time is measured by the benchmark alone."""


@pytest.fixture
def crowded(installed: Installed, tmp_path: Path) -> Iterator[Running]:
    """Run the operator with a Hub that never answers, nodes of the crowd's own, and a namespace that refuses pods."""
    with crowd_running(installed, tmp_path, GOOD // 8 + 8) as operator:
        yield operator


def test_every_good_object_is_served_among_hostile_ones(crowded: Running) -> None:
    """The hostile ones come first, the Lease stays where it is, and a served object is not written again."""
    crowded.until(lambda: lease(crowded).get("holderIdentity"), "a leader")
    before = lease(crowded)["leaseTransitions"]
    crowded.apply(*hostile(EACH))
    crowded.apply(*good(GOOD))
    crowded.until(lambda: unserved(crowded) == [], f"{GOOD} good objects served", SERVED)
    crowded.count_anew()
    crowded.until(lambda: _refused(crowded) == EACH, f"{EACH} objects told that their pods are refused", SERVED)
    assert _writes(crowded) == []
    assert crowded.alive()
    assert lease(crowded)["leaseTransitions"] == before


def _refused(crowded: Running) -> int:
    found = json.loads(crowded.plane.kubectl("get", "shardedmodels", "-n", SHUT, "-o", "json"))["items"]
    return sum("violates PodSecurity" in str((item.get("status") or {}).get("message")) for item in found)


def _writes(crowded: Running) -> list[str]:
    """List the operator's writes to good objects, and to all that it made for them."""
    calls = (call for call in crowded.calls() if call["verb"] not in {"get", "list", "watch"})
    return [call["requestURI"] for call in calls if "/good-" in call["requestURI"]]
