"""The actions of a decision, as data. ``shardwise.cluster`` carries them out."""

from dataclasses import dataclass, field
from typing import Any

from shardwise.domain.drift import Drift
from shardwise.domain.reasons import AnyReason
from shardwise.reconcile.asks import Ask, TokenAsk
from shardwise.reconcile.endings import AttemptEnd
from shardwise.reconcile.mends import Mends
from shardwise.reconcile.object_status import Status
from shardwise.reconcile.status_data import write_status
from shardwise.render.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Apply:
    """Create or update an object, by server-side apply.

    ``first`` is a merge patch that is made before, to take away fields of others that exclude ours. ``drift`` are the
    fields that somebody changed, if that is why the object is applied again.
    """

    manifest: Manifest
    first: Manifest | None = None
    drift: tuple[Drift, ...] = ()


@dataclass(frozen=True, slots=True)
class MakeKeys:
    """Create the Secret of an object's keys, with a new key pair. A Secret that exists is kept, and never read."""

    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete an object. With ``uid``, only the object with this UID. An object that is gone counts as deleted.

    ``grace`` is the seconds that a pod may take; ``None`` for the seconds that the pod itself states.
    """

    kind: str
    name: str
    uid: str = ""
    api_version: str = "v1"
    grace: int | None = None


@dataclass(frozen=True, slots=True)
class Reach:
    """Let the Service for clients reach a leader, or no longer reach it. A pod that is gone is left as it is."""

    name: str
    uid: str
    reached: bool


@dataclass(frozen=True, slots=True)
class Emit:
    """Record an Event on the object. ``reason`` is stable. ``warning`` marks an Event that needs attention.

    ``replica`` and ``attempt`` name the group of the Event in the log, if it is about a single group.
    """

    reason: AnyReason
    message: str
    warning: bool = False
    replica: int | None = field(default=None, compare=False)
    attempt: int | None = field(default=None, compare=False)


Action = Apply | MakeKeys | Delete | Reach | Emit


@dataclass(frozen=True, slots=True)
class Decision:
    """The actions to carry out now, and the status to write.

    ``status`` is the whole status. It is written before the actions are carried out, so that the next decision notices
    a crash in between. After ``retry_after`` seconds the object is decided again, with or without an event. ``mends``
    counts the mends, for the next decision. ``ends`` are the causes for which the decision ends attempts, and
    ``leaving`` counts the groups that are to be replaced: both are only measured. ``asks`` are questions to engines:
    nothing waits for the answers.
    """

    status: Status
    actions: tuple[Action, ...] = ()
    retry_after: float | None = None
    mends: Mends = field(default_factory=dict)
    ends: tuple[AttemptEnd, ...] = ()
    leaving: int = 0
    asks: tuple[Ask | TokenAsk, ...] = ()

    @property
    def written(self) -> dict[str, Any]:
        """The status as data, to write."""
        return write_status(self.status)
