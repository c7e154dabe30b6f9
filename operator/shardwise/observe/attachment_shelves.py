"""The attachments of objects: InferencePools, routes and scalers that the operator made. Empty unless configured."""

from functools import partial
from typing import Final

from shardwise.observe.kinds import ATTACHED
from shardwise.observe.objects import Json, Key, key_of, owner_of
from shardwise.observe.shelf import Shelf
from shardwise.reconcile.observed import AttachmentsSeen

Named = tuple[str, str]
"""The kind and the name of an attachment."""


class AttachmentShelves:
    """A shelf for each kind of attachment, and whose attachments they are.

    ``shelves`` are named by their kinds. ``missing`` are the kinds that are read and that the cluster does not serve.
    """

    def __init__(self) -> None:
        self._of: Final[dict[Key, dict[Named, Json]]] = {}
        self.shelves: Final = {kind.name: Shelf(partial(self._changed, kind.name)) for kind in ATTACHED}
        self.missing: frozenset[str] = frozenset()

    def seen(self, key: Key) -> AttachmentsSeen:
        """Give what a decision about an object looks at."""
        return AttachmentsSeen(dict(self._of.get(key, {})), self.missing)

    def _changed(self, kind: str, before: Json | None, after: Json | None) -> None:
        for obj in (before, after):
            owner = None if obj is None else owner_of(obj)
            if obj is None or owner is None:
                continue
            named = kind, key_of(obj)[1]
            if obj is after:
                self._of.setdefault(owner, {})[named] = obj
            elif self._of.get(owner, {}).pop(named, None) is not None and not self._of[owner]:
                del self._of[owner]
