"""Statuses for tests: one in which every field says something."""

from dataclasses import replace

from tests.support.fleets import a_fleet, h100s
from tests.support.models import LLAMA_70B, a_demand
from tests.support.plans import planned

from shardwise.domain.cache_tokens import CacheTokens
from shardwise.domain.notes import Remark
from shardwise.domain.plan import Alternative, Estimate, Plan
from shardwise.domain.reasons import FailureKind
from shardwise.domain.target import Bound, Sizing, Target
from shardwise.reconcile.conditions import DatedCondition
from shardwise.reconcile.object_status import GroupStatus, RoleStatus, Status
from shardwise.reconcile.recorded_plan import RecordedPlan, record_plan
from shardwise.reconcile.records import Record, State
from shardwise.reconcile.shunned import Shunned, ShunReason

NOON = 1_800_000_000.0


def _plan() -> RecordedPlan:
    made = planned(a_demand(LLAMA_70B, budget=32), a_fleet(h100s(4)))
    made = replace(
        made, notes=(Remark("a note"),), resource="amd.com/gpu", ipv6=True, joined=True, estimate=Estimate(0.02, 300.0)
    )
    made = replace(made, memory=replace(made.memory, left_free=1024), states=192, linked=True, price=2.5)
    asked = Target(2000, 300, first_token=1.5, per_token=0.05, rate=4.0)
    sizing = Sizing(asked, 2, first_token=0.4, per_token=0.031, sequences=40, most_rate=2.25, binds=Bound.PER_TOKEN)
    made = replace(made, sizing=replace(sizing, of_first_token=0.045))
    made = replace(made, layout=made.layout._replace(data=2, context=2), alternatives=_with_data(made))
    return replace(record_plan(made, "4a00c551c28c"), made_at=NOON)


def _with_data(made: Plan) -> tuple[Alternative, ...]:
    return tuple(other._replace(layout=other.layout._replace(data=2, context=2)) for other in made.alternatives)


_RECORD = Record(
    replica=1,
    attempt=2,
    state=State.BACKOFF,
    since=NOON,
    failures=3,
    served=NOON + 1,
    retry_at=NOON + 2,
    nodes=("h100-00", "h100-01"),
    gpus=8,
    content="c0ffee",
    message="engine exited 1 (Error)",
    failure=FailureKind.OTHER,
    refused=1,
    cache=CacheTokens(102_083, 98_000),
    planned=("h100-02", "h100-01"),
    role="decode",
    no_restart=True,
)

FULL = Status(
    generation=4,
    message="1 of 2 replicas serve",
    replicas=2,
    ready_replicas=1,
    selector="shardwise.dev/model=llama",
    endpoint="http://llama.default.svc:8000/v1",
    restarts=2,
    groups=(GroupStatus(_RECORD, _RECORD.message, ready_pods=1, loaded_pods=2),),
    plan=_plan(),
    shuns=(Shunned("h100-02", ShunReason.FAILED, 2, NOON + 3600),),
    waiting_since=NOON,
    conditions=(DatedCondition("Ready", "False", "GroupBackoff", "replica 1 starts again", NOON, 4),),
    roles=(RoleStatus("decode", 2, 2, 1, _plan()),),
)
"""A status in which every field says something. No object has it."""
