"""Search for the largest value that fits. Every value below a fitting value must fit, too."""

from collections.abc import Callable, Sequence


def largest_that_fits(values: Sequence[int], fits: Callable[[int], bool]) -> int | None:
    """Search ascending values by halving; ``None`` where no value fits. O(log values) calls of ``fits``."""
    if not values or not fits(values[0]):
        return None
    low, high = 0, len(values)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(values[middle]) else (low, middle)
    return values[low]
