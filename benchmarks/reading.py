"""How long a config.json takes to read: `python -m benchmarks.reading` prints the slowest of tests/data/models.

The first reading of a config fills caches of names; the second is what a controller sees.
"""

import sys

from benchmarks.timing import machine, median_seconds, said, table
from tests.support.models import config, config_names

from shardwise.checkpoint import from_config

SHOWN = 8
RUNS = 20


def seconds(name: str) -> float:
    """Give the median time of reading one config."""
    stated = config(name)
    return median_seconds(lambda: from_config(stated, name=name, origin="benchmark"), RUNS)


def with_a_long_list() -> float:
    """Give the time for a config that spares hundreds of names, attention in every third layer, some by patterns."""
    stated = config("Qwen/Qwen3-235B-A22B-FP8")
    spared = [
        f"model.layers.{index}.{part}"
        for index in range(94)
        for part in ("mlp.gate", "input_layernorm", "post_attention_layernorm", *(() if index % 3 else ("self_attn",)))
    ]
    listed = [*spared, "re:.*lm_head", r"re:.*layers\.(0|93)\.mlp\.experts.*"]
    changed = stated | {"quantization_config": stated["quantization_config"] | {"modules_to_not_convert": listed}}
    return median_seconds(lambda: from_config(changed, name="long", origin="benchmark"), RUNS)


def main() -> None:
    """Print the table."""
    times = sorted(((seconds(name), name) for name in config_names()), reverse=True)
    rows = [(name, said(time)) for time, name in times[:SHOWN]]
    rows.append(("that with 314 names and two patterns spared", said(with_a_long_list())))
    sys.stdout.write(f"{machine()}\n\n{table(('config', 'read in'), rows)}\n")


if __name__ == "__main__":
    main()
