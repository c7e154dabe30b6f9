"""The meaning of each stable reason: where it appears, its meaning for the object, and the remedy."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from shardwise.domain.reasons import AnyReason, FailureKind, Reason
from shardwise.domain.refusal import RefusalReason

EVENT: Final = "Event"
WARNING: Final = "Event (Warning)"

_NOTHING: Final = "Nothing."
_WAIT: Final = "Wait. The operator continues by itself."
_READ_MESSAGE: Final = "Follow the hint in the message."


@dataclass(frozen=True, slots=True)
class Meaning:
    """``where`` lists conditions as ``Type=Status``, and Events. ``says`` and ``remedy`` are sentences."""

    where: tuple[str, ...]
    says: str
    remedy: str = _NOTHING


_SERVES: Final = ("Ready=True",)
_WAITS: Final = ("Reconciling=True",)
_STOPS: Final = ("Stalled=True",)
_REFUSED: Final = (*_STOPS, "Planned=False", WARNING)

REASONS: Final[Mapping[AnyReason, Meaning]] = MappingProxyType(
    {
        Reason.ALL_REPLICAS_READY: Meaning(_SERVES, "All replicas serve what the object asks for."),
        Reason.SCALED_TO_ZERO: Meaning(_SERVES, "The object asks for 0 replicas, and none is left."),
        Reason.GROUPS_STARTING: Meaning(
            _WAITS, "Replicas are being started, or one stopped serving. The message names a pod and its state.", _WAIT
        ),
        Reason.GROUP_BACKOFF: Meaning(
            _WAITS,
            "A replica failed or was disrupted before it served. The message says how, and when it starts again.",
            "Wait, or edit the object if the message shows a mistake.",
        ),
        Reason.UPDATING: Meaning(_WAITS, "Replicas of the old version are being replaced after an edit.", _WAIT),
        Reason.PAUSED: Meaning(
            _WAITS,
            "The annotation `shardwise.dev/paused` stops every change to the object's pods.",
            "Remove the annotation to continue.",
        ),
        Reason.MODEL_FACTS_UNAVAILABLE: Meaning(
            (*_WAITS, "Planned=False"),
            "The model's config.json is being looked up in the Hub, or the Hub did not give it. After a failure, the "
            "operator tries again after 30 seconds, and then after twice the time, up to 30 minutes.",
            "Check the model id and the access to the Hub, or set `spec.model.config`. After an edit, the operator "
            "tries at once.",
        ),
        Reason.COMPUTE_DOMAINS_MISSING: Meaning(
            (*_WAITS, "Planned=False", WARNING),
            "The plan joins nodes by NVLink, and the cluster does not serve `resource.nvidia.com/v1beta1`.",
            "Install NVIDIA's DRA driver, or pin `spec.parallelism.tensor` to the GPUs of one node.",
        ),
        Reason.QUEUE_MISSING: Meaning(
            (*_WAITS, "Planned=False", WARNING),
            "The object goes through a queue that the cluster does not have. The message names the API, or the object "
            "of the queue, that is missing. No replica begins; those that run go on.",
            "Create the queue or install its system, or change `spec.placement.queue`.",
        ),
        Reason.GROUP_TOO_LARGE: Meaning(
            _REFUSED,
            "A replica has more pods than a queue of the cluster admits as a group.",
            "Allow layouts of fewer nodes, or take `spec.placement.queue` away.",
        ),
        Reason.GANG_MISSING: Meaning(
            (*_WAITS, "Planned=False", WARNING),
            "The object asks for a gang scheduler that the cluster does not have. The message names the API.",
            "Install the scheduler, or serve its API; or set `spec.placement.gang` to `none`.",
        ),
        Reason.QUEUED: Meaning(
            _WAITS,
            "A replica waits in a queue of the cluster, and holds no GPUs. The message has the words of the queue.",
            "Wait, or ask the administrator of the queue for quota or priority.",
        ),
        Reason.WRITE_REFUSED: Meaning(
            (*_WAITS, WARNING),
            "The API server, a quota or a webhook refused an object that the operator wanted to create or delete.",
            "Remove the obstacle that the message names. The operator tries again by itself.",
        ),
        Reason.PODS_REFUSED: Meaning(
            (*_WAITS, "Planned=False", WARNING),
            "The API server, a quota or a webhook has refused pods for a minute. The replicas that lack pods gave back "
            "their GPUs. The message has the server's words and the time of the next try.",
            "Remove the obstacle that the message names. The operator tries a replica again after 10 seconds, and "
            "waits twice as long after each refused try, up to 5 minutes. An edit of the spec, or another quota, is "
            "tried at once.",
        ),
        Reason.RESTARTS_EXHAUSTED: Meaning(
            _STOPS,
            "A replica failed more often in a row than `spec.restartPolicy.maxRestarts` allows, and is held.",
            "Follow the remedy in the message, see [Failures](#failures). An edit of the spec starts it again.",
        ),
        Reason.INVALID_SPEC: Meaning(
            _REFUSED,
            "The object contradicts itself or the engine. Running replicas stay as they are.",
            "Change the field that the message names.",
        ),
        Reason.PLAN_MADE: Meaning(("Planned=True",), "A plan is in force. The message gives its layout and nodes."),
        Reason.ALL_PODS_CREATED: Meaning(("Launched=True",), "Every replica has all its pods."),
        Reason.PODS_MISSING: Meaning(("Launched=False",), "Some replica does not have all its pods.", _WAIT),
        Reason.AS_PLANNED: Meaning(("Degraded=False",), "All replicas serve, on healthy nodes."),
        Reason.NOTHING_SERVES: Meaning(
            ("Degraded=False",), "No replica serves.", "Read the message of `Reconciling` or `Stalled`."
        ),
        Reason.REPLICAS_MISSING: Meaning(
            ("Degraded=True",), "Fewer replicas serve than the object asks for.", "Read the message of `Ready`."
        ),
        Reason.NODE_FAULTY: Meaning(
            ("Degraded=True",),
            "A replica serves on a node that reports a GPU fault, because no other node is free.",
            "Repair the node, or free GPUs elsewhere: the replica then moves.",
        ),
        Reason.UPDATE_HALTED: Meaning(
            ("Degraded=True", WARNING),
            "The update failed before it served. The old replicas keep serving, and no other is replaced.",
            "Edit the object: correct the mistake, or go back to the old spec.",
        ),
        Reason.FIELDS_CONTESTED: Meaning(
            ("Degraded=True", WARNING),
            "Something changes fields of a Service or disruption budget again and again after the operator put them "
            "back. The message names the fields, their values and the field manager that owns them.",
            "Stop the other writer, or exempt objects labelled `app.kubernetes.io/managed-by: shardwise` from it.",
        ),
        Reason.NODE_CHANGED: Meaning(
            ("Degraded=True", WARNING),
            "A node of a serving replica is no longer as it was planned: it has fewer GPUs, another GPU product or "
            "another NVLink domain. The replica keeps serving.",
            "Repair the node or its labels. To plan the replica again, delete one of its pods.",
        ),
        Reason.GANG_IGNORED: Meaning(
            ("Degraded=True", WARNING),
            "The cluster binds the pods of a replica one by one, although the object asks for a gang. The message "
            "names the feature gate that is off.",
            "Turn the feature gate on, or set `spec.placement.gang` to `none`.",
        ),
        Reason.ADD_ON_MISSING: Meaning(
            ("Degraded=True", WARNING),
            "The object asks for an InferencePool, an HTTPRoute or a scaler that the cluster does not have. "
            "The message names the API. The replicas serve at the Service.",
            "Install the add-on: the operator notices it within five minutes. Or take the field away.",
        ),
        Reason.SCALING_LIMITED: Meaning(
            ("Degraded=True", WARNING),
            "The GPU budget allows fewer replicas than `spec.scaling.min` asks for, so the scaler keeps as many as it "
            "allows.",
            "Raise `spec.gpuBudget.total`, or lower `spec.scaling.min`.",
        ),
        Reason.PLANNED: Meaning(
            (EVENT,), "Replicas got a place. The message gives the layout, the nodes and the rule."
        ),
        Reason.GROUP_READY: Meaning((EVENT,), "A replica began to serve."),
        Reason.GROUP_UNREADY: Meaning(
            (WARNING,), "A replica stopped serving, and its engine did not exit.", "Wait, or read the pods' logs."
        ),
        Reason.GROUP_FAILED: Meaning(
            (WARNING,), "A replica failed or was disrupted, and waits before it starts again.", "Read the message."
        ),
        Reason.GROUP_RESTARTED: Meaning((WARNING,), "A replica starts again. The message says why.", _WAIT),
        Reason.GROUP_WAITING: Meaning(
            (WARNING,), "A replica lost its place, gave its GPUs back, and waits for another place.", "Free GPUs."
        ),
        Reason.GROUP_ADMITTED: Meaning((EVENT,), "A queue of the cluster admitted a replica."),
        Reason.GROUP_EVICTED: Meaning(
            (WARNING,),
            "A queue of the cluster took a replica away, for instance for another of higher priority. The message has "
            "the words of the queue. The replica enters the queue again; this is no failure.",
            _WAIT,
        ),
        Reason.GROUP_HELD: Meaning(
            (WARNING,),
            "A replica failed too often in a row, and is not started again.",
            "Follow the remedy in the message, see [Failures](#failures).",
        ),
        Reason.GROUP_REMOVED: Meaning((EVENT,), "A replica goes: it was replaced, or is no longer asked for."),
        Reason.NODE_LEFT_OUT: Meaning(
            (WARNING,),
            "The object avoids a node for a while: its replicas failed there, or the scheduler bound no pod to it.",
            "Look at the node if this happens again.",
        ),
        Reason.CACHE_DIFFERS: Meaning(
            (EVENT, WARNING),
            "The KV cache of a replica holds over 5 % more tokens than the plan has room for, or over 5 % fewer (a "
            "warning). `status.groups[].kvCacheTokens` has both numbers.",
            "With fewer tokens, fewer sequences of full length have room at a time. Look for other users of the GPUs "
            "and for arguments that need memory, and set `spec.model.gpuMemoryReserve` for them.",
        ),
        RefusalReason.NO_MATCHING_NODES: Meaning(
            (*_WAITS, "Planned=False", WARNING),
            "No node that may be used matches `spec.placement` and the GPU products asked for.",
            "Add nodes, or change `spec.placement`. The message counts the nodes by the reason they are left out.",
        ),
        RefusalReason.ILLEGAL_LAYOUT: Meaning(_REFUSED, "The pinned layout does not divide the model.", _READ_MESSAGE),
        RefusalReason.PRICE_UNKNOWN: Meaning(
            _REFUSED,
            "The object asks for the cheapest layout, and the operator configuration states no price of these GPUs.",
            "State `fleet.hardware[].pricePerHour` in the operator configuration, or choose another `spec.objective`.",
        ),
        RefusalReason.TARGET_MISSED: Meaning(
            _REFUSED,
            "By the estimates, no layout that fits meets the times of `spec.target`.",
            "The message names the nearest layout and the nearest target that can be met.",
        ),
        RefusalReason.MEMORY_SHORT: Meaning(
            _REFUSED, "The model does not fit into the memory of any layout that is allowed.", _READ_MESSAGE
        ),
        RefusalReason.BUDGET_SHORT: Meaning(
            _REFUSED, "The replicas need more GPUs than `spec.gpuBudget.total` allows.", _READ_MESSAGE
        ),
        RefusalReason.QUOTA_SHORT: Meaning(
            (*_WAITS, "Planned=False", WARNING),
            "A ResourceQuota or `allow.gpus` of the operator configuration leaves too few GPUs to the namespace. The "
            "object holds no GPUs for the replicas that lack them, and is not in the queue.",
            "Free GPUs of the namespace, or ask for a larger quota. The operator begins by itself.",
        ),
        RefusalReason.CAPACITY_SHORT: Meaning(
            (*_WAITS, *_STOPS, "Planned=False", WARNING),
            "Too few GPUs are free. While `Reconciling` is True, the object waits in a queue, because the fleet could "
            "hold it. While `Stalled` is True, even the empty fleet is too small.",
            "Wait, free GPUs or add nodes. The message gives the place in the queue.",
        ),
    }
)
"""Every reason. The page docs/reference/reasons.md is made from it."""


@dataclass(frozen=True, slots=True)
class Failure:
    """``sign`` says how a kind of failure is recognised. ``remedy`` is the exact advice to the user."""

    sign: str
    remedy: str


FAILURES: Final[Mapping[FailureKind, Failure]] = MappingProxyType(
    {
        FailureKind.GPU_MEMORY: Failure(
            "the line of the termination message that says why contains `out of memory`",
            "raise `spec.model.gpuMemoryReserve`, or allow more GPUs by `spec.gpuBudget.total`",
        ),
        FailureKind.HOST_MEMORY: Failure(
            "the container's reason is `OOMKilled`", "raise `spec.podTemplate.limits.memory`"
        ),
        FailureKind.EVICTED: Failure(
            "the kubelet's reason for the pod is `Evicted`", "raise `spec.podTemplate.requests` to what the pods need"
        ),
        FailureKind.UNKNOWN_ARGUMENT: Failure(
            "that line contains `unrecognized arguments`", "correct `spec.engine.args`"
        ),
        FailureKind.FILES_DENIED: Failure(
            "that line contains `permission`", "check the Secret and the volume that `spec.model.source` names"
        ),
        FailureKind.TOKEN_REFUSED: Failure(
            "that line tells of an HTTP answer 401 or 403, or of a gated model",
            "name a Secret whose token has access to the model in `spec.model.source.huggingFace.tokenSecretRef`",
        ),
        FailureKind.HUNG: Failure(
            "the engine, with nothing else to do, does not answer a request of one token "
            "(`spec.health.idleRequestInterval`)",
            "look at GPUs and network of the nodes; any edit of the spec starts the group again",
        ),
        FailureKind.OTHER: Failure(
            "none of the above",
            "read `kubectl logs` of the pod; any edit of the spec starts the group again",
        ),
    }
)
"""Every kind of failure. The first kind whose sign is present counts."""


def remedy(kind: FailureKind) -> str:
    """Give the remedy for a kind of failure, in a single line."""
    return FAILURES[kind].remedy
