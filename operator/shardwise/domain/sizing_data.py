"""A sizing as JSON data, as `status.plan.target` and `-o json` show it. Times are whole microseconds."""

from collections.abc import Mapping
from typing import Any

from shardwise.domain.target import Bound, Sizing, Target

Data = dict[str, Any]

_DIGITS = 6
"""Decimals of rates: a status must not change with the last digit of a float."""


def sizing_data(sizing: Sizing) -> Data:
    """Give a sizing as data, which :func:`read_sizing` reads back."""
    times = {
        "microsecondsToFirstToken": sizing.first_token,
        "microsecondsOfFirstToken": sizing.of_first_token,
        "microsecondsPerToken": sizing.per_token,
    }
    return {
        "asked": target_data(sizing.target),
        "replicas": sizing.replicas,
        **{name: _micros(seconds) for name, seconds in times.items() if seconds is not None},
        "sequences": sizing.sequences,
        "requestsPerSecondPerReplica": round(sizing.most_rate, _DIGITS),
        "binds": sizing.binds.value,
    }


def target_data(target: Target) -> Data:
    """Give a target as data."""
    asked = {
        "microsecondsToFirstToken": None if target.first_token is None else _micros(target.first_token),
        "microsecondsPerToken": None if target.per_token is None else _micros(target.per_token),
        "requestsPerSecond": target.rate,
    }
    known = {name: value for name, value in asked.items() if value is not None}
    return {"inputTokens": target.input_tokens, "outputTokens": target.output_tokens} | known


def _micros(seconds: float) -> int:
    return round(seconds * 1e6)


def read_sizing(data: Mapping[str, Any]) -> Sizing:
    """Read a sizing. Raises as ``read_plan``."""
    return Sizing(
        target=_read_target(data["asked"]),
        replicas=int(data["replicas"]),
        first_token=_seconds(data.get("microsecondsToFirstToken")),
        per_token=_seconds(data.get("microsecondsPerToken")),
        sequences=int(data["sequences"]),
        most_rate=float(data["requestsPerSecondPerReplica"]),
        binds=Bound(data["binds"]),
        of_first_token=_seconds(data.get("microsecondsOfFirstToken")),
    )


def _read_target(data: Mapping[str, Any]) -> Target:
    return Target(
        input_tokens=int(data["inputTokens"]),
        output_tokens=int(data["outputTokens"]),
        first_token=_seconds(data.get("microsecondsToFirstToken")),
        per_token=_seconds(data.get("microsecondsPerToken")),
        rate=None if data.get("requestsPerSecond") is None else float(data["requestsPerSecond"]),
    )


def _seconds(micros: Any) -> float | None:  # noqa: ANN401 - a part of a JSON document
    return None if micros is None else int(micros) / 1e6
