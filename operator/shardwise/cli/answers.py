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
        outcomes = [(answer.outcome, answer.title) for answer in answers]
        write_blocks(_text(outcome, name) for outcome, name in outcomes if not isinstance(outcome, tuple))
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
            click.echo(_text(answer.outcome, answer.title)[0], err=True)
        write_problems(answer.name, answer.namespace, answer.outcome)


def _text(outcome: Plan | Refusal | Obstacle, name: str) -> tuple[str, str]:
    if isinstance(outcome, Plan):
        return plan_text(outcome, name), ""
    if isinstance(outcome, Obstacle):
        return obstacle_text(outcome, name), "yellow"
    return refusal_text(outcome, name), "yellow"
