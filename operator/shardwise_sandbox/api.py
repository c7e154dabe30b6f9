"""The API without HTTP: the store, the writer, the reader and the garbage collector together."""

from collections.abc import Callable
from datetime import datetime

from shardwise_sandbox.admission import Admission
from shardwise_sandbox.deletion import Deleter
from shardwise_sandbox.garbage import Collector
from shardwise_sandbox.reads import Reader
from shardwise_sandbox.resources import CRD_KEY, from_crd
from shardwise_sandbox.store import ObjectStore
from shardwise_sandbox.subresources import PodActions
from shardwise_sandbox.validation import CelEvaluator
from shardwise_sandbox.watch import DELETED, ObjectChange
from shardwise_sandbox.writes import Writer

_FIRST_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")


class Api:
    """The parts that requests use. All calls are synchronous, and each call is atomic."""

    def __init__(
        self, now: Callable[[], datetime], history: int = 10_000, cel_evaluator: CelEvaluator | None = None
    ) -> None:
        self.now = now
        self.store = ObjectStore(now, history)
        self.admission = Admission(self.store, cel_evaluator)
        self.writer = Writer(self.store, self.admission)
        self.deleter = Deleter(self.store)
        self.reader = Reader(self.store)
        self.pods = PodActions(self.store, self.writer, self.deleter)
        self.store.listeners.append(self._serve_kinds)
        self.collector = Collector(self.store, self.deleter)
        for name in _FIRST_NAMESPACES:
            self.writer.create(self.store.registry.named("namespaces"), "", {"metadata": {"name": name}})

    def _serve_kinds(self, change: ObjectChange) -> None:
        if change.key != CRD_KEY:
            return
        spec = change.obj["spec"]
        self.store.registry.remove(spec["group"], spec["names"]["plural"])
        for resource in from_crd(change.obj) if change.kind != DELETED else ():
            self.store.registry.add(resource)
