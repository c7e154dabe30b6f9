"""The actions that make an object, give it other content, or put its drift right."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from shardwise.domain.drift import Drift
from shardwise.explain.drift import drift_message
from shardwise.reconcile.actions import Action, Apply, Delete
from shardwise.reconcile.drift import Live, drifts, in_the_way, is_fixed, label_path, owners
from shardwise.reconcile.mends import Field, Mends
from shardwise.render.manifest import REVISION, Manifest


@dataclass(frozen=True, slots=True)
class Mender:
    """Makes and mends objects. ``mends`` counts the mends so far; ``now`` is in seconds since the epoch."""

    mends: Mends
    now: float

    def kept(self, manifest: Manifest, present: Mapping[str, Live]) -> Iterator[Action]:
        """Make an object if it is missing, update it if it shall have other content, and put its drift right."""
        live = present.get(manifest["metadata"]["name"])
        if live is None:
            yield Apply(manifest)
        elif has_other_content(manifest, live):
            yield Apply(manifest, in_the_way(manifest, live))
        else:
            yield from self.mended(manifest, live)

    def mended(self, manifest: Manifest, live: Live) -> Iterator[Action]:
        """Put the drift of an object right, unless all of it is contested and was put right a short time ago.

        A field that the API server does not let anybody change takes a new object. An object that is being deleted is
        made again when it is gone.
        """
        found = drifts(manifest, live)
        if not found or "deletionTimestamp" in live["metadata"] or all(self._waits(manifest, drift) for drift in found):
            return
        if any(map(is_fixed, found)):
            uid = live["metadata"].get("uid", "")
            yield Delete(manifest["kind"], manifest["metadata"]["name"], uid, manifest["apiVersion"])
            yield Apply(manifest, drift=found)
        else:
            yield Apply(manifest, in_the_way(manifest, live), found)

    def _waits(self, manifest: Manifest, drift: Drift) -> bool:
        mend = self.mends.get(_field(manifest, drift))
        return mend is not None and self.now < mend.again_at


def has_other_content(manifest: Manifest, live: Live) -> bool:
    """Tell whether an object was made with other content. Its label says so, unless another manager wrote the label."""
    label = (live["metadata"].get("labels") or {}).get(REVISION)
    return label != manifest["metadata"]["labels"][REVISION] and not owners(live, label_path(REVISION))


def mended_by(actions: Iterable[Action]) -> Iterator[tuple[Field, str]]:
    """Name the fields that actions put right, each with its drift in words."""
    for applied in (action for action in actions if isinstance(action, Apply)):
        for drift in applied.drift:
            kind, name, path = _field(applied.manifest, drift)
            yield (kind, name, path), drift_message(kind, name, [drift])


def _field(manifest: Manifest, drift: Drift) -> Field:
    return manifest["kind"], manifest["metadata"]["name"], drift.path
