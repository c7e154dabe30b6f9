"""The command ``explain``: each object is put into the store, observed as by the operator, and told its standing."""

import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import click

from shardwise.cli.documents import Document
from shardwise.cli.examples import examples
from shardwise.cli.looking import Look, looking
from shardwise.cli.names import complete_names
from shardwise.cli.offline import Facts, facts_once, key_for, read_objects, read_wanted
from shardwise.cli.options import form_option, objects_option
from shardwise.cli.output import titled, write_blocks, write_config_hint, write_data, write_problems
from shardwise.cli.reading import Seen
from shardwise.cli.verdicts import Verdict, exit_status
from shardwise.cli.wrong import WrongInput
from shardwise.domain.launch import LaunchSite, Wanted
from shardwise.domain.refusal import Refusal
from shardwise.domain.site import Site
from shardwise.domain.standing import Standing
from shardwise.explain.standing import standing_answer, standing_text
from shardwise.observe import Store, in_namespace, waits
from shardwise.observe.kinds import SHARDED_MODEL
from shardwise.reconcile.standing import standings_of

_LISTED: Final = 5


@dataclass(frozen=True, slots=True)
class Explained:
    """Where an object, or a role of an object with roles, stands; or the lines that list the errors of the object."""

    name: str
    namespace: str
    outcome: Standing | tuple[str, ...]
    role: str = ""

    @property
    def title(self) -> str:
        """The name of the object, with the role."""
        return titled(self.name, self.role)

    @property
    def verdict(self) -> Verdict:
        """Placed, refused, or invalid."""
        if not isinstance(self.outcome, Standing):
            return "invalid"
        refused = isinstance(self.outcome.next, Refusal) or self.outcome.obstacle is not None
        return "refused" if refused else "placed"


@click.command(
    epilog=examples(
        (
            "Say why an object of the cluster runs where it runs, or why it waits",
            "shardwise explain llama-70b -n serving",
        ),
        ("Say what an edited object would do to the object that runs", "shardwise explain -f llama.yaml"),
    )
)
@click.argument("name", required=False, shell_complete=complete_names)
@click.option("-n", "--namespace", help="Namespace of NAME; default: that of the context.")
@objects_option(required=False)
@looking
@form_option("text", "json", "yaml")
def explain(name: str | None, namespace: str | None, files: tuple[str, ...], look: Look, form: str) -> None:
    """Say where an object stands: its plan and why, whether it stays, what its groups wait for, or why there is none.

    NAME is a ShardedModel of the cluster, or of the files given by --fleet; -f explains objects of files instead.
    """
    if (name is None) == (not files):
        raise click.UsageError("either NAME or -f is needed, and not both")
    objects = read_objects(files) if name is None else []
    seen = look.seen()
    if name is not None:
        objects = [find_object(seen, name, namespace)]
    explained = explain_all(objects, seen, time.time(), site=look.site)
    write_explained(explained, form)
    write_config_hint((told.outcome for told in explained), configured=look.configured)
    sys.exit(exit_status(answer.verdict for answer in explained))


def explain_all(objects: Iterable[Document], seen: Seen, now: float, *, site: Site | None = None) -> list[Explained]:
    """Explain each object; its status is its own, or the status of the object of its name in the cluster.

    ``now`` is seconds since the epoch.
    """
    site = site or Site()
    facts, store = facts_once(site.hub), seen.store
    _learn_demands(store, facts, site.launch)
    explained: list[Explained] = []
    for document in objects:
        namespace, name = key = key_for(document)
        read = read_wanted(document, facts, site.launch)
        if isinstance(read, Wanted):
            _show(store, document)
            found = standings_of(read, store.observe(key, now), now)
            explained += (Explained(name, namespace, standing, role) for role, standing in found.items())
        else:
            explained.append(Explained(name, namespace, read))
    return explained


def _learn_demands(store: Store, facts: Facts, site: LaunchSite | None) -> None:
    """Read the demands of the objects that wait, as the operator has read them: the queue depends on them."""
    for key, obj in store.sharded_models.objects.items():
        read = read_wanted(dict(obj), facts, site) if waits(obj) else ()
        if isinstance(read, Wanted):
            store.waiting.learn(key, read.demand)


def _show(store: Store, document: Document) -> None:
    """Put an object into the store; without a status it gets the status of the object that it would replace."""
    obj = in_namespace(SHARDED_MODEL, document)
    known = store.sharded_models.objects.get(key_for(obj), {})
    store.sharded_models.show({**obj, "status": obj.get("status") or known.get("status") or {}})


def find_object(seen: Seen, name: str, namespace: str | None) -> Document:
    """Give a ShardedModel by its name. Raises :class:`WrongInput` where there is none, or no such kind at all."""
    if not seen.installed:
        raise WrongInput("the cluster does not know ShardedModels: install the chart, or apply `crds/`")
    key, objects = (namespace or seen.namespace, name), seen.store.sharded_models.objects
    if key in objects:
        return objects[key]
    elsewhere = [f"`{space}`" for space, known in sorted(objects) if known == name]
    hint = f"; there is one in {', '.join(elsewhere[:_LISTED])}" if elsewhere else ""
    raise WrongInput(f"no ShardedModel `{name}` in namespace `{key[0]}`{hint}")


def write_explained(explained: list[Explained], form: str) -> None:
    """Write where each object stands; its errors go to standard error in every form."""
    if form == "text":
        texts = [
            (standing_text(told.outcome, told.title), told) for told in explained if isinstance(told.outcome, Standing)
        ]
        write_blocks([(text, "yellow" if told.verdict == "refused" else "") for text, told in texts])
    else:
        write_data([explained_document(told) for told in explained], form)
    for told in explained:
        write_problems(told.name, told.namespace, told.outcome)


def explained_document(told: Explained) -> dict[str, Any]:
    """Give where an object stands as JSON data."""
    document: dict[str, Any] = {"name": told.name, "namespace": told.namespace, "verdict": told.verdict}
    document |= {"role": told.role} if told.role else {}
    if isinstance(told.outcome, Standing):
        return document | standing_answer(told.outcome)
    return document | {"problems": list(told.outcome)}
