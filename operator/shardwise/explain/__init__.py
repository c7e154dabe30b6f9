"""Words and documents for plans and refusals. The planner decides and counts; only this package writes sentences.

The package is pure and reads domain values alone. A message gives the fact with its number and unit first, and the
remedy last.
"""

from shardwise.explain.answers import plan_answer, refusal_answer
from shardwise.explain.causes import cause
from shardwise.explain.documents import plan_document, plan_from_document
from shardwise.explain.exclusions import exclusion
from shardwise.explain.fleet_report import fleet_document, fleet_text, summary, with_gpus
from shardwise.explain.hints import hint
from shardwise.explain.models import model_document, model_text
from shardwise.explain.plans import plan_message, plan_text
from shardwise.explain.reasons import remedy
from shardwise.explain.refusals import refusal_message, refusal_text
from shardwise.explain.rules import rule
from shardwise.explain.standing import obstacle_answer, obstacle_text, standing_answer, standing_text

__all__ = [
    "cause",
    "exclusion",
    "fleet_document",
    "fleet_text",
    "hint",
    "model_document",
    "model_text",
    "obstacle_answer",
    "obstacle_text",
    "plan_answer",
    "plan_document",
    "plan_from_document",
    "plan_message",
    "plan_text",
    "refusal_answer",
    "refusal_message",
    "refusal_text",
    "remedy",
    "rule",
    "standing_answer",
    "standing_text",
    "summary",
    "with_gpus",
]
