"""All nodes and pods together: free GPUs per node."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from shardwise.domain.fleet import Fleet
from shardwise.inventory.nodes import KubernetesNode, read_node
from shardwise.inventory.pods import Pod, gpu_request, is_finished


def read_fleet(
    nodes: Iterable[KubernetesNode],
    pods: Iterable[Pod],
    *,
    held: Iterable[tuple[str, int]] = (),
    levels: Sequence[str] = (),
) -> Fleet:
    """Read a fleet. O(nodes + pods).

    ``pods`` are all pods of all namespaces: whoever owns them, they hold their GPUs while they are bound and have not
    ended, also on a node that cannot be reached. ``held`` adds GPUs of decided pods that are not bound yet, by node.
    """
    taken = held_gpus(pods)
    for node, gpus in held:
        taken[node] += gpus
    read = (read_node(node, taken[_name(node)]) for node in nodes)
    return Fleet(tuple(sorted(read, key=lambda node: node.name)), tuple(levels))


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
