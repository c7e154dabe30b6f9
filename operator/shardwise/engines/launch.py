"""What every engine module answers with: a launch, as values that rendering turns into pods."""

from dataclasses import dataclass

from shardwise.domain.launch import EnvVar
from shardwise.engines.weights import MODEL_FOLDER

Place = tuple[str, int]
"""A host and a port of it."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A probe of a pod: HTTP at ``path``, or only a connection where ``path`` is empty. Seconds.

    ``port`` is 0 for the engine's HTTP port.
    """

    path: str
    period: int
    timeout: int
    failures: int
    port: int = 0


@dataclass(frozen=True, slots=True)
class PodLaunch:
    """One pod's container. ``command`` and ``args`` are words, never seen by a shell.

    ``wait_for`` are places that must answer before the engine starts; meanwhile the pod itself answers at the port
    ``present``, where that is not 0. ``grace`` is the seconds a pod gets to end, ``drain`` the words of a command that
    is run before it is told to. Probes that are ``None`` are not made.
    """

    index: int
    command: tuple[str, ...]
    args: tuple[str, ...]
    env: tuple[EnvVar, ...]
    grace: int = 30
    startup: Probe | None = None
    readiness: Probe | None = None
    liveness: Probe | None = None
    wait_for: tuple[Place, ...] = ()
    present: int = 0
    drain: tuple[str, ...] = ()


def listening(port: int) -> tuple[str, ...]:
    """Give the words by which every engine is told where to listen: a pod is reached at its own address."""
    return "--host", "0.0.0.0", "--port", str(port)  # noqa: S104 - not only from inside the pod


def named_ports(http: int, meeting: tuple[str, int], pods: tuple[PodLaunch, ...]) -> tuple[tuple[str, int], ...]:
    """Name the ports of a group: HTTP, and the one where several pods meet."""
    return (("http", http), meeting) if len(pods) > 1 else (("http", http),)


@dataclass(frozen=True, slots=True)
class File:
    """A file every pod of a group gets, with its absolute path."""

    path: str
    text: str

    @property
    def name(self) -> str:
        """Its last part, by which a ConfigMap keeps it."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class GroupLaunch:
    """A whole group: image, ports by name, files, and its pods in rank order.

    ``keys_at`` is the folder where pods find the keys they talk ssh with; empty where they do not. ``model_at`` is
    where weights on a volume are mounted, ``model_inside`` the folder of the volume that is; empty for all of it.
    """

    image: str
    http_port: int
    ports: tuple[tuple[str, int], ...]
    pods: tuple[PodLaunch, ...]
    files: tuple[File, ...] = ()
    keys_at: str = ""
    model_at: str = MODEL_FOLDER
    model_inside: str = ""
