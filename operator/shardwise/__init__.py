"""Shardwise: a Kubernetes operator that places and launches sharded inference, and explains every decision."""

__version__ = "0.1.0"
"""The version of pyproject.toml, held equal by a test: reading the metadata of the installation loads slowly."""
