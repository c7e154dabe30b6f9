"""How many random examples a property is tried on: a few on every run, many times as many for `make thorough`."""

import os

from hypothesis import settings

FACTOR = int(os.environ.get("SHARDWISE_EXAMPLES", "1"))


def examples(count: int) -> settings:
    """Try a property on so many examples, or on a multiple where the environment asks for one."""
    return settings(max_examples=count * FACTOR)
