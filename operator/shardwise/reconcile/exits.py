"""How a pod ended, as values: the exit of its engine, and the message of the kubelet about the pod."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from shardwise.domain.reasons import FailureKind

_MOST_LINE: Final = 200
"""Characters kept of the line of a termination message that says why."""

_KILLED: Final = 137
"""The exit code of a process that was ended by SIGKILL. The kubelet says ``OOMKilled`` if memory had run out."""

_OUT_OF_MEMORY: Final = "OOMKilled"

_SAYS_WHY: Final = re.compile(
    r"error|exception|fail|denied|refused|forbidden|unauthori[sz]ed|not found|no such|has no|cannot|can't|could not"
    r"|unable|unrecogni[sz]ed|invalid|out of memory|killed|abort|fault|no space|timed? ?out|missing|not support"
    r"|unsupported|needs|must|too (?:large|long|many)|permission|\b40[13]\b",
    re.IGNORECASE,
)
"""Words of a line that may say why an engine ended."""

_SAYS_NOTHING: Final = re.compile(
    r"\b(?:INFO|DEBUG|WARN|WARNING)\b|UserWarning|warnings\.warn|\b200 OK\b"
    r"|[Rr]oot cause above|[Ss]ee above|During handling of|\bFile \"|\braise \w"
)
"""Words of a line that says nothing: a log line below an error, a request, a pointer to other lines, a traceback."""

_HTTP_REFUSED: Final = re.compile(r"(?<![\w.:/-])40[13](?![\w/-]|[.:]\d)")
"""The code of an HTTP answer, standing by itself: not a part of a name, an address or a number."""

_HTTP_WORDS: Final = re.compile(r"client error|unauthorized|forbidden|http|status")

_GATED: Final = ("gated repo", "is restricted")
"""Words of the Hub, and of its client, for a gated model (huggingface_hub 1.x, ``hf_raise_for_status``)."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a pod ended, or why its engine started again.

    ``code`` and ``reason`` belong to the container that exited. ``code`` is ``None`` if no container exited. ``line``
    is the line of its termination message that says why, if there is such a line. ``initial`` names the container if
    it runs before the engine. ``pod_reason`` and ``pod_message`` are the kubelet's words about the whole pod. ``whole``
    tells whether the whole pod has ended, in the ``phase`` Failed or Succeeded.
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
        which = f"init container `{self.initial}`" if self.initial else "engine"
        line = f": {self.line}" if self.line else ""
        match self.code:
            case None:
                return ""
            case 0:
                return f"{which} ended by itself (exit code 0)"
            case _ if self.reason == _OUT_OF_MEMORY:
                return f"{which} was killed because memory ran out (OOMKilled)"
            case int() if self.code == _KILLED:
                return f"{which} was killed (exit code 137)"
        return f"{which} exited {self.code} ({self.reason or 'Error'}){line}"

    @property
    def kind(self) -> FailureKind:
        """The kind of the failure, which decides the remedy. The first sign that is found counts."""
        line = self.line.lower()
        if "out of memory" in line:
            return FailureKind.GPU_MEMORY
        if self.reason == _OUT_OF_MEMORY:
            return FailureKind.HOST_MEMORY
        if self.pod_reason == "Evicted":
            return FailureKind.EVICTED
        return _kind_of_line(line)


def _kind_of_line(line: str) -> FailureKind:
    if "unrecognized arguments" in line:
        return FailureKind.UNKNOWN_ARGUMENT
    if "permission" in line:
        return FailureKind.FILES_DENIED
    if (_HTTP_REFUSED.search(line) and _HTTP_WORDS.search(line)) or any(words in line for words in _GATED):
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


def why(ended: Mapping[str, Any]) -> str:
    """Give the last line of a container's termination message that says why it ended; empty if no line does.

    The message may be the end of the log, whose last line is whatever was logged last. A long line is cut to a length
    that suits a status. A container that was killed could not say why.
    """
    if ended.get("exitCode") in (0, _KILLED):
        return ""
    lines = reversed(str(ended.get("message") or "").splitlines())
    told = (line.strip() for line in lines if _SAYS_WHY.search(line) and not _SAYS_NOTHING.search(line))
    return next(told, "")[:_MOST_LINE]


def _container_exit(ended: Mapping[str, Any]) -> Exit:
    return Exit(int(ended.get("exitCode") or 0), str(ended.get("reason") or ""), why(ended))


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
