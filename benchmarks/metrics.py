"""What metrics cost the operator: the counting while it works, and the scrapes while it rests among 5,000 nodes.

``python -m benchmarks.metrics`` (about ten minutes; ``--quick`` takes small sizes). The operator is a process of its
own on the in-memory API, among groups that run. Nodes report as real nodes do: each every five minutes, in which the
operator relists once.
"""

import argparse
import asyncio
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
from benchmarks.launched import Launched, launched, models, nodes
from benchmarks.servers import InMemory, in_memory
from benchmarks.takeover import at_rest, cpu_seconds, written
from benchmarks.timing import machine, median_seconds, said, table
from tests.cluster.processes import Processes
from tests.support.exposition import series_of

from shardwise.metrics import Meters
from shardwise.metrics.table import API_SECONDS, ATTEMPT_ENDS

SIZE: Final = (5000, 500)
QUICK: Final = (500, 50)
REPORT_SECONDS: Final = 300.0
"""How often a kubelet reports its node's status if nothing changes (kubelet's nodeStatusReportFrequency)."""

SCRAPE_SECONDS: Final = 30.0
"""The chart's interval."""

SCRAPES: Final = 20
CALLS: Final = 20_000


@dataclass(frozen=True)
class Costs:
    """CPU seconds: of the start, of ``rest`` seconds of rest, of a scrape; ``counts`` is the number of counts."""

    start: float
    resting: float
    rest: float
    scrape: float
    scrape_after_a_change: float
    counts: float
    text: int


async def measured(server: InMemory, state: Launched, rest: float, folder: Path) -> Costs:
    """Start the operator among what was launched, let it rest while nodes report, and scrape it."""
    await written(server, state)
    async with _operator(server, folder) as (pid, url), aiohttp.ClientSession() as session:
        await _led(session, url)
        await at_rest(pid)
        start = cpu_seconds(pid)
        found = series_of(await _scraped(session, url))
        await _reported(server, state, rest)
        resting = cpu_seconds(pid) - start
        text = await _scraped(session, url)
        scrape = await _price(pid, session, url, None)
        changed = await _price(pid, session, url, server)
        return Costs(start, resting, rest, scrape, changed, _counts(found), len(text))


async def _price(pid: int, session: aiohttp.ClientSession, url: str, server: InMemory | None) -> float:
    """Give the CPU seconds of a scrape; with a server, of a scrape after a node was cordoned or uncordoned."""
    spent = 0.0
    for number in range(SCRAPES):
        if server is not None:
            server.sandbox.patch("Node", "", "h100-00000", {"spec": {"unschedulable": number % 2 == 0}})
            await at_rest(pid)
        before = cpu_seconds(pid)
        await _scraped(session, url)
        spent += cpu_seconds(pid) - before
    return spent / SCRAPES


async def _reported(server: InMemory, state: Launched, seconds: float) -> None:
    """Let nodes report their status, in turn, for a time."""
    every = REPORT_SECONDS / len(state.nodes)
    begun = time.monotonic()
    for number in range(int(seconds / every)):
        name = state.nodes[number % len(state.nodes)]["metadata"]["name"]
        server.sandbox.patch("Node", "", name, {"metadata": {"annotations": {"reported": str(number)}}})
        await asyncio.sleep(max(0.0, begun + (number + 1) * every - time.monotonic()))


@asynccontextmanager
async def _operator(server: InMemory, folder: Path) -> AsyncIterator[tuple[int, str]]:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    processes = Processes(folder)
    health = f"--health=127.0.0.1:{port}"
    processes.start("operator", sys.executable, "-m", "shardwise", "run", f"--kubeconfig={server.kubeconfig}", health)
    try:
        yield processes.pids()[0], f"http://127.0.0.1:{port}"
    finally:
        processes.stop_all()


async def _led(session: aiohttp.ClientSession, url: str) -> None:
    """Wait until the operator leads."""
    async with asyncio.timeout(120):
        while True:
            try:
                async with session.get(f"{url}/leadz") as answer:
                    if answer.status == 200:  # noqa: PLR2004 - HTTP's
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)


async def _scraped(session: aiohttp.ClientSession, url: str) -> str:
    async with session.get(f"{url}/metrics") as answer:
        return await answer.text()


def _counts(found: Mapping[tuple[str, ...], float]) -> float:
    """Count how often something was counted or observed."""
    names = ("_total", "_count")
    ours = (key for key in found if key[0].startswith("shardwise") and key[0].endswith(names) and len(key) < 3)  # noqa: PLR2004
    return sum(found[key] for key in ours)


def _price_of_a_count() -> float:
    """Give the CPU seconds of a count with a label and an observation with a label, together halved."""
    meters = Meters()

    def run() -> None:
        for _ in range(CALLS):
            meters.count(ATTEMPT_ENDS, "PodLost")
            meters.observe(API_SECONDS, 0.02, "GET")

    return median_seconds(run, 5) / (2 * CALLS)


def report(size: tuple[int, int], costs: Costs) -> str:
    """Give the costs as tables."""
    count = _price_of_a_count()
    counting = costs.counts * count
    minute = costs.resting / costs.rest * 60
    scrapes = costs.scrape * 60 / SCRAPE_SECONDS
    changed = costs.scrape_after_a_change * 60 / SCRAPE_SECONDS
    rows = [
        [
            "starting, all objects looked at",
            said(costs.start),
            f"{costs.counts:.0f} counts of {said(count)}",
            _share(counting, costs.start),
        ],
        ["a minute at rest", said(minute), f"2 scrapes of {said(costs.scrape)}", _share(scrapes, minute)],
        [
            "the same, a node changed before each scrape",
            said(minute),
            f"2 scrapes of {said(costs.scrape_after_a_change)}",
            _share(changed, minute),
        ],
    ]
    head = ["the operator does", "CPU without metrics", "metrics", "share"]
    return f"{size[0]} nodes, {size[1]} objects; {costs.text / 1000:.0f} kB of text a scrape.\n\n{table(head, rows)}"


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.2f} %"


def main() -> None:
    """Measure, and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    size, rest = (QUICK, 10.0) if quick else (SIZE, REPORT_SECONDS)
    state = launched(nodes(size[0]), models(size[1]))

    async def run(folder: Path) -> Costs:
        async with in_memory(folder) as server:
            if not isinstance(server, InMemory):
                raise TypeError(server.name)
            return await measured(server, state, rest, folder)

    with tempfile.TemporaryDirectory(prefix="shardwise-bench-") as folder:
        costs = asyncio.run(run(Path(folder)))
    print(f"{machine()}\n\n{report(size, costs)}")


if __name__ == "__main__":
    main()
