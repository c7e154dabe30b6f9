"""The object as users write it: pydantic models, validation with field paths, the CRD, and conversion to values."""

from shardwise.api.convert import to_wanted
from shardwise.api.parse import InvalidObject, Problem, ShardedModel, parse

__all__ = ["InvalidObject", "Problem", "ShardedModel", "parse", "to_wanted"]
