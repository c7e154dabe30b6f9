"""All nodes and pods together: free GPUs per node."""

from collections import Counter
from collections.abc import Iterable

from shardwise.domain.fleet import Fleet
from shardwise.domain.site import FleetSite
from shardwise.inventory.ledger import Ledger
from shardwise.inventory.nodes import KubernetesNode
from shardwise.inventory.pods import Pod, holding


def read_fleet(
    nodes: Iterable[KubernetesNode],
    pods: Iterable[Pod],
    *,
    held: Iterable[tuple[str, int]] = (),
    site: FleetSite | None = None,
) -> Fleet:
    """Read a fleet. O(nodes · log nodes + pods).

    ``pods`` are all pods of all namespaces: whoever owns them, they hold their GPUs while they are bound and have not
    ended, also on a node that cannot be reached. ``held`` adds GPUs of decided pods that are not bound yet, by node.
    ``site`` says how labels are read.
    """
    ledger: Ledger[str] = Ledger(site)
    for node in nodes:
        ledger.put(node)
    for name, gpus in (*held_gpus(pods).items(), *held):
        ledger.bind("", name, gpus)
    return ledger.fleet()


def held_gpus(pods: Iterable[Pod]) -> Counter[str]:
    """Count the GPUs that bound pods hold, by node."""
    taken: Counter[str] = Counter()
    for node, gpus in filter(None, map(holding, pods)):
        taken[node] += gpus
    return taken
