"""A request of one token to an engine that has nothing else to do: it needs every rank, so a rank that hangs shows."""

from dataclasses import dataclass

from shardwise.engines.figures import samples


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A POST of ``body`` to ``path`` at the engine's HTTP port, with ``seconds`` for the answer.

    ``gauges`` are the metrics at ``gauges_at`` that count the requests in work: only an idle engine is asked.
    """

    path: str
    body: str
    seconds: float
    gauges_at: str
    gauges: tuple[str, ...]

    def in_work(self, text: str) -> float | None:
        """Count the requests in work; ``None`` if the text does not say it."""
        found = [list(samples(text, gauge)) for gauge in self.gauges]
        return sum(value for counts in found for _, value in counts) if all(found) else None
