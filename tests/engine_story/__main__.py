"""Run the story with the engine of an environment, which is made if it is not there.

The steps ``pair delete`` only start and end a group of two pods. ``random-kills`` takes ten minutes more, and runs only
if it is named. ``--operator`` runs the operator of another checkout, to compare builds.
"""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.engine_story.cluster import cluster
from tests.engine_story.environment import ready
from tests.engine_story.steps import BY_NAME, STEPS
from tests.engine_story.story import Story, Wrong
from tests.process_kubelet.image import missing
from tests.support.repository import ROOT


async def run(given: argparse.Namespace, models: Path) -> None:
    """Run an act on a cluster of its own."""
    with tempfile.TemporaryDirectory(prefix="engine-story-") as name:
        async with cluster(Path(name), given.engine.resolve(), models, given.operator.resolve()) as scene:
            story = Story(scene, models)
            for step in given.steps or STEPS:
                await BY_NAME[step](story)


def main() -> int:
    """Make the engine's environment if it is not there, and run an act. Give the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine", type=Path, required=True, help="folder of the engine's environment")
    parser.add_argument("--python", default="python3.12", help="interpreter that the environment is made with")
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"by default {', '.join(STEPS)}")
    parser.add_argument("--operator", type=Path, default=ROOT, help="checkout of the operator to run")
    given = parser.parse_args()
    if unknown := set(given.steps) - BY_NAME.keys():
        parser.error(f"no step {', '.join(sorted(unknown))}; there are {', '.join(BY_NAME)}")
    with tempfile.TemporaryDirectory() as folder:
        why = missing(Path(folder))
    if why:
        print(f"not run: {why}")
        return 2
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells start what runs in the background without it
    signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT))  # so that all is cleaned up
    models = ready(given.engine.resolve(), given.python)
    began = time.monotonic()
    try:
        asyncio.run(run(given, models))
    except (Wrong, TimeoutError) as error:
        print(f"FAILED: {error}")
        return 1
    print(f"{time.monotonic() - began:7.1f} s  in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
