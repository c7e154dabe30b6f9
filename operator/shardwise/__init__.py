"""Shardwise: a Kubernetes operator that places and launches sharded inference, and explains every decision."""

from importlib.metadata import version

__version__ = version("shardwise")
