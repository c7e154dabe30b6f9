"""From a plan and a launch to manifests, which the operator applies and ``shardwise render`` prints. Pure."""

from shardwise.render.bundle import Group, bundle, group, needs_compute_domains, revision, serving
from shardwise.render.disruption import disruption_budget, has_budget
from shardwise.render.manifest import Manifest

__all__ = [
    "Group",
    "Manifest",
    "bundle",
    "disruption_budget",
    "group",
    "has_budget",
    "needs_compute_domains",
    "revision",
    "serving",
]
