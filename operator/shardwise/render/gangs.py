"""The gang of a group: the object by which a gang scheduler knows it, and the pods' part in it."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from shardwise.domain.launch import GangSystem, Wanted
from shardwise.domain.needs import added
from shardwise.domain.plan import GroupPlacement
from shardwise.domain.requests import asked_of
from shardwise.queues import GANGS, GangEntry
from shardwise.render.manifest import Manifest, group_labels, metadata
from shardwise.render.names import group_name


def ganged(wanted: Wanted, pod: Manifest, placed: GroupPlacement, attempt: int) -> Manifest:
    """Give a pod with its part in the gang of its group; the same pod if no gang scheduler is used."""
    if wanted.gang is None:
        return pod
    return GANGS[wanted.gang.system].ganged(pod, _entry(wanted, placed, attempt))


def pod_groups(wanted: Wanted, placed: GroupPlacement, attempt: int, pods: Sequence[Manifest]) -> tuple[Manifest, ...]:
    """Make the object for the group of an attempt, which has the group's name; none if no gang scheduler is used."""
    if wanted.gang is None:
        return ()
    module, owner = GANGS[wanted.gang.system], wanted.launch.owner
    native = wanted.gang.system is GangSystem.NATIVE
    api_version = wanted.site.native_pod_groups if native else module.SERVED_BY[0]
    topology = _domain_label(wanted, placed, pods) if wanted.gang.topology else None
    entry = replace(_entry(wanted, placed, attempt), requests=tuple(_requests(pods)), topology=topology)
    labels = group_labels(wanted.launch, placed.replica, attempt)
    made = {
        "apiVersion": api_version,
        "kind": module.GROUP_KIND,
        "metadata": metadata(owner, entry.group, labels),
        "spec": module.group_spec(entry, api_version),
    }
    return (made,)


def _entry(wanted: Wanted, placed: GroupPlacement, attempt: int) -> GangEntry:
    return GangEntry(
        group_name(wanted.launch.owner.name, placed.replica, attempt),
        len(placed.pods),
        scheduler=None if wanted.gang is None else wanted.gang.scheduler,
        queue=wanted.gang_queue,
        priority_class=wanted.launch.scheduling.priority_class_name,
    )


def _domain_label(wanted: Wanted, placed: GroupPlacement, pods: Iterable[Manifest]) -> str | None:
    """Give the label of the NVLink domain of several nodes that all pods of a group require; ``None`` without one."""
    if len({pod.domain for pod in placed.pods}) > 1:
        return None
    terms = (term for pod in pods for term in _node_terms(pod))
    required = {expression["key"] for term in terms for expression in term.get("matchExpressions", ())}
    return next((key for key in wanted.site.domain_keys if key in required), None)


def _node_terms(pod: Manifest) -> Iterable[Manifest]:
    affinity = pod["spec"]["affinity"]["nodeAffinity"]
    found: Iterable[Manifest] = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    return found


def _requests(pods: Iterable[Manifest]) -> Iterable[tuple[str, str]]:
    """Add up what the containers of pods request, those of sidecars included."""
    containers = (container for pod in pods for container in _running(pod))
    total = added(*(asked_of(container).items() for container in containers))
    return ((name, _quantity(amount)) for name, amount in sorted(total.items()))


def _running(pod: Manifest) -> Iterable[Manifest]:
    yield from pod["spec"]["containers"]
    yield from (one for one in pod["spec"].get("initContainers", ()) if one.get("restartPolicy") == "Always")


def _quantity(thousandths: int) -> str:
    return f"{thousandths}m" if thousandths % 1000 else str(thousandths // 1000)
