"""``spec.target``: the load of an object, and the speed that its clients want."""

from typing import Annotated

from pydantic import Field

from shardwise.api.base import Latency, Wire

MOST_REQUEST_TOKENS = 10_000_000
"""The most tokens of a request: more than any model reads."""

MOST_RATE = 1_000_000
"""The most requests per second that an object may ask for."""


class TargetSpec(Wire):
    """The load of the object and the speed that its clients want. All of it is means over the requests."""

    input_tokens: Annotated[int, Field(ge=1, le=MOST_REQUEST_TOKENS)] = Field(
        description="Tokens of a prompt, as a mean. Leave out the tokens that the prefix cache holds already."
    )
    output_tokens: Annotated[int, Field(ge=1, le=MOST_REQUEST_TOKENS)] = Field(
        description="Tokens that a request gets, as a mean."
    )
    time_to_first_token: Latency | None = Field(
        default=None,
        description="Longest time from a request to its first token, as a mean, such as 500ms or 2s. Default: any "
        "time.",
    )
    time_per_token: Latency | None = Field(
        default=None,
        description="Longest time from a token of a request to the next token, as a mean, such as 50ms. Default: any "
        "time.",
    )
    requests_per_second: float | None = Field(
        default=None,
        ge=0.001,
        le=MOST_RATE,
        description="Requests per second that all replicas serve together. The plan then has as many replicas as the "
        "rate needs, and at least spec.replicas. Required with spec.roles. Default: each replica serves "
        "spec.model.concurrency requests at once, and spec.replicas is the number of replicas.",
    )
