"""How the pods of a group come together before any rank starts, and how a leader is emptied before it ends.

The texts here run in the engine's own image, which has Python. They are constant; what differs comes as arguments.
"""

from dataclasses import replace
from typing import Final

from shardwise.domain.plan import GroupPlacement
from shardwise.engines.launch import Place, PodLaunch

ARRIVAL_PORT: Final = 29599
"""Where a follower answers once its weights are there, until it starts."""

LEADER_GRACE: Final = 60
"""Seconds the leader gets to answer what it has begun."""

FOLLOWER_GRACE: Final = 10
"""A follower serves nobody: it only has to let go of its GPUs. SGLang's ignores SIGTERM altogether."""

_DRAIN_SECONDS: Final = 40
"""Of the leader's grace; the rest is the engine's own to end in."""

_DRAIN_SCRIPT: Final = """\
import sys, time, urllib.request
port, limit, *gauges = sys.argv[1:]
end = time.monotonic() + float(limit)
time.sleep(5)
while gauges and time.monotonic() < end:
    try:
        with urllib.request.urlopen(f'http://127.0.0.1:{port}/metrics', timeout=5) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        break
    if not any(line.startswith(tuple(gauges)) and float(line.rpartition(' ')[2]) > 0 for line in lines):
        break
    time.sleep(1)
"""
"""First until no proxy sends new requests here any more, then until those that were sent are answered."""

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
"""Opens a door where others may see that this pod is there, and waits until all places named answer."""


def drain(port: int, gauges: tuple[str, ...]) -> tuple[str, ...]:
    """Give the command that waits until a leader has answered what it has begun.

    ``gauges`` are the names of the engine's metrics that count requests in work; without any it only waits until
    clients have heard that the pod is going.
    """
    return ("python3", "-c", _DRAIN_SCRIPT, str(port), str(_DRAIN_SECONDS), *gauges)


def in_role(
    pod: PodLaunch, group: GroupPlacement, hosts: tuple[str, ...], rendezvous: Place, *, gather: bool
) -> PodLaunch:
    """Let a pod lead or follow, for engines whose followers ask at the leader's ``rendezvous``.

    A follower waits for that port: one that starts before its leader gives up. The leader waits for nobody, unless
    followers fetch weights first (``gather``): that may take longer than any engine's leader is patient, so it waits
    until all of them are there. Only the leader is drained, and asked whether it is alive.
    """
    arrivals = tuple((host, ARRIVAL_PORT) for host in hosts[1 : len(group.pods)]) if gather else ()
    if pod.index == 0:
        return replace(pod, grace=LEADER_GRACE, wait_for=arrivals)
    present = ARRIVAL_PORT if arrivals else 0
    return replace(pod, grace=FOLLOWER_GRACE, wait_for=(rendezvous,), present=present, liveness=None, drain=())
