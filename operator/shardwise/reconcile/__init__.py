"""The reconcile core: ``decide(wanted, observed, now) -> Decision``. It is pure: it reads values and gives values.

The core is level-triggered: it makes the same decision for create, resume, update and every event. Any action may be
lost or repeated. The next decision sees the outcome and goes on from there.
"""

from shardwise.reconcile.actions import Action, Apply, Decision, Delete, Emit, MakeKeys
from shardwise.reconcile.decide import Invalid, decide, decide_invalid
from shardwise.reconcile.fabric import missing_compute_domains
from shardwise.reconcile.observed import Observed, PodSeen, see_companions, see_pod
from shardwise.reconcile.records import holdings, parse_time, planned_gpus
from shardwise.reconcile.standing import standing_of
from shardwise.reconcile.status import wants_place
from shardwise.reconcile.turns import Turn, Waiter, turn_of

__all__ = [
    "Action",
    "Apply",
    "Decision",
    "Delete",
    "Emit",
    "Invalid",
    "MakeKeys",
    "Observed",
    "PodSeen",
    "Turn",
    "Waiter",
    "decide",
    "decide_invalid",
    "holdings",
    "missing_compute_domains",
    "parse_time",
    "planned_gpus",
    "see_companions",
    "see_pod",
    "standing_of",
    "turn_of",
    "wants_place",
]
