"""How the pods of a group meet before any rank starts, and how a leader finishes its requests before it ends.

The scripts here run in the engine's own image, which has Python. They are constant; varying values are arguments.
"""

from dataclasses import replace
from typing import Final

from shardwise.engines.context import PodContext
from shardwise.engines.launch import Place, PodLaunch, Probe, Script

ARRIVAL_PORT: Final = 29599
"""The port where a follower waits for the leader, after it has fetched its weights and before its engine starts."""

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

_DRAIN_TOGETHER_SCRIPT: Final = """\
import sys, time, urllib.request
port, limit, hosts, *gauges = sys.argv[1:]
end = time.monotonic() + float(limit)
time.sleep(5)
def works(host):
    try:
        with urllib.request.urlopen(f'http://{host}:{port}/metrics', timeout=5) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return False
    return any(line.startswith(tuple(gauges)) and float(line.rpartition(' ')[2]) > 0 for line in lines)
while time.monotonic() < end and any(works(host) for host in hosts.split(',')):
    time.sleep(1)
"""
"""As above, for groups in which several pods serve: the data ranks of a pod are needed by the requests of all pods."""

WAIT_SCRIPT: Final = """\
import socket, sys, time
for place in sys.argv[1:]:
    host, _, port = place.rpartition(':')
    while True:
        try:
            socket.create_connection((host, int(port)), 5).close()
            break
        except OSError as error:
            print('waiting for', place, error, flush=True)
            time.sleep(2)
"""
"""Waits until all named places answer."""

_START: Final = "start"
"""The word by which a leader lets a follower start its engine."""

GATHER_SCRIPT: Final = f"""\
import socket, sys, time
port, *hosts = sys.argv[1:]
for word in (b'', b'{_START}'):
    for host in hosts:
        while True:
            try:
                with socket.create_connection((host, int(port)), 5) as line:
                    line.sendall(word)
                break
            except OSError as error:
                print('waiting for', host, error, flush=True)
                time.sleep(1)
"""
"""Waits until every follower answers at its door, then lets all of them start. No connection is held meanwhile."""

ARRIVE_SCRIPT: Final = f"""\
import socket, sys, time
port, host, rendezvous = sys.argv[1:]
both = socket.has_dualstack_ipv6()
family = socket.AF_INET6 if both else socket.AF_INET
door = socket.create_server(('', int(port)), family=family, backlog=64, dualstack_ipv6=both)
door.settimeout(2)
def told():
    try:
        line = door.accept()[0]
        line.settimeout(5)
        with line, line.makefile('rb') as said:
            return said.read({len(_START)}) == b'{_START}'
    except OSError:
        return False
def try_leader():
    try:
        socket.create_connection((host, int(rendezvous)), 2).close()
        return True
    except OSError as error:
        print('waiting for', host, error, flush=True)
while not (told() or try_leader()):
    pass
door.close()
while True:
    try:
        socket.getaddrinfo(host, None)
        break
    except OSError as error:
        print('waiting for', host, error, flush=True)
        time.sleep(1)
"""
"""Opens a door where the leader finds this pod, and waits until the leader lets it start and its name is known.

A leader whose engine has started already also lets it start: an older operator made that leader, and this operator the
followers.
"""

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


def drain_together(port: int, gauges: tuple[str, ...], pod: PodContext) -> tuple[str, ...]:
    """Give the command that waits until all pods that serve have answered their requests, see :func:`drain`."""
    if not pod.shares_serving:
        return drain(port, gauges)
    hosts = ",".join(pod.hosts[: len(pod.group.pods)])
    return ("python3", "-c", _DRAIN_TOGETHER_SCRIPT, str(port), str(_DRAIN_SECONDS), hosts, *gauges)


def while_whole(probe: Probe, port: int, pod: PodContext) -> Probe:
    """Give the readiness probe of a pod that serves, which also fails if a pod of its group has ended, by itself.

    For engines that answer ``probe`` without their other ranks.
    """
    if not pod.has_followers:
        return probe
    group = pod.leader_host.partition(".")[2]
    words = (str(port), probe.path, str(probe.timeout), group, str(len(pod.group.pods)))
    return replace(probe, timeout=probe.timeout + _LOOK_SECONDS, command=("python3", "-c", WHOLE_SCRIPT, *words))


def in_role(launch: PodLaunch, pod: PodContext, rendezvous_port: int) -> PodLaunch:
    """Let a pod lead or follow, for engines whose ranks wait some minutes for each other at a port of the leader.

    The engines of a group start side by side: when every pod has its image, and its weights if they are fetched before
    (0055). Only pods that serve are drained, and only they have a liveness probe.
    """
    launch = replace(launch, serves=pod.serves)
    if pod.leads:
        followers = pod.hosts[1 : len(pod.group.pods)]
        gather = Script(GATHER_SCRIPT, (str(ARRIVAL_PORT), *followers)) if followers else None
        return replace(launch, grace=LEADER_GRACE, waits=gather)
    arrive = Script(ARRIVE_SCRIPT, (str(ARRIVAL_PORT), pod.leader_host, str(rendezvous_port)))
    if pod.serves:
        return replace(launch, grace=LEADER_GRACE, waits=arrive)
    return replace(launch, grace=FOLLOWER_GRACE, waits=arrive, liveness=None, drain=())


def wait_for(places: tuple[Place, ...]) -> Script | None:
    """Give the script that waits until other pods answer, for engines that do not wait for them."""
    return Script(WAIT_SCRIPT, tuple(f"{host}:{port}" for host, port in places)) if places else None
