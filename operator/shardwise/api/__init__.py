"""What users write, the object and the operator configuration: models, checks with field paths, schemas, values."""

from shardwise.api.convert import to_wanted
from shardwise.api.parse import ShardedModel, parse
from shardwise.api.problems import InvalidObject, Problem

__all__ = ["InvalidObject", "Problem", "ShardedModel", "parse", "to_wanted"]
