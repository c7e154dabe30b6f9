"""Planning without a cluster: objects and a fleet from files, the same core, the same answer."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from shardwise.api import InvalidObject, parse, to_wanted
from shardwise.api.base import KIND
from shardwise.cli.documents import Document, WrongInput, read_documents, shown
from shardwise.cli.snapshot import Snapshot
from shardwise.controller.store import Key
from shardwise.domain.fleet import Fleet
from shardwise.domain.launch import LaunchSite, Wanted
from shardwise.domain.plan import Plan
from shardwise.domain.refusal import Refusal
from shardwise.engines import problems
from shardwise.hub import FactsUnavailable, model_facts
from shardwise.planner import plan

Verdict = Literal["placed", "refused", "invalid"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one object. ``outcome`` is a plan, a refusal, or the lines that say what is wrong with it."""

    name: str
    namespace: str
    outcome: Plan | Refusal | tuple[str, ...]
    wanted: Wanted | None = None

    @property
    def verdict(self) -> Verdict:
        """Placed, refused, or invalid."""
        if isinstance(self.outcome, Plan):
            return "placed"
        return "refused" if isinstance(self.outcome, Refusal) else "invalid"

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


def plan_all(
    objects: Iterable[Document], snapshot: Snapshot, *, independent: bool, site: LaunchSite | None = None
) -> list[Answer]:
    """Plan each object, in order; what one takes is gone for the next, unless they are independent.

    An object is planned as the operator would: as if its own pods, where it runs already, held nothing. ``site`` is the
    operator's configuration of launching.
    """
    ledger = snapshot.ledger()
    answers: list[Answer] = []
    for document in objects:
        key = _key(document)
        answer = _answer(document, key, ledger.fleet(without=key), site)
        answers.append(answer)
        if not independent and isinstance(answer.outcome, Plan):
            ledger.release(key)
            ledger.plan(key, answer.outcome.gpus_by_node())
    return answers


def _answer(document: Document, key: Key, fleet: Fleet, site: LaunchSite | None) -> Answer:
    namespace, name = key
    try:
        obj = parse(document)
        wanted = to_wanted(obj, model_facts(obj), site)
    except InvalidObject as error:
        return Answer(name, namespace, tuple(str(problem) for problem in error.problems))
    except FactsUnavailable as error:
        return Answer(name, namespace, (f"spec.model.name: {error}",))
    found = problems(wanted)
    if found:
        return Answer(name, namespace, tuple(f"{field}: {message}" for field, message in found))
    return Answer(name, namespace, plan(wanted.demand, fleet), wanted)


def _key(document: Document) -> Key:
    metadata: Any = document.get("metadata")
    if not isinstance(metadata, Mapping):
        return "default", "unnamed"
    return str(metadata.get("namespace") or "default"), str(metadata.get("name") or "unnamed")


def _kind(document: Document) -> str:
    return str(document.get("kind") or "an object without kind")
