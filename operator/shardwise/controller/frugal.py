"""kopf's settings: the watches alone, for as little as they can cost. docs/decisions/0003 says why.

kopf keeps, for handlers that we have none of, each object as it was when last handled: it copies every
object of every event for it. Here it is given nothing to keep. It also keeps a task for each object for a while after
its last event, in case there is another: thousands at the start. And it keeps a record of every object that was ever
seen, for handlers that go on.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final, get_args, get_type_hints

import kopf

from shardwise.cluster.answers import Answer
from shardwise.cluster.client import PAGE
from shardwise.observe import Json

IDLE_SECONDS: Final = 0.1
"""How long the task of an object waits for its next event."""

CONNECT_SECONDS: Final = 10.0
"""How long a watch waits for a connection. With kopf's own 5 minutes, it would outlast an outage that drops packets."""

BACKOFFS: Final = (1, 1, 2, 3, 5, 5, 5, 5)
"""Seconds between the tries of a watch. kopf's own grow to 21 s, which is how long a change might go unseen."""


class Forgetful(kopf.DiffBaseStorage):
    """Remembers no object."""

    def build(self, *, body: kopf.Body, extra_fields: Iterable[kopf.FieldSpec] | None = None) -> kopf.BodyEssence:
        """Find nothing worth remembering."""
        del body, extra_fields
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> None:
        """Remember nothing."""

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Store nothing on any object."""


class Aimless(kopf.ProgressStorage):
    """Remembers of no handler how far it came: plain events have nothing to come back to."""

    def fetch(self, *, key: Any, body: kopf.Body) -> None:  # noqa: ANN401 - kopf's own type is not public
        """Remember nothing."""

    def store(self, *, key: Any, record: Any, body: kopf.Body, patch: kopf.Patch) -> None:  # noqa: ANN401 - as above
        """Store nothing on any object."""

    def purge(self, *, key: Any, body: kopf.Body, patch: kopf.Patch) -> None:  # noqa: ANN401 - as above
        """Have nothing to take away."""

    def touch(self, *, body: kopf.Body, patch: kopf.Patch, value: str | None) -> None:
        """Touch no object."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        """Have nothing to clear."""
        return essence


_RECORDS: Final[Callable[[], Any]] = get_args(get_type_hints(kopf.spawn_tasks)["memories"])[0]
"""The container that kopf makes for its records of objects."""


def no_records() -> Any:  # noqa: ANN401 - kopf's own type is not public
    """Make a container that keeps no record of any object: plain events begin nothing that goes on.

    kopf names its type only as that of an argument. It asks the same container for records that are not to be kept.
    """
    container = _RECORDS()
    container.recall = partial(container.recall, ephemeral=True)
    return container


Trims = Mapping[str, Callable[[Json], dict[str, Any]]]
"""The functions that keep the fields that are read, by the kind of a list, such as ``NodeList``."""


def slimming(trims: Trims) -> type[Answer]:
    """Make a class of answers that slim the objects of a list before kopf begins a task for each of them."""

    class Slimming(Answer):
        async def json(self, **options: Any) -> Any:  # noqa: ANN401 - any JSON
            found = await super().json(**options)
            trim = trims.get(str(found.get("kind"))) if isinstance(found, dict) else None
            if trim is not None:
                items = found["items"] = found.get("items") or []
                for at, obj in enumerate(items):
                    items[at] = dict(trim(obj))  # kopf adds fields
            return found

    return Slimming


def frugal_settings(selectors: Mapping[str, str]) -> kopf.OperatorSettings:
    """Leave kopf the watches alone: Events are our own, and nothing is stored on any object.

    ``selectors`` are label selectors of the plurals of which not all objects are ours.
    """
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.persistence.diffbase_storage = Forgetful()
    settings.persistence.progress_storage = Aimless()
    settings.queueing.idle_timeout = IDLE_SECONDS
    settings.watching.chunk_size = PAGE
    settings.networking.connect_timeout = CONNECT_SECONDS
    settings.networking.error_backoffs = BACKOFFS
    # When kopf's tasks are cancelled, it plans to kill the process after 10 minutes. Ours lives on, for another term.
    settings.process.ultimate_exiting_timeout = None
    for plural, selector in selectors.items():
        settings.watching.label_selectors[plural] = selector
    return settings
