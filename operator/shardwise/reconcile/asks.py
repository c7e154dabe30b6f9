"""Questions to the engines of leaders, and the answers to them, as data. ``shardwise.operate`` asks, over HTTP."""

from dataclasses import dataclass

from shardwise.engines import Figures, TokenRequest

Attempt = tuple[int, int]
"""The numbers of a replica and of its attempt."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A question to the leader of an attempt, at its pod's address. Nothing waits for the answer."""

    replica: int
    attempt: int
    address: str
    port: int
    figures: Figures


@dataclass(frozen=True, slots=True)
class Answer:
    """The state of a question: how often it was asked, the last time in seconds since the epoch, and what came back.

    ``final`` tells that an answer came, whatever it said. ``tokens`` are the tokens of the KV cache, if it said them.
    """

    tries: int
    at: float
    final: bool = False
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class TokenAsk:
    """A request of one token to the leader of an attempt, if its engine is idle. Nothing waits for the answer."""

    replica: int
    attempt: int
    address: str
    port: int
    request: TokenRequest


@dataclass(frozen=True, slots=True)
class Heard:
    """When the leader of an attempt was last asked for a token, in seconds since the epoch, and whether it hangs."""

    at: float
    hangs: bool = False
