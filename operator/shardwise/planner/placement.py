"""Placing ranks: a tensor group stays inside an NVLink domain, stages lie close together, and the rest stays whole.

All pods of a group hold the same number of GPUs, because multi-node launches need it. This share is a number of whole
stages on a node or, inside a multi-node NVLink domain, an equal part of a stage. A group goes to the narrowest place
that can hold it: an NVLink domain, else a place of the nearest level, else the whole pool. There the group uses as few
domains as possible, then as few pods as possible. These three choices are exact (docs/decisions/0013). Ties are broken
by the GPUs that stay free: the best fit, a spare node in a domain where a group spans nodes, equal parts over racks.
Names break the last ties, so that equal fleets give equal plans.
"""

from shardwise.domain.demand import Demand
from shardwise.domain.layout import Layout
from shardwise.domain.plan import GroupPlacement
from shardwise.domain.refusal import PodsShort
from shardwise.planner.all_to_all import backend_for
from shardwise.planner.domain_slots import DomainSlots
from shardwise.planner.group_places import place_group, pods_in
from shardwise.planner.limited import lacking_for_a_pod, limited_slots, may_hold, overfull, place_limited_group
from shardwise.planner.pools import Pool


def place(demand: Demand, pool: Pool, layout: Layout) -> tuple[GroupPlacement, ...] | None:
    """Place all replicas of a layout on a pool's free GPUs; ``None`` when they do not fit.

    The GPUs alone usually decide. Only if a node then lacks another resource for its pods are the groups placed with a
    count of these resources. Other layouts are then compared with that count first, because it is cheaper.

    O(places + different free counts in a place) for each replica.
    """
    if pool.pod_counts and not may_hold(demand, pool, layout):
        return None
    groups = _by_gpus(demand, pool, layout)
    if groups is not None and overfull(demand, pool, layout, groups) is not None:
        groups = _by_needs(demand, pool, layout) if may_hold(demand, pool, layout) else None
    return groups if groups is None or not stays_in_domain(demand, layout) or _lie_in_domains(groups) else None


def stays_in_domain(demand: Demand, layout: Layout) -> bool:
    """Tell whether a group must lie in a single NVLink domain: its data ranks, without RDMA, unless a pin asks for it.

    All data ranks exchange tokens for their experts in every layer. A backend that the object names may need the domain
    in any case.
    """
    if layout.data == 1:
        return False
    row = backend_for(demand.engine, demand.all_to_all, layout)
    if row is not None and row.network != "any" and (row.network == "nvlink" or not demand.has_rdma):
        return True
    pinned = demand.pins.data is not None and not demand.together
    return not demand.has_rdma and not pinned


def slot_gpus(demand: Demand, layout: Layout) -> int:
    """Count the GPUs of a group that must lie in the same NVLink domain: all of them, or a tensor group."""
    return layout.world_size if stays_in_domain(demand, layout) else layout.tensor


def _lie_in_domains(groups: tuple[GroupPlacement, ...]) -> bool:
    return all(len({pod.domain for pod in group.pods}) == 1 for group in groups)


def lacking_for_pods(demand: Demand, pool: Pool, layout: Layout) -> PodsShort | None:
    """Give the resource for want of which a layout has no place, although enough GPUs are free; else ``None``."""
    if not pool.pod_counts:
        return None  # no node lacked anything
    lacking = lacking_for_a_pod(demand, pool, layout)
    if lacking is not None and not may_hold(demand, pool, layout):
        return lacking
    groups = _by_gpus(demand, pool, layout)
    return None if groups is None else overfull(demand, pool, layout, groups)


def _by_gpus(demand: Demand, pool: Pool, layout: Layout) -> tuple[GroupPlacement, ...] | None:
    if not has_room(demand, pool, layout):
        return None
    domain_slots = DomainSlots(pool, layout.tensor)
    groups: list[GroupPlacement] = []
    for replica in range(demand.replicas):
        found = place_group(domain_slots, layout, demand.replicas - replica)
        if found is None:
            return None
        groups.append(GroupPlacement(replica, pods_in(domain_slots, *found)))
    return tuple(groups)


def _by_needs(demand: Demand, pool: Pool, layout: Layout) -> tuple[GroupPlacement, ...] | None:
    slots = limited_slots(demand, pool, layout)
    groups: list[GroupPlacement] = []
    for replica in range(demand.replicas):
        found = place_limited_group(slots, layout, demand.replicas - replica)
        if found is None:
            return None
        groups.append(GroupPlacement(replica, pods_in(*found)))
    return tuple(groups)


def has_room(demand: Demand, pool: Pool, layout: Layout) -> bool:
    """Tell whether all replicas fit, each inside a single bounding place. This is exact and cheaper than placing."""
    gpus = slot_gpus(demand, layout)
    places = pool.place_slots(gpus).items()
    return sum(count * (slots // (layout.world_size // gpus)) for slots, count in places) >= demand.replicas
