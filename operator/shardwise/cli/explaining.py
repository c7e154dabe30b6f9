"""Explaining objects: each is put into the store, observed as the operator observes it, and told where it stands."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from shardwise.cli.documents import Document
from shardwise.cli.offline import Facts, Outcome, facts_once, key_for, read_wanted
from shardwise.cli.reading import Seen
from shardwise.cli.wrong import WrongInput
from shardwise.domain.launch import LaunchSite, Wanted
from shardwise.domain.refusal import Refusal
from shardwise.domain.site import Site
from shardwise.domain.standing import Standing
from shardwise.observe import Store, in_namespace, waits
from shardwise.observe.kinds import SHARDED_MODEL
from shardwise.reconcile.standing import standing_of

_LISTED: Final = 5


@dataclass(frozen=True, slots=True)
class Explained:
    """Where an object stands, or the lines that list its errors."""

    name: str
    namespace: str
    outcome: Standing | tuple[str, ...]

    @property
    def verdict(self) -> Outcome:
        """Placed, refused, or invalid."""
        if not isinstance(self.outcome, Standing):
            return "invalid"
        refused = isinstance(self.outcome.next, Refusal) or self.outcome.obstacle is not None
        return "refused" if refused else "placed"


def explain_all(objects: Iterable[Document], seen: Seen, now: float, *, site: Site | None = None) -> list[Explained]:
    """Explain each object; its status is its own, or the status of the object of its name in the cluster.

    ``now`` is seconds since the epoch.
    """
    site = site or Site()
    facts, store = facts_once(site.hub), seen.store
    _learn_demands(store, facts, site.launch)
    explained = []
    for document in objects:
        namespace, name = key = key_for(document)
        read = read_wanted(document, facts, site.launch)
        if isinstance(read, Wanted):
            _show(store, document)
            explained.append(Explained(name, namespace, standing_of(read, store.observe(key, now), now)))
        else:
            explained.append(Explained(name, namespace, read))
    return explained


def _learn_demands(store: Store, facts: Facts, site: LaunchSite | None) -> None:
    """Read the demands of the objects that wait, as the operator has read them: the queue depends on them."""
    for key, obj in store.sharded_models.objects.items():
        read = read_wanted(dict(obj), facts, site) if waits(obj) else ()
        if isinstance(read, Wanted):
            store.waiting.learn(key, read.demand)


def _show(store: Store, document: Document) -> None:
    """Put an object into the store; without a status it gets the status of the object that it would replace."""
    obj = in_namespace(SHARDED_MODEL, document)
    known = store.sharded_models.objects.get(key_for(obj), {})
    store.sharded_models.show({**obj, "status": obj.get("status") or known.get("status") or {}})


def find_object(seen: Seen, name: str, namespace: str | None) -> Document:
    """Give a ShardedModel by its name. Raises :class:`WrongInput` where there is none, or no such kind at all."""
    if not seen.installed:
        raise WrongInput("the cluster does not know ShardedModels: install the chart, or apply `crds/`")
    key, objects = (namespace or seen.namespace, name), seen.store.sharded_models.objects
    if key in objects:
        return objects[key]
    elsewhere = [f"`{space}`" for space, known in sorted(objects) if known == name]
    hint = f"; there is one in {', '.join(elsewhere[:_LISTED])}" if elsewhere else ""
    raise WrongInput(f"no ShardedModel `{name}` in namespace `{key[0]}`{hint}")
