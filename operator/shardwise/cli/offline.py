"""Planning without a cluster: objects and a fleet from files, the same core, the same answer."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from shardwise.api import InvalidObject, ShardedModel, parse, to_wanted
from shardwise.api.base import KIND
from shardwise.cli.documents import Document, read_documents, shown
from shardwise.cli.output import titled
from shardwise.cli.reading import Seen
from shardwise.cli.verdicts import Verdict
from shardwise.cli.working import working
from shardwise.cli.wrong import WrongInput
from shardwise.domain.fleet import Fleet
from shardwise.domain.gpu_limit import GpuLimit
from shardwise.domain.launch import LaunchSite, Wanted
from shardwise.domain.model import ModelFacts
from shardwise.domain.needs import Amounts, added_by_node
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
    """The answer for an object, or for a role of an object that has a plan for each role.

    ``outcome`` is a plan, a refusal, an obstacle that keeps the plan from being started, or the lines that list the
    errors of the object. ``role`` names the role; empty for an object without roles. ``document`` counts the objects
    before this object.
    """

    name: str
    namespace: str
    outcome: Plan | Refusal | Obstacle | tuple[str, ...]
    wanted: Wanted | None = None
    role: str = ""
    document: int = 0

    @property
    def title(self) -> str:
        """The name of the object, with the role."""
        return titled(self.name, self.role)

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
        for number, document in enumerate(documents):
            key = key_for(document)
            roles = [
                replace(answer, document=number) for answer in _answers(document, key, seen.store, facts, site.launch)
            ]
            answers += roles
            if not independent and any(answer.placed for answer in roles):
                seen.store.ledger.release(key)
                seen.store.hold(key, *_held(roles))
    return answers


def _held(roles: list[Answer]) -> tuple[Mapping[str, int], Mapping[str, Amounts]]:
    """Add up the GPUs, and the other resources, that the pods of an object's plans hold, by node."""
    placed = [answer.placed for answer in roles if answer.placed is not None]
    gpus: Counter[str] = Counter()
    for _, made in placed:
        gpus.update(made.gpus_by_node())
    return gpus, added_by_node(*(made.needs_by_node(wanted.demand.needs) for wanted, made in placed))


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


def _answers(document: Document, key: Key, store: Store, facts: Facts, site: LaunchSite | None) -> tuple[Answer, ...]:
    """Give the answer for an object, or an answer for each of its roles."""
    namespace, name = key
    read = read_wanted(document, facts, site)
    if not isinstance(read, Wanted):
        return (Answer(name, namespace, read),)
    fleet = store.fleet(without=key)
    limits = store.limits(key, document), store.gpus_of_others(key)
    if read.roles:
        found = _of_roles(read, fleet, *limits)
    else:
        made = plan(read.demand, fleet)
        found = {"": (read, _within_limit(read, made, fleet, *limits) if isinstance(made, Plan) else made)}
    return tuple(
        Answer(name, namespace, _startable(wanted, made, fleet, store), wanted, role)
        for role, (wanted, made) in found.items()
    )


def _of_roles(
    wanted: Wanted, fleet: Fleet, quotas: tuple[GpuLimit, ...], gpus_of_others: int
) -> dict[str, tuple[Wanted, Plan | Refusal]]:
    """Plan the roles of an object together: both plans, or the refusal of the role that has no plan."""
    from shardwise.reconcile.limits import limit_of  # noqa: PLC0415 - few objects have roles
    from shardwise.reconcile.role_plans import planned_roles  # noqa: PLC0415 - few objects have roles

    found = planned_roles(wanted, fleet, limit_of(wanted, fleet, quotas, gpus_of_others))
    return {role.value: made for role, made in found.items()}


def _startable(wanted: Wanted, made: Plan | Refusal, fleet: Fleet, store: Store) -> Plan | Refusal | Obstacle:
    """Give a plan, or the obstacle that keeps it from being started."""
    if not isinstance(made, Plan) or store.compute_domains is not False:
        return made
    from shardwise.reconcile.fabric import missing_compute_domains  # noqa: PLC0415 - few clusters say that they lack them

    message = missing_compute_domains(wanted, made, fleet)
    return Obstacle(Reason.COMPUTE_DOMAINS_MISSING.value, message) if message else made


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
