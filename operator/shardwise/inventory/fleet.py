"""All nodes and pods together: free GPUs per node."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from shardwise.domain.fleet import Fleet, Node
from shardwise.domain.site import FleetSite
from shardwise.inventory.nodes import KubernetesNode, read_node
from shardwise.inventory.pods import Pod, gpu_request, is_finished


def read_fleet(
    nodes: Iterable[KubernetesNode],
    pods: Iterable[Pod],
    *,
    held: Iterable[tuple[str, int]] = (),
    site: FleetSite | None = None,
) -> Fleet:
    """Read a fleet. O(nodes + pods).

    ``pods`` are all pods of all namespaces: whoever owns them, they hold their GPUs while they are bound and have not
    ended, also on a node that cannot be reached. ``held`` adds GPUs of decided pods that are not bound yet, by node.
    ``site`` says how labels are read.
    """
    site = site or FleetSite()
    taken = held_gpus(pods)
    for node, gpus in held:
        taken[node] += gpus
    return fleet_of((read_node(node, taken[_name(node)], site) for node in nodes), site)


def fleet_of(nodes: Iterable[Node], site: FleetSite) -> Fleet:
    """Put nodes that were read together, in name order."""
    levels = tuple(level.name for level in site.levels)
    kinds = tuple(one.kind for one in site.products)
    return Fleet(tuple(sorted(nodes, key=lambda node: node.name)), levels, kinds)


def held_gpus(pods: Iterable[Pod]) -> Counter[str]:
    """Count the GPUs that bound pods hold, by node."""
    taken: Counter[str] = Counter()
    for pod in pods:
        node = (pod.get("spec") or {}).get("nodeName")
        if node and not is_finished(pod):
            taken[node] += gpu_request(pod)
    return taken


def _name(node: Mapping[str, Any]) -> str:
    return str((node.get("metadata") or {}).get("name", ""))
