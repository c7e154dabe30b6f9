"""The gauges of fleet and objects, worked out from copies of what the store holds. Pure, and made for a thread.

The number of series is bounded: products and NVLink domains beyond a number are together ``other``, and only the
oldest objects have series of their own. Sums always count everything.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from shardwise.domain.fleet import Exclusion, Node
from shardwise.domain.reasons import Reason
from shardwise.domain.refusal import RefusalReason
from shardwise.metrics import table
from shardwise.metrics.meters import Values
from shardwise.observe import STRANGERS, Json, Key
from shardwise.reconcile.object_status import Status
from shardwise.reconcile.records import State, parse_time
from shardwise.reconcile.status_data import read_status

OTHER: Final = "other"
"""The label of everything beyond a bound, and of a reason that this version does not know."""

MOST_PRODUCTS: Final = 64
MOST_DOMAINS: Final = 256

_KNOWN_REASONS: Final = frozenset({*Reason, *RefusalReason})
_SUMMARIES: Final = ("Ready", "Reconciling", "Stalled")

Occupancy = Sequence[tuple[Node, Mapping[Key, int]]]
"""Every node as if nobody held its GPUs, and the GPUs that each object holds there."""

Part = tuple[str, str, int]
"""Product, state and number of GPUs."""


@dataclass(frozen=True, slots=True)
class ModelFigures:
    """The parts of an object's status that are measured. ``created`` and ``waiting`` are seconds since the epoch."""

    created: float
    replicas: int
    ready: int
    gpus: int
    restarts: int
    states: tuple[str, ...]
    condition: str
    reason: str
    waiting: float


def figures(obj: Json) -> ModelFigures:
    """Read the figures of an object."""
    status = read_status(obj.get("status") or {})
    condition, reason = _summary(status)
    states = tuple(str(record.state) for record in status.records.values())
    return ModelFigures(
        created=parse_time(str(obj["metadata"].get("creationTimestamp") or "")),
        replicas=status.replicas,
        ready=status.ready_replicas,
        gpus=sum(status.holdings.values()),
        restarts=status.restarts,
        states=states,
        condition=condition,
        reason=reason,
        waiting=status.waiting_since,
    )


def _summary(status: Status) -> tuple[str, str]:
    """Give which of Ready, Reconciling and Stalled is True, and its reason; ``New`` before the first look."""
    for kind in _SUMMARIES:
        condition = status.condition(kind)
        if condition is not None and condition.status == "True":
            return kind, condition.reason if condition.reason in _KNOWN_REASONS else OTHER
    return "New", "New"


def of_objects(known: Mapping[Key, ModelFigures], leaving: Mapping[Key, int], most: int) -> Values:
    """Give the gauges of objects. ``most`` objects get series of their own."""
    listed = sorted(known, key=lambda key: (known[key].created, key))[:most]
    states = Counter(state for figures in known.values() for state in figures.states)
    return {
        table.MODELS: dict(Counter((figures.condition, figures.reason) for figures in known.values())),
        table.GROUPS: {(state,): states[state] for state in State},
        table.MODEL_REPLICAS: {key: known[key].replicas for key in listed},
        table.MODEL_READY: {key: known[key].ready for key in listed},
        table.MODEL_LEAVING: {key: leaving.get(key, 0) for key in listed},
        table.MODEL_GPUS: {key: known[key].gpus for key in listed},
        table.MODEL_RESTARTS: {key: known[key].restarts for key in listed},
        table.MODEL_CONDITION: {(*key, known[key].condition, known[key].reason): 1 for key in listed},
        table.MODELS_UNLISTED: {(): len(known) - len(listed)},
    }


def of_waits(known: Mapping[Key, ModelFigures], now: float) -> Values:
    """Give the gauges that change with time alone. ``now`` is in seconds since the epoch."""
    waits = [now - figures.waiting for figures in known.values() if figures.waiting]
    return {table.WAITING: {(): len(waits)}, table.LONGEST_WAIT: {(): max(0.0, *waits, 0.0)}}


def of_fleet(occupancy: Occupancy) -> Values:
    """Give the gauges of the fleet. Nodes without GPUs are not counted."""
    nodes = [(node, holders) for node, holders in occupancy if node.exclusion is not Exclusion.NO_GPUS]
    product = _bounded((node.product for node, _ in nodes), MOST_PRODUCTS)
    size = Counter(node.domain for node, _ in nodes)
    domain = _bounded((name for name in size if size[name] > 1), MOST_DOMAINS)
    gpus: Counter[tuple[str, ...]] = Counter()
    left_out: Counter[tuple[str, ...]] = Counter()
    shared: Counter[tuple[str, ...]] = Counter()
    free: defaultdict[tuple[str, str], int] = defaultdict(int)
    for node, holders in nodes:
        name = product[node.product]
        for state, count in _parts(node, holders):
            gpus[name, state] += count
            if size[node.domain] > 1:
                shared[domain[node.domain], name, state] += count
            if state == "left_out" and node.exclusion is not None:
                left_out[name, node.exclusion.value] += count
            if state == "free":
                free[node.domain, name] += count
    return {
        table.GPUS: dict(gpus),
        table.LEFT_OUT: dict(left_out),
        table.DOMAINS: dict(Counter((name, str(count)) for (_, name), count in free.items())),
        table.DOMAIN_GPUS: dict(shared),
    }


def _parts(node: Node, holders: Mapping[Key, int]) -> Iterator[tuple[str, int]]:
    """Divide the GPUs of a node among the states. A broken node may have fewer GPUs than are held."""
    held, others = sum(gpus for key, gpus in holders.items() if key != STRANGERS), holders.get(STRANGERS, 0)
    yield "held", held
    yield "others", others
    yield "free", max(0, node.free - held - others)
    yield "left_out", max(0, node.gpus - held - others) if node.exclusion is not None else 0


def _bounded(names: Iterable[str], most: int) -> Mapping[str, str]:
    """Give the label of each name: the name itself for the first in order, and ``other`` for the rest."""
    ordered: Collection[str] = sorted(set(names))
    return {name: (name or "unknown") if position < most else OTHER for position, name in enumerate(ordered)}
