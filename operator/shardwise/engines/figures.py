"""The figures of a serving engine that it offers over HTTP: how many tokens its KV cache holds."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from shardwise.domain.model import GroupedCache, ModelFacts, StateCache

_LONGEST_LINE: Final = 65_536
"""Characters of a sample. vLLM's longest, its cache's configuration, has some 3,000."""

_MOST_DIGITS: Final = 15
_MOST_TOKENS: Final = 10**12
"""No cache holds so many tokens: an engine that says so is not believed."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Where an engine offers its figures, at its HTTP port, and how they are read.

    ``read`` gives the tokens that the KV cache of a group holds; ``None`` or 0 if the text does not say it.
    """

    path: str
    read: Callable[[str], int | None]

    def tokens(self, text: str) -> int | None:
        """Give the tokens that the KV cache holds; ``None`` if the text does not say it, or nothing that can be."""
        found = self.read(text)
        return found if found is not None and 0 < found < _MOST_TOKENS else None


def keeps_states(model: ModelFacts) -> bool:
    """Tell whether a layer keeps a state of constant size. Then tokens alone do not measure the cache."""
    return any(layer.state is not None or isinstance(layer.cache, StateCache) for layer in model.kinds)


def has_windows(model: ModelFacts) -> bool:
    """Tell whether a layer attends to a window: then an engine has several caches, or layers of several lengths."""
    caches = (layer.cache for layer in model.kinds)
    return any(isinstance(cache, GroupedCache) and cache.window is not None for cache in caches)


def samples(text: str, metric: str) -> Iterator[tuple[str, float]]:
    """Give the labels, as they are written, and the value of each sample of a metric, in Prometheus' text format."""
    for line in text.splitlines():
        rest = line.removeprefix(metric)
        if len(rest) == len(line) or rest[:1] not in ("{", " ") or len(line) > _LONGEST_LINE:
            continue
        labels, _, value = rest.rpartition(" ")
        try:
            yield labels, float(value)
        except ValueError:
            continue


def whole(labels: str, name: str) -> int:
    """Give the whole number that a label holds; 0 if it holds no such number.

    A quotation mark inside a label's value has a backslash before it, so that no value is taken for a label.
    """
    _, _, rest = labels.replace("{", ",", 1).partition(f',{name}="')
    text = rest.partition('"')[0]
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS else 0
