"""Kubernetes' own HorizontalPodAutoscaler: it sets the replicas by metrics of the leaders, which an adapter serves."""

from typing import Final

from shardwise.domain.attachments import ScalerKind
from shardwise.domain.launch import Wanted
from shardwise.domain.plan import Plan
from shardwise.domain.units import written_amount
from shardwise.engines.signals import SignalRow
from shardwise.render.manifest import Manifest, scale_target
from shardwise.render.scaling import bounds, metric_of, scaled_by, target_amount

NAME: Final = "the HorizontalPodAutoscaler"
API_VERSION: Final = "autoscaling/v2"
KIND: Final = "HorizontalPodAutoscaler"
FIELD: Final = "spec.scaling"


def is_wanted(wanted: Wanted) -> bool:
    """Tell whether a HorizontalPodAutoscaler scales the object."""
    return scaled_by(wanted, ScalerKind.AUTOSCALER)


def spec(wanted: Wanted, plan: Plan) -> Manifest:
    """Aim at the target for the average leader, within the bounds and the budget. The object must have a scaling."""
    scaling = wanted.launch.scaling
    assert scaling is not None  # noqa: S101 - the object is wanted only with a scaling
    least, most = bounds(wanted, plan)
    target = {"type": "AverageValue", "averageValue": written_amount(target_amount(scaling))}
    metric = {"name": served_name(metric_of(wanted, scaling.signal.value))}
    return {
        "scaleTargetRef": scale_target(wanted.launch),
        "minReplicas": least,
        "maxReplicas": most,
        "metrics": [{"type": "Pods", "pods": {"metric": metric, "target": target}}],
    }


def served_name(row: SignalRow) -> str:
    """Name a metric as the adapter must serve it: without the colon, and of a histogram the 95th percentile."""
    return row.metric.replace(":", "_") + ("_p95" if row.histogram else "")
