"""Why a layout misses a target, or cannot be compared by its price: causes as in ``shardwise.domain.refusal``."""

from dataclasses import dataclass
from typing import ClassVar

from shardwise.domain.refusal import Area, Cause


@dataclass(frozen=True, slots=True)
class FirstTokenLate(Cause):
    """The first token comes after ``seconds`` where the target allows ``most``, with ``sequences`` on a data rank.

    ``by_tcp`` is the part of the seconds in which the KV cache travels to the other role by TCP.
    """

    area: ClassVar[Area] = Area.TARGET
    supports_rule: ClassVar[bool] = True

    product: str
    seconds: float
    most: float
    sequences: int
    by_tcp: float = 0.0

    @property
    def shortfall(self) -> float:
        """The estimated time over the allowed time."""
        return self.seconds / self.most


@dataclass(frozen=True, slots=True)
class TokensSlow(Cause):
    """A token takes ``seconds`` where the target allows ``most``, with ``sequences`` on a data rank."""

    area: ClassVar[Area] = Area.TARGET
    order: ClassVar[int] = 1
    supports_rule: ClassVar[bool] = True

    product: str
    seconds: float
    most: float
    sequences: int

    @property
    def shortfall(self) -> float:
        """The estimated time over the allowed time."""
        return self.seconds / self.most


@dataclass(frozen=True, slots=True)
class PriceUnknown(Cause):
    """The object asks for the cheapest layout, and the operator configuration states no price for the product."""

    area: ClassVar[Area] = Area.PRICE

    product: str


@dataclass(frozen=True, slots=True)
class Dearer(Cause):
    """The layout fits, and costs ``cost`` an hour where ``chosen`` is enough."""

    area: ClassVar[Area] = Area.PREFERENCE

    cost: float
    chosen: float
