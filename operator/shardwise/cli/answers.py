"""Writing the answers of ``plan`` and ``render``: text for people, JSON and YAML for machines."""

from typing import Any

import click

from shardwise.cli.offline import Answer
from shardwise.cli.output import write_blocks, write_data, write_problems
from shardwise.domain.obstacle import Obstacle
from shardwise.domain.plan import Plan
from shardwise.domain.refusal import Refusal
from shardwise.explain.answers import plan_answer, refusal_answer
from shardwise.explain.obstacles import obstacle_answer, obstacle_text
from shardwise.explain.plans import plan_text
from shardwise.explain.refusals import refusal_text


def write_answers(answers: list[Answer], form: str) -> None:
    """Write the answer for each object; its errors go to standard error in every form."""
    if form == "text":
        write_blocks(_text(answer) for answer in answers if not isinstance(answer.outcome, tuple))
    else:
        write_data([answer_document(answer) for answer in answers], form)
    for answer in answers:
        write_problems(answer.name, answer.namespace, answer.outcome)


def answer_document(answer: Answer) -> dict[str, Any]:
    """Give an answer as JSON data."""
    document: dict[str, Any] = {"name": answer.name, "namespace": answer.namespace, "fits": answer.verdict == "placed"}
    document |= {"role": answer.role} if answer.role else {}
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


def write_failures(answers: list[Answer]) -> None:
    """Say on standard error why an object has no manifests."""
    for answer in answers:
        if isinstance(answer.outcome, Refusal | Obstacle):
            click.echo(_text(answer)[0], err=True)
        write_problems(answer.name, answer.namespace, answer.outcome)


def _text(answer: Answer) -> tuple[str, str]:
    match answer.outcome:
        case Plan() as plan:
            left_open = answer.wanted is not None and answer.wanted.left_open
            return plan_text(plan, answer.title, left_open=left_open), ""
        case Refusal() as refusal:
            return refusal_text(refusal, answer.title), "yellow"
        case Obstacle() as obstacle:
            return obstacle_text(obstacle, answer.title), "yellow"
        case lines:
            return "\n".join(lines), "yellow"
