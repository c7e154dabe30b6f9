#!/bin/sh
# kopf 1.45.2 kills the process that embeds it, 10 minutes after its tasks were cancelled, although no signal was sent.
#
# The documentation of settings.process.ultimate_exiting_timeout says: "The countdown goes from when a graceful signal
# arrives (SIGTERM/SIGINT)". In fact, the countdown begins whenever the tasks of kopf.spawn_tasks() are cancelled while
# no stop flag is set (kopf/_core/reactor/running.py, ultimate_termination). A program that ends its kopf tasks, and
# then goes on, ends by SIGKILL. kopf also leaves its handlers of SIGINT and SIGTERM in the event loop: after its tasks
# have ended, they set a future that nobody waits for, so the program no longer ends when it is told to.
#
# The timeout is 1 s here instead of 10 minutes. Remedy: set the timeout to None, and add handlers of your own afterwards.
# This script fails if the behaviour changes. It needs Python 3.11 or later, and a network for pip.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" --quiet install "kopf==1.45.2"
cat > "$folder/embeds.py" <<'PYTHON'
import asyncio
import os
import signal
import sys

import kopf


async def main() -> None:
    settings = kopf.OperatorSettings()
    settings.process.ultimate_exiting_timeout = 1.0 if sys.argv[1] == "kill" else None
    registry = kopf.OperatorRegistry()
    tasks = await kopf.spawn_tasks(registry=registry, settings=settings, clusterwide=True, standalone=True)
    await asyncio.sleep(0.5)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    print("kopf has ended, the program goes on", flush=True)
    if sys.argv[1] == "signal":
        os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(3)
    print("survived", flush=True)


asyncio.run(main())
PYTHON
run() { "$folder/venv/bin/python" "$folder/embeds.py" "$1" > "$folder/out" 2> "$folder/err" && status=0 || status=$?; }
run kill
test "$status" -eq 137 || { echo "changed: the process ended with status $status, not by SIGKILL"; cat "$folder/err"; exit 1; }
grep -q "the program goes on" "$folder/out"
run signal
test "$status" -eq 0 && grep -q survived "$folder/out" || { echo "changed: SIGTERM ended the program with $status"; exit 1; }
echo "as described: killed 1 s after the cancellation; SIGTERM without effect after kopf has ended"
