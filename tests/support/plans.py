"""Planning in tests: demand a plan or a refusal, and say plans in short."""

from shardwise.domain.demand import Demand
from shardwise.domain.fleet import Fleet
from shardwise.domain.layout import Layout
from shardwise.domain.plan import Plan
from shardwise.domain.refusal import Cause, Refusal
from shardwise.planner import plan


def planned(demand: Demand, fleet: Fleet) -> Plan:
    """Plan, and fail the test on a refusal, with its reason."""
    made = plan(demand, fleet)
    assert isinstance(made, Plan), f"refused: {made.reason} {made.nearest}"
    return made


def refused(demand: Demand, fleet: Fleet) -> Refusal:
    """Plan, and fail the test on anything but a refusal."""
    made = plan(demand, fleet)
    assert isinstance(made, Refusal), f"planned: {made.layout} on {made.product}"
    return made


def pods(made: Plan, replica: int = 0) -> list[tuple[str, int]]:
    """Give node and GPUs of each pod of a replica, in rank order."""
    return [(pod.node, pod.gpus) for pod in made.groups[replica].pods]


def fate(made: Plan, layout: Layout) -> Cause:
    """Give why a layout lost, and fail where it was never tried."""
    return next(alternative.cause for alternative in made.alternatives if alternative.layout == layout)


def check_invariants(made: Plan, *, across: bool = False) -> None:
    """Hold a plan to what every plan promises about GPUs, ranks and pods.

    ``across``: its tensor groups are pinned wider than any NVLink domain.
    """
    for group in made.groups:
        ranks = [rank for pod in group.pods for rank in pod.ranks]
        assert ranks == list(range(made.layout.world_size))
        assert sum(pod.gpus for pod in group.pods) == made.layout.world_size
        assert len({pod.gpus for pod in group.pods}) == 1
        assert [pod.index for pod in group.pods] == list(range(len(group.pods)))
        assert all(len(pod.ranks) == pod.gpus for pod in group.pods)
        domain_of = {rank: pod.domain for pod in group.pods for rank in pod.ranks}
        for start in range(0, made.layout.world_size, made.layout.tensor):
            assert across or len({domain_of[rank] for rank in range(start, start + made.layout.tensor)}) == 1
    assert [group.replica for group in made.groups] == list(range(len(made.groups)))


def check_capacity(made: Plan, fleet: Fleet) -> None:
    """Hold a plan to the GPUs that are free."""
    free = {node.name: node.free for node in fleet.nodes}
    for group in made.groups:
        for pod in group.pods:
            free[pod.node] -= pod.gpus
    assert min(free.values()) >= 0
