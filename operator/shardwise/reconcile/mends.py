"""The count of mends: how often in a row the drift of a field was put right, and when to do so again.

A field that drifts once is put back at once. If something changes it again and again, as an admission webhook or
another operator does, the operator would fight for ever. So after three times in a row it waits before it puts the
field back: first 10 seconds, twice as long each time, at most 5 minutes. The status then says who changes which field.
If the field is not put back for 15 minutes, the count begins anew.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from shardwise.domain.drift import FieldPath

AT_ONCE: Final = 3
"""Times in a row that a drift is put right at once."""

FIRST_WAIT: Final = 10.0
LONGEST_WAIT: Final = 300.0
CALM: Final = 900.0
"""Seconds without a mend after which the count begins anew."""

Field = tuple[str, str, FieldPath]
"""A field of an object that the operator made: kind, name and path."""


@dataclass(frozen=True, slots=True)
class Mend:
    """How often in a row a field was put right, the time of the last time, and its drift in words."""

    times: int
    at: float
    said: str

    @property
    def again_at(self) -> float:
        """The time from which the field may be put right again."""
        further = self.times - AT_ONCE
        return self.at + (0.0 if further < 0 else min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(further, 10)))

    @property
    def contested(self) -> bool:
        """Whether something changes the field again and again."""
        return self.times >= AT_ONCE


Mends = Mapping[Field, Mend]


def mends_after(before: Mends, mended: Iterable[tuple[Field, str]], now: float) -> Mends:
    """Count the fields that are put right now, each with its drift in words, and forget the calm fields."""
    counted = {field: mend for field, mend in before.items() if now < mend.at + CALM}
    for field, said in mended:
        times = counted[field].times if field in counted else 0
        counted[field] = Mend(times + 1, now, said)
    return counted


def contested(mends: Mends) -> str:
    """Say which fields something changes again and again; empty if there are none."""
    said = [mend.said for _, mend in sorted(mends.items()) if mend.contested]
    if not said:
        return ""
    return f"{'; '.join(said)}; the operator put this back {AT_ONCE} times in a row and now tries less often"


def next_mend(mends: Mends, now: float) -> float | None:
    """Give the seconds until a contested field is looked at again: to put it right, or to forget it."""
    ends = (mend.again_at if now < mend.again_at else mend.at + CALM for mend in mends.values() if mend.contested)
    return min((end - now for end in ends), default=None)
