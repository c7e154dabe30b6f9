"""What every scaler is told: the bounds of the replicas, the metric, and the value to aim at."""

from shardwise.domain.attachments import ScalerKind, Scaling, Signal
from shardwise.domain.launch import Wanted
from shardwise.domain.plan import Plan
from shardwise.domain.release import release_of
from shardwise.engines import ENGINES
from shardwise.engines.signals import SignalRow, signal_of


def scaled_by(wanted: Wanted, kind: ScalerKind) -> bool:
    """Tell whether a scaler of this kind scales the object."""
    scaler = wanted.site.attachments.scaler
    return wanted.launch.scaling is not None and scaler is not None and scaler.kind is kind


def bounds(wanted: Wanted, plan: Plan) -> tuple[int, int]:
    """Give the fewest and the most replicas that a scaler may ask for: the GPU budget is the ceiling of both.

    The object must have a scaling.
    """
    scaling = wanted.launch.scaling
    assert scaling is not None  # noqa: S101 - only a scaler asks
    ceiling = affordable(wanted, plan)
    return min(scaling.least, ceiling), min(scaling.most, ceiling)


def affordable(wanted: Wanted, plan: Plan) -> int:
    """Count the replicas of a plan's layout that the GPU budget allows: at least 1, or there would be no plan."""
    return max(1, wanted.demand.gpu_budget // plan.layout.world_size)


def metric_of(wanted: Wanted, on: str) -> SignalRow:
    """Give the metric of a measurement. Raises ``LookupError`` where the engine offers none."""
    engine = wanted.demand.engine
    row = signal_of(engine, release_of(wanted, ENGINES[engine].READ), on)
    if row is None:
        raise LookupError(f"{engine.value} offers no metric for {on}")
    return row


def target_amount(scaling: Scaling) -> int:
    """Give the target in thousandths of the metric's unit: requests, a share of the KV cache, or seconds."""
    return scaling.target * {Signal.QUEUE: 1000, Signal.KV_CACHE: 10, Signal.TIME_PER_TOKEN: 1}[scaling.signal]
