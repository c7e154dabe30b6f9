"""Stable codes that a status and its Events carry. Scripts may compare them; ``shardwise.explain`` has the words."""

from enum import StrEnum

from shardwise.domain.refusal import RefusalReason


class Reason(StrEnum):
    """Reasons of conditions and Events, besides the reasons of a refusal. Messages may change; reasons may not."""

    ALL_REPLICAS_READY = "AllReplicasReady"
    SCALED_TO_ZERO = "ScaledToZero"
    GROUPS_STARTING = "GroupsStarting"
    GROUP_BACKOFF = "GroupBackoff"
    UPDATING = "Updating"
    PAUSED = "Paused"
    MODEL_FACTS_UNAVAILABLE = "ModelFactsUnavailable"
    COMPUTE_DOMAINS_MISSING = "ComputeDomainsMissing"
    QUEUE_MISSING = "QueueMissing"
    GROUP_TOO_LARGE = "GroupTooLarge"
    GANG_MISSING = "GangMissing"
    QUEUED = "Queued"
    WRITE_REFUSED = "WriteRefused"
    PODS_REFUSED = "PodsRefused"
    RESTARTS_EXHAUSTED = "RestartsExhausted"
    INVALID_SPEC = "InvalidSpec"
    PLAN_MADE = "PlanMade"
    ALL_PODS_CREATED = "AllPodsCreated"
    PODS_MISSING = "PodsMissing"
    AS_PLANNED = "AsPlanned"
    NOTHING_SERVES = "NothingServes"
    REPLICAS_MISSING = "ReplicasMissing"
    NODE_FAULTY = "NodeFaulty"
    UPDATE_HALTED = "UpdateHalted"
    FIELDS_CONTESTED = "FieldsContested"
    NODE_CHANGED = "NodeChanged"
    GANG_IGNORED = "GangIgnored"
    ADD_ON_MISSING = "AddOnMissing"
    SCALING_LIMITED = "ScalingLimited"
    PLANNED = "Planned"
    GROUP_READY = "GroupReady"
    GROUP_UNREADY = "GroupUnready"
    GROUP_FAILED = "GroupFailed"
    GROUP_RESTARTED = "GroupRestarted"
    GROUP_WAITING = "GroupWaiting"
    GROUP_ADMITTED = "GroupAdmitted"
    GROUP_EVICTED = "GroupEvicted"
    GROUP_HELD = "GroupHeld"
    GROUP_REMOVED = "GroupRemoved"
    NODE_LEFT_OUT = "NodeLeftOut"
    CACHE_DIFFERS = "CacheDiffers"


AnyReason = Reason | RefusalReason


class FailureKind(StrEnum):
    """The kinds of failure with different remedies. The exit of a pod decides the kind, not a message."""

    GPU_MEMORY = "GpuMemory"
    HOST_MEMORY = "HostMemory"
    EVICTED = "Evicted"
    UNKNOWN_ARGUMENT = "UnknownArgument"
    FILES_DENIED = "FilesDenied"
    TOKEN_REFUSED = "TokenRefused"  # noqa: S105 - a code
    HUNG = "Hung"
    OTHER = "Other"
