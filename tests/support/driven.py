"""The operator's own parts on the in-memory API, driven step by step without HTTP, clock or chance.

What is real: store, taking in changes, reconciler, the API's rules of writing, its scheduler, kubelets and collector.
What stands in: the connection (calls go straight to the API, and any of them may be harmed), and the queue.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any

from shardwise.api import ShardedModel, crd
from shardwise.cluster import ClusterError, Refused, Retryable
from shardwise.domain.launch import NATIVE_POD_GROUPS, LaunchSite, QueueSystem
from shardwise.domain.model import ModelFacts
from shardwise.domain.site import Site
from shardwise.hub import model_facts
from shardwise.inventory import gpu_request
from shardwise.observe import Key, Store, Waiting
from shardwise.observe.kinds import ATTACHED, RESOURCE_SLICE, Kind, kind_of
from shardwise.operate import Asking, Changes, relist
from shardwise.operate.deciding import Deciding
from shardwise.operate.reconciler import Reconciler
from shardwise.reconcile.actions import Decision, Emit
from shardwise.reconcile.observed import see_pod
from shardwise.reconcile.status_data import holdings
from shardwise_sandbox import (
    ApiError,
    DeleteOptions,
    Sandbox,
    WriteOptions,
    h100_node,
    pod_group_definition,
    queue_objects,
)
from shardwise_sandbox.asked import asked_in
from shardwise_sandbox.watch import DELETED, ObjectChange
from shardwise_sandbox.writes import Target

Json = dict[str, Any]

MODELS = "ShardedModel"
KUEUE = "kueue.x-k8s.io"
_HEARD = (
    (KUEUE, "resourceflavors"),
    (KUEUE, "clusterqueues"),
    (KUEUE, "localqueues"),
    (KUEUE, "workloads"),
    *((kind.group, kind.plural) for kind in ATTACHED),
    ("", "nodes"),
    ("", "pods"),
    ("", "services"),
    ("policy", "poddisruptionbudgets"),
    ("scheduling.k8s.io", "podgroups"),
    ("shardwise.dev", "shardedmodels"),
    ("resource.k8s.io", "resourceslices"),
    ("resource.k8s.io", "resourceclaims"),
)
START = 1_800_000_000.0


class Harm(StrEnum):
    """What happens to one call, or from then on to the watches."""

    DIES_BEFORE = "the operator dies before it"
    DIES_AFTER = "the operator dies after it"
    ANSWER_LOST = "it is carried out, its answer lost"
    TIMEOUT = "it is not carried out, and nobody answers"
    CONFLICT = "it is answered 409"
    SERVER_ERROR = "it is answered 500"
    WATCH_DROPPED = "the watches end, and begin again with a list"
    DELETIONS_MISSED = "no deletion is told of, until the next list"


class Died(Exception):
    """The operator's process ended here."""


@dataclass
class Wire:
    """The calls to the API, counted; the ``at``-th since it was armed is harmed."""

    sandbox: Sandbox
    calls: list[str] = field(default_factory=list)
    at: int = -1
    harm: Harm = Harm.DIES_AFTER
    fired: bool = False
    dead: bool = False
    after: Callable[[], None] = lambda: None
    refuses: Callable[[str], bool] = lambda _: False
    """Tells which calls a quota refuses."""
    by_dra: bool = False
    """Whether the API server serves what is needed for GPUs by dynamic resource allocation."""
    ganged: bool = False
    """Whether the API server serves PodGroups of Kubernetes."""

    async def list(
        self, kind: Kind, selector: str | None = None, trim: Callable[[Json], Json] | None = None
    ) -> tuple[list[Json], str]:
        """List all objects of a kind."""
        del selector, trim  # what is not ours is left out by its owner, as on the watches
        return self._call(f"list {kind.plural}", lambda: shared(self.sandbox, kind.plural)), str(
            self.sandbox.store.version
        )

    async def get(self, kind: Kind, namespace: str, name: str) -> Json:
        """Read an object."""
        found: Json = self._call(f"get {name}", lambda: self.sandbox.get(kind.name, namespace, name))
        return found

    async def serves(self, kind: Kind) -> bool:
        """Tell that no add-on but Kueue is there, with the kind it would bring. Slices are served where any are."""
        there = self.ganged and kind.api_version == NATIVE_POD_GROUPS
        there |= self.sandbox.kueue is not None and kind.group == KUEUE
        return bool(self._call(f"look for {kind.plural}", lambda: there or (kind is RESOURCE_SLICE and self.by_dra)))

    async def create(self, manifest: Mapping[str, Any]) -> None:
        """Create an object; one that is there is kept."""
        try:
            self._call(f"create {manifest['metadata']['name']}", lambda: self.sandbox.create(dict(manifest)))
        except ClusterError as error:
            # As in a delete: a call that was disturbed comes as a conflict of its own.
            if "already exists" not in str(error):
                raise

    async def apply(self, manifest: Mapping[str, Any]) -> Json:
        """Apply an object."""
        return self._applied(manifest, "")

    async def merge(self, manifest: Mapping[str, Any], patch: Mapping[str, Any]) -> Json:
        """Merge a patch into an object."""
        kind, metadata = manifest["kind"], manifest["metadata"]
        words = f"merge {kind} {metadata['name']}"
        made: Json = self._call(
            words, lambda: self.sandbox.patch(kind, metadata["namespace"], metadata["name"], dict(patch))
        )
        return made

    async def apply_status(self, manifest: Mapping[str, Any]) -> Json:
        """Apply a status."""
        return self._applied(manifest, "status")

    def _applied(self, manifest: Mapping[str, Any], subresource: str) -> Json:
        metadata = manifest["metadata"]
        kind = self.sandbox.store.registry.named(manifest["kind"])
        target = Target(kind, (metadata["namespace"], metadata["name"]), subresource)
        how = WriteOptions(manager="shardwise", force=True)
        words = f"apply {manifest['kind']} {metadata['name']} {subresource}".strip()
        made: Json = self._call(words, lambda: self.sandbox.api.writer.apply(target, dict(manifest), how)[0])
        return made

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str = "", grace: int | None = None) -> None:
        """Delete an object; one that is gone is deleted."""
        try:
            options = DeleteOptions(grace=grace, uid=uid)
            self._call(f"delete {name}", lambda: self.sandbox.delete(kind.name, namespace, name, options))
        except ClusterError as error:
            # A conflict is that of another uid: a call that was disturbed comes as a conflict of its own.
            if error.status != 404 and "Precondition" not in str(error):
                raise

    async def record(self, about: Mapping[str, Any], event: Emit) -> None:
        """Record an Event; nobody keeps it here."""
        self._call(f"record {event.reason}", lambda: about)

    def _call(self, words: str, carry_out: Callable[[], Any]) -> Any:
        if self.dead:
            raise Died  # what was to be called at the same time
        position = len(self.calls)
        self.calls.append(words)
        harm = self.harm if position == self.at else None
        self.fired = self.fired or harm is not None
        if harm is Harm.DIES_BEFORE:
            self.dead = True
            raise Died
        if harm is Harm.TIMEOUT:
            raise Retryable(f"cannot {words}: no answer")
        if harm in (Harm.CONFLICT, Harm.SERVER_ERROR):
            status = 409 if harm is Harm.CONFLICT else 500
            raise Retryable(f"cannot {words}: HTTP {status}", status)
        if self.refuses(words):
            raise Refused(f"cannot {words}: exceeded quota", 403)
        answer = self._carried_out(words, carry_out)
        self.after()
        if harm is Harm.DIES_AFTER:
            self.dead = True
            raise Died
        if harm is Harm.ANSWER_LOST:
            raise Retryable(f"cannot {words}: no answer")
        return answer

    @staticmethod
    def _carried_out(words: str, carry_out: Callable[[], Any]) -> Any:
        try:
            return carry_out()
        except ApiError as error:
            kind = Retryable if error.code in (409, 500, 503) else Refused
            raise kind(f"cannot {words}: {error.message}", error.code) from error


def shared(sandbox: Sandbox, kind: str) -> list[Json]:
    """List objects without copying them: who reads them changes nothing."""
    return list(sandbox.store.all(sandbox.store.registry.named(kind).key))


class Keys:
    """Keys that want work, first come first served, each at most once; and when to come back."""

    def __init__(self, waiting: Waiting) -> None:
        self.ready: list[Key] = []
        self._waiting = waiting

    def add(self, key: Key) -> None:
        """Ask for work."""
        if key not in self.ready:
            self.ready.append(key)

    def sweep(self, first: Key | None = None) -> None:
        """Ask for work on all that lack a place, in turn."""
        for key in self._waiting.lacking_from(first):
            self.add(key)


async def _at_once(call: Callable[[], Decision]) -> Decision:
    """Decide without a thread: here nobody else has anything to do meanwhile."""
    return call()


class Operator:
    """One life of the operator's process."""

    def __init__(self, wire: Wire, now: Callable[[], float], site: Site | None = None) -> None:
        site = site or Site()
        self.store = Store(site.fleet)
        self.keys = Keys(self.store.waiting)
        at_once = Deciding(self.store, now, _at_once)
        self._site = site.launch
        self.reconciler = Reconciler(wire, self.store, _facts, now, site.launch, deciding=at_once)  # type: ignore[arg-type]
        self.changes = Changes(self.store, self.keys)  # type: ignore[arg-type]
        self.reconciler.when_turns_change = self.changes.wake_behind
        self.asking = Asking(self.store, now, asked_in(wire.sandbox))
        self.asking.wake = self.keys.add
        self.reconciler.ask_engines = self.asking.begin
        self._wire = wire
        self.seen = 0

    async def list(self) -> None:
        """List everything, as at a start, after a watch expired, and now and then."""
        self.seen = self._wire.sandbox.store.version
        await relist(
            self._wire,  # type: ignore[arg-type]
            self.store,
            self.changes,
            self.keys,  # type: ignore[arg-type]
            site=self._site,
        )

    def hear(self, changes: Iterable[ObjectChange]) -> None:
        """Hear of changes."""
        handlers = {
            "pods": self.changes.pod,
            "services": self.changes.service,
            "nodes": self.changes.node,
            "poddisruptionbudgets": self.changes.budget,
            "shardedmodels": self.changes.sharded_model,
            "resourceslices": self.changes.resource_slice,
            "resourceclaims": self.changes.resource_claim,
            "podgroups": self.changes.pod_group(kind_of(NATIVE_POD_GROUPS, "PodGroup")),
        } | {kind.plural: self.changes.kueue(kind) for kind, _, _ in self.store.cluster_queues.shelves}
        handlers |= {kind.plural: self.changes.attachment(kind) for kind in ATTACHED}
        for change in sorted(changes, key=lambda one: one.version):
            handler = handlers.get(change.key[1])
            if handler is not None:
                handler(change.obj, change.kind == DELETED)


_definition = lru_cache(crd.definition)


@lru_cache
def _known(name: str, written: str) -> ModelFacts:
    return model_facts(ShardedModel.model_validate_json(written))


def _facts(obj: ShardedModel) -> ModelFacts:
    plain = obj.model_copy(update={"spec": obj.spec.model_copy(update={"replicas": 1})})
    return _known(obj.spec.model.name, plain.model_dump_json(by_alias=True))


class Driven:
    """A cluster and its operator, as long as it lives; a new one follows one that died."""

    def __init__(self, nodes: Sequence[Json] | None = None, site: Site | None = None, quota: int = 0) -> None:
        """Make a cluster. With a ``quota`` of GPUs, it has Kueue, and a queue ``team``."""
        site = Site(launch=LaunchSite(queue_systems=(QueueSystem.KUEUE,))) if quota else site
        self.now = START
        self.site = site
        fleet = [h100_node(f"h100-{number}") for number in range(1, 5)] if nodes is None else nodes
        self.sandbox = Sandbox(now=lambda: datetime.fromtimestamp(self.now, UTC), objects=[_definition(), *fleet])
        if quota:
            self.sandbox.add_kueue(queue_objects(quota))
        self.wire = Wire(
            self.sandbox, after=self.check, by_dra=site is not None and site.fleet.device_class is not None
        )
        if site is not None and site.launch.gangs:
            self.sandbox.create(pod_group_definition(NATIVE_POD_GROUPS))
            self.wire.ganged = True
        self.operator = Operator(self.wire, lambda: self.now, site)
        self.lives = 1
        self.deaf = False
        self.until = float("inf")
        """The time after which no appointment is kept: some objects always have another."""
        self._started = False
        self._later: dict[Key, float] = {}

    def arm(self, at: int, harm: Harm) -> None:
        """Let the ``at``-th call from now on be harmed."""
        self.wire.calls.clear()
        self.wire.at, self.wire.harm, self.wire.fired = at, harm, False

    async def settle(self, most: int = 400) -> None:
        """Let everything happen that will, over as much time as it takes."""
        for _ in range(most):
            if not await self._step():
                return
        raise AssertionError(f"not settled; last calls: {self.wire.calls[-8:]}")

    def _say_of_gangs(self) -> None:
        """Say of each gang whose pods are all bound that it is, as Kubernetes' scheduler does once."""
        for group in self.sandbox.list("podgroups") if self.wire.ganged else ():
            name = group["metadata"]["name"]
            members = (pod["spec"] for pod in shared(self.sandbox, "pods"))
            bound = [spec for spec in members if spec.get("schedulingGroup") == {"podGroupName": name}]
            whole = len(bound) >= group["spec"]["schedulingPolicy"]["gang"]["minCount"]
            if whole and all(spec.get("nodeName") for spec in bound) and not group.get("status"):
                said = {"type": "PodGroupScheduled", "status": "True", "reason": "Scheduled"}
                self.sandbox.patch(
                    "PodGroup", "default", name, {"status": {"conditions": [said]}}, subresource="status"
                )

    async def _step(self) -> bool:
        self.sandbox.settle()
        self._say_of_gangs()
        try:
            await self.operator.asking.all_answered()
            if not self._started:
                self._started = True
                await self.operator.list()
            await self._hear()
            return await self._work()
        except Died:
            self.operator.asking.close()
            self.operator, self.wire.dead = Operator(self.wire, lambda: self.now, self.site), False
            self._started, self.lives = False, self.lives + 1
            self._later.clear()
            return True
        except ClusterError:
            self._started = False  # a list that fails at the start is begun again
            return True

    async def _hear(self) -> None:
        heard = self.operator.seen
        lossy = self.wire.fired and self.wire.harm in (Harm.WATCH_DROPPED, Harm.DELETIONS_MISSED)
        if lossy and self.wire.harm is Harm.WATCH_DROPPED and not self.deaf:
            self.deaf = True
            await self.operator.list()
            heard = self.operator.seen
        for key in _HEARD:
            changes = self.sandbox.store.log.since(key, heard)
            missed = lossy and self.wire.harm is Harm.DELETIONS_MISSED and not self.deaf
            self.operator.hear(change for change in changes if not (missed and change.kind == DELETED))
        self.operator.seen = self.sandbox.store.version

    async def _work(self) -> bool:
        if not self.operator.keys.ready:
            return await self._wait()
        key = self.operator.keys.ready.pop(0)
        self._later.pop(key, None)
        try:
            seconds = await self.operator.reconciler.reconcile(key)
        except ClusterError:
            self.operator.keys.add(key)
            return True
        if seconds is not None:
            self._later[key] = self.now + seconds
        return True

    async def _wait(self) -> bool:
        """Let time pass to the next appointment, and at the very end to the next list of everything."""
        if self._later and min(self._later.values()) <= self.until:
            key = min(self._later, key=lambda one: self._later[one])
            self.now = max(self.now, self._later.pop(key))
            self.operator.keys.add(key)
            return True
        if self.wire.fired and self.wire.harm is Harm.DELETIONS_MISSED and not self.deaf:
            self.deaf = True
            await self.operator.list()
            return True
        return False

    def check(self) -> None:
        """Hold what is decided, and what is there, to the GPUs there are: after every call."""
        held: Counter[str] = Counter()
        for model in shared(self.sandbox, MODELS):
            planned = Counter(holdings(model.get("status") or {}))
            live: Counter[str] = Counter()
            for seen, gpus in self._pods(model["metadata"]["uid"]):
                if not seen.deleting and not seen.gated:
                    live[seen.node or seen.wants] += gpus
            # Kueue may give the GPUs of a group to another before the operator hears of it.
            held += planned | live if self.sandbox.kueue is None else live
        for node in shared(self.sandbox, "nodes"):
            name, gpus = node["metadata"]["name"], int(node["status"]["allocatable"].get("nvidia.com/gpu", 8))
            assert held[name] <= gpus, f"{held[name]} of {gpus} GPUs of {name} are held"

    def _pods(self, uid: str) -> Iterable[tuple[Any, int]]:
        for pod in shared(self.sandbox, "pods"):
            if pod["metadata"]["ownerReferences"][0]["uid"] == uid:
                yield see_pod(pod), gpu_request(pod)

    def graph(self) -> Json:
        """Give all that there is for the objects: pods and where they are, Services, how the objects stand."""
        pods = {pod["metadata"]["name"]: pod["spec"].get("nodeName", "") for pod in shared(self.sandbox, "pods")}
        models = {
            model["metadata"]["name"]: (
                next(condition["type"] for condition in model["status"]["conditions"] if condition["status"] == "True"),
                model["status"]["readyReplicas"],
                model["status"]["observedGeneration"] == model["metadata"]["generation"],
                sorted(name for group in model["status"]["groups"] for name in group.get("nodes", ())),
                [group.get("kvCacheTokens") for group in model["status"]["groups"]],
            )
            for model in shared(self.sandbox, MODELS)
        }
        made: Json = {
            kind: list(self.sandbox.names(kind)) for kind in ("services", "poddisruptionbudgets", "configmaps")
        }
        made["keys"] = len(self.sandbox.names("secrets"))  # named by the object's uid, which is random
        return {"pods": pods, "models": models, **made}

    def patch(self, name: str, **spec: Any) -> None:
        """Edit an object's spec."""
        self.sandbox.patch(MODELS, "default", name, {"spec": spec})

    def status(self, name: str) -> Json:
        """Give an object's status."""
        status: Json = self.sandbox.get(MODELS, "default", name)["status"]
        return status


__all__ = ["START", "Died", "Driven", "Harm", "Operator", "Wire", "shared"]
