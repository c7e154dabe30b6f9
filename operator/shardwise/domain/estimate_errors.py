"""How far the estimates of speed are from measurements. The table is ``data/estimate-errors.toml``."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from shardwise.data import table
from shardwise.domain.hardware import bare_product


class Measure(StrEnum):
    """An estimated figure that measurements state, too."""

    FIRST_TOKEN = "first-token"  # noqa: S105 - a word of the field
    PER_TOKEN = "per-token"  # noqa: S105 - a word of the field
    RATE = "rate"


@dataclass(frozen=True, slots=True)
class EstimateError:
    """The error of estimates against ``figures`` measurements.

    Half of the estimates, or all of them, are off by at most this share: 0.1 is 10 % too much or too little.
    """

    source: str
    figures: float
    half_within: float
    all_within: float


def error_name(measure: Measure, product: str, *, mixture: bool) -> str:
    """Name the entry of a measure, of mixtures of experts or dense models, on a GPU product."""
    return f"{'mixture' if mixture else 'dense'}, {bare_product(product)}, {measure.value}"


def estimate_error(measure: Measure, product: str, *, mixture: bool) -> EstimateError | None:
    """Give the error of a measure; ``None`` where nothing was measured."""
    return _errors().get(error_name(measure, product, mixture=mixture))


@cache
def _errors() -> Mapping[str, EstimateError]:
    return table("estimate-errors.toml", EstimateError)
