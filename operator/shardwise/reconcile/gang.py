"""The gang scheduler of an object's groups: what keeps them from it, and what it did not honour.

The scheduler binds all pods of a group or none: docs/decisions/0065 has the reasons.
"""

from collections.abc import Iterable
from dataclasses import replace

from shardwise.domain.launch import GangSystem, Wanted
from shardwise.domain.obstacle import Obstacle
from shardwise.domain.reasons import Reason
from shardwise.queues import GANGS
from shardwise.reconcile.observed import GangSeen
from shardwise.reconcile.views import GroupView
from shardwise.render.names import group_name


def as_served(wanted: Wanted, gang: GangSeen) -> Wanted:
    """Give an object whose groups are made in the version that the cluster serves of Kubernetes' own PodGroups."""
    served = gang.served.get(GangSystem.NATIVE)
    if not served or served == wanted.site.native_pod_groups:
        return wanted
    return replace(wanted, site=replace(wanted.site, native_pod_groups=served))


def gang_obstacle(wanted: Wanted, gang: GangSeen) -> Obstacle | None:
    """Give the obstacle that keeps groups from their gang scheduler; ``None`` if there is no obstacle."""
    if wanted.gang is None or gang.served.get(wanted.gang.system) != "":
        return None
    module = GANGS[wanted.gang.system]
    versions = " and no ".join(f"`{version}`" for version in module.SERVED_BY)
    message = (
        f"`spec.placement.gang` is `{wanted.gang.system.value}`, and the cluster serves no PodGroup of {versions}; "
        f"{_remedy(wanted.gang.system)}, or set `spec.placement.gang` to `none`"
    )
    return Obstacle(Reason.GANG_MISSING.value, message)


def _remedy(system: GangSystem) -> str:
    if system is GangSystem.NATIVE:
        return "serve that API, with the feature gate `GenericWorkload`"
    return f"install {GANGS[system].NAME}"


def lacks_group(wanted: Wanted, view: GroupView, gang: GangSeen) -> bool:
    """Tell whether the object for a group is gone that pods still need: those that are not bound wait for it."""
    if wanted.gang is None or not gang.served.get(wanted.gang.system) or all(pod.node for pod in view.pods):
        return False
    return group_name(wanted.launch.owner.name, view.record.replica, view.record.attempt) not in gang.groups


def ignored_gangs(wanted: Wanted, groups: Iterable[GroupView], gang: GangSeen) -> str:
    """Say how the cluster binds pods one by one in spite of their gang; empty if nothing shows that.

    Groups that serve are looked at: their scheduler has said all that it will say.
    """
    if wanted.gang is None:
        return ""
    module, model = GANGS[wanted.gang.system], wanted.launch.owner.name
    for view in groups:
        if not view.ready or view.stale:
            continue
        group = gang.groups.get(group_name(model, view.record.replica, view.record.attempt))
        told = module.ignored(
            group, kept=all(pod.grouped for pod in view.pods), bound=all(pod.node for pod in view.pods)
        )
        if told:
            return f"replica {view.record.replica}: {told}"
    return ""
