"""What every engine module answers with: a launch, as values that rendering turns into pods."""

from dataclasses import dataclass

from shardwise.domain.launch import EnvVar


@dataclass(frozen=True, slots=True)
class Probe:
    """An HTTP probe of the engine's port. Seconds."""

    path: str
    period: int
    timeout: int
    failures: int


@dataclass(frozen=True, slots=True)
class PodLaunch:
    """One pod's container. ``command`` and ``args`` are words, never seen by a shell.

    ``wait_for`` is a host and port that must answer before the engine starts. ``grace`` is the seconds a pod gets to
    end. Probes that are ``None`` are not made.
    """

    index: int
    command: tuple[str, ...]
    args: tuple[str, ...]
    env: tuple[EnvVar, ...]
    grace: int
    startup: Probe | None = None
    readiness: Probe | None = None
    liveness: Probe | None = None
    wait_for: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class GroupLaunch:
    """A whole group: image, ports by name, and its pods in rank order."""

    image: str
    http_port: int
    ports: tuple[tuple[str, int], ...]
    pods: tuple[PodLaunch, ...]
