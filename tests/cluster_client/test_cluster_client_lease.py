"""The Lease, on the in-memory API: one holds it, by its renewals and not by anybody's clock."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from shardwise.cluster import Cluster, ClusterError, connect
from shardwise.cluster.lease import LEASE_SECONDS, Lease
from shardwise_sandbox import Fault, RequestInfo, Sandbox

Json = dict[str, Any]


class Clock:
    """A steady clock in a test's hand."""

    def __init__(self) -> None:
        self.now = 5.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as running:
        yield running


@pytest.fixture
async def cluster(sandbox: Sandbox, tmp_path: Path) -> AsyncIterator[Cluster]:
    sandbox.write_kubeconfig(tmp_path / "kubeconfig")
    made = Cluster(await connect(tmp_path / "kubeconfig"))
    yield made
    await made.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def two(cluster: Cluster, clock: Clock) -> tuple[Lease, Lease]:
    return Lease(cluster, "default", "shardwise", "a", clock), Lease(cluster, "default", "shardwise", "b", clock)


def spec(sandbox: Sandbox) -> Json:
    found: Json = sandbox.get("Lease", "default", "shardwise")["spec"]
    return found


async def test_the_first_gets_it_and_the_second_does_not(sandbox: Sandbox, cluster: Cluster, clock: Clock) -> None:
    a, b = two(cluster, clock)
    assert await a.try_to_hold()
    assert not await b.try_to_hold()
    assert (spec(sandbox)["holderIdentity"], spec(sandbox)["leaseTransitions"]) == ("a", 0)
    assert spec(sandbox)["leaseDurationSeconds"] == LEASE_SECONDS


async def test_a_holder_that_renews_keeps_it_however_long_others_wait(
    sandbox: Sandbox, cluster: Cluster, clock: Clock
) -> None:
    """And does not change hands: it says since when, and how often it did."""
    a, b = two(cluster, clock)
    await a.try_to_hold()
    acquired = spec(sandbox)["acquireTime"]
    for _ in range(10):
        clock.now += LEASE_SECONDS - 1
        assert await a.try_to_hold()
        assert not await b.try_to_hold()
    assert (spec(sandbox)["acquireTime"], spec(sandbox)["leaseTransitions"]) == (acquired, 0)


async def test_one_that_no_longer_renews_loses_it_after_the_time_it_is_good_for(
    sandbox: Sandbox, cluster: Cluster, clock: Clock
) -> None:
    """Counted from when its last renewal was seen, by the clock of who waits."""
    a, b = two(cluster, clock)
    await a.try_to_hold()
    assert not await b.try_to_hold()
    clock.now += LEASE_SECONDS - 0.1
    assert not await b.try_to_hold()
    clock.now += 0.2
    assert await b.try_to_hold()
    assert (spec(sandbox)["holderIdentity"], spec(sandbox)["leaseTransitions"]) == ("b", 1)
    assert spec(sandbox)["acquireTime"] == spec(sandbox)["renewTime"]
    assert not await a.try_to_hold()


@pytest.mark.parametrize(("said", "seconds"), [(30, 30), (None, LEASE_SECONDS)], ids=["says how long", "says nothing"])
async def test_a_lease_is_good_for_as_long_as_its_holder_says(
    sandbox: Sandbox, cluster: Cluster, clock: Clock, said: int | None, seconds: int
) -> None:
    """Another version may have other times."""
    a, b = two(cluster, clock)
    await a.try_to_hold()
    sandbox.patch("Lease", "default", "shardwise", {"spec": {"leaseDurationSeconds": said}})
    assert not await b.try_to_hold()
    clock.now += seconds - 0.5
    assert not await b.try_to_hold()
    clock.now += 0.5
    assert await b.try_to_hold()


async def test_times_in_the_lease_are_not_believed(sandbox: Sandbox, cluster: Cluster, clock: Clock) -> None:
    """A holder whose clock is years behind is there all the same."""
    a, b = two(cluster, clock)
    await a.try_to_hold()
    sandbox.patch("Lease", "default", "shardwise", {"spec": {"renewTime": "1999-01-01T00:00:00.000000Z"}})
    assert not await b.try_to_hold()


async def test_one_that_lets_go_is_followed_at_once(sandbox: Sandbox, cluster: Cluster, clock: Clock) -> None:
    """As on every upgrade."""
    a, b = two(cluster, clock)
    await a.try_to_hold()
    await a.let_go()
    assert await b.try_to_hold()
    assert spec(sandbox)["holderIdentity"] == "b"


async def test_nobody_lets_go_of_what_another_holds(sandbox: Sandbox, cluster: Cluster, clock: Clock) -> None:
    a, b = two(cluster, clock)
    await b.let_go()
    await a.try_to_hold()
    await b.let_go()
    assert spec(sandbox)["holderIdentity"] == "a"


async def test_of_two_who_take_it_at_once_one_gets_it(sandbox: Sandbox, cluster: Cluster, clock: Clock) -> None:
    """Both read it expired; the later write meets a version that is no longer."""
    a, b = two(cluster, clock)
    await a.try_to_hold()
    await b.try_to_hold()
    clock.now += LEASE_SECONDS + 1
    c = Lease(cluster, "default", "shardwise", "c", clock)

    async def between() -> None:
        sandbox.faults = None
        c._seen = b._seen
        assert await c.try_to_hold()

    async def hook(request: RequestInfo) -> Fault | None:
        if request.method == "PUT":
            await between()
        return None

    sandbox.faults = hook
    assert not await b.try_to_hold()
    assert spec(sandbox)["holderIdentity"] == "c"


async def test_of_two_who_create_it_at_once_one_gets_it(sandbox: Sandbox, cluster: Cluster, clock: Clock) -> None:
    a, b = two(cluster, clock)

    async def hook(request: RequestInfo) -> Fault | None:
        if request.method == "POST":
            sandbox.faults = None
            assert await b.try_to_hold()
        return None

    sandbox.faults = hook
    assert not await a.try_to_hold()
    assert spec(sandbox)["holderIdentity"] == "b"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
@pytest.mark.parametrize("status", [403, 500])
async def test_what_the_api_refuses_is_an_error_whatever_was_asked(
    sandbox: Sandbox, cluster: Cluster, clock: Clock, method: str, status: int
) -> None:
    """A Lease that cannot be read is not taken for none, and a missing right is told, not waited out."""
    a, _ = two(cluster, clock)
    if method == "PUT":
        await a.try_to_hold()
    sandbox.faults = lambda request: Fault.answer(status) if request.method == method else None
    with pytest.raises(ClusterError):
        await a.try_to_hold()
