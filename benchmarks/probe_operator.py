"""The operator of one build among groups that run, for ``benchmarks.operators``: any build since f49441d can run it.

``python benchmarks/probe_operator.py NODES OBJECTS EVENTS STATE`` prints a JSON object. ``PYTHONPATH`` names the build
and its checkout. STATE is a file for what was launched: launching takes minutes, and is done once.
"""

import json
import pickle
import sys
from pathlib import Path

from benchmarks.cluster import started
from benchmarks.launched import launched, models, nodes
from benchmarks.servers import in_memory


def main() -> None:
    """Measure, and print."""
    count, objects, events = map(int, sys.argv[1:4])
    state = Path(sys.argv[4])
    if not state.exists():
        state.write_bytes(pickle.dumps(launched(nodes(count), models(objects))))
    found = started(in_memory, pickle.loads(state.read_bytes()), events)  # noqa: S301 - written above
    seconds = {"ready": found.ready, "at rest": found.at_rest, "CPU": found.cpu}
    latency = {f"event → write, p{percent}": found.latency(percent) for percent in (50, 95)}
    print(json.dumps({**seconds, **latency, "memory": found.peak, "writes": found.writes}))


if __name__ == "__main__":
    main()
