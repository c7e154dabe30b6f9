"""Targets: the load of an object and the speed that its clients want, and how a plan meets them."""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Target:
    """The load of an object, and the speed that its clients want. Times are in seconds, and means over all requests.

    A request has ``input_tokens`` and gets ``output_tokens``, on average. ``first_token`` is the longest time until its
    first token, ``per_token`` the longest time for each further token. ``rate`` is the number of requests per second
    that all replicas serve together. Without it, each replica serves as many requests at once as the demand's
    concurrency says.
    """

    input_tokens: int
    output_tokens: int
    first_token: float | None = None
    per_token: float | None = None
    rate: float | None = None

    @property
    def tokens(self) -> int:
        """The tokens of a finished request."""
        return self.input_tokens + self.output_tokens


class Bound(StrEnum):
    """The part of a target, or of a replica, that would be short first if the load of the replica grew.

    ``CACHE``: the KV cache has room for no more requests. ``SEQUENCES``: the engine works on no more at once.
    ``PROMPTS``: prefill works on prompts nearly all the time.
    """

    FIRST_TOKEN = "first-token"  # noqa: S105 - a word of the field
    PER_TOKEN = "per-token"  # noqa: S105 - a word of the field
    CACHE = "cache"
    SEQUENCES = "sequences"
    PROMPTS = "prompts"


@dataclass(frozen=True, slots=True)
class Sizing:
    """How replicas of a layout meet a target: estimates for the planned load, which the replicas share equally.

    ``replicas`` is the least number that meets the target. ``sequences`` is the number of requests that a replica works
    on at once. ``most_rate`` is the most requests per second that a replica serves within the target. ``binds`` says
    why it serves no more.

    Each role has a time of its own: ``per_token`` of prefill is ``None``, and so is ``first_token`` of decode, where
    ``of_first_token`` is the part of the time to the first token that passes in decode.
    """

    target: Target
    replicas: int
    first_token: float | None
    per_token: float | None
    sequences: int
    most_rate: float
    binds: Bound
    of_first_token: float | None = None

    def spare_rate(self, replicas: int) -> float | None:
        """Give the share by which the rate may grow with so many replicas; ``None`` without a rate."""
        return None if self.target.rate is None else replicas * self.most_rate / self.target.rate - 1
