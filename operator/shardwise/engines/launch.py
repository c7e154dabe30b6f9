"""The launch of a group as values: every engine module makes them, and rendering turns them into pods."""

from dataclasses import dataclass
from math import ceil
from typing import Final

from shardwise.domain.launch import EnvVar
from shardwise.domain.plan import Plan
from shardwise.engines.context import PodContext
from shardwise.engines.weights import MODEL_FOLDER, startup_seconds

_STARTUP_PERIOD: Final = 2
"""Seconds between two questions, and the longest that clients wait after a start. Until then, a server refuses the
connection or answers 503 at once, so that a question costs nothing."""

Place = tuple[str, int]
"""A host and a port of it."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A probe of a pod: HTTP at ``path``, or only a connection where ``path`` is empty. Seconds.

    ``port`` is 0 for the engine's HTTP port. A ``command`` asks for the path inside the pod, and looks for more.
    """

    path: str
    period: int
    timeout: int
    failures: int
    port: int = 0
    command: tuple[str, ...] = ()


def startup_probe(plan: Plan, timeout: int) -> Probe:
    """Ask a server whether it serves, for as long as a group may take to start. ``timeout`` is in seconds."""
    return Probe("/health", _STARTUP_PERIOD, timeout, ceil(startup_seconds(plan) / _STARTUP_PERIOD))


@dataclass(frozen=True, slots=True)
class Script:
    """A constant text in Python that runs in the image of the engine, and its arguments."""

    text: str
    args: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PodLaunch:
    """The container of a pod. ``command`` and ``args`` are words that no shell ever sees.

    ``waits`` runs before the engine, and ends when the engine may start. ``grace`` is the seconds that a pod gets to
    end. ``drain`` is a command that runs before the pod is told to end. A probe that is ``None`` is not made.
    ``serves``: clients reach the pod.
    """

    index: int
    command: tuple[str, ...]
    args: tuple[str, ...]
    env: tuple[EnvVar, ...]
    grace: int = 30
    startup: Probe | None = None
    readiness: Probe | None = None
    liveness: Probe | None = None
    waits: Script | None = None
    drain: tuple[str, ...] = ()
    serves: bool = False


EVERY_IPV4: Final = "0.0.0.0"  # noqa: S104 - a server that listens inside the pod alone serves nobody
EVERY_IPV6: Final = "::"


def every_address(pod: PodContext) -> str:
    """Give the address at which an engine listens on every address of its pod.

    Probes and Services come to the first address of a pod. Some engines accept IPv6 alone at ``::``, so that IPv4 keeps
    its own address.
    """
    return EVERY_IPV6 if pod.plan.ipv6 else EVERY_IPV4


def named_ports(http: int, meeting: tuple[str, int], pods: tuple[PodLaunch, ...]) -> tuple[tuple[str, int], ...]:
    """Name the ports of a group: the HTTP port, and the port where the pods meet if there are several."""
    return (("http", http), meeting) if len(pods) > 1 else (("http", http),)


@dataclass(frozen=True, slots=True)
class File:
    """A file that every pod of a group gets, with its absolute path."""

    path: str
    text: str

    @property
    def name(self) -> str:
        """The last part of the path: the key of the file in its ConfigMap."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class GroupLaunch:
    """A whole group: image, ports by name, files, and its pods in rank order.

    ``keys_at`` is the folder of the keys for ssh between pods; empty for groups without ssh. ``model_at`` is the mount
    path of weights on a volume, ``model_inside`` the mounted folder of the volume; empty mounts the whole volume.
    ``annotations`` are those of the leader, which routers read.
    """

    image: str
    http_port: int
    ports: tuple[tuple[str, int], ...]
    pods: tuple[PodLaunch, ...]
    files: tuple[File, ...] = ()
    keys_at: str = ""
    model_at: str = MODEL_FOLDER
    model_inside: str = ""
    annotations: tuple[tuple[str, str], ...] = ()
