"""Waiting for what others do: never without a limit, never without saying for what."""

import subprocess
import time
from collections.abc import Callable
from typing import Any

from tests.cluster.processes import LIMIT


def wait_until(so: Callable[[], Any], what: str, limit: float = LIMIT) -> Any:
    """Ask until something is so. Raises ``TimeoutError`` that says what was waited for, and what was answered last."""
    deadline = time.monotonic() + limit
    last: object = None
    while True:
        try:
            last = so()
        except (OSError, AssertionError, subprocess.CalledProcessError) as error:
            last, failed = error, True
        else:
            failed = False
        if last and not failed:
            return last
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {limit:g} s in vain for: {what}; last answer: {last!r}")
        time.sleep(0.05)
