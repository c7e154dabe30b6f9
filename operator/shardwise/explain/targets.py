"""Targets in words: the load and the times, how a plan meets them, the price, and why a layout does not."""

from collections.abc import Iterator
from typing import Any, Final

from shardwise.domain.plan import Plan
from shardwise.domain.target import Bound, Sizing, Target
from shardwise.domain.target_causes import Dearer, FirstTokenLate, PriceUnknown, TokensSlow
from shardwise.domain.units import latency_text, plural

_BINDS: Final[dict[Bound, str]] = {
    Bound.FIRST_TOKEN: "the time to the first token",
    Bound.PER_TOKEN: "the time per token",
    Bound.CACHE: "the room of the KV cache",
    Bound.SEQUENCES: "the most requests that the engine works on at once",
    Bound.PROMPTS: "the time of the prompts",
}


def target_lines(plan: Plan) -> Iterator[tuple[str, str]]:
    """Say how a plan meets its target, and its price, as names and texts of lines; none without target and price."""
    if plan.sizing is not None:
        yield "target", times_text(plan.sizing)
        if plan.sizing.target.rate is not None:
            yield "rate", _rate(plan.sizing, plan.sizing.target.rate, plan.replicas)
    if plan.price is not None:
        yield "price", f"{plan.price * plan.gpus:.2f} an hour, {plan.price:.2f} a GPU"


def times_text(sizing: Sizing) -> str:
    """Say the estimated times of a target beside the times that were asked for."""
    target = sizing.target
    times = []
    if sizing.first_token is not None:
        times.append(f"{_beside(sizing.first_token, target.first_token)} to the first token")
    if sizing.per_token is not None:
        times.append(f"{_beside(sizing.per_token, target.per_token)} a token")
    if sizing.of_first_token is not None:
        times.append(f"{latency_text(sizing.of_first_token)} of the time to the first token")
    at_once = plural(sizing.sequences, "request")
    return f"{', '.join(times)}, with {at_once} at once in a replica (estimates); {_load(target)}"


def _beside(seconds: float, most: float | None) -> str:
    return latency_text(seconds) if most is None else f"{latency_text(seconds)} of {latency_text(most)}"


def _load(target: Target) -> str:
    return f"requests of {target.input_tokens} + {target.output_tokens} tokens"


def _rate(sizing: Sizing, rate: float, replicas: int) -> str:
    served, spare = replicas * sizing.most_rate, sizing.spare_rate(replicas) or 0.0
    left = f"{spare:.0%} spare" if spare >= 0 else f"{plural(sizing.replicas - replicas, 'replica')} short"
    requests = "request" if rate == 1 else "requests"
    return (
        f"{plural(replicas, 'replica')} for {rate:g} {requests} a second, up to {served:.3g} (an estimate), {left}; "
        f"{_BINDS[sizing.binds]} binds"
    )


def written_target(target: Target) -> dict[str, Any]:
    """Give a target as `spec.target` has it."""
    times = {"timeToFirstToken": target.first_token, "timePerToken": target.per_token}
    written = {name: latency_text(seconds) for name, seconds in times.items() if seconds is not None}
    rated = {} if target.rate is None else {"requestsPerSecond": _whole(target.rate)}
    return {"inputTokens": target.input_tokens, "outputTokens": target.output_tokens} | written | rated


def _whole(rate: float) -> float:
    return int(rate) if rate == int(rate) else rate


def asked_target(target: Target) -> str:
    """Say a target: the load, and the times and the rate that are asked for."""
    parts = [_load(target)]
    parts += [] if target.rate is None else [f"{target.rate:g} a second"]
    parts += [] if target.first_token is None else [f"{latency_text(target.first_token)} to the first token"]
    parts += [] if target.per_token is None else [f"{latency_text(target.per_token)} a token"]
    return ", ".join(parts)


def first_token_late(why: FirstTokenLate) -> str:
    """Say that the first token of a layout comes too late."""
    return f"{_late(why.seconds, why.most)} to the first token{_at_once(why.sequences)}{_by_tcp(why.by_tcp)}"


def tokens_slow(why: TokensSlow) -> str:
    """Say that the tokens of a layout come too slowly."""
    return f"{_late(why.seconds, why.most)} a token{_at_once(why.sequences)}"


def first_token_late_of_many(why: FirstTokenLate) -> str:
    """Say that the first token of many layouts comes too late; the nearest has the numbers."""
    late = f"take {latency_text(why.seconds)} or more of {latency_text(why.most)} to the first token, by the estimates"
    return f"{late}{_by_tcp(why.by_tcp)}"


def tokens_slow_of_many(why: TokensSlow) -> str:
    """Say that the tokens of many layouts come too slowly; the nearest has the numbers."""
    return f"take {latency_text(why.seconds)} or more of {latency_text(why.most)} a token, by the estimates"


def _by_tcp(seconds: float) -> str:
    if not seconds:
        return ""
    return (
        f", {latency_text(seconds)} of which the KV cache travels by TCP: the operator's configuration states no RDMA "
        "(`launch.rdma`)"
    )


def _late(seconds: float, most: float) -> str:
    return f"an estimated {latency_text(seconds)} of {latency_text(most)}"


def _at_once(sequences: int) -> str:
    return f" with {plural(sequences, 'request')} at once"


def price_unknown(why: PriceUnknown) -> str:
    """Say that a product has no price."""
    return f"{why.product} has no price: `fleet.hardware` of the operator's configuration states no `pricePerHour`"


def dearer(why: Dearer) -> str:
    """Say that a layout costs more than the chosen layout."""
    return f"fits, and costs {why.cost:.2f} an hour where {why.chosen:.2f} is enough"
