"""The demo: the real operator on an in-memory Kubernetes API. It passes only if all it shows really happened."""

from shardwise_sandbox.demo.play import play
from shardwise_sandbox.demo.scene import fleet_documents, object_documents, write_files

__all__ = ["fleet_documents", "object_documents", "play", "write_files"]
