"""Plan and launch in, manifests out: what the operator applies, and what ``shardwise render`` prints. Pure."""

from shardwise.render.bundle import bundle, group, revision, serving
from shardwise.render.manifest import Manifest

__all__ = ["Manifest", "bundle", "group", "revision", "serving"]
