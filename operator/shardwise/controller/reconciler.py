"""One reconcile for every cause: parse, observe, decide, write the status, act."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from itertools import groupby
from typing import Any

from shardwise.api import InvalidObject, ShardedModel, parse, to_wanted
from shardwise.api.base import API_VERSION, KIND
from shardwise.cluster import Cluster, ClusterError, Refused, with_keys
from shardwise.cluster.resources import SHARDED_MODEL, kind_of
from shardwise.cluster.spam import EventBudget
from shardwise.controller.store import Key, Store, key_of, version_of
from shardwise.controller.waiting import Waiting, waits
from shardwise.domain.launch import LaunchSite, Wanted
from shardwise.domain.model import ModelFacts
from shardwise.hub import FactsUnavailable
from shardwise.reconcile import (
    Action,
    Apply,
    Decision,
    Delete,
    Emit,
    Invalid,
    MakeKeys,
    decide,
    decide_invalid,
    holdings,
)

LOOK_AGAIN_SECONDS = 0.2
SIDE_BY_SIDE = 8
"""Calls made at once for one object: what is refused is refused to no more than so many."""

FACTS_RETRY_SECONDS = 30.0
"""How soon the Hub is asked again for a model it could not be asked for."""

_log = logging.getLogger(__name__)


class Reconciler:
    """Brings one object at a time closer to what is wanted. ``facts`` may block: it is called in a thread.

    ``when_turns_change`` is called with an object that begins to wait or no longer does: those behind it have another
    turn. ``is_due`` tells whether an object is still to be looked at.
    """

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        facts: Callable[[ShardedModel], ModelFacts],
        now: Callable[[], float],
        site: LaunchSite | None = None,
        waiting: Waiting | None = None,
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._facts = facts
        self._now = now
        self._site = site or LaunchSite()
        self._waiting = waiting or Waiting(store.models, store.priorities)
        self._events = EventBudget()
        self.when_turns_change: Callable[[Key], None] = lambda _: None
        self.is_due: Callable[[Key], bool] = lambda _: False
        self._known: dict[tuple[Key, str], ModelFacts] = {}
        self._asking: set[Key] = set()

    async def reconcile(self, key: Key) -> float | None:
        """Do what one object needs now. Give the seconds after which to look again, or ``None``."""
        found = await self._read_as_it_is(key)
        if found is None:
            self._forget(key)
            return None
        model, read = found
        if waits(model) and any(map(self._goes_first, self._waiting.turn(key).names)):
            # What has become free is theirs first: they were being worked on when it did.
            return LOOK_AGAIN_SECONDS
        decision = self._decide(key, read)
        try:
            await self._write_status(key, model, decision)
        except Refused as error:
            if not isinstance(read, Invalid) or error.status != HTTPStatus.UNPROCESSABLE_ENTITY:
                raise  # a server that is just starting forbids what it will allow
            # An older CRD let in what this one's rules cannot even read: only an Event can tell of it.
            _log.warning("%s/%s: %s", *key, error)
        soon = await self._act_all(key, model, decision.actions)
        return LOOK_AGAIN_SECONDS if soon else decision.retry_after

    def _live(self, key: Key) -> Mapping[str, Any] | None:
        model = self._store.models.objects.get(key)
        return None if model is None or "deletionTimestamp" in model["metadata"] else model

    def _goes_first(self, key: Key) -> bool:
        """Tell whether one ahead is about to be decided on. While its model is being looked up nobody waits for it."""
        return key not in self._asking and self.is_due(key)

    def _forget(self, key: Key) -> None:
        self._store.hold(key, None)
        self._store.refused.pop(key, None)
        self._waiting.demands.pop(key, None)
        self._events.forget(key)
        self._known = {one: facts for one, facts in self._known.items() if one[0] != key}

    async def _read_as_it_is(self, key: Key) -> tuple[Mapping[str, Any], Wanted | Invalid] | None:
        """Read an object, anew if it was edited or made again meanwhile: asking the Hub may take a while."""
        while (model := self._live(key)) is not None:
            read = await self._read(key, model)
            if self._live(key) is model:
                return model, read
        return None

    async def _read(self, key: Key, model: Mapping[str, Any]) -> Wanted | Invalid:
        generation = int(model["metadata"].get("generation") or 0)
        try:
            obj = parse(model)
            return to_wanted(obj, await self._facts_of(key, obj), self._site)
        except InvalidObject as error:
            return Invalid(generation, str(error))
        except FactsUnavailable as error:
            return Invalid(generation, str(error), "ModelFactsUnavailable", FACTS_RETRY_SECONDS)

    def _decide(self, key: Key, read: Wanted | Invalid) -> Decision:
        """Decide, and hold the planned GPUs in the same step: nobody else plans between the two."""
        if isinstance(read, Invalid):
            return decide_invalid(read, self._store.observe(key), self._now())
        self._waiting.demands[key] = read.demand
        observed = replace(self._store.observe(key), turn=self._waiting.turn(key))
        decision = decide(read, observed, self._now())
        self._store.hold(key, holdings(decision.status))
        return decision

    async def _facts_of(self, key: Key, obj: ShardedModel) -> ModelFacts:
        """Look the model up once for as long as the object says the same of it."""
        asked = (key, obj.spec.model.model_dump_json())
        if asked not in self._known:
            self._asking.add(key)
            try:
                facts = await asyncio.to_thread(self._facts, obj)
            finally:
                self._asking.discard(key)
            self._known = {one: known for one, known in self._known.items() if one[0] != key}
            self._known[asked] = facts
        return self._known[asked]

    async def _write_status(self, key: Key, model: Mapping[str, Any], decision: Decision) -> None:
        if decision.status == (model.get("status") or {}):
            return
        manifest = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": key[1], "namespace": key[0], "resourceVersion": model["metadata"]["resourceVersion"]},
            "status": decision.status,
        }
        try:
            self._store.models.put(await self._cluster.apply_status(manifest))
        except ClusterError as error:
            if error.status == HTTPStatus.CONFLICT:
                # Decided on what is no longer so: by an edit, another leader, or a write whose answer was lost.
                self._store.models.put(await self._cluster.get(SHARDED_MODEL, *key))
            raise
        if waits(model) != ("waitingSince" in decision.status):
            self.when_turns_change(key)

    async def _act_all(self, key: Key, model: Mapping[str, Any], actions: tuple[Action, ...]) -> bool:
        """Do what was decided, and tell whether to look again soon, though nothing more may happen.

        Something had been refused and no longer is, or a pod was there already and runs, left by an earlier object.
        What is refused is remembered, and told by the next decision, which is soon. Events tell what the status says by
        now: they are recorded whether or not the rest succeeds.
        """
        events = [action for action in actions if isinstance(action, Emit)]
        soon = False
        try:
            for batch in _batches(actions):
                soon |= await self._act_together(model, batch)
        except ClusterError as error:
            if isinstance(error, Refused):
                self._store.refused[key] = str(error)
            for event in events:
                await self._act(model, event)
            raise
        for event in events:
            await self._act(model, event)
        return self._store.refused.pop(key, None) is not None or soon

    async def _act_together(self, model: Mapping[str, Any], batch: Sequence[Action]) -> bool:
        """Carry actions out side by side, each to its end; then fail as the first that failed."""
        outcomes = await asyncio.gather(*(self._act(model, action) for action in batch), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return any(outcomes)

    async def _act(self, model: Mapping[str, Any], action: Action) -> bool:
        """Carry an action out. Tell whether it found a pod that runs already: no event of it may follow."""
        namespace = model["metadata"]["namespace"]
        match action:
            case Apply(manifest):
                applied = await self._cluster.apply(manifest)
                shelf = self._store.shelf_of(manifest["kind"])
                if shelf is not None:
                    shelf.put(applied)
                return (applied.get("status") or {}).get("phase") == "Running"
            case MakeKeys(manifest):
                await self._cluster.create(with_keys(manifest))
            case Delete(kind, name, uid, api_version):
                await self._cluster.delete(kind_of(api_version, kind), namespace, name, uid)
                self._forget_deleted(kind, (namespace, name))
            case Emit(reason, message):
                key = key_of(model)
                _log.info("%s/%s: %s: %s", *key, reason, message)
                if self._events.allows(key, self._now()):
                    await self._cluster.record({"apiVersion": API_VERSION, "kind": KIND, **model}, action)
        return False

    def _forget_deleted(self, kind: str, key: Key) -> None:
        """Take what was deleted for gone, or the next decision would delete it again; a pod takes its time."""
        shelf = None if kind == "Pod" else self._store.shelf_of(kind)
        known = None if shelf is None else shelf.objects.get(key)
        if shelf is not None and known is not None:
            shelf.remove(key, version_of(known))


def _batches(actions: Sequence[Action]) -> Iterator[Sequence[Action]]:
    """Give what may be done side by side: what follows one another, and is of one sort. Events come later."""
    for _, alike in groupby((one for one in actions if not isinstance(one, Emit)), _sort_of):
        rest = list(alike)
        while rest:
            yield rest[:SIDE_BY_SIDE]
            rest = rest[SIDE_BY_SIDE:]


def _sort_of(action: Action) -> tuple[type[Action], str]:
    match action:
        case Apply(manifest):
            return Apply, manifest["kind"]
        case Delete(kind):
            return Delete, kind
        case _:
            return type(action), ""
