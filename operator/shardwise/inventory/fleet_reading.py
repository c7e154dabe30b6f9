"""Reading a fleet from all nodes and pods: the free GPUs of each node."""

from collections import Counter
from collections.abc import Iterable

from shardwise.domain.fleet import Fleet
from shardwise.domain.site import FleetSite
from shardwise.inventory.ledger import Ledger
from shardwise.inventory.nodes import KubernetesNode
from shardwise.inventory.pods import Pod, holding, use


def read_fleet(
    nodes: Iterable[KubernetesNode],
    pods: Iterable[Pod],
    *,
    held: Iterable[tuple[str, int]] = (),
    site: FleetSite | None = None,
) -> Fleet:
    """Read a fleet. O(nodes · log nodes + pods).

    ``pods`` are all pods of all namespaces. A pod of any owner holds its GPUs while it is bound and has not ended, even
    on an unreachable node. ``held`` adds, by node, the GPUs of planned pods that are not bound yet. ``site`` says how
    labels are read.
    """
    ledger: Ledger[str] = Ledger(site)
    for node in nodes:
        ledger.put(node)
    for used in filter(None, map(use, pods)):
        ledger.bind("", *used)
    for name, gpus in held:
        ledger.bind("", name, gpus)
    return ledger.fleet()


def held_gpus(pods: Iterable[Pod]) -> Counter[str]:
    """Count the GPUs that bound pods hold, by node."""
    taken: Counter[str] = Counter()
    for node, gpus in filter(None, map(holding, pods)):
        taken[node] += gpus
    return taken
