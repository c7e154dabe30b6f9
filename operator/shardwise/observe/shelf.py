"""The objects of a kind, kept so that no older version ever replaces a newer one."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, cast

from shardwise.observe.objects import Json, Key, key_of, version_of


@dataclass
class Shelf:
    """The objects of a kind, and the resourceVersions at which others were deleted.

    ``listed_at`` is the version of the last complete list: an object that is not here now did not exist then.
    ``changed`` is called on every change with the object before and after it.
    """

    changed: Callable[[Json | None, Json | None], None] = lambda _before, _after: None
    objects: dict[Key, Json] = field(default_factory=dict)
    graves: dict[Key, int] = field(default_factory=dict)
    listed_at: int = -1

    def is_news(self, obj: Json) -> bool:
        """Tell whether neither a newer version of an object, nor this version, nor its deletion is known."""
        key = key_of(obj)
        return self._is_news(key, self.objects.get(key), obj)

    def _is_news(self, key: Key, known: Json | None, obj: Json) -> bool:
        newest = self.listed_at if known is None else version_of(known)
        return version_of(obj) > (max(newest, self.graves.get(key, -1)) if self.graves else newest)

    def slimmed(self, obj: Json, trim: Callable[[Json], dict[str, Any]]) -> dict[str, Any]:
        """Give an object with the fields that are read: the object that is here, if it is of the same version.

        A list tells again of thousands of objects that have not changed.
        """
        known = self.objects.get(key_of(obj))
        same = known is not None and version_of(known) == version_of(obj)
        return cast("dict[str, Any]", known) if same else trim(obj)

    def put(self, obj: Json) -> bool:
        """Keep an object unless a newer version, or its deletion, is known. Tell whether it was kept."""
        key = key_of(obj)
        known = self.objects.get(key)
        if not self._is_news(key, known, obj):
            return False
        self.objects[key] = obj
        self.changed(known, obj)
        return True

    def show(self, obj: Json) -> None:
        """Keep an object whatever its version: files may hold none."""
        key = key_of(obj)
        known = self.objects.get(key)
        self.objects[key] = obj
        self.changed(known, obj)

    def remove(self, key: Key, version: int) -> bool:
        """Forget an object deleted at a version. Tell whether it was there."""
        known = self.objects.get(key)
        if known is not None and version_of(known) > version:
            return False
        self.graves[key] = max(version, self.graves.get(key, -1))
        if known is not None:
            del self.objects[key]
            self.changed(known, None)
        return known is not None

    def forget(self) -> None:
        """Forget everything, also that anything was ever listed: the kind may not be read any more."""
        gone, self.objects, self.graves, self.listed_at = self.objects, {}, {}, -1
        for obj in gone.values():
            self.changed(obj, None)

    def sweep(self, listed: Iterable[Json], version: int) -> list[Json]:
        """Take in a list made at a version, and give the objects dropped because they are no longer listed."""
        present = set()
        for obj in listed:
            present.add(key_of(obj))
            self.put(obj)
        gone = [obj for key, obj in self.objects.items() if key not in present and version_of(obj) <= version]
        for obj in gone:
            self.remove(key_of(obj), version)
        self.graves = {key: at for key, at in self.graves.items() if at > version}
        self.listed_at = max(self.listed_at, version)
        return gone
