"""How the pods of a group meet before any rank starts, and how a leader finishes its requests before it ends.

The scripts here run in the engine's own image, which has Python. They are constant; varying values are arguments.
"""

from dataclasses import replace
from typing import Final

from shardwise.engines.context import PodContext
from shardwise.engines.launch import PodLaunch
from shardwise.engines.weights import pre_pulls

ARRIVAL_PORT: Final = 29599
"""The port where a follower answers after it has fetched its weights and before its engine starts."""

LEADER_GRACE: Final = 60
"""Seconds that the leader gets to finish the requests it has begun."""

FOLLOWER_GRACE: Final = 10
"""Seconds that a follower gets. It serves no requests and only releases its GPUs; SGLang's ignores SIGTERM."""

_DRAIN_SECONDS: Final = 40
"""Seconds of the leader's grace for its requests. The engine ends in the rest."""

_DRAIN_SCRIPT: Final = """\
import sys, time, urllib.request
port, limit, *gauges = sys.argv[1:]
end = time.monotonic() + float(limit)
time.sleep(5)
while gauges and time.monotonic() < end:
    try:
        with urllib.request.urlopen(f'http://localhost:{port}/metrics', timeout=5) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        break
    if not any(line.startswith(tuple(gauges)) and float(line.rpartition(' ')[2]) > 0 for line in lines):
        break
    time.sleep(1)
"""
"""Waits until no proxy sends new requests to the pod, then until the pod has answered the requests it has."""

WAIT_SCRIPT: Final = """\
import socket, sys, time
present, *places = sys.argv[1:]
if present != '0':
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    door = socket.create_server(('', int(present)), family=family, backlog=64, dualstack_ipv6=both)
for place in places:
    host, _, port = place.rpartition(':')
    while True:
        try:
            socket.create_connection((host, int(port)), 5).close()
            break
        except OSError as error:
            print('waiting for', place, error, flush=True)
            time.sleep(2)
"""
"""Opens a port that shows other pods that this pod is there, and waits until all named places answer."""


def drain(port: int, gauges: tuple[str, ...]) -> tuple[str, ...]:
    """Give the command that waits until a leader has answered its requests.

    ``gauges`` are the names of the engine's metrics that count unanswered requests. Without gauges the command only
    waits until clients know that the pod is ending.
    """
    return ("python3", "-c", _DRAIN_SCRIPT, str(port), str(_DRAIN_SECONDS), *gauges)


def in_role(launch: PodLaunch, pod: PodContext, rendezvous_port: int) -> PodLaunch:
    """Let a pod lead or follow, for engines whose followers connect to a port of the leader.

    A follower waits for that port: a follower that starts before its leader gives up. The leader waits for nobody,
    unless weights are fetched before the start: fetching may take longer than any engine's leader waits, so it starts
    after all followers have answered. Only the leader is drained, and only the leader has a liveness probe.
    """
    gathers = pre_pulls(pod.wanted)
    followers = pod.hosts[1 : len(pod.group.pods)] if gathers else ()
    if pod.leads:
        return replace(launch, grace=LEADER_GRACE, wait_for=tuple((host, ARRIVAL_PORT) for host in followers))
    return replace(
        launch,
        grace=FOLLOWER_GRACE,
        wait_for=((pod.leader_host, rendezvous_port),),
        present=ARRIVAL_PORT if followers else 0,
        liveness=None,
        drain=(),
    )
