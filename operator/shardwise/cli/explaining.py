"""Explaining objects: each read, its status found, and where it stands worked out on one look at the cluster."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from shardwise.cli.documents import Document, WrongInput
from shardwise.cli.offline import Facts, Verdict, facts_once, read_wanted
from shardwise.cli.snapshot import Snapshot, key_of
from shardwise.controller.store import Key, Shelf
from shardwise.controller.waiting import Waiting, waits
from shardwise.domain.launch import LaunchSite, Wanted
from shardwise.domain.refusal import Refusal
from shardwise.domain.standing import Standing
from shardwise.reconcile import Observed, standing_of

_LISTED: Final = 5


@dataclass(frozen=True, slots=True)
class Explained:
    """Where one object stands, or the lines that say what is wrong with it."""

    name: str
    namespace: str
    outcome: Standing | tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        """Placed, refused, or invalid."""
        if not isinstance(self.outcome, Standing):
            return "invalid"
        return "refused" if isinstance(self.outcome.next, Refusal) else "placed"


def explain_all(
    objects: Iterable[Document], snapshot: Snapshot, now: float, *, site: LaunchSite | None = None
) -> list[Explained]:
    """Explain each object; its status is its own, or what the cluster holds under its name.

    ``now`` is seconds since the epoch.
    """
    facts, ledger, known = facts_once(), snapshot.ledger(), _known(snapshot)
    waiting = _waiting(snapshot, facts, site)
    explained = []
    for document in objects:
        key = key_of(document)
        read = read_wanted(document, facts, site)
        if isinstance(read, Wanted):
            status = document.get("status") or known.get(key, {}).get("status") or {}
            turn = waiting.turn(key, document)
            observed = Observed(snapshot.pods_of(key), {}, status, ledger.fleet(without=key), turn)
            explained.append(Explained(key[1], key[0], standing_of(read, observed, now)))
        else:
            explained.append(Explained(key[1], key[0], read))
    return explained


def _waiting(snapshot: Snapshot, facts: Facts, site: LaunchSite | None) -> Waiting:
    """Give the queue as the operator has it: those that wait by their status, and what they ask for."""
    models, priorities = Shelf(objects=dict(_known(snapshot))), Shelf()
    priorities.objects.update({key_of(one): one for one in snapshot.priorities})
    waiting = Waiting(models, priorities)
    for key, model in models.objects.items():
        read = read_wanted(dict(model), facts, site) if waits(model) else ()
        if isinstance(read, Wanted):
            waiting.demands[key] = read.demand
    return waiting


def find_model(snapshot: Snapshot, name: str, namespace: str | None) -> Document:
    """Give a ShardedModel by its name. Raises :class:`WrongInput` where there is none, or no such kind at all."""
    if not snapshot.installed:
        raise WrongInput("the cluster does not know ShardedModels: install the chart, or apply `crds/`")
    key, models = (namespace or snapshot.namespace, name), _known(snapshot)
    if key in models:
        return models[key]
    elsewhere = [f"`{space}`" for space, known in sorted(models) if known == name]
    hint = f"; there is one in {', '.join(elsewhere[:_LISTED])}" if elsewhere else ""
    raise WrongInput(f"no ShardedModel `{name}` in namespace `{key[0]}`{hint}")


def _known(snapshot: Snapshot) -> Mapping[Key, Document]:
    return {key_of(model): model for model in snapshot.models}
