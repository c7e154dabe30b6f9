"""The observation of an object and its pods, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from shardwise.domain.fleet import Fleet
from shardwise.domain.gpu_limit import GpuLimit
from shardwise.domain.launch import GangSystem
from shardwise.inventory import gpu_request
from shardwise.queues import Offer, QueuedGroup, waits_for_gang
from shardwise.reconcile.asks import Answer, Attempt, Heard
from shardwise.reconcile.drift import Live
from shardwise.reconcile.exits import Exit, read_exit, why
from shardwise.reconcile.mends import Mends
from shardwise.reconcile.object_status import Status
from shardwise.reconcile.records import parse_time
from shardwise.reconcile.turns import Turn
from shardwise.render.companions import LABELS
from shardwise.render.containers import WEIGHTS
from shardwise.render.manifest import ATTEMPT, GROUP_SIZE, INDEX, REPLICA, REVISION, ROLE, SERVER, SERVES, SERVING_ROLE


@dataclass(frozen=True, slots=True)
class PodSeen:
    """A pod of an object.

    ``exit`` says how the pod ended or why its engine started again; ``None`` while the pod runs. ``waiting`` says why a
    pod is not ready. ``node`` is empty until the pod is bound. ``unschedulable`` is the time, in seconds since the
    epoch, from which the scheduler has found no node; 0 if it has not said so. ``size`` counts the pods of the group,
    ``wants`` is the node that the pod must go to, ``gpus`` is the GPUs that it asks for there. ``loaded`` tells whether
    a pod that fetches weights before its engine starts has them; ``None`` for a pod that does not fetch. ``blameless``
    tells that a pod failed only because its node was shut down or other pods needed the space. ``reached`` tells that
    the Service for clients selects the pod, as it does the leader of a group that serves. ``server`` tells that a pod
    besides the leader serves clients. ``grace`` is the seconds that
    a pod that is being deleted may take. ``address`` is the pod's IP address, empty until it has one. ``gated`` tells
    that a scheduling gate keeps the pod from being bound. ``evicted`` says why a queue of the cluster takes the pod
    away; empty if it does not. ``for_gang`` tells that the scheduler has a node for the pod, and waits for others of
    its gang. ``grouped`` tells that the API server kept the field by which the pod belongs to a gang of Kubernetes.
    ``role`` is the role of its group, in an object with roles.
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
    reached: bool = False
    grace: int = 0
    address: str = ""
    gated: bool = False
    evicted: str = ""
    for_gang: bool = False
    grouped: bool = False
    server: bool = False
    role: str = ""

    @property
    def serves(self) -> bool:
        """Whether the pod serves clients, if its group does."""
        return self.index == 0 or self.server

    @property
    def failure(self) -> str:
        """How the pod ended, in words; empty while it runs."""
        return "" if self.exit is None else str(self.exit)


@dataclass(frozen=True, slots=True)
class AttachmentsSeen:
    """The attachments that an object has, by kind and name.

    ``missing`` are the kinds that objects may ask for and that the cluster does not serve.
    """

    present: Mapping[tuple[str, str], Live] = field(default_factory=dict)
    missing: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class QueueSeen:
    """The queue of the cluster that an object goes through, as the operator sees it.

    ``group_kind`` and ``api_version`` are those of the objects of groups, as the cluster serves them. The version is
    empty if the cluster does not serve them, and ``None`` if nothing shows whether it does. ``groups`` are
    the groups that the queue knows, by name. ``lent`` is the fleet as if nobody held the GPUs about which queues of the
    cluster decide: those of other objects and of strangers; ``None`` if nobody holds such GPUs.
    """

    group_kind: str = ""
    api_version: str | None = None
    groups: Mapping[str, QueuedGroup] = field(default_factory=dict)
    offer: Offer = field(default_factory=Offer)
    lent: Fleet | None = None


@dataclass(frozen=True, slots=True)
class GangSeen:
    """The gang schedulers of the cluster, as the operator sees them.

    ``served`` gives the API version of the groups of each configured system: empty if the cluster serves none, and
    absent if nothing shows whether it does. ``groups`` are the objects of an object's groups, by name.
    """

    served: Mapping[GangSystem, str] = field(default_factory=dict)
    groups: Mapping[str, QueuedGroup] = field(default_factory=dict)


Companion = tuple[str, str, str]
"""An object that pods need beside them: apiVersion, kind and name."""


@dataclass(frozen=True, slots=True)
class OtherRole:
    """The other role of an object, as a decision about a role sees it: nothing of it is decided.

    ``numbers`` are the replica numbers of its groups and pods, ``services`` are the names of its Services. ``serves``:
    a group of the wanted content serves. ``begins``: such a group begins, and does not serve yet. ``leaves``: groups of
    old content serve. ``spare``: it has more groups than it shall have.
    """

    numbers: frozenset[int] = frozenset()
    services: frozenset[str] = frozenset()
    serves: bool = False
    begins: bool = False
    leaves: bool = False
    spare: bool = False

    @property
    def waits_for_a_pair(self) -> bool:
        """Whether its new content begins while only its old content serves."""
        return self.begins and self.leaves and not self.serves


@dataclass(frozen=True, slots=True)
class Observed:
    """The whole input of a decision.

    ``services`` and ``budgets`` are the object's Services and disruption budgets by name, as the API shows them.
    ``status`` is the object's last written status. ``fleet`` is the fleet as if this object held nothing. ``turn`` is
    its place among the objects that wait for GPUs. ``companions`` maps Services to the companions that their pods need.
    ``refused`` is the last refusal of a write by the API server or by a webhook; empty if nothing was refused.
    ``compute_domains`` tells whether the cluster serves them. ``mends`` counts how often drift was put right.
    ``quotas`` are the limits that ResourceQuotas of its namespace set for its pods. ``gpus_of_others`` counts the GPUs
    that other objects of the namespace have planned. ``excused`` tells that a quota of the namespace was changed since
    the last decision. ``relisted`` tells that everything was listed anew since then: objects that may not be read are
    applied again. ``answers`` are the questions to engines and what they answered, by attempt; ``heard`` are the
    requests of one token. ``queue`` is what is seen of the queue of the cluster that the object goes through, ``gang``
    what is seen of the gang schedulers. ``attachments`` are the objects that connect it with add-ons. ``other`` is the
    other role, where a role of an object is decided on.
    """

    pods: tuple[PodSeen, ...]
    services: Mapping[str, Live]
    status: Status
    fleet: Fleet
    turn: Turn = field(default_factory=Turn)
    budgets: Mapping[str, Live] = field(default_factory=dict)
    refused: str = ""
    companions: Mapping[str, frozenset[Companion]] = field(default_factory=dict)
    compute_domains: bool = True
    mends: Mends = field(default_factory=dict)
    quotas: tuple[GpuLimit, ...] = ()
    gpus_of_others: int = 0
    excused: bool = False
    relisted: bool = False
    answers: Mapping[Attempt, Answer] = field(default_factory=dict)
    heard: Mapping[Attempt, Heard] = field(default_factory=dict)
    queue: QueueSeen = field(default_factory=QueueSeen)
    gang: GangSeen = field(default_factory=GangSeen)
    attachments: AttachmentsSeen = field(default_factory=AttachmentsSeen)
    other: OtherRole | None = None


def companion_of(manifest: Mapping[str, Any]) -> Companion:
    """Name the object of a manifest, as a Service records it."""
    return manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"]


def see_companions(service: Mapping[str, Any]) -> frozenset[Companion]:
    """Read from a Service the companions that its pods need."""
    labels = service["metadata"].get("labels") or {}
    return frozenset((*kind, labels[label]) for label, kind in LABELS.items() if label in labels)


def see_pod(pod: Mapping[str, Any]) -> PodSeen:
    """Read a pod that this operator made. Raises ``KeyError`` or ``ValueError`` if its labels are not ours."""
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
        reached=labels.get(SERVES) == "true",
        grace=int(metadata.get("deletionGracePeriodSeconds") or 0),
        address=str(status.get("podIP") or ""),
        gated=bool((pod.get("spec") or {}).get("schedulingGates")),
        evicted=evicted_by(status),
        server=labels.get(ROLE) == SERVER,
        role=labels.get(SERVING_ROLE, ""),
        for_gang=waits_for_gang(_condition(status, "PodScheduled")),
        grouped=bool((pod.get("spec") or {}).get("schedulingGroup")),
    )


def _wants(spec: Mapping[str, Any]) -> str:
    """Read the node that a pod's required affinity names, in our format; empty for any other affinity."""
    terms: Any = spec.get("affinity") or {}
    for step in ("nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms"):
        terms = (terms or {}).get(step)
    fields = [field for term in terms or () for field in term.get("matchFields") or ()]
    return str(fields[0]["values"][0]) if len(fields) == 1 and len(fields[0].get("values") or ()) == 1 else ""


def _loaded(spec: Mapping[str, Any], status: Mapping[str, Any]) -> bool | None:
    """Tell whether the container that fetches weights has succeeded; ``None`` if the pod has no such container."""
    if not any(container.get("name") == WEIGHTS for container in spec.get("initContainers") or ()):
        return None
    fetching = (
        container for container in status.get("initContainerStatuses") or () if container.get("name") == WEIGHTS
    )
    return any(((container.get("state") or {}).get("terminated") or {}).get("exitCode") == 0 for container in fetching)


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    return next((condition for condition in status.get("conditions") or () if condition.get("type") == kind), {})


def _unschedulable(status: Mapping[str, Any]) -> float:
    scheduled = _condition(status, "PodScheduled")
    refused = scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"
    return parse_time(str(scheduled.get("lastTransitionTime") or "")) if refused else 0.0


def _blameless(status: Mapping[str, Any]) -> bool:
    """Tell whether a pod had to go without a failure. A kubelet evicts a pod because the pod used too much."""
    return _condition(status, "DisruptionTarget").get("status") == "True" and status.get("reason") != "Evicted"


def evicted_by(status: Mapping[str, Any]) -> str:
    """Say why a queue of the cluster takes a pod away; empty if it does not. Kueue sets this condition first."""
    target = _condition(status, "TerminationTarget")
    return str(target.get("message") or target.get("reason") or "evicted") if target.get("status") == "True" else ""


def _waiting(status: Mapping[str, Any]) -> str:
    scheduled = _condition(status, "PodScheduled")
    if scheduled.get("status") == "False":
        return f"not scheduled: {scheduled.get('message') or scheduled.get('reason') or ''}"
    initial = next((container for container in status.get("initContainerStatuses") or () if _holds_up(container)), None)
    if initial is not None:
        return _before_the_engine(initial)
    reasons = (_waits_for(container.get("state") or {}) for container in status.get("containerStatuses") or ())
    reason = next((reason for reason in reasons if reason), "")
    if reason:
        return reason
    return "engine starting" if status.get("phase") == "Running" else "not started"


def _waits_for(state: Mapping[str, Any]) -> str:
    """Say why a container waits; empty if it does not. Only a message names the Secret or ConfigMap that is missing."""
    waiting = state.get("waiting") or {}
    reason = str(waiting.get("reason") or "")
    named = reason == "CreateContainerConfigError" and waiting.get("message")
    return f"{reason}: {waiting['message']}" if named else reason


_INITIAL: Final[Mapping[str, str]] = {
    WEIGHTS: "weights being fetched",
    "wait-for-leader": "waiting for the leader",
    "wait-for-followers": "waiting for the followers",
}


def _holds_up(container: Mapping[str, Any]) -> bool:
    """Tell whether an init container keeps the engine from starting. A running sidecar of another owner does not."""
    state = container.get("state") or {}
    if "running" in state:
        return container.get("name") in _INITIAL
    return bool((state.get("terminated") or {}).get("exitCode", 1))


def _before_the_engine(container: Mapping[str, Any]) -> str:
    """Describe an init container that has not ended: its task, and its last failure."""
    state = container.get("state") or {}
    doing = _INITIAL.get(str(container.get("name")), str(container.get("name")))
    reason = _waits_for(state)
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated")
    if not ended:
        return f"{doing}: {reason}" if reason and reason != "PodInitializing" else doing
    line = why(ended)
    return f"{doing}, failed with exit code {ended.get('exitCode')}{f': {line}' if line else ''}"
