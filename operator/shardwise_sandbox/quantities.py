"""Resource quantities, the requests of pods, and the resources of nodes."""

import re
from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from typing import Final

from shardwise_sandbox.objects import JsonObject, dig

_SUFFIXES: Final[Mapping[str, Fraction]] = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "": Fraction(1),
    **{letter: Fraction(1000 ** (power + 1)) for power, letter in enumerate("kMGTPE")},
    **{f"{letter}i": Fraction(1024 ** (power + 1)) for power, letter in enumerate("KMGTPE")},
}
_QUANTITY: Final = re.compile(r"([+-]?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?)([A-Za-z]{0,2})")


def quantity(text: str | float) -> Fraction:
    """Read a quantity exactly: ``500m``, ``8``, ``1.5Ti``. Raises ``ValueError`` for anything else."""
    match = _QUANTITY.fullmatch(str(text).strip())
    if match is None or match[2] not in _SUFFIXES:
        raise ValueError(f"`{text}` is not a resource quantity")
    return Fraction(match[1]) * _SUFFIXES[match[2]]


def requests(pod: JsonObject) -> Counter[str]:
    """Sum the requests of a pod and a pod slot. Init containers count where they need more."""
    total: Counter[str] = Counter()
    for container in dig(pod, "spec", "containers") or ():
        total.update(_amounts(dig(container, "resources", "requests")))
    for container in dig(pod, "spec", "initContainers") or ():
        for name, amount in _amounts(dig(container, "resources", "requests")).items():
            total[name] = max(total[name], amount)
    total["pods"] = 1
    return total


def allocatable(node: JsonObject) -> Counter[str]:
    """Return the resources of a node that pods can use."""
    return _amounts(dig(node, "status", "allocatable"))


def _amounts(raw: Mapping[str, str] | None) -> Counter[str]:
    found: Counter[str] = Counter()
    for name, amount in (raw or {}).items():
        exact = quantity(amount)
        # Whole numbers where possible: they add and compare faster than fractions.
        found[name] = exact.numerator if exact.denominator == 1 else exact  # type: ignore[assignment]
    return found
