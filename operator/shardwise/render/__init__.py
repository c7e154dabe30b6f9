"""Plan and launch in, manifests out: what the operator applies, and what ``shardwise render`` prints. Pure."""

from shardwise.render.bundle import Group, bundle, group, needs_compute_domains, revision, serving
from shardwise.render.manifest import Manifest

__all__ = ["Group", "Manifest", "bundle", "group", "needs_compute_domains", "revision", "serving"]
