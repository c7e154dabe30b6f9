"""The table of all metrics: names by Prometheus' conventions, with units, labels and meanings.

docs/reference/metrics.md, the dashboard and the alerts of the chart name the metrics of this table and no others.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from shardwise.domain.reasons import FailureKind
from shardwise.domain.refusal import RefusalReason
from shardwise.reconcile.endings import Disruption


class Sort(StrEnum):
    """The sorts of metrics, as Prometheus names them."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class ServedBy(StrEnum):
    """The operators that give a metric."""

    ALL = "all"
    LEADER = "leader"


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric: its full name, its meaning as a sentence, its labels, and the upper bounds of a histogram's buckets.

    ``values`` are the values of a single label, if they are known: their series exist from the start, at 0.
    """

    name: str
    sort: Sort
    says: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    served_by: ServedBy = ServedBy.ALL
    values: tuple[str, ...] = ()

    @property
    def series(self) -> tuple[str, ...]:
        """The names of its series, as a query writes them."""
        if self.sort is Sort.HISTOGRAM:
            return tuple(f"{self.name}_{part}" for part in ("bucket", "count", "sum"))
        return (self.name,)


_SHORT: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_WAITS: Final = (0.001, 0.01, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0)
_LOADING: Final = (10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0)
_DELAYS: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 6.0, 15.0)


def _counter(name: str, says: str, *labels: str, values: Iterable[str] = ()) -> Metric:
    return Metric(name, Sort.COUNTER, says, labels, values=tuple(values))


def _seconds(name: str, says: str, buckets: tuple[float, ...], *labels: str, values: Iterable[str] = ()) -> Metric:
    return Metric(name, Sort.HISTOGRAM, says, labels, buckets, values=tuple(values))


def _gauge(name: str, says: str, *labels: str) -> Metric:
    return Metric(name, Sort.GAUGE, says, labels)


def _led(name: str, says: str, *labels: str) -> Metric:
    return Metric(name, Sort.GAUGE, says, labels, served_by=ServedBy.LEADER)


BUILD: Final = _gauge("shardwise_build_info", "The version of the operator, as a label. The value is 1.", "version")
LEADER: Final = _gauge("shardwise_leader", "1 while this operator leads, else 0.")
LISTED: Final = _gauge("shardwise_listed", "1 once the objects of the cluster are listed, else 0.")
API_OUTAGE: Final = _gauge(
    "shardwise_api_outage_seconds", "Seconds for which the API server has not answered; 0 if it answers."
)
STILL: Final = _gauge(
    "shardwise_still_seconds", "Seconds for which objects have been worked on and none was finished; 0 if none is."
)
LEADERSHIPS: Final = _counter("shardwise_leaderships_total", "Times that this operator began to lead.")
LEADERSHIPS_LOST: Final = _counter(
    "shardwise_leaderships_lost_total", "Times that this operator ceased to lead because it could not renew its Lease."
)
LEASE_TRIES: Final = _counter(
    "shardwise_lease_tries_total",
    "Tries to take or renew the Lease, by `outcome`: `held`, `other` (another operator holds the Lease) or `error`.",
    "outcome",
    values=("held", "other", "error"),
)
LOOP_DELAY: Final = _seconds(
    "shardwise_loop_delay_seconds",
    "How long the operator's event loop was late for a timer that it sets every second.",
    _DELAYS,
)

QUEUE_LENGTH: Final = _gauge("shardwise_queue_length", "Objects that are due and that no worker has begun.")
QUEUE_RUNNING: Final = _gauge("shardwise_queue_running", "Objects that are worked on.")
QUEUE_WAIT: Final = _seconds("shardwise_queue_wait_seconds", "How long objects were due before a worker began.", _WAITS)
RECONCILES: Final = _counter(
    "shardwise_reconciles_total",
    "Looks at an object, by `outcome`: `done`, or `error` if the look failed and is tried again.",
    "outcome",
    values=("done", "error"),
)
RECONCILE_SECONDS: Final = _seconds("shardwise_reconcile_seconds", "The duration of a look at an object.", _SHORT)
DECISION_SECONDS: Final = _seconds(
    "shardwise_decision_seconds",
    "The duration of a decision, by `outcome`: `planned` (replicas got places), `refused` (no plan, or no place for a "
    "replica), or `kept`.",
    _SHORT,
    "outcome",
    values=("planned", "refused", "kept"),
)
REFUSALS: Final = _counter(
    "shardwise_plan_refusals_total",
    "Decisions without a plan, or without a place for a replica, by `reason`.",
    "reason",
    values=RefusalReason,
)
EVENTS: Final = _counter(
    "shardwise_events_total", "Changes that were told as an Event, by the `reason` of the Event.", "reason"
)
ATTEMPT_ENDS: Final = _counter(
    "shardwise_attempt_ends_total",
    "Ends of attempts, by `cause`: a kind of failure, or `PodLost`, `NodeAway`, `NodeFaulty`, `NoPlace`, "
    "`PodsRefused`, `QueueEvicted` (by a queue of the cluster), `Replaced` (by an update). An attempt is a start of a "
    "replica.",
    "cause",
    values=(*FailureKind, *Disruption),
)
READY_SECONDS: Final = _seconds(
    "shardwise_ready_seconds",
    "The time until an object is Ready, by `after`: `create` counts from the creation of the object, `edit` from the "
    "first look at the edit. A change of the leader ends the count of objects that are not Ready yet.",
    _LOADING,
    "after",
    values=("create", "edit"),
)
API_REQUESTS: Final = _counter(
    "shardwise_api_requests_total",
    "Requests to the API server besides watches, by HTTP `method`, `resource` and HTTP status `code`. The code is 200 "
    "for every success, and 0 if there was no answer.",
    "method",
    "resource",
    "code",
)
API_SECONDS: Final = _seconds("shardwise_api_request_seconds", "The duration of such a request.", _SHORT, "method")
WATCHES: Final = _counter(
    "shardwise_watch_connections_total", "Watches that were begun or begun again, by `resource`.", "resource"
)
WATCH_ERRORS: Final = _counter(
    "shardwise_watch_errors_total",
    "Watches that did not begin, by `resource`: the API server did not answer, or answered with an error.",
    "resource",
)
HUB_LOOKUPS: Final = _counter(
    "shardwise_hub_lookups_total",
    "Look-ups in the Hugging Face Hub, by `outcome`: `found` or `error`.",
    "outcome",
    values=("found", "error"),
)
HUB_SECONDS: Final = _seconds("shardwise_hub_lookup_seconds", "The duration of such a look-up.", _SHORT)

MODELS: Final = _led(
    "shardwise_models",
    "ShardedModels, by the `condition` that is True of Ready, Reconciling and Stalled, and by its `reason`.",
    "condition",
    "reason",
)
GROUPS: Final = _led("shardwise_groups", "Replicas of all ShardedModels, by `state`.", "state")
WAITING: Final = _led("shardwise_models_waiting", "ShardedModels that wait for GPUs.")
LONGEST_WAIT: Final = _led(
    "shardwise_longest_wait_seconds", "How long the ShardedModel that has waited longest has waited for GPUs."
)
GPUS: Final = _led(
    "shardwise_gpus",
    "GPUs by `product` and `state`: `held` by ShardedModels, `others` (held by other pods), `free`, or `left_out` "
    "(nobody holds them, and nobody may use them).",
    "product",
    "state",
)
LEFT_OUT: Final = _led(
    "shardwise_gpus_left_out",
    "GPUs that nobody holds and nobody may use, by `product` and `reason`.",
    "product",
    "reason",
)
DOMAINS: Final = _led(
    "shardwise_domains",
    "NVLink domains by `product` and the number of their `free` GPUs. Nodes without NVLink to other nodes are domains.",
    "product",
    "free",
)
DOMAIN_GPUS: Final = _led(
    "shardwise_domain_gpus",
    "The same as `shardwise_gpus`, by `state`, for each NVLink `domain` of several nodes. Domains beyond the 256th are "
    "together the domain `other`.",
    "domain",
    "product",
    "state",
)
MODEL_REPLICAS: Final = _led("shardwise_model_replicas", "Replicas of a ShardedModel.", "namespace", "name")
MODEL_READY: Final = _led("shardwise_model_ready_replicas", "Replicas that serve.", "namespace", "name")
MODEL_LEAVING: Final = _led(
    "shardwise_model_leaving_replicas",
    "Replicas that an update, or a fault of a node, is to replace. 0 when the update is complete.",
    "namespace",
    "name",
)
MODEL_GPUS: Final = _led("shardwise_model_gpus", "GPUs that a ShardedModel holds.", "namespace", "name")
MODEL_RESTARTS: Final = Metric(
    "shardwise_model_restarts_total",
    Sort.COUNTER,
    "Restarts of all replicas of a ShardedModel, as its status counts them.",
    ("namespace", "name"),
    served_by=ServedBy.LEADER,
)
MODEL_CONDITION: Final = _led(
    "shardwise_model_condition",
    "1 for the `condition` that is True of Ready, Reconciling and Stalled, with its `reason`.",
    "namespace",
    "name",
    "condition",
    "reason",
)
MODELS_UNLISTED: Final = _led(
    "shardwise_models_unlisted",
    "ShardedModels without series of their own: only the oldest get series, up to `--metrics-objects`.",
)

METRICS: Final[tuple[Metric, ...]] = (
    BUILD,
    LEADER,
    LISTED,
    API_OUTAGE,
    STILL,
    LEADERSHIPS,
    LEADERSHIPS_LOST,
    LEASE_TRIES,
    LOOP_DELAY,
    QUEUE_LENGTH,
    QUEUE_RUNNING,
    QUEUE_WAIT,
    RECONCILES,
    RECONCILE_SECONDS,
    DECISION_SECONDS,
    REFUSALS,
    EVENTS,
    ATTEMPT_ENDS,
    READY_SECONDS,
    API_REQUESTS,
    API_SECONDS,
    WATCHES,
    WATCH_ERRORS,
    HUB_LOOKUPS,
    HUB_SECONDS,
    MODELS,
    GROUPS,
    WAITING,
    LONGEST_WAIT,
    GPUS,
    LEFT_OUT,
    DOMAINS,
    DOMAIN_GPUS,
    MODEL_REPLICAS,
    MODEL_READY,
    MODEL_LEAVING,
    MODEL_GPUS,
    MODEL_RESTARTS,
    MODEL_CONDITION,
    MODELS_UNLISTED,
)
"""All metrics, in the order of the page."""
