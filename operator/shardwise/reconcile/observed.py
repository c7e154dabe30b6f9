"""What was read of one object and its pods, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from shardwise.domain.fleet import Fleet
from shardwise.inventory import gpu_request
from shardwise.reconcile.exits import Exit, last_line, read_exit
from shardwise.reconcile.records import parse_time
from shardwise.reconcile.turns import Turn
from shardwise.render.companions import LABELS
from shardwise.render.containers import WEIGHTS
from shardwise.render.manifest import ATTEMPT, GROUP_SIZE, INDEX, REPLICA, REVISION


@dataclass(frozen=True, slots=True)
class PodSeen:
    """One pod of an object.

    ``exit`` is how it ended or why its engine started again, ``None`` while it goes on. ``waiting`` says what a pod
    that is not ready waits for. ``node`` is empty until it is bound. ``unschedulable`` is since when, in seconds since
    the epoch, the scheduler has found no place for it; 0 while it has not said so. ``size`` counts the pods of its
    group, ``wants`` is the node it must go to, ``gpus`` what it asks for there. ``loaded`` tells whether a pod that
    fetches weights before its engine starts has them; ``None`` for one that does not. ``blameless`` tells of one that
    failed that its node was shut down under it, or it had to make room.
    """

    name: str
    uid: str
    replica: int
    attempt: int
    index: int
    revision: str
    node: str
    ready: bool
    deleting: bool
    exit: Exit | None = None
    waiting: str = ""
    unschedulable: float = 0.0
    size: int = 0
    wants: str = ""
    gpus: int = 0
    loaded: bool | None = None
    blameless: bool = False

    @property
    def failure(self) -> str:
        """How it ended, in words; empty while it goes on."""
        return "" if self.exit is None else str(self.exit)


Companion = tuple[str, str, str]
"""What pods need beside them: apiVersion, kind and name."""


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything a decision looks at.

    ``services`` and ``budgets`` map the names of the object's Services and disruption budgets to the revision they
    carry. ``status`` is the object's own, as last written. ``fleet`` is the fleet as if this object held nothing.
    ``turn`` is its place among the objects that wait for GPUs. ``companions`` maps Services to what they say their pods
    need. ``refused`` is what the API server, or what stands before it, last said against something that was to be made
    or deleted; empty while nothing was refused. ``compute_domains`` tells whether the cluster serves them.
    """

    pods: tuple[PodSeen, ...]
    services: Mapping[str, str]
    status: Mapping[str, Any]
    fleet: Fleet
    turn: Turn = field(default_factory=Turn)
    budgets: Mapping[str, str] = field(default_factory=dict)
    refused: str = ""
    companions: Mapping[str, frozenset[Companion]] = field(default_factory=dict)
    compute_domains: bool = True


def companion_of(manifest: Mapping[str, Any]) -> Companion:
    """Name what a manifest is of, as a Service does."""
    return manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"]


def see_companions(service: Mapping[str, Any]) -> frozenset[Companion]:
    """Read off a Service what its pods need beside them."""
    labels = service["metadata"].get("labels") or {}
    return frozenset((*kind, labels[label]) for label, kind in LABELS.items() if label in labels)


def see_pod(pod: Mapping[str, Any]) -> PodSeen:
    """Read a pod this operator made. Raises ``KeyError`` or ``ValueError`` where its labels are not ours."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    labels = metadata["labels"]
    return PodSeen(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        replica=int(labels[REPLICA]),
        attempt=int(labels[ATTEMPT]),
        index=int(labels[INDEX]),
        revision=labels.get(REVISION, ""),
        node=(pod.get("spec") or {}).get("nodeName") or "",
        ready=_condition(status, "Ready").get("status") == "True",
        deleting="deletionTimestamp" in metadata,
        exit=read_exit(status),
        waiting=_waiting(status),
        unschedulable=_unschedulable(status),
        size=int(labels.get(GROUP_SIZE, 0)),
        wants=_wants(pod.get("spec") or {}),
        gpus=gpu_request(pod),
        loaded=_loaded(pod.get("spec") or {}, status),
        blameless=_blameless(status),
    )


def _wants(spec: Mapping[str, Any]) -> str:
    """Read the node a pod's required affinity names, as we write it; empty where it is none of ours."""
    terms: Any = spec.get("affinity") or {}
    for step in ("nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms"):
        terms = (terms or {}).get(step)
    fields = [field for term in terms or () for field in term.get("matchFields") or ()]
    return str(fields[0]["values"][0]) if len(fields) == 1 and len(fields[0].get("values") or ()) == 1 else ""


def _loaded(spec: Mapping[str, Any], status: Mapping[str, Any]) -> bool | None:
    """Tell whether the container that fetches weights has ended well; ``None`` where the pod has none."""
    if not any(one.get("name") == WEIGHTS for one in spec.get("initContainers") or ()):
        return None
    fetching = (one for one in status.get("initContainerStatuses") or () if one.get("name") == WEIGHTS)
    return any(((one.get("state") or {}).get("terminated") or {}).get("exitCode") == 0 for one in fetching)


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    return next((one for one in status.get("conditions") or () if one.get("type") == kind), {})


def _unschedulable(status: Mapping[str, Any]) -> float:
    scheduled = _condition(status, "PodScheduled")
    refused = scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"
    return parse_time(str(scheduled.get("lastTransitionTime") or "")) if refused else 0.0


def _blameless(status: Mapping[str, Any]) -> bool:
    """Tell a pod that had to go from one that failed. A kubelet's own evictions are for what the pod took too much."""
    return _condition(status, "DisruptionTarget").get("status") == "True" and status.get("reason") != "Evicted"


def _waiting(status: Mapping[str, Any]) -> str:
    scheduled = _condition(status, "PodScheduled")
    if scheduled.get("status") == "False":
        return f"not scheduled: {scheduled.get('message') or scheduled.get('reason') or ''}"
    initial = next((one for one in status.get("initContainerStatuses") or () if _holds_up(one)), None)
    if initial is not None:
        return _before_the_engine(initial)
    for one in status.get("containerStatuses") or ():
        reason = ((one.get("state") or {}).get("waiting") or {}).get("reason")
        if reason:
            return str(reason)
    return "engine starting" if status.get("phase") == "Running" else "not started"


_INITIAL: Final[Mapping[str, str]] = {
    WEIGHTS: "weights being fetched",
    "wait-for-leader": "waiting for the leader",
    "wait-for-followers": "waiting for the followers",
}


def _holds_up(container: Mapping[str, Any]) -> bool:
    """Tell whether an init container keeps the engine from starting; somebody's sidecar that runs does not."""
    state = container.get("state") or {}
    if "running" in state:
        return container.get("name") in _INITIAL
    return bool((state.get("terminated") or {}).get("exitCode", 1))


def _before_the_engine(container: Mapping[str, Any]) -> str:
    """Say what an init container that has not ended does, and how it last failed."""
    state = container.get("state") or {}
    doing = _INITIAL.get(str(container.get("name")), str(container.get("name")))
    reason = (state.get("waiting") or {}).get("reason")
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated")
    if not ended:
        return f"{doing}: {reason}" if reason and reason != "PodInitializing" else doing
    line = last_line(ended)
    return f"{doing}, failed with exit code {ended.get('exitCode')}{f': {line}' if line else ''}"
