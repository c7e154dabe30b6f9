"""The demo: the real operator on an in-memory Kubernetes API. It fails unless the cluster really shows every result."""

from shardwise_sandbox.demo.documents import fleet_documents, object_documents, write_files
from shardwise_sandbox.demo.play import play

__all__ = ["fleet_documents", "object_documents", "play", "write_files"]
