"""Planning without a cluster: objects and a fleet from files, the same core, the same answer."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from shardwise.api import InvalidObject, ShardedModel, parse, to_wanted
from shardwise.api.base import KIND
from shardwise.cli.documents import Document, read_documents, shown
from shardwise.cli.reading import Seen
from shardwise.cli.verdicts import Verdict
from shardwise.cli.working import working
from shardwise.cli.wrong import WrongInput
from shardwise.domain.fleet import Fleet
from shardwise.domain.gpu_limit import GpuLimit
from shardwise.domain.launch import LaunchSite, Wanted
from shardwise.domain.model import ModelFacts
from shardwise.domain.needs import Amounts, needs_by_node
from shardwise.domain.obstacle import Obstacle
from shardwise.domain.plan import Plan
from shardwise.domain.reasons import Reason
from shardwise.domain.refusal import Refusal
from shardwise.domain.site import HubSite, Site
from shardwise.domain.units import plural
from shardwise.engines import problems
from shardwise.hub import FactsUnavailable, model_facts
from shardwise.observe import Key, Store
from shardwise.planner import plan


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer for an object.

    ``outcome`` is a plan, a refusal, an obstacle that keeps the plan from being started, or the lines that list the
    errors of the object.
    """

    name: str
    namespace: str
    outcome: Plan | Refusal | Obstacle | tuple[str, ...]
    wanted: Wanted | None = None

    @property
    def verdict(self) -> Verdict:
        """Placed, refused, or invalid."""
        if isinstance(self.outcome, Plan):
            return "placed"
        return "refused" if isinstance(self.outcome, Refusal | Obstacle) else "invalid"

    @property
    def placed(self) -> tuple[Wanted, Plan] | None:
        """The object and its plan, where it has one."""
        if self.wanted is not None and isinstance(self.outcome, Plan):
            return self.wanted, self.outcome
        return None


def read_objects(names: Iterable[str]) -> list[Document]:
    """Read the ShardedModels of files; other kinds beside them are passed over, as in a GitOps folder.

    Raises :class:`WrongInput` where there is none.
    """
    names = list(names)
    documents = [document for _, document in read_documents(names)]
    found = [document for document in documents if document.get("kind") == KIND]
    if not found:
        kinds = ", ".join(sorted({_kind(document) for document in documents})) or "nothing"
        raise WrongInput(f"no ShardedModel in {shown(names)}: found {kinds}")
    return found


def plan_all(objects: Iterable[Document], seen: Seen, *, independent: bool, site: Site | None = None) -> list[Answer]:
    """Plan each object, in order; the GPUs of an object are gone for the next object, unless they are independent.

    An object is planned as the operator would: as if its own pods, where it runs already, held nothing. ``site`` is the
    operator configuration.
    """
    site = site or Site()
    answers: list[Answer] = []
    facts = facts_once(site.hub)
    documents = list(objects)
    with working(lambda: f"planning, {len(answers)} of {plural(len(documents), 'object')} done"):
        for document in documents:
            key = key_for(document)
            answer = _answer(document, key, seen.store, facts, site.launch)
            answers.append(answer)
            if not independent and isinstance(answer.outcome, Plan):
                seen.store.ledger.release(key)
                seen.store.hold(key, answer.outcome.gpus_by_node(), _needs(answer))
    return answers


def _needs(answer: Answer) -> Mapping[str, Amounts]:
    """Add up the resources besides GPUs that the pods of a plan need, by node."""
    if answer.placed is None:
        return {}
    wanted, plan = answer.placed
    groups = (([pod.node for pod in group.pods], group.pods[0].gpus) for group in plan.groups)
    return needs_by_node(wanted.demand.needs, plan.nvlink_gpus, groups)


Facts = Callable[[ShardedModel], ModelFacts]
"""Finds the facts of an object's model."""


def facts_once(site: HubSite | None = None) -> Facts:
    """Find each model's facts once, however many objects serve it: the Hub is asked once, the planner remembers it."""
    known: dict[str, ModelFacts] = {}

    def facts(obj: ShardedModel) -> ModelFacts:
        said = obj.model_dump_json(include={"spec": {"model"}})
        if said not in known:
            known[said] = model_facts(obj, site)
        return known[said]

    return facts


def read_wanted(document: Document, facts: Facts, site: LaunchSite | None) -> Wanted | tuple[str, ...]:
    """Read the wanted state of an object, or the lines that list its errors. May ask the Hub for the model's facts."""
    try:
        obj = parse(document)
        wanted = to_wanted(obj, facts(obj), site)
    except InvalidObject as error:
        return tuple(str(problem) for problem in error.problems)
    except FactsUnavailable as error:
        return (f"spec.model.name: {error}",)
    found = problems(wanted)
    return tuple(f"{field}: {message}" for field, message in found) if found else wanted


def _answer(document: Document, key: Key, store: Store, facts: Facts, site: LaunchSite | None) -> Answer:
    namespace, name = key
    read = read_wanted(document, facts, site)
    if not isinstance(read, Wanted):
        return Answer(name, namespace, read)
    fleet = store.fleet(without=key)
    made = plan(read.demand, fleet)
    if isinstance(made, Plan):
        made = _within_limit(read, made, fleet, store.limits(key, document), store.gpus_of_others(key))
    if isinstance(made, Plan) and store.compute_domains is False:
        from shardwise.reconcile.fabric import missing_compute_domains  # noqa: PLC0415 - few clusters say that they lack them

        message = missing_compute_domains(read, made, fleet)
        if message:
            return Answer(name, namespace, Obstacle(Reason.COMPUTE_DOMAINS_MISSING.value, message), read)
    return Answer(name, namespace, made, read)


def _within_limit(
    wanted: Wanted, made: Plan, fleet: Fleet, quotas: tuple[GpuLimit, ...], gpus_of_others: int
) -> Plan | Refusal:
    """Hold a plan to what its namespace may hold, as the operator does."""
    if not quotas and wanted.site.allowed_in(wanted.launch.owner.namespace).gpus is None:
        return made
    from shardwise.reconcile.limits import limit_of  # noqa: PLC0415 - few files have quotas
    from shardwise.reconcile.plans import within_limit  # noqa: PLC0415 - few files have quotas

    return within_limit(wanted.demand, made, fleet, limit_of(wanted, fleet, quotas, gpus_of_others))


def key_for(document: Document) -> Key:
    """Give the namespace and name of a document, as kubectl would apply it; a document of any form gets some."""
    metadata: Any = document.get("metadata")
    if not isinstance(metadata, Mapping):
        return "default", "unnamed"
    return str(metadata.get("namespace") or "default"), str(metadata.get("name") or "unnamed")


def _kind(document: Document) -> str:
    return str(document.get("kind") or "an object without kind")
