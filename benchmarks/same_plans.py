"""Whether this build plans byte for byte as an older build does, on a thousand random fleets, both in one run.

``python -m benchmarks.same_plans BASE=b656ce5 FLEETS=1000``. The fleets change event by event between plans.
``benchmarks/random_plans.py SEED 1 --show`` shows the answers of one build on a fleet that differs.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from benchmarks.commands import ROOT, unpacked

BASE: Final = "b656ce5"
FLEETS: Final = 1000


def digests(source: Path, fleets: int) -> list[str]:
    """Give the digest of a build's answers on each fleet."""
    command = [sys.executable, str(ROOT / "benchmarks" / "random_plans.py"), "0", str(fleets)]
    env = os.environ | {"PYTHONPATH": str(source), "PYTHONHASHSEED": "0"}
    return subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()  # noqa: S603 - our own


def main() -> int:
    """Compare, and name the fleets that differ."""
    stated = dict(arg.split("=", 1) for arg in sys.argv[1:])
    base, fleets = stated.get("BASE", BASE), int(stated.get("FLEETS", FLEETS))
    with tempfile.TemporaryDirectory() as folder:
        old, new = digests(unpacked(base, Path(folder)), fleets), digests(ROOT / "operator", fleets)
    differ = [before.split()[0] for before, now in zip(old, new, strict=True) if before != now]
    print(f"{fleets - len(differ)} of {fleets} fleets are planned on as by {base}")
    if differ:
        print(f"these differ: {' '.join(differ)}")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
