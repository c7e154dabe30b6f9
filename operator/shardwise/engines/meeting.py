"""How the pods of a group meet before any rank starts, and how a leader finishes its requests before it ends.

The scripts here run in the engine's own image, which has Python. They are constant; varying values are arguments.
"""

from dataclasses import replace
from typing import Final

from shardwise.engines.context import PodContext
from shardwise.engines.launch import PodLaunch, Probe
from shardwise.engines.weights import pre_pulls

ARRIVAL_PORT: Final = 29599
"""The port where a follower answers after it has fetched its weights and before its engine starts."""

LEADER_GRACE: Final = 60
"""Seconds that the leader gets to finish the requests it has begun."""

FOLLOWER_GRACE: Final = 2
"""Seconds that a follower gets. It serves no requests, and only has to let go of its GPUs.

It hardly ever ends by itself: vLLM's takes 11 seconds (0.32.0, seven of seven were killed after 10), and SGLang's
ignores SIGTERM.
"""

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


WHOLE_SCRIPT: Final = """\
import http.client, socket, sys, threading
port, path, seconds, group, pods = sys.argv[1:]
line = http.client.HTTPConnection('localhost', int(port), timeout=float(seconds))
line.request('GET', path)
status = line.getresponse().status
if status >= 400:
    sys.exit(f'{path} answers {status}')
there = {}
def look():
    try:
        found = socket.getaddrinfo(group, None, type=socket.SOCK_STREAM)
    except OSError:
        found = ()
    for family, _, _, _, address in found:
        there.setdefault(family, set()).add(address[0])
looking = threading.Thread(target=look, daemon=True)
looking.start()
looking.join(2)
if not looking.is_alive() and there and max(map(len, there.values())) < int(pods):
    sys.exit(f'{max(map(len, there.values()))} of {pods} pods of the group are there')
"""
"""Tells that an engine answers and that the group's name still gives the addresses of all its pods.

Kubernetes takes a pod that has ended out of the group's Service, and so out of DNS. Names that cannot be looked up, or
not within two seconds, prove nothing. ``http.client`` uses no proxy of the environment.
"""

_LOOK_SECONDS: Final = 5
"""Seconds that the script takes longer than the engine: to start Python and to look for the pods."""


def drain(port: int, gauges: tuple[str, ...]) -> tuple[str, ...]:
    """Give the command that waits until a leader has answered its requests.

    ``gauges`` are the names of the engine's metrics that count unanswered requests. Without gauges the command only
    waits until clients know that the pod is ending.
    """
    return ("python3", "-c", _DRAIN_SCRIPT, str(port), str(_DRAIN_SECONDS), *gauges)


def while_whole(probe: Probe, port: int, pod: PodContext) -> Probe:
    """Give the readiness probe of a leader that also fails if a pod of its group has ended. No operator is needed.

    For engines that answer ``probe`` without their other ranks.
    """
    if not pod.has_followers:
        return probe
    group = pod.leader_host.partition(".")[2]
    words = (str(port), probe.path, str(probe.timeout), group, str(len(pod.group.pods)))
    return replace(probe, timeout=probe.timeout + _LOOK_SECONDS, command=("python3", "-c", WHOLE_SCRIPT, *words))


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
