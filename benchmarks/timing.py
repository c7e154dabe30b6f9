"""Measuring and telling: medians of several runs, tables, and how a time grows with the size of the fleet."""

import math
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence


def median_seconds(run: Callable[[], object], runs: int) -> float:
    """Run something several times, after once to warm up, and give the median of its CPU time, in seconds.

    Nothing measured here waits for anything, and other processes of the machine do not count.
    """
    run()
    times = []
    for _ in range(runs):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return statistics.median(times)


def growth(times: Mapping[int, float]) -> float:
    """Give the exponent of a time's growth with the size, by least squares over logarithms: 1 is linear."""
    points = [(math.log(size), math.log(seconds)) for size, seconds in times.items()]
    x = statistics.mean(point[0] for point in points)
    y = statistics.mean(point[1] for point in points)
    return sum((a - x) * (b - y) for a, b in points) / sum((a - x) ** 2 for a, _ in points)


def said(seconds: float) -> str:
    """Say a time with three digits, in the unit that suits it."""
    for limit, unit, factor in ((1e-3, "µs", 1e6), (1.0, "ms", 1e3)):
        if seconds < limit:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a Markdown table."""
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines)


def machine() -> str:
    """Say what it was measured with."""
    return f"Python {platform.python_version()}, {platform.machine()}, {sys.platform}"
