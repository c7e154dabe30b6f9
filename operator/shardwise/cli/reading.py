"""A cluster as files show it: their objects checked and put into a store."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from shardwise.cli.documents import Document, read_documents, shown
from shardwise.cli.wrong import WrongInput
from shardwise.domain.site import FleetSite
from shardwise.observe import STRANGERS, Key, Store, field_problems, kind_read, store_of
from shardwise.observe.kinds import NODE, Kind

_EXAMPLE: Final = "`kubectl get nodes,pods -A -o yaml` gives one"


@dataclass(frozen=True)
class Seen:
    """A cluster at one time. ``namespace`` is the default for names; ``installed``: it knows ShardedModels."""

    store: Store
    namespace: str = "default"
    installed: bool = True


def read_files(names: Iterable[str], site: FleetSite | None = None) -> Seen:
    """Read the objects of files. An object that two files hold counts once; other kinds are passed over.

    Raises :class:`WrongInput` where there is no Node, and for an object that no API server would give.
    """
    names = list(names)
    found: dict[Kind, list[Document]] = {}
    for path, document in read_documents(names):
        kind = kind_read(document)
        if kind is not None:
            problems = field_problems(kind, document)
            if problems:
                raise WrongInput(*(f"{path}: {problem}" for problem in problems))
            found.setdefault(kind, []).append(document)
    if NODE not in found:
        raise WrongInput(f"no Node in {shown(names)}: {_EXAMPLE}")
    return Seen(store_of(found, site))


def holder_name(key: Key) -> str:
    """Name a holder of GPUs: ``namespace/name``, or an empty text for pods that belong to no object."""
    return "" if key == STRANGERS else "/".join(key)
