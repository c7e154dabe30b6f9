"""Quantities: reading and printing them. All code for units is here."""

import re
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Final, NewType

Bytes = NewType("Bytes", int)
"""A count of bytes."""

MIB: Final = 1024**2
GIB: Final = 1024**3

_SUFFIXES: Final = {
    "": 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "P": 10**15,
    "E": 10**18,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
    "Pi": 2**50,
    "Ei": 2**60,
}
QUANTITY_PATTERN: Final = r"^[0-9]+(\.[0-9]+)?(k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"
"""The byte quantities that the object accepts: a plain subset of Kubernetes' resource quantities."""


def parse_quantity(text: str | int) -> Bytes:
    """Read a Kubernetes quantity of bytes, such as ``810Gi`` or ``1.5T``.

    Raises ``ValueError`` with the text if it is not a quantity.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([A-Za-z]*)", str(text).strip())
    if match is None or match.group(2) not in _SUFFIXES:
        message = f"`{text}` is not a quantity of bytes such as 810Gi or 1.5T"
        raise ValueError(message)
    return Bytes(int(float(match.group(1)) * _SUFFIXES[match.group(2)]))


_AMOUNT_SUFFIXES: Final[Mapping[str, Fraction]] = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "": Fraction(1),
    **{letter: Fraction(1000 ** (power + 1)) for power, letter in enumerate("kMGTPE")},
    **{f"{letter}i": Fraction(1024 ** (power + 1)) for power, letter in enumerate("KMGTPE")},
}
_AMOUNT: Final = re.compile(r"([0-9]{1,24}(?:\.[0-9]{0,12})?)(?:([eE][+-]?[0-9]{1,2})|([A-Za-z]{0,2}))")


@lru_cache(maxsize=65536)
def read_amount(text: str) -> int | None:
    """Read any quantity of Kubernetes, such as ``8``, ``3920m`` or ``1.5Ti``, in thousandths, rounded up.

    ``None`` for a text that is no quantity.
    """
    match = _AMOUNT.fullmatch(text)
    if match is None or (match[3] or "") not in _AMOUNT_SUFFIXES:
        return None
    exact = Fraction(match[1] + (match[2] or "")) * _AMOUNT_SUFFIXES[match[3] or ""] * 1000
    return -(-exact.numerator // exact.denominator)


DURATION_PATTERN: Final = r"^([0-9]+h)?([0-9]+m)?([0-9]+s)?$"
"""The times that the object accepts: whole hours, minutes and seconds, in this order. An empty text is not a time."""


def parse_duration(text: str) -> float:
    """Read a time such as ``90s`` or ``1h30m``, in seconds. Raises ``ValueError`` with the text if it is not a time."""
    match = re.fullmatch(DURATION_PATTERN, text)
    if match is None or not text:
        message = f"`{text}` is not a time such as 90s or 1h30m"
        raise ValueError(message)
    hours, minutes, seconds = (int(part[:-1]) if part else 0 for part in match.groups())
    return float(hours * 3600 + minutes * 60 + seconds)


LATENCY_PATTERN: Final = r"^(0*[1-9][0-9]*(\.[0-9]{1,3})?|0+\.[0-9]{0,2}[1-9][0-9]{0,2})(ms|s)$"
"""The short times that the object accepts: milliseconds or seconds above zero, with at most three decimals."""


def parse_latency(text: str) -> float:
    """Read a short time such as ``50ms`` or ``1.5s``, in seconds, exact to a microsecond.

    Raises ``ValueError`` with the text if it is not such a time.
    """
    if re.fullmatch(LATENCY_PATTERN, text) is None:
        message = f"`{text}` is not a time such as 50ms or 1.5s"
        raise ValueError(message)
    number, micros = (text[:-2], 1000) if text.endswith("ms") else (text[:-1], 1_000_000)
    return round(Fraction(number) * micros) / 1e6


def latency_text(seconds: float) -> str:
    """Say a short time as the object accepts it, in milliseconds below a second: ``38.5ms``, ``2.1s``."""
    if seconds < 0.9995:  # noqa: PLR2004 - rounds to a second
        return f"{seconds * 1000:.3g}ms"
    return f"{seconds:.4g}s" if seconds < 1000 else f"{seconds:.0f}s"  # noqa: PLR2004 - no exponent


def gib(count: float) -> str:
    """Say bytes for people, in GiB with a single decimal: ``75.6 GiB``."""
    return f"{count / GIB:.1f} GiB"


def times(text: str, count: int) -> str:
    """Multiply a quantity by a whole number, in its own unit: 4 times ``500m`` is ``2000m``."""
    match = _AMOUNT.fullmatch(text)
    if match is None:
        message = f"`{text}` is not a quantity such as 500m, 2 or 6G"
        raise ValueError(message)
    product = Fraction(match[1] + (match[2] or "")) * count
    whole = product.denominator == 1
    return f"{product.numerator if whole else float(product)}{match[3] or ''}"


def written_amount(amount: int) -> str:
    """Write an amount as the API server does: ``800m``, ``5``, ``2k``. ``amount`` is in thousandths, and above 0."""
    for suffix in ("m", "", "k", "M"):
        if amount % 1000:
            return f"{amount}{suffix}"
        amount //= 1000
    return f"{amount}G"


def amount_text(resource: str, amount: int) -> str:
    """Say a count of a resource for people: bytes in GiB, everything else as a number. ``amount`` is in thousandths."""
    if resource in ("memory", "ephemeral-storage"):
        return gib(amount / 1000)
    return f"{amount / 1000:g}" if amount % 1000 else str(amount // 1000)


def plural(count: int, noun: str, many: str | None = None) -> str:
    """Count a noun: ``1 GPU``, ``2 GPUs``."""
    return f"{count} {noun if count == 1 else many or noun + 's'}"
