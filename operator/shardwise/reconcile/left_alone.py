"""The status of an object for which nothing is done: it is paused, or cannot be honoured as it is.

Plan and groups stay as they were decided. How many pods are ready goes on changing, and is said.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from shardwise.reconcile.conditions import MOST_MESSAGE, Said, Verdict, conditions, short_of, standing
from shardwise.reconcile.observed import Observed, PodSeen

Status = dict[str, Any]

_PAUSED: Final = "paused by the annotation `shardwise.dev/paused`; nothing is changed"


def invalid_status(observed: Observed, generation: int, reason: str, message: str, now: float) -> Status:
    """Give the status of an object that cannot be honoured, or whose model is not known yet; the rest is kept."""
    state = "Stalled" if reason == "InvalidSpec" else "Reconciling"
    said = [*standing(Verdict(state, reason, message)), ("Planned", "False", reason, message)]
    return _left_alone(said, observed, generation, now)


def paused_status(observed: Observed, generation: int, now: float) -> Status:
    """Give the status of an object that is paused: as it was, and saying so."""
    return _left_alone(standing(Verdict("Reconciling", "Paused", _PAUSED)), observed, generation, now)


def _left_alone(said: list[Said], observed: Observed, generation: int, now: float) -> Status:
    """Keep what was decided, but no place in the queue: what cannot be begun must hold up nobody."""
    before = observed.status
    counted = _counted(before, observed.pods)
    kept = {name: value for name, value in before.items() if name != "waitingSince"} | counted
    if "readyReplicas" in counted:
        lacking = short_of(counted["readyReplicas"], len(counted["groups"]))
        said = [*said, lacking] if lacking is not None else said
    changed = {kind for kind, *_ in said}
    others = [one for one in before.get("conditions") or () if one.get("type") not in changed]
    made = conditions(said, before, generation, now)
    return kept | {"observedGeneration": generation, "message": said[0][3][:MOST_MESSAGE], "conditions": made + others}


def _counted(before: Mapping[str, Any], pods: Iterable[PodSeen]) -> Status:
    """Count the ready pods of each group anew, and the groups that have all of theirs."""
    ready = Counter((pod.replica, pod.attempt) for pod in pods if pod.ready)
    groups = [_of(group, ready) for group in before.get("groups") or ()]
    serving = sum(0 < int(group.get("pods") or 0) <= group["readyPods"] for group in groups)
    return {"groups": groups, "readyReplicas": serving} if groups else {}


def _of(group: Mapping[str, Any], ready: Counter[tuple[int, int]]) -> Status:
    return {**group, "readyPods": ready[group.get("replica", 0), group.get("attempt", 0)]}
