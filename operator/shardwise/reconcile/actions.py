"""What a decision asks for, as data. ``shardwise.cluster`` carries it out."""

from dataclasses import dataclass
from typing import Any

from shardwise.domain.reasons import AnyReason
from shardwise.render import Manifest


@dataclass(frozen=True, slots=True)
class Apply:
    """Create or update an object, by server-side apply."""

    manifest: Manifest


@dataclass(frozen=True, slots=True)
class MakeKeys:
    """Create the Secret of an object's keys, with a new key pair. One that is there is kept, and never read."""

    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete an object. With ``uid`` only that very one; one that is gone already counts as deleted."""

    kind: str
    name: str
    uid: str = ""
    api_version: str = "v1"


@dataclass(frozen=True, slots=True)
class Emit:
    """Record an Event on the object. ``reason`` is stable; ``warning`` marks what needs attention."""

    reason: AnyReason
    message: str
    warning: bool = False


Action = Apply | MakeKeys | Delete | Emit


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now.

    ``status`` is the whole status as it should be, written before the actions are carried out, so that a crash in
    between is seen by the next decision. ``retry_after`` seconds later the object is looked at again, events or not.
    """

    status: dict[str, Any]
    actions: tuple[Action, ...] = ()
    retry_after: float | None = None
