"""A single reconcile for every cause: parse, observe, decide, write the status, act."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from itertools import groupby
from typing import Any, Final, TypeVar

from shardwise.api import InvalidObject, ShardedModel, parse, to_wanted
from shardwise.api.base import API_VERSION, KIND
from shardwise.api.model_spec import ModelSpec
from shardwise.cluster import Cluster, ClusterError, Refused, with_keys
from shardwise.cluster.spam import EventBudget
from shardwise.domain.launch import LaunchSite, Wanted
from shardwise.domain.model import ModelFacts
from shardwise.domain.reasons import Reason
from shardwise.domain.site import HubSite
from shardwise.hub import FactsUnavailable, HubQuestion, ask_hub, facts_from
from shardwise.observe import (
    Json,
    Key,
    Store,
    key_of,
    slim_model,
    slim_owned,
    slim_pod,
    slim_pod_group,
    version_of,
    waits,
)
from shardwise.observe.kinds import POD, SHARDED_MODEL, kind_of
from shardwise.operate.deciding import Deciding
from shardwise.operate.lookups import Lookups
from shardwise.reconcile.actions import Action, Apply, Decision, Delete, Emit, MakeKeys, Reach
from shardwise.reconcile.asks import Ask, TokenAsk
from shardwise.reconcile.cluster_queue import left_queue
from shardwise.reconcile.decide import Invalid, decide_invalid
from shardwise.reconcile.drift import drifts
from shardwise.reconcile.leaving import left_behind
from shardwise.reconcile.whole import broken, by_attempt
from shardwise.render.manifest import SERVES

LOOK_AGAIN_SECONDS = 0.2
SIDE_BY_SIDE = 8
"""Calls made at once for one object. An API server that refuses them refuses no more than these."""

FIRST_REFUSED_SECONDS = 1.0
"""Seconds before a refused write is tried again; doubled by every further refusal."""

LONGEST_REFUSED_SECONDS = 60.0

SLOW_SECONDS = 1.0
"""An object that takes longer to read, its model's look-up in the Hub left out, is named in the log."""

_SLIM: Final[Mapping[str, Callable[[Json], dict[str, Any]]]] = {"Pod": slim_pod, "PodGroup": slim_pod_group}
"""What is kept of the objects of a kind, where that is not as of all other kinds that we make."""

Result = TypeVar("Result")

_log = logging.getLogger(__name__)


class Reconciler:
    """Brings an object at a time closer to its spec.

    ``facts`` gives the facts of a model, or the question that only the Hub can answer. It needs no network, but time:
    it is called in a thread. ``lookups`` asks the Hub.

    ``when_turns_change`` is called with an object that begins or ceases to wait: the turn of the objects behind it
    changes. ``when_decided`` is called when the status of a decision is written, with the object as it was decided on.
    ``when_let_go`` is called with an object that is gone. ``due_ahead`` gives objects whose turn comes before an
    object's, and that the queue will still look at.
    ``ask_engines`` is called with an object and its questions to engines, and does not wait for the answers.
    """

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        facts: Callable[[ShardedModel], ModelFacts | HubQuestion],
        now: Callable[[], float],
        site: LaunchSite | None = None,
        lookups: Lookups | None = None,
        deciding: Deciding | None = None,
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._facts = facts
        self._now = now
        self._site = site or LaunchSite()
        self._lookups = lookups or Lookups(partial(ask_hub, site=HubSite()), now)
        self._deciding = deciding or Deciding(store, now)
        self._events = EventBudget()
        self.when_turns_change: Callable[[Key], None] = lambda _: None
        self.when_let_go: Callable[[Key], None] = lambda _: None
        self.when_decided: Callable[[Key, Json, Decision], None] = lambda _key, _obj, _decision: None
        self.due_ahead: Callable[[Key], Iterable[Key]] = lambda _: ()
        self.ask_engines: Callable[[Key, Iterable[Ask | TokenAsk]], None] = lambda *_: None
        self._refusals: dict[Key, int] = {}
        self._known: dict[Key, tuple[ModelSpec, ModelFacts | InvalidObject]] = {}
        self._looked_up: set[Key] = set()

    async def reconcile(self, key: Key) -> float | None:
        """Do everything an object needs now. Give the seconds after which to look again, or ``None``.

        Leaders of broken groups leave the Service for clients first, before the object is even read: to read it may
        take a look-up in the Hub, and an object that is paused or wrong is decided on later. When a status says that a
        group serves, clients reach it.
        """
        pods = () if self._live(key) is None else self._store.pods_of(key)
        await self._reach_together(key[0], broken(pods))
        rests = self._deciding.resting.seconds_left(key)
        if rests is not None:
            self._store.relisted.discard(key)
            return rests
        found = await self._read_as_it_is(key)
        if found is None:
            await self._let_go(key)
            return None
        obj, read = found
        if _is_parked(obj, read):
            return None
        decision = await self._decided(key, obj, read)
        if decision is None:
            return LOOK_AGAIN_SECONDS
        shown = obj
        with contextlib.suppress(Refused):  # told after the status is written, when the action is tried again
            await self._reach_together(key[0], (action for action in decision.actions if isinstance(action, Reach)))
        try:
            shown = await self._write_status(key, obj, decision)
        except Refused as error:
            if not isinstance(read, Invalid) or error.status != HTTPStatus.UNPROCESSABLE_ENTITY:
                raise  # a server that is just starting forbids what it will allow
            # An older CRD let in an object that this CRD's rules cannot even read: only an Event can tell of it.
            _log.warning("%s/%s: %s", *key, error)
        self.when_decided(key, obj, decision)
        again = await self._carry_out(key, obj, decision)
        self.ask_engines(key, decision.asks)
        if again == decision.retry_after:
            self._deciding.carried_out(key, shown, decision)
        self._store.relisted.discard(key)
        return again

    def _live(self, key: Key) -> Json | None:
        obj = self._store.sharded_models.objects.get(key)
        return None if obj is None or "deletionTimestamp" in obj["metadata"] else obj

    def _lets_others_first(self, key: Key) -> bool:
        """Tell whether an object ahead is about to be decided on: GPUs that have become free are for that object first.

        Nobody waits for an object while its model is looked up.
        """
        return any(other not in self._looked_up for other in self.due_ahead(key))

    async def _let_go(self, key: Key) -> None:
        """Forget an object that is gone. The garbage collector deletes its pods; those that are over end at once.

        Pods that wait in a queue of the cluster would stay: the queue's object for their group is deleted.
        """
        self._forget(key)
        pods = self._store.pods_of(key)
        for pod in left_behind(pods):
            await self._cluster.delete(POD, key[0], pod.name, pod.uid, pod.grace)
        for group in left_queue(key[1], by_attempt(pods), self._store.queued(key)):
            await self._cluster.delete(kind_of(group.api_version, group.kind), key[0], group.name, group.uid)

    def _forget(self, key: Key) -> None:
        self._store.hold(key, {})
        self._store.cluster_queues.enter(key, None)
        self._accepted(key)
        self._store.excused.discard(key)
        self._store.mends.pop(key, None)
        self._store.relisted.discard(key)
        self._events.forget(key)
        self._lookups.forget(key)
        self._deciding.forget(key)
        self._store.answers.pop(key, None)
        self._store.heard.pop(key, None)
        self._known.pop(key, None)
        self.when_let_go(key)

    async def _read_as_it_is(self, key: Key) -> tuple[Json, Wanted | Invalid] | None:
        """Read an object, anew if it was edited or made again meanwhile: asking the Hub may take a while."""
        while (obj := self._live(key)) is not None:
            read = await self._read(key, obj)
            if self._live(key) is obj:
                return obj, read
        return None

    async def _read(self, key: Key, obj: Json) -> Wanted | Invalid:
        generation, began = int(obj["metadata"].get("generation") or 0), self._now()
        _log.debug("%s/%s: reading generation %d", *key, generation)
        try:
            sharded_model = await _beside(obj, parse, obj)
            facts = await self._facts_of(key, generation, sharded_model)
            return await _beside(obj, to_wanted, sharded_model, facts, self._site)
        except InvalidObject as error:
            return Invalid(generation, str(error))
        except FactsUnavailable as error:
            return Invalid(generation, str(error), Reason.MODEL_FACTS_UNAVAILABLE, error.retry_after)
        finally:
            if (took := self._now() - began) > SLOW_SECONDS:
                _log.warning("%s/%s: took %.1f s to read", *key, took)

    async def _decided(self, key: Key, obj: Json, read: Wanted | Invalid) -> Decision | None:
        if isinstance(read, Wanted):
            return await self._deciding.decided(key, obj, read, self._lets_others_first)
        if waits(obj) and self._lets_others_first(key):
            return None
        now = self._now()
        return decide_invalid(read, self._store.observe(key, now), now)

    async def _facts_of(self, key: Key, generation: int, sharded_model: ShardedModel) -> ModelFacts:
        """Find the facts of a model, or that it has none, once for as long as the object says the same of it."""
        known = self._known.get(key)
        if known is None or known[0] != sharded_model.spec.model:
            self._looked_up.add(key)
            try:
                facts = await asyncio.to_thread(_found, self._facts, sharded_model)
                if isinstance(facts, HubQuestion):
                    found = self._lookups.answer(key, generation, facts)
                    facts = await asyncio.to_thread(facts_from, sharded_model, found)
            finally:
                self._looked_up.discard(key)
            known = self._known[key] = (sharded_model.spec.model, facts)
        if isinstance(known[1], InvalidObject):
            raise InvalidObject(known[1].problems)
        return known[1]

    async def _write_status(self, key: Key, obj: Json, decision: Decision) -> Json:
        """Write the status if it differs. Give the object with it."""
        status = decision.written
        if status == (obj.get("status") or {}):
            return obj
        manifest = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": key[1], "namespace": key[0], "resourceVersion": obj["metadata"]["resourceVersion"]},
            "status": status,
        }
        try:
            shown = slim_model(await self._cluster.apply_status(manifest))
            self._store.sharded_models.put(shown)
        except ClusterError as error:
            if error.status == HTTPStatus.CONFLICT:
                # Decided on an object that has changed: by an edit, another leader, or a write whose answer was lost.
                self._store.sharded_models.put(slim_model(await self._cluster.get(SHARDED_MODEL, *key)))
            raise
        if waits(obj) != bool(decision.status.waiting_since):
            self.when_turns_change(key)
        return shown

    async def _carry_out(self, key: Key, obj: Json, decision: Decision) -> float | None:
        """Carry out the actions, and give the seconds after which to look again.

        That is soon if an action had been refused and no longer is, or if a pod was there already and runs, left by an
        earlier object: no event may follow. A refusal is remembered, and told by the next decision, which comes soon.
        Events repeat the status that is written by now: they are recorded whether or not the rest succeeds.
        """
        soon, failed = False, None
        try:
            for batch in _batches(decision.actions):
                soon |= await self._act_together(obj, batch)
        except ClusterError as error:
            failed = error
        refused = self._refused(key, failed) if isinstance(failed, Refused) else None
        for action in decision.actions:
            if isinstance(action, Emit):
                await self._act(obj, action)
        if refused is not None:
            return min(refused, refused if decision.retry_after is None else decision.retry_after)
        if failed is not None:
            raise failed
        return LOOK_AGAIN_SECONDS if self._accepted(key) or soon else decision.retry_after

    def _refused(self, key: Key, error: Refused) -> float:
        """Remember a refusal for the next decision, and give the seconds until then."""
        tries = self._refusals[key] = self._refusals.get(key, 0) + 1
        wait = min(LONGEST_REFUSED_SECONDS, FIRST_REFUSED_SECONDS * 2.0 ** min(tries - 1, 30))
        self._store.refused[key] = str(error)
        _log.warning("%s/%s: %s; again in %.1f s", *key, error, wait)
        return wait

    def _accepted(self, key: Key) -> bool:
        """Forget the refusals of an object. Tell whether there were any."""
        self._refusals.pop(key, None)
        return self._store.refused.pop(key, None) is not None

    async def _act_together(self, obj: Json, batch: Sequence[Action]) -> bool:
        """Carry actions out side by side, each to its end; then raise the first error, if there was one."""
        outcomes = await asyncio.gather(*(self._act(obj, action) for action in batch), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return any(outcomes)

    async def _act(self, obj: Json, action: Action) -> bool:
        """Carry an action out. Tell whether to look again soon: it found a pod that runs already, or drift remains."""
        namespace = obj["metadata"]["namespace"]
        match action:
            case Apply(manifest, first, drift):
                if first is not None:
                    await self._cluster.merge(manifest, first)
                applied = await self._cluster.apply(manifest)
                shelf = self._store.shelf_of(manifest["kind"])
                if shelf is not None:
                    shelf.put(_SLIM.get(manifest["kind"], slim_owned)(applied))
                runs = (applied.get("status") or {}).get("phase") == "Running"
                # A webhook may change a field inside our own write: then nothing is written, and no event follows.
                return runs or bool(drift and drifts(manifest, applied))
            case MakeKeys(manifest):
                await self._cluster.create(with_keys(manifest))
            case Delete(kind, name, uid, api_version, grace):
                await self._cluster.delete(kind_of(api_version, kind), namespace, name, uid, grace)
                self._forget_deleted(kind, (namespace, name))
            case Reach():
                await self._reach(namespace, action)
            case Emit():
                await self._emit(obj, action)
        return False

    async def _emit(self, obj: Json, event: Emit) -> None:
        key, level = key_of(obj), logging.WARNING if event.warning else logging.INFO
        group = {"replica": event.replica, "attempt": event.attempt}
        _log.log(level, "%s/%s: %s: %s", *key, event.reason, event.message, extra=group)
        if self._events.allows(key, self._now()):
            await self._cluster.record({"apiVersion": API_VERSION, "kind": KIND, **obj}, event)

    async def _reach_together(self, namespace: str, leaders: Iterable[Reach]) -> None:
        await asyncio.gather(*(self._reach(namespace, leader) for leader in leaders))

    async def _reach(self, namespace: str, leader: Reach) -> None:
        """Label a leader, or take its label away. If a webhook refuses the latter, its group is healed all the same."""
        known = self._store.pods.objects.get((namespace, leader.name))
        if known is not None and (known["metadata"].get("labels", {}).get(SERVES) == "true") == leader.reached:
            return
        manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": leader.name, "namespace": namespace}}
        labels = {SERVES: "true" if leader.reached else None}
        try:
            labelled = await self._cluster.merge(manifest, {"metadata": {"uid": leader.uid, "labels": labels}})
        except Refused as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return
            if leader.reached:
                raise
            _log.warning("%s/%s stays in its Service although its group is broken: %s", namespace, leader.name, error)
        else:
            self._store.pods.put(slim_pod(labelled))

    def _forget_deleted(self, kind: str, key: Key) -> None:
        """Take a deleted object for gone, or the next decision would delete it again. A pod goes when it has ended."""
        shelf = None if kind == "Pod" else self._store.shelf_of(kind)
        known = None if shelf is None else shelf.objects.get(key)
        if shelf is not None and known is not None:
            shelf.remove(key, version_of(known))


def _is_parked(obj: Json, read: Wanted | Invalid) -> bool:
    """Tell whether an object whose model is being looked up is left as it is: its status is of its present spec.

    After a restart of the operator, the status of an object that serves or waits its turn stays true meanwhile.
    """
    if not isinstance(read, Invalid) or read.reason is not Reason.MODEL_FACTS_UNAVAILABLE:
        return False
    return read.retry_after is None and (obj.get("status") or {}).get("observedGeneration") == read.generation


async def _beside(obj: Json, read: Callable[..., Result], *given: Any) -> Result:  # noqa: ANN401 - passed through
    """Read beside the loop what may hold a megabyte: the content of a config.json. Every other field is short."""
    spec = obj.get("spec")
    model = spec.get("model") if isinstance(spec, dict) else None
    if isinstance(model, dict) and "config" in model:
        return await asyncio.to_thread(read, *given)
    return read(*given)


def _found(
    facts: Callable[[ShardedModel], ModelFacts | HubQuestion], sharded_model: ShardedModel
) -> ModelFacts | HubQuestion | InvalidObject:
    """Give the facts, or the reason why a config gives none: it stays the same, and is as long to read."""
    try:
        return facts(sharded_model)
    except InvalidObject as error:
        return error


def _batches(actions: Sequence[Action]) -> Iterator[Sequence[Action]]:
    """Give the actions that may be done side by side: successive actions of one sort. Events come later."""
    for _, alike in groupby((action for action in actions if not isinstance(action, Emit)), _sort_of):
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
