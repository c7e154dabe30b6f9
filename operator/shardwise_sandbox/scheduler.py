"""A toy scheduler: it filters nodes as the real scheduler does, takes the first by name, or explains its refusal."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Final

from shardwise_sandbox.admission import WriteOptions
from shardwise_sandbox.api import Api
from shardwise_sandbox.claims import CLAIMS, SLICES, Claims
from shardwise_sandbox.node_table import HOSTNAME, NodeTable
from shardwise_sandbox.objects import JsonObject, condition, dig, is_deleting, labels_of, meta, name_of
from shardwise_sandbox.patching import MERGE
from shardwise_sandbox.pod_index import NODES, PODS, PodIndex
from shardwise_sandbox.quantities import requests
from shardwise_sandbox.selectors import SelectorRequirement, all_hold, expression
from shardwise_sandbox.store import Ref, ref_of
from shardwise_sandbox.watch import ADDED, DELETED, ObjectChange
from shardwise_sandbox.writes import Target

NAME: Final = "default-scheduler"
_HARD: Final = frozenset({"NoSchedule", "NoExecute"})
_UNSCHEDULABLE: Final = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}


class Scheduler:
    """Binds pending pods. ``step`` tries all pods that are due, in order of namespace and name."""

    def __init__(self, api: Api, index: PodIndex, claims: Claims) -> None:
        self._api = api
        self._claims = claims
        self._index = index
        self._nodes = NodeTable(api.store)
        self._waiting: set[Ref] = set()
        self._due: set[Ref] = set()
        api.store.listeners.append(self.notice)

    @property
    def pending(self) -> bool:
        """Whether a pod is due."""
        return bool(self._due)

    def notice(self, change: ObjectChange) -> None:
        """Note the pods that a change concerns: the pod itself, or all waiting pods if capacity may be free."""
        if (change.key == NODES and _matters(change)) or change.key in (CLAIMS, SLICES):
            self._due |= self._waiting
        elif change.key == PODS:
            self._notice_pod(change)

    def _notice_pod(self, change: ObjectChange) -> None:
        ref = ref_of(change.obj)
        if change.kind == DELETED or not _is_schedulable(change.obj):
            self._waiting.discard(ref)
            self._due.discard(ref)
        elif change.kind == ADDED or change.old is None or not _is_schedulable(change.old):
            self._waiting.add(ref)
            self._due.add(ref)
        if _frees_capacity(change):
            self._due |= self._waiting

    def step(self) -> bool:
        """Try every pod that is due once. Return whether there was any."""
        due, self._due = sorted(self._due), set()
        for ref in due:
            pod = self._api.store.at((PODS, ref))
            if pod is not None and _is_schedulable(pod):
                self._place(pod)
        return bool(due)

    def _place(self, pod: JsonObject) -> None:
        fits = NodeFilter(pod, self._index, self._nodes, self._claims)
        for node in fits.candidates():
            # Capacity first: it is the cheapest check, and most nodes of a busy cluster are full.
            if fits.capacity_refusal(node) is None and fits.refusal(node) is None:
                self._claims.allocate(pod, name_of(node))
                self._api.pods.bind(ref_of(pod), name_of(node))
                return
        reasons = Counter(fits.refusal(node) or "" for node in self._nodes.all())
        self._say_why_not(pod, len(self._nodes), reasons)

    def _say_why_not(self, pod: JsonObject, nodes: int, reasons: Counter[str]) -> None:
        said = ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items())) or "no nodes registered"
        message = f"0/{nodes} nodes are available: {said}."
        known = condition(pod, "PodScheduled")
        if known.get("message") == message:
            return
        news = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
            "lastTransitionTime": known.get("lastTransitionTime") or self._api.store.now(),
        }
        others = [item for item in dig(pod, "status", "conditions") or () if item["type"] != "PodScheduled"]
        target = Target(self._api.store.registry.named("pods"), ref_of(pod), "status")
        patch = {"status": {"conditions": [*others, news]}}
        self._api.writer.patch(target, MERGE, patch, WriteOptions(manager="kube-scheduler"))


class NodeFilter:
    """The requirements of a pod on nodes, read once and checked for each node."""

    def __init__(self, pod: JsonObject, index: PodIndex, nodes: NodeTable, claims: Claims) -> None:
        spec = pod["spec"]
        self._claimed = partial(claims.refusal, pod)
        self._index = index
        self._nodes = nodes
        self._requests = requests(pod)
        self._tolerations: list[JsonObject] = spec.get("tolerations") or []
        self._selector = [
            SelectorRequirement(key, "In", (value,)) for key, value in (spec.get("nodeSelector") or {}).items()
        ]
        path = ("affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms")
        terms = dig(spec, *path)
        self._terms = None if terms is None else [_term(term) for term in terms]
        self._checks: tuple[Callable[[JsonObject], str | None], ...] = (
            self._affinity_refusal,
            self._taint_refusal,
            self._ready_refusal,
            self.capacity_refusal,
            lambda node: self._claimed(name_of(node)),
        )

    def candidates(self) -> list[JsonObject]:
        """Return the nodes to check: the nodes that the required affinity names, or else all."""
        if self._terms is None:
            return self._nodes.all()
        names: list[str] = []
        hosts: list[str] = []
        for on_labels, on_fields in self._terms:
            named = _values(on_fields, "metadata.name")
            hosted = _values(on_labels, HOSTNAME)
            if named is None and hosted is None:
                return self._nodes.all()
            names += named or ()
            hosts += hosted or () if named is None else ()
        return self._nodes.some(names, hosts)

    def refusal(self, node: JsonObject) -> str | None:
        """Return the reason why the pod cannot run on the node, as the scheduler words it; ``None`` if it can."""
        return next(filter(None, (check(node) for check in self._checks)), None)

    def _affinity_refusal(self, node: JsonObject) -> str | None:
        labels = labels_of(node)
        fits = all_hold(self._selector, labels)
        if fits and self._terms is not None:
            fields = {"metadata.name": name_of(node)}
            fits = any(
                (on_labels or on_fields) and all_hold(on_labels, labels) and all_hold(on_fields, fields)
                for on_labels, on_fields in self._terms
            )
        return None if fits else "node(s) didn't match Pod's node affinity/selector"

    def _taint_refusal(self, node: JsonObject) -> str | None:
        taints = [*(dig(node, "spec", "taints") or ())]
        if dig(node, "spec", "unschedulable"):
            taints.append(_UNSCHEDULABLE)
        for taint in taints:
            if taint.get("effect") in _HARD and not any(
                tolerates(toleration, taint) for toleration in self._tolerations
            ):
                if taint is _UNSCHEDULABLE:
                    return "node(s) were unschedulable"
                return f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value') or ''}}}"
        return None

    def _ready_refusal(self, node: JsonObject) -> str | None:
        return None if condition(node, "Ready").get("status") == "True" else "node(s) were not ready"

    def capacity_refusal(self, node: JsonObject) -> str | None:
        """Return the message about a resource that the node lacks; ``None`` if it has enough."""
        offered, used = self._nodes.offer(name_of(node)), self._index.used(name_of(node))
        short = [name for name, amount in self._requests.items() if amount > _free(name, offered, used)]
        return f"Insufficient {min(short)}" if short else None


def _free(name: str, offered: Counter[str], used: Counter[str]) -> float:
    if name == "pods" and "pods" not in offered:
        return float("inf")
    return offered[name] - used[name]


def _values(requirements: list[SelectorRequirement], key: str) -> tuple[str, ...] | None:
    """Return the allowed values of a key; ``None`` if no requirement restricts the key."""
    wanted = (key, "In")
    return next(
        (requirement.values for requirement in requirements if (requirement.key, requirement.operator) == wanted), None
    )


def tolerates(toleration: JsonObject, taint: JsonObject) -> bool:
    """Return whether a toleration covers a taint."""
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    key, operator = toleration.get("key"), toleration.get("operator") or "Equal"
    if key and key != taint.get("key"):
        return False
    return operator == "Exists" or (bool(key) and (toleration.get("value") or "") == (taint.get("value") or ""))


def _term(term: JsonObject) -> tuple[list[SelectorRequirement], list[SelectorRequirement]]:
    labels, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    return [*map(expression, labels)], [*map(expression, fields)]


def _is_schedulable(pod: JsonObject) -> bool:
    spec = pod["spec"]
    mine = spec.get("schedulerName", NAME) == NAME
    return mine and not (spec.get("nodeName") or spec.get("schedulingGates") or is_deleting(pod))


def _frees_capacity(change: ObjectChange) -> bool:
    if not dig(change.obj, "spec", "nodeName"):
        return False
    over = dig(change.obj, "status", "phase") in {"Succeeded", "Failed"}
    was_over = change.old is not None and dig(change.old, "status", "phase") in {"Succeeded", "Failed"}
    return change.kind == DELETED or (over and not was_over)


def _matters(change: ObjectChange) -> bool:
    """Return whether a pod may fit on the node after its change. A heartbeat does not matter."""
    if change.kind == DELETED or change.old is None:
        return change.kind != DELETED
    return any(look(change.obj) != look(change.old) for look in _LOOKS)


_LOOKS: Final[tuple[Callable[[JsonObject], object], ...]] = (
    lambda node: node.get("spec"),
    lambda node: meta(node).get("labels"),
    lambda node: condition(node, "Ready").get("status"),
    lambda node: dig(node, "status", "allocatable"),
)
