"""Faults that a test injects into requests, and the record of every request."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, TypeAlias

from shardwise_sandbox.objects import JsonObject

_WRITING: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})


@dataclass(slots=True)
class RequestInfo:
    """A request as the server saw it. ``code`` is 0 until the response, and stays 0 if the response is lost."""

    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    user_agent: str = ""
    content_type: str = ""
    body: JsonObject | list[JsonObject] | None = None
    group: str = ""
    resource: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    code: int = 0

    @property
    def field_manager(self) -> str:
        """The field manager of a write: the parameter ``fieldManager``, or else the first word of the user agent."""
        return self.query.get("fieldManager") or self.user_agent.split("/", 1)[0] or "unknown"

    @property
    def is_watch(self) -> bool:
        """Whether the request is a watch."""
        return self.method == "GET" and self.query.get("watch", "").lower() in {"1", "true"}

    @property
    def is_write(self) -> bool:
        """Whether the request is a write."""
        return self.method in _WRITING and "dryRun" not in self.query

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.code or 'lost'}"


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of a request. The class methods make the kinds of faults."""

    applies: bool
    status: int = 0
    reason: str = ""
    seconds: float = 0.0

    @classmethod
    def answer(cls, status: int, reason: str = "") -> "Fault":
        """Refuse the request and apply nothing."""
        return cls(applies=False, status=status, reason=reason)

    @classmethod
    def drop(cls) -> "Fault":
        """Cut the connection and apply nothing."""
        return cls(applies=False)

    @classmethod
    def lose_answer(cls) -> "Fault":
        """Apply the request, then cut the connection."""
        return cls(applies=True)

    @classmethod
    def apply_then_answer(cls, status: int, reason: str = "") -> "Fault":
        """Apply the request, then respond with an error."""
        return cls(applies=True, status=status, reason=reason)

    @classmethod
    def delay(cls, seconds: float) -> "Fault":
        """Respond correctly, after a delay."""
        return cls(applies=True, seconds=seconds)

    @property
    def hides_answer(self) -> bool:
        """Whether the client gets a false response or no response."""
        return self.seconds == 0.0

    def body(self) -> JsonObject:
        """Return the body of the false response."""
        phrase = HTTPStatus(self.status).phrase
        reason = self.reason or _REASONS.get(self.status, phrase.replace(" ", ""))
        body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        return {**body, "message": f"injected fault: {phrase}", "reason": reason, "code": self.status}


_REASONS: Final = {409: "Conflict", 410: "Expired", 429: "TooManyRequests", 500: "InternalError", 504: "Timeout"}

FaultHook: TypeAlias = Callable[[RequestInfo], Fault | Awaitable[Fault | None] | None]
"""Is called before each request. ``None`` lets the request pass."""
