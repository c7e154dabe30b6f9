"""Writing answers: text for people, JSON and YAML for machines; data on standard output, problems on standard error."""

import json
import logging
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import click
import yaml

from shardwise.cli.explaining import Explained
from shardwise.cli.offline import Answer, Outcome
from shardwise.domain.model import ModelFacts
from shardwise.domain.plan import Plan
from shardwise.domain.refusal import Refusal
from shardwise.domain.standing import Obstacle, Standing
from shardwise.explain.answers import plan_answer, refusal_answer
from shardwise.explain.models import model_document, model_text
from shardwise.explain.plans import plan_text
from shardwise.explain.refusals import refusal_text
from shardwise.explain.standing import obstacle_answer, obstacle_text, standing_answer, standing_text
from shardwise.render.manifest import Manifest

Outcomes = Iterable[Outcome]


def write_answers(answers: list[Answer], form: str) -> None:
    """Write the answer for each object; its errors go to standard error in every form."""
    if form == "text":
        outcomes = [(answer.outcome, answer.name) for answer in answers]
        _write_blocks(_text(outcome, name) for outcome, name in outcomes if not isinstance(outcome, tuple))
    else:
        _write_data([answer_document(answer) for answer in answers], form)
    for answer in answers:
        _write_problems(answer.name, answer.namespace, answer.outcome)


def answer_document(answer: Answer) -> dict[str, Any]:
    """Give an answer as JSON data."""
    document: dict[str, Any] = {"name": answer.name, "namespace": answer.namespace, "fits": answer.verdict == "placed"}
    match answer.outcome:
        case Plan() as plan:
            document["plan"] = plan_answer(plan)
        case Refusal() as refusal:
            document["refusal"] = refusal_answer(refusal)
        case Obstacle() as obstacle:
            document["refusal"] = obstacle_answer(obstacle)
        case lines:
            message = "; ".join(lines)
            document["refusal"] = {"reason": "InvalidObject", "message": message, "nearest": None, "hints": []}
    return document


def write_explained(explained: list[Explained], form: str) -> None:
    """Write where each object stands; its errors go to standard error in every form."""
    if form == "text":
        texts = [
            (standing_text(told.outcome, told.name), told) for told in explained if isinstance(told.outcome, Standing)
        ]
        _write_blocks([(text, "yellow" if told.verdict == "refused" else "") for text, told in texts])
    else:
        _write_data([explained_document(told) for told in explained], form)
    for told in explained:
        _write_problems(told.name, told.namespace, told.outcome)


def explained_document(told: Explained) -> dict[str, Any]:
    """Give where an object stands as JSON data."""
    document: dict[str, Any] = {"name": told.name, "namespace": told.namespace, "verdict": told.verdict}
    if isinstance(told.outcome, Standing):
        return document | standing_answer(told.outcome)
    return document | {"problems": list(told.outcome)}


def write_manifests(manifests: list[Manifest], form: str) -> None:
    """Write manifests as YAML documents, or as a JSON List."""
    if form == "json":
        click.echo(json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}, indent=2))
    elif manifests:
        click.echo("---\n".join(_yaml(manifest) for manifest in manifests), nl=False)


def write_secrets(manifests: list[Manifest]) -> None:
    """Warn on standard error of private keys among the manifests: each call makes new ones."""
    for manifest in manifests:
        if manifest["kind"] == "Secret":
            name = f"{manifest['metadata']['namespace']}/{manifest['metadata']['name']}"
            click.echo(
                f"note: Secret {name} holds private keys made just now; keep it out of version control", err=True
            )


def write_model(model: ModelFacts, form: str) -> None:
    """Write a model's facts."""
    if form == "text":
        print(model_text(model))
        return
    document = model_document(model)
    click.echo(json.dumps(document, indent=2) if form == "json" else _yaml(document), nl=form == "json")


def write_failures(answers: list[Answer]) -> None:
    """Say on standard error why an object has no manifests."""
    for answer in answers:
        if isinstance(answer.outcome, Refusal | Obstacle):
            click.echo(_text(answer.outcome, answer.name)[0], err=True)
        _write_problems(answer.name, answer.namespace, answer.outcome)


def set_up_logs(form: str, *, verbose: bool) -> None:
    """Send logs to standard error; kopf's running commentary only when asked for."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines() if form == "json" else logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[handler], force=True)
    if not verbose:
        logging.getLogger("kopf").setLevel(logging.WARNING)


class _JsonLines(logging.Formatter):
    """Writes a JSON object on each line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def _text(outcome: Plan | Refusal | Obstacle, name: str) -> tuple[str, str]:
    if isinstance(outcome, Plan):
        return plan_text(outcome, name), ""
    if isinstance(outcome, Obstacle):
        return obstacle_text(outcome, name), "yellow"
    return refusal_text(outcome, name), "yellow"


def _write_blocks(blocks: Iterable[tuple[str, str]]) -> None:
    """Write texts, each with its colour, a blank line between two. Only a terminal shows colours."""
    for position, (text, colour) in enumerate(blocks):
        if position:
            print()
        if sys.stdout.isatty():
            from shardwise.cli.terminal import console  # noqa: PLC0415 - rich loads slowly, and a pipe needs none

            console().print(text, style=colour)
        else:
            print(text)


def _write_data(documents: list[dict[str, Any]], form: str) -> None:
    click.echo(json.dumps(documents, indent=2) if form == "json" else _yaml(documents), nl=form == "json")


def _write_problems(name: str, namespace: str, outcome: object) -> None:
    for line in outcome if isinstance(outcome, tuple) else ():
        click.echo(f"error: {namespace}/{name}: {line}", err=True)


def _yaml(document: object) -> str:
    return yaml.safe_dump(document, sort_keys=False, width=120, allow_unicode=True)
