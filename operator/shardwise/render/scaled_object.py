"""KEDA's ScaledObject: it sets the replicas by metrics that KEDA reads from Prometheus, also to zero and back.

Sources: keda 2.21.0, config/crd/bases and pkg/scalers/prometheus_scaler.go. Prometheus must read the leaders with the
label of the object, as the chart's PodMonitor does.
"""

from typing import Final

from shardwise.domain.attachments import Scaler, ScalerKind, Scaling, Signal
from shardwise.domain.launch import Wanted
from shardwise.domain.plan import Plan
from shardwise.engines.signals import RUNNING, SignalRow
from shardwise.render.manifest import Manifest, scale_target
from shardwise.render.names import label_value
from shardwise.render.scaling import bounds, metric_of, scaled_by, target_amount

NAME: Final = "KEDA"
API_VERSION: Final = "keda.sh/v1alpha1"
KIND: Final = "ScaledObject"
FIELD: Final = "spec.scaling"

_ONE_REPLICA: Final = "1000000000"
"""Requests for each replica: with so high a target, the trigger for activity asks for a single replica."""

_MODEL_LABEL: Final = "shardwise_dev_model"
_REPLICA_LABEL: Final = "shardwise_dev_replica"
"""How Prometheus writes the labels of the pods that name their object and their replica."""


def is_wanted(wanted: Wanted) -> bool:
    """Tell whether KEDA scales the object."""
    return scaled_by(wanted, ScalerKind.KEDA)


def spec(wanted: Wanted, plan: Plan) -> Manifest:
    """Aim at the target within the bounds and the budget. The object must have a scaling, and the site KEDA."""
    scaling, scaler = wanted.launch.scaling, wanted.site.attachments.scaler
    assert scaling is not None  # noqa: S101 - the object is wanted only with both
    assert scaler is not None  # noqa: S101 - as above
    least, most = bounds(wanted, plan)
    triggers = [
        _trigger(scaler, "signal", _query(wanted, scaling), f"{target_amount(scaling) / 1000:g}", _metric_type(scaling))
    ]
    if not scaling.least:
        triggers.append(_trigger(scaler, "activity", _activity(wanted, scaler), _ONE_REPLICA, "AverageValue"))
    return {
        "scaleTargetRef": scale_target(wanted.launch),
        "minReplicaCount": least,
        "maxReplicaCount": most,
        "triggers": triggers,
    }


def _trigger(scaler: Scaler, name: str, query: str, threshold: str, metric_type: str) -> Manifest:
    metadata = {"serverAddress": scaler.prometheus, "query": query, "threshold": threshold}
    return {"type": "prometheus", "name": name, "metricType": metric_type, "metadata": metadata}


def _metric_type(scaling: Scaling) -> str:
    """Compare a time with its target as it is; divide a sum over replicas by their number."""
    return "Value" if scaling.signal is Signal.TIME_PER_TOKEN else "AverageValue"


def _query(wanted: Wanted, scaling: Scaling) -> str:
    row = metric_of(wanted, scaling.signal.value)
    match scaling.signal:
        case Signal.QUEUE:
            return f"sum({_series(wanted, row)})"
        case Signal.KV_CACHE:
            return f"sum(max by ({_REPLICA_LABEL}) ({_series(wanted, row)}))"
        case Signal.TIME_PER_TOKEN:
            # An engine at rest measures no time. KEDA takes an answer that is no number for 0.
            return f"histogram_quantile(0.95, sum by (le) (rate({_series(wanted, row, '_bucket')}[2m])))"


def _activity(wanted: Wanted, scaler: Scaler) -> str:
    """Count the requests that wait before the model or are in it: with none for KEDA's cooldown, it goes to zero."""
    own = [f"(sum({_series(wanted, metric_of(wanted, on))}) or vector(0))" for on in (Signal.QUEUE.value, RUNNING)]
    owner = wanted.launch.owner
    query = scaler.wake_query.replace("{namespace}", owner.namespace).replace("{name}", owner.name)
    return " + ".join([*own, f"(({query}) or vector(0))"])


def _series(wanted: Wanted, row: SignalRow, suffix: str = "") -> str:
    owner = wanted.launch.owner
    return f'{row.metric}{suffix}{{namespace="{owner.namespace}",{_MODEL_LABEL}="{label_value(owner.name)}"}}'
