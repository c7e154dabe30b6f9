"""The decision for one object: keep or make the plan, advance each group, say what to apply and delete, and report."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from shardwise.domain.launch import Wanted
from shardwise.domain.plan import GroupPlacement, Plan
from shardwise.engines import problems
from shardwise.explain import plan_message, refusal_message
from shardwise.reconcile.actions import Action, Apply, Decision, Delete, Emit, MakeKeys
from shardwise.reconcile.fabric import no_compute_domains
from shardwise.reconcile.groups import GroupView, advance, wait_seconds
from shardwise.reconcile.observed import Observed, PodSeen, companion_of
from shardwise.reconcile.plans import InForce, in_force
from shardwise.reconcile.records import Record, State, read_records
from shardwise.reconcile.status import WRITE_REFUSED, Progress, invalid_status, paused_status, status_of
from shardwise.render import Group, Manifest, group, needs_compute_domains, revision, serving
from shardwise.render.companions import is_named_by_us
from shardwise.render.manifest import REVISION
from shardwise.render.names import group_name, serving_name


@dataclass(frozen=True, slots=True)
class Invalid:
    """An object that cannot be honoured, with the reason for people and its stable name."""

    generation: int
    message: str
    reason: str = "InvalidSpec"
    retry_after: float | None = None


def decide(wanted: Wanted, observed: Observed, now: float) -> Decision:
    """Decide what to do for one object. ``now`` is seconds since the epoch."""
    if wanted.paused:
        return Decision(paused_status(observed.status, wanted.generation, now))
    refused = problems(wanted)
    if refused:
        message = "; ".join(f"{field}: {text}" for field, text in refused)
        return decide_invalid(Invalid(wanted.generation, message), observed, now)
    records = read_records(observed.status)
    force = in_force(wanted.demand, observed.status, records, observed.pods, observed.fleet)
    if force.plan is None:
        return _without_plan(wanted, force, observed, now)
    if not observed.compute_domains and not observed.pods and needs_compute_domains(wanted, force.plan):
        message = no_compute_domains(wanted, force.plan, observed.fleet)
        return decide_invalid(Invalid(wanted.generation, message, "ComputeDomainsMissing"), observed, now)
    return _with_plan(wanted, force, force.plan, observed, now)


def decide_invalid(invalid: Invalid, observed: Observed, now: float) -> Decision:
    """Report an object that cannot be honoured, and leave what runs alone: the mistake may be the last edit's."""
    status = invalid_status(observed.status, invalid.generation, invalid.reason, invalid.message, now)
    if invalid.retry_after is not None:
        return Decision(status, retry_after=invalid.retry_after)
    told = invalid.message == observed.status.get("message")
    return Decision(status, () if told else (Emit(invalid.reason, invalid.message, warning=True),))


def _without_plan(wanted: Wanted, force: InForce, observed: Observed, now: float) -> Decision:
    """Nothing can run: a demand that changed, or whose nodes are gone, gives its GPUs back."""
    progress = Progress(wanted, None, None, force.refusal, ())
    status = status_of(progress, observed.status, now)
    deletions = tuple(Delete("Pod", pod.name, pod.uid) for pod in observed.pods if not pod.deleting)
    return Decision(status, (*deletions, *_told(progress, observed)))


def _with_plan(wanted: Wanted, force: InForce, plan: Plan, observed: Observed, now: float) -> Decision:
    before = _views(wanted, plan, observed, now)
    renewed = _renewed(before)
    after = tuple(
        advance(view, max_restarts=wanted.max_restarts, renew=view.record.replica in renewed, now=now)
        for view in before
    )
    groups = tuple(zip(before, after, strict=True))
    progress = Progress(wanted, plan, force.document, force.refusal, groups, observed.refused)
    status = status_of(progress, observed.status, now)
    made = tuple(group(wanted, plan, record.replica, record.attempt) for record in after)
    actions = (
        *_removals(wanted, after, made, observed),
        *_serving(wanted, observed),
        *_launches(before, after, made, observed),
        *_told(progress, observed),
        *_refusal_told(status, observed),
    )
    return Decision(status, actions, _retry_after(after, now))


def _views(wanted: Wanted, plan: Plan, observed: Observed, now: float) -> tuple[GroupView, ...]:
    records = read_records(observed.status)
    return tuple(_view(wanted, plan, placed, observed.pods, records, now) for placed in plan.groups)


def _view(
    wanted: Wanted,
    plan: Plan,
    placed: GroupPlacement,
    pods: tuple[PodSeen, ...],
    records: dict[int, Record],
    now: float,
) -> GroupView:
    """Find the present attempt: the one written down, or a later one whose pods are there already."""
    mine = [pod for pod in pods if pod.replica == placed.replica]
    record = records.get(placed.replica) or Record(placed.replica, since=now)
    attempt = max((record.attempt, *(pod.attempt for pod in mine)))
    if attempt != record.attempt:
        record = Record(placed.replica, attempt, record.failures, now)
    current = tuple(sorted((pod for pod in mine if pod.attempt == attempt), key=lambda pod: pod.index))
    return GroupView(placed, record, current, revision(wanted, plan, placed.replica))


def _renewed(views: tuple[GroupView, ...]) -> frozenset[int]:
    """Choose the stale groups to replace now.

    Those that do not serve, and all when a plan moved them; else one after the other, each once the rest is ready.
    """
    stale = [view for view in views if view.stale]
    if any(view.moved for view in stale):
        return frozenset(view.record.replica for view in stale)
    idle = {view.record.replica for view in stale if not view.ready}
    others_ready = all(view.ready for view in views if not view.stale)
    serving_ones = [view.record.replica for view in stale if view.ready]
    return frozenset(idle | set(serving_ones[:1] if others_ready and not idle else ()))


def _removals(
    wanted: Wanted, records: tuple[Record, ...], made: tuple[Group, ...], observed: Observed
) -> Iterator[Action]:
    """Remove what belongs to no present attempt: pods first, so that their GPUs come back."""
    present = {(record.replica, record.attempt) for record in records}
    for pod in observed.pods:
        if (pod.replica, pod.attempt) not in present and not pod.deleting:
            yield Delete("Pod", pod.name, pod.uid)
    kept = {group_name(wanted.launch.owner.name, *one) for one in present} | {serving_name(wanted.launch.owner.name)}
    gone = [name for name in sorted(observed.services) if name not in kept]
    yield from _companion_removals(wanted.launch.owner.name, gone, made, observed)
    yield from (Delete("Service", name) for name in gone)


def _companion_removals(model: str, gone: list[str], made: tuple[Group, ...], observed: Observed) -> Iterator[Action]:
    """Remove what only groups that go needed beside them: before the Services that say so, or it would be forgotten.

    Only what is called as ours is: whoever may label a Service could else have anything deleted by us.
    """
    needed = {companion_of(one) for present in made for one in present.companions}
    left = {one for service in gone for one in observed.companions.get(service, ())}
    for api_version, kind, name in sorted(left - needed):
        if is_named_by_us(model, name):
            yield Delete(kind, name, api_version=api_version)


def _serving(wanted: Wanted, observed: Observed) -> Iterator[Action]:
    yield from _missing_service(serving(wanted), observed)


def _missing_service(manifest: Manifest, observed: Observed) -> Iterator[Action]:
    metadata = manifest["metadata"]
    if observed.services.get(metadata["name"]) != metadata["labels"][REVISION]:
        yield Apply(manifest)


def _launches(
    before: tuple[GroupView, ...], after: tuple[Record, ...], made: tuple[Group, ...], observed: Observed
) -> Iterator[Action]:
    for view, record, one in zip(before, after, made, strict=True):
        if record.state in (State.BACKOFF, State.HELD):
            continue
        yield from _missing_service(one.service, observed)
        if record.state is State.PENDING:
            there = {pod.name for pod in view.pods}
            yield from (Apply(companion) for companion in one.companions)
            yield from (MakeKeys(secret) for secret in (one.keys,) if secret is not None)
            yield from (Apply(pod) for pod in one.pods if pod["metadata"]["name"] not in there)


def _told(progress: Progress, observed: Observed) -> Iterator[Emit]:
    """Tell each change once: what the status said before is told already."""
    if progress.refusal is not None:
        message = refusal_message(progress.refusal)
        if message not in _messages(observed):
            yield Emit(progress.refusal.reason.value, message, warning=True)
    if progress.plan is not None and (observed.status.get("plan") or {}).get("groups") != (progress.document or {}).get(
        "groups"
    ):
        yield Emit("Planned", plan_message(progress.plan))
    for view, record in progress.groups:
        yield from _group_told(view, record)


def _refusal_told(status: Mapping[str, Any], observed: Observed) -> Iterator[Emit]:
    """Tell what was refused where the status says it, and did not say so before."""
    said = any(one["reason"] == WRITE_REFUSED for one in status["conditions"])
    if said and status["message"] != observed.status.get("message"):
        yield Emit(WRITE_REFUSED, observed.refused, warning=True)


def _messages(observed: Observed) -> set[str]:
    return {str(one.get("message")) for one in observed.status.get("conditions") or ()}


def _group_told(view: GroupView, record: Record) -> Iterator[Emit]:
    old = view.record
    if record.state is State.READY and old.state is not State.READY:
        yield Emit("GroupReady", f"replica {record.replica} serves, attempt {record.attempt}")
    if record.state is State.BACKOFF and old.state is not State.BACKOFF:
        wait = f"starting again in {wait_seconds(record.failures):.0f} s"
        yield Emit("GroupFailed", f"replica {record.replica}: {record.message}; {wait}", warning=True)
    if record.state is State.HELD and old.state is not State.HELD:
        held = f"held after {record.failures} failures in a row"
        yield Emit("GroupHeld", f"replica {record.replica}: {record.message}; {held}", warning=True)
    if record.attempt > old.attempt:
        why = record.message or old.message or "other content is wanted"
        yield Emit(
            "GroupRestarted", f"replica {record.replica}: {why}; starting attempt {record.attempt}", warning=True
        )


def _retry_after(records: tuple[Record, ...], now: float) -> float | None:
    ends = [one.since + wait_seconds(one.failures) for one in records if one.state is State.BACKOFF]
    return max(0.0, min(ends) - now) if ends else None
