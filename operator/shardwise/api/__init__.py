"""The texts of users, objects and the operator configuration: wire models, checks, schemas and conversion."""

from shardwise.api.convert import to_wanted
from shardwise.api.parse import ShardedModel, parse
from shardwise.api.problems import InvalidObject, Problem

__all__ = ["InvalidObject", "Problem", "ShardedModel", "parse", "to_wanted"]
