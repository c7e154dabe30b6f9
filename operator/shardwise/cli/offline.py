"""Planning without a cluster: objects and a fleet from files, the same core, the same answer."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from shardwise.api import InvalidObject, parse, to_wanted
from shardwise.api.base import KIND
from shardwise.cli.documents import Document, WrongInput, read_documents
from shardwise.domain.fleet import Fleet
from shardwise.domain.launch import Wanted
from shardwise.domain.plan import Plan
from shardwise.domain.refusal import Refusal
from shardwise.engines import problems
from shardwise.hub import FactsUnavailable, model_facts
from shardwise.inventory import read_fleet
from shardwise.planner import plan, take

Verdict = Literal["placed", "refused", "invalid"]

_EXAMPLE: Final = "`kubectl get nodes,pods -A -o yaml` gives one"


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
    documents = [document for _, document in read_documents(names)]
    found = [document for document in documents if document.get("kind") == KIND]
    if not found:
        kinds = ", ".join(sorted({str(document.get("kind")) for document in documents})) or "nothing"
        raise WrongInput(f"no ShardedModel in {', '.join(names)}: found {kinds}")
    return found


def read_fleet_files(names: Iterable[str]) -> Fleet:
    """Read nodes and pods of files. Raises :class:`WrongInput` where there is no node."""
    documents = [document for _, document in read_documents(names)]
    nodes = [document for document in documents if document.get("kind") == "Node"]
    if not nodes:
        raise WrongInput(f"no Node in {', '.join(names)}: {_EXAMPLE}")
    return read_fleet(nodes, [document for document in documents if document.get("kind") == "Pod"])


def plan_all(objects: Iterable[Document], fleet: Fleet, *, independent: bool) -> list[Answer]:
    """Plan each object, in order; what one takes is gone for the next, unless they are independent."""
    answers = []
    for document in objects:
        answer = _answer(document, fleet)
        answers.append(answer)
        if not independent and isinstance(answer.outcome, Plan):
            fleet = take(fleet, answer.outcome)
    return answers


def _answer(document: Document, fleet: Fleet) -> Answer:
    name, namespace = _identity(document)
    try:
        obj = parse(document)
        wanted = to_wanted(obj, model_facts(obj))
    except InvalidObject as error:
        return Answer(name, namespace, tuple(str(problem) for problem in error.problems))
    except FactsUnavailable as error:
        return Answer(name, namespace, (f"spec.model.name: {error}",))
    found = problems(wanted)
    if found:
        return Answer(name, namespace, tuple(f"{field}: {message}" for field, message in found))
    return Answer(name, namespace, plan(wanted.demand, fleet), wanted)


def _identity(document: Document) -> tuple[str, str]:
    metadata: Any = document.get("metadata")
    if not isinstance(metadata, Mapping):
        return "unnamed", "default"
    return str(metadata.get("name") or "unnamed"), str(metadata.get("namespace") or "default")
