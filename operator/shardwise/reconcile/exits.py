"""How a pod ended, as values: the exit of its engine, and the message of the kubelet about the pod."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from shardwise.domain.reasons import FailureKind

_MOST_LINE: Final = 200
"""Characters kept of the last line of a termination message."""

_KILLED: Final = 137
"""The exit code of a process that was ended by SIGKILL, as the kernel does when memory runs out."""

_HTTP_REFUSED: Final = re.compile(r"(?<![\w.:/-])40[13](?![\w/-]|[.:]\d)")
"""The code of an HTTP answer, standing by itself: not a part of a name, an address or a number."""

_HTTP_WORDS: Final = re.compile(r"client error|unauthorized|forbidden|http|status")


@dataclass(frozen=True, slots=True)
class Exit:
    """How a pod ended, or why its engine started again.

    ``code`` and ``reason`` belong to the container that exited. ``code`` is ``None`` if no container exited. ``line``
    is the last line of its termination message. ``initial`` names the container if it runs before the engine.
    ``pod_reason`` and ``pod_message`` are the kubelet's words about the
    whole pod. ``whole`` tells whether the whole pod has ended, in the ``phase`` Failed or Succeeded.
    """

    code: int | None = None
    reason: str = ""
    line: str = ""
    whole: bool = False
    pod_reason: str = ""
    pod_message: str = ""
    phase: str = ""
    initial: str = ""

    def __str__(self) -> str:
        """Say it: ``engine exited 1 (Error): CUDA error``, ``Evicted: The node was low on memory``."""
        if not self.whole or (self._container and not self.pod_reason):
            return self._container
        return f"{self.pod_reason or 'pod ended'}: {self.pod_message or self._container or self.phase}"

    @property
    def _container(self) -> str:
        line = f": {self.line}" if self.line else ""
        which = f"init container `{self.initial}`" if self.initial else "engine"
        return "" if self.code is None else f"{which} exited {self.code} ({self.reason or 'Error'}){line}"

    @property
    def kind(self) -> FailureKind:
        """The kind of the failure, which decides the remedy. The first sign that is found counts."""
        line = self.line.lower()
        if "out of memory" in line:
            return FailureKind.GPU_MEMORY
        if self.reason == "OOMKilled" or self.code == _KILLED:
            return FailureKind.HOST_MEMORY
        if self.pod_reason == "Evicted":
            return FailureKind.EVICTED
        return _kind_of_line(line)


def _kind_of_line(line: str) -> FailureKind:
    if "unrecognized arguments" in line:
        return FailureKind.UNKNOWN_ARGUMENT
    if "permission" in line:
        return FailureKind.FILES_DENIED
    if _HTTP_REFUSED.search(line) and _HTTP_WORDS.search(line):
        return FailureKind.TOKEN_REFUSED
    return FailureKind.OTHER


def read_exit(status: Mapping[str, Any]) -> Exit | None:
    """Read from a pod's status how the pod ended; ``None`` while the pod runs.

    No container is started again in place. Pods of an earlier version of the operator restart theirs; such an engine
    has left its group, although its ranks may meet again.
    """
    ended = _terminated(status)
    container = Exit() if ended is None else _container_exit(ended)
    if status.get("phase") in ("Failed", "Succeeded"):
        return replace(
            container if container.code is not None else _initial_exit(status),
            whole=True,
            pod_reason=str(status.get("reason") or ""),
            pod_message=str(status.get("message") or ""),
            phase=str(status["phase"]),
        )
    return container if ended is not None and _restarted(status) else None


def last_line(ended: Mapping[str, Any]) -> str:
    """Give the last line of a container's termination message, cut to a length that suits a status."""
    lines = str(ended.get("message") or "").strip().splitlines()
    return lines[-1][:_MOST_LINE] if lines else ""


def _container_exit(ended: Mapping[str, Any]) -> Exit:
    return Exit(int(ended.get("exitCode") or 0), str(ended.get("reason") or ""), last_line(ended))


def _initial_exit(status: Mapping[str, Any]) -> Exit:
    """Read the exit of the init container that failed, and so kept the engine from starting."""
    for container in status.get("initContainerStatuses") or ():
        ended = (container.get("state") or {}).get("terminated")
        if ended and ended.get("exitCode"):
            return replace(_container_exit(ended), initial=str(container.get("name")))
    return Exit()


def _restarted(status: Mapping[str, Any]) -> bool:
    return any(
        (container.get("restartCount") or 0) > 0 or "terminated" in (container.get("state") or {})
        for container in status.get("containerStatuses") or ()
    )


def _terminated(status: Mapping[str, Any]) -> Mapping[str, Any] | None:
    for container in status.get("containerStatuses") or ():
        for state in (container.get("state") or {}, container.get("lastState") or {}):
            ended: Mapping[str, Any] | None = state.get("terminated")
            if ended:
                return ended
    return None
