"""A cluster in a few lines, for decisions: it carries actions out, and things happen to its pods."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tests.support.fleets import a_fleet, h100s
from tests.support.launches import LAUNCH_FIELDS, a_launch, changed_launch
from tests.support.models import LLAMA_8B, LLAMA_405B, a_demand

from shardwise.domain.demand import Demand, Pins
from shardwise.domain.fleet import Exclusion, Fleet
from shardwise.domain.gpu_limit import GpuLimit
from shardwise.domain.launch import RestartPolicy, UpdateStrategy, Wanted
from shardwise.reconcile.actions import Action, Apply, Decision, Delete, Emit, MakeKeys, Reach
from shardwise.reconcile.asks import Answer, Attempt, Heard
from shardwise.reconcile.decide import decide
from shardwise.reconcile.mends import Mends
from shardwise.reconcile.observed import (
    AttachmentsSeen,
    GangSeen,
    Observed,
    PodSeen,
    QueueSeen,
    see_companions,
    see_pod,
)
from shardwise.reconcile.records import format_time
from shardwise.reconcile.status_data import read_status
from shardwise.reconcile.turn_order import TurnOrder
from shardwise.reconcile.turns import Turn, Waiter
from shardwise.reconcile.whole import broken
from shardwise.render.attachments import ATTACHMENTS
from shardwise.render.manifest import SERVES
from shardwise.render.names import serving_name

Json = dict[str, Any]

START = 1_800_000_000.0
NAME = "llama"

LAST = Waiter("default/llama", -1_000, 2 * START, START)
"""The object as it stands in the queue: behind everybody."""


_UNASKED = ("model", "replicas", "target")
"""Fields of a demand by which no plan is named: the name of the model stands for its facts."""


def wants(demand: Demand | None = None, *, generation: int = 1, **changes: Any) -> Wanted:
    """Give an object as wanted; a keyword is a field of a part of ``Launch``, of a policy, or of the object."""
    restart = {key: changes.pop(key) for key in list(changes) if key in RestartPolicy.__dataclass_fields__}
    update = {key: changes.pop(key) for key in list(changes) if key in UpdateStrategy.__dataclass_fields__}
    launch_changes = {key: changes.pop(key) for key in list(changes) if key in (*LAUNCH_FIELDS, "owner")}
    launch = a_launch(NAME, LLAMA_8B, **({"served_name": NAME} | launch_changes))
    wanted = Wanted(demand or a_demand(LLAMA_8B, budget=8), launch, generation)
    return named(replace(wanted, restart=RestartPolicy(**restart), update=UpdateStrategy(**update), **changes))


def named(wanted: Wanted) -> Wanted:
    """Name what an object asks for and what its pods are made from, as its wire form is named."""
    demand = wanted.demand
    asked = {name: getattr(demand, name) for name in demand.__dataclass_fields__ if name not in _UNASKED}
    content = {
        name: value for name, value in asked.items() if name not in ("gpu_budget", "pins", "objective", "target")
    }
    launch = changed_launch(wanted.launch, port=0, type="")
    return replace(wanted, asks=f"{demand.model.name} {asked}", content=f"{launch} {content}")


def two_nodes_wide(pins: Pins | None = None, **changes: Any) -> Wanted:
    """Give an object that takes two whole H100 nodes: TP8×PP2."""
    return wants(a_demand(LLAMA_405B, budget=16, pins=pins or Pins()), **changes)


@dataclass
class World:
    """One object on a cluster. Pods are kept as the API server shows them, and are read as the operator reads them."""

    wanted: Wanted
    fleet: Fleet = field(default_factory=lambda: a_fleet(h100s(3)))
    now: float = START
    status: Json = field(default_factory=dict)
    pods: dict[str, Json] = field(default_factory=dict)
    services: dict[str, Json] = field(default_factory=dict)
    companions: dict[tuple[str, str], Json] = field(default_factory=dict)
    secrets: dict[str, Json] = field(default_factory=dict)
    compute_domains: bool = True
    budgets: dict[str, Json] = field(default_factory=dict)
    events: list[Emit] = field(default_factory=list)
    refused: str = ""
    quotas: tuple[GpuLimit, ...] = ()
    gpus_of_others: int = 0
    excused: bool = False
    denies: Callable[[Json], str] | None = None
    """Says why a pod may not be made, or nothing: then what is refused is kept as the operator keeps it."""
    calls: int = 0
    """Refused calls so far."""
    mends: Mends = field(default_factory=dict)
    relisted: bool = False
    queue: QueueSeen = field(default_factory=QueueSeen)
    gang: GangSeen = field(default_factory=GangSeen)
    missing: frozenset[str] = frozenset()
    """The kinds of attachments that the cluster does not serve."""
    answers: dict[Attempt, Answer] = field(default_factory=dict)
    idle: dict[Attempt, Heard] = field(default_factory=dict)
    last: Decision | None = None
    ahead: tuple[Waiter, ...] = ()
    _made: int = 0

    def observe(self) -> Observed:
        """Look at it as the operator's store does."""
        pods = tuple(map(see_pod, sorted(self.pods.values(), key=name_of)))
        return Observed(
            pods,
            dict(self.services),
            read_status(self.status),
            self.fleet,
            self.turn(),
            dict(self.budgets),
            refused=self.refused,
            companions={name: see_companions(one) for name, one in self.services.items()},
            compute_domains=self.compute_domains,
            mends=self.mends,
            relisted=self.relisted,
            queue=self.queue,
            gang=self.gang,
            quotas=self.quotas,
            gpus_of_others=self.gpus_of_others,
            excused=self.excused,
            answers=dict(self.answers),
            heard=dict(self.idle),
            attachments=AttachmentsSeen(
                {named: obj for named, obj in self.companions.items() if named[0] in ATTACHMENTS}, self.missing
            ),
        )

    def turn(self) -> Turn:
        """Give the queue as the object sees it, behind all that wait before it."""
        order = TurnOrder()
        for waiter in self.ahead:
            order.put(waiter)
        return order.turn(LAST, self.fleet, self.now)

    def decide(self) -> Decision:
        """Decide, and carry nothing out."""
        return decide(self.wanted, self.observe(), self.now)

    def step(self, *, keep: Callable[[int], bool] = lambda _: True) -> Decision:
        """Decide once, write the status, and carry out the actions whose position is kept.

        As in the operator, leaders of broken groups leave the Service before anything is decided.
        """
        for leader in broken(self.observe().pods):
            self.carry_out(leader)
        self.last = decision = self.decide()
        self.status = decision.written
        self.mends = decision.mends
        kept = [action for position, action in enumerate(decision.actions) if keep(position)]
        words = ""
        for action in kept:
            words = words or self._denied(action)
            if not words or isinstance(action, Emit):
                self.carry_out(action)
        if self.denies is not None:
            self.refused = words
        return decision

    def _denied(self, action: Action) -> str:
        """Say why an action is refused. What would come after it is not begun."""
        if self.denies is None or not isinstance(action, Apply) or action.manifest["kind"] != "Pod":
            return ""
        words = self.denies(action.manifest)
        self.calls += bool(words)
        return words

    def settle(self, most: int = 10) -> Decision:
        """Decide until nothing is left to do."""
        for _ in range(most):
            before = self.status
            decision = self.step()
            if decision.written == before and not decision.actions:
                return decision
        raise AssertionError(f"not settled after {most} decisions; last: {decision.actions}")

    def carry_out(self, action: Action) -> None:
        """Do to the cluster what an action asks for."""
        match action:
            case Apply(manifest):
                self._apply(manifest)
            case Reach(name, _, reached):
                self._reach(name, reached=reached)
            case Delete("Pod", name, uid):
                if name in self.pods and uid in ("", self.pods[name]["metadata"]["uid"]):
                    del self.pods[name]
            case MakeKeys(manifest):
                self._made += 1
                self.secrets.setdefault(name_of(manifest), manifest | {"data": {"id": str(self._made)}})
            case Delete(kind, name):
                self._delete(kind, name)
            case Emit():
                self.events.append(action)

    def start(self, names: Iterable[str] | None = None) -> None:
        """Bind pods where they must go and let their engines be ready."""
        for name in self.pods if names is None else names:
            self.bind(name)
            self.pods[name]["status"] = {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{"name": "engine", "restartCount": 0, "state": {"running": {}}}],
            }

    def admit(self) -> None:
        """Let the queue of the cluster take its gates away."""
        for pod in self.pods.values():
            pod["spec"].pop("schedulingGates", None)

    def take_away(self, words: str = "Preempted to accommodate a workload") -> None:
        """Let the queue of the cluster take all pods away."""
        for name, pod in self.pods.items():
            evicted = {"type": "TerminationTarget", "status": "True", "reason": "WorkloadEvicted", "message": words}
            pod["status"] = {**pod["status"], "conditions": [*pod["status"].get("conditions", []), evicted]}
            self.deleting(name)

    def bind(self, name: str) -> None:
        """Bind a pod to the node it must go to."""
        self.pods[name]["spec"]["nodeName"] = node_wanted(self.pods[name])

    def answer(self, attempt: Attempt, tokens: int | None) -> None:
        """Let the leader of an attempt say how many tokens its KV cache holds, or that it does not tell."""
        self.answers[attempt] = Answer(1, self.now, final=True, tokens=tokens)

    def run(self) -> Json:
        """Bring everything up."""
        self.settle()
        self.start()
        self.settle()
        return self.status

    def crash(self, name: str, message: str = "CUDA error", code: int = 1) -> None:
        """Let a pod's engine exit, and the pod with it."""
        ended = {"terminated": {"exitCode": code, "reason": "Error", "message": message}}
        self.pods[name]["status"] = {
            "phase": "Failed" if code else "Succeeded",
            "conditions": [{"type": "Ready", "status": "False"}],
            "containerStatuses": [{"name": "engine", "restartCount": 0, "state": ended}],
        }

    def restart_in_place(self, name: str, message: str = "CUDA error", code: int = 1) -> None:
        """Let a pod's engine exit and be started again in place, as pods of an earlier version do."""
        ended = {"terminated": {"exitCode": code, "reason": "Error", "message": message}}
        self.pods[name]["status"] = {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "False"}],
            "containerStatuses": [{"name": "engine", "restartCount": 1, "state": {"running": {}}, "lastState": ended}],
        }

    def evict(self, name: str) -> None:
        """Let the kubelet throw a pod out."""
        self.pods[name]["status"] = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on memory"}

    def unready(self, name: str) -> None:
        """Let a pod's probe fail."""
        self.pods[name].setdefault("status", {})["conditions"] = [{"type": "Ready", "status": "False"}]

    def unscheduled(self, name: str) -> None:
        """Let the scheduler find no place for a pod, unless it has one."""
        if not self.pods[name]["spec"].get("nodeName"):
            condition = {
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": "0/4 nodes are available: Insufficient cpu",
                "lastTransitionTime": format_time(self.now),
            }
            self.pods[name]["status"] = {"phase": "Pending", "conditions": [condition]}

    def deleting(self, name: str) -> None:
        """Let somebody delete a pod that takes its time to go."""
        self.pods[name]["metadata"]["deletionTimestamp"] = "2027-01-15T08:00:00Z"

    def lose(self, name: str) -> None:
        """Let a pod vanish."""
        del self.pods[name]

    def gone(self) -> None:
        """Let the pods that are being deleted be gone."""
        self.pods = {name: pod for name, pod in self.pods.items() if "deletionTimestamp" not in pod["metadata"]}

    def lose_node(self, *lost: str) -> None:
        """Let nodes go, and their pods with them."""
        self.fleet = Fleet(tuple(node for node in self.fleet.nodes if node.name not in lost))
        self.pods = {name: pod for name, pod in self.pods.items() if node_wanted(pod) not in lost}

    def exclude(self, node: str, why: Exclusion) -> None:
        """Let a node's GPUs be of no use any more."""
        nodes = (one._replace(exclusion=why) if one.name == node else one for one in self.fleet.nodes)
        self.fleet = Fleet(tuple(nodes))

    def edit(self, **changes: Any) -> None:
        """Change what is wanted, as an edit of the object does."""
        self.wanted = named(replace(self.wanted, generation=self.wanted.generation + 1, **changes))

    def demand(self, **changes: Any) -> None:
        """Change what is demanded."""
        self.edit(demand=replace(self.wanted.demand, **changes))

    def launch(self, **changes: Any) -> None:
        """Change how it is started."""
        self.edit(launch=changed_launch(self.wanted.launch, **changes))

    def condition(self, kind: str) -> Json:
        """Give a condition of the status."""
        return next(condition for condition in self.status["conditions"] if condition["type"] == kind)

    def standing(self) -> str:
        """Give the one of Ready, Reconciling and Stalled that is True, with its reason; exactly one must be."""
        (found,) = [
            f"{condition['type']}/{condition['reason']}"
            for condition in self.status["conditions"]
            if condition["type"] in ("Ready", "Reconciling", "Stalled") and condition["status"] == "True"
        ]
        return found

    def states(self) -> list[str]:
        """Give the state and attempt of each group."""
        return [f"{group['state']} {group['attempt']}" for group in self.status["groups"]]

    def nodes(self) -> list[list[str]]:
        """Give the nodes of each group."""
        return [group.get("nodes", []) for group in self.status["groups"]]

    def told(self) -> list[str]:
        """Give the reasons of the events so far."""
        return [event.reason for event in self.events]

    def reached(self) -> list[str]:
        """Name the pods that clients reach: Ready, and selected by the Service for clients."""
        selector = self.services[serving_name(NAME)]["spec"]["selector"].items()
        return [
            name
            for name, pod in sorted(self.pods.items())
            if selector <= pod["metadata"]["labels"].items() and see_pod(pod).ready
        ]

    def labelled(self) -> list[str]:
        """Name the pods that the Service for clients selects, Ready or not."""
        return [pod.name for pod in self.observe().pods if pod.reached]

    def _reach(self, name: str, *, reached: bool) -> None:
        if name in self.pods:
            metadata = self.pods[name]["metadata"]
            labels = {key: value for key, value in metadata["labels"].items() if key != SERVES}
            metadata["labels"] = labels | ({SERVES: "true"} if reached else {})

    def _delete(self, kind: str, name: str) -> None:
        match kind:
            case "Service":
                self.services.pop(name, None)
            case "PodDisruptionBudget":
                self.budgets.pop(name, None)
            case _:
                self.companions.pop((kind, name), None)

    def _apply(self, manifest: Mapping[str, Any]) -> None:
        name = manifest["metadata"]["name"]
        if manifest["kind"] in ("Service", "PodDisruptionBudget"):
            {"Service": self.services, "PodDisruptionBudget": self.budgets}[manifest["kind"]][name] = dict(manifest)
        elif manifest["kind"] != "Pod":
            self.companions[manifest["kind"], name] = dict(manifest)
        elif name not in self.pods:
            self._made += 1
            pod = dict(manifest) | {"metadata": dict(manifest["metadata"]) | {"uid": f"pod-{self._made}"}}
            gates = {"schedulingGates": [{"name": "kueue.x-k8s.io/admission"}]} if self.wanted.queue else {}
            self.pods[name] = pod | {"spec": dict(manifest["spec"]) | gates, "status": {"phase": "Pending"}}


def name_of(obj: Mapping[str, Any]) -> str:
    """Give an object's name."""
    return str(obj["metadata"]["name"])


def node_wanted(pod: Mapping[str, Any]) -> str:
    """Give the node a pod's affinity asks for."""
    terms = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    ((term,),) = (term["matchFields"] for term in terms["nodeSelectorTerms"])
    (node,) = term["values"]
    return str(node)


def gpus_of(pod: Mapping[str, Any]) -> int:
    """Give the GPUs a pod requests."""
    return int(pod["spec"]["containers"][0]["resources"]["requests"]["nvidia.com/gpu"])


def applied(decision: Decision, kind: str) -> list[str]:
    """Name what a decision applies."""
    return [
        name_of(action.manifest)
        for action in decision.actions
        if isinstance(action, Apply) and action.manifest["kind"] == kind
    ]


def deleted(decision: Decision, kind: str) -> list[str]:
    """Name what a decision deletes."""
    return [action.name for action in decision.actions if isinstance(action, Delete) and action.kind == kind]


def seen(index: int = 0, **changes: Any) -> PodSeen:
    """Give a ready pod of replica 0, attempt 0."""
    plain = PodSeen(
        f"llama-0-0-{index}", f"uid-{index}", 0, 0, index, "r1", f"node-{index}", ready=True, deleting=False
    )
    return replace(plain, **changes)


def unscheduled() -> World:
    """Give a group on two nodes: its first pod is bound, for its second the scheduler finds no place."""
    world = World(two_nodes_wide())
    world.settle()
    first, second = sorted(world.pods)
    world.bind(first)
    world.pods[second]["status"] = {
        "conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}]
    }
    return world
