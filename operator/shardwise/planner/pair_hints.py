"""Hints for an object with roles: changes of the whole object with which both roles have a plan."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

from shardwise.domain.demand import Demand
from shardwise.domain.fleet import Fleet
from shardwise.domain.refusal import Area, Hint, OverBudget
from shardwise.domain.role_causes import ShareShort
from shardwise.planner.halves import Pair, PairRefusal
from shardwise.planner.hints_on_target import first_token, per_token, rate, times
from shardwise.planner.largest import largest_that_fits
from shardwise.planner.pair_search import any_pair
from shardwise.planner.trials import MOST_TRIES, Trial


@dataclass(frozen=True, slots=True)
class PairTrials:
    """Both roles, with which changes of the object are tried. A change is told by the demand of either role."""

    decode: Demand
    prefill: Demand
    fleet: Fleet

    def fits(self, demand: Demand) -> bool:
        """Tell whether both roles have a plan with the budget and the target of a demand."""
        return self.pair(demand) is not None

    def pair(self, demand: Demand) -> Pair | None:
        """Plan both roles with the budget and the target of a demand."""
        decode, prefill = (
            replace(role, gpu_budget=demand.gpu_budget, target=demand.target) for role in (self.decode, self.prefill)
        )
        return any_pair(decode, prefill, self.fleet)


def with_hints(decode: Demand, prefill: Demand, fleet: Fleet, refused: PairRefusal) -> PairRefusal:
    """Add the changes with which both roles have a plan: the smallest budget, the nearest times, the highest rate."""
    trials = PairTrials(decode, prefill, fleet)
    hints = tuple(_hints(trials, refused))
    return replace(refused, refusal=replace(refused.refusal, hints=hints)) if hints else refused


def _hints(trials: PairTrials, refused: PairRefusal) -> Iterator[Hint]:
    areas = {rejected.cause.area for rejected in refused.refusal.rejected}
    kinds = [_budget(trials, refused)]
    if Area.TARGET in areas:
        kinds += [kind(trials.decode, trials) for kind in (first_token, per_token, times)]
    if areas & {Area.BUDGET, Area.ROOM}:
        kinds.append(rate(trials.decode, trials))
    for tried in kinds:
        yield from islice(_worked(tried, trials, refused), 1)


def _worked(tried: Iterator[Trial], trials: PairTrials, refused: PairRefusal) -> Iterator[Hint]:
    """Give the trials with which both roles have a plan, as hints with the plan of the role that was refused."""
    for trial in islice(tried, MOST_TRIES):
        pair = trials.pair(trial.demand)
        if pair is not None:
            made = pair.of(refused.role)
            yield Hint(trial.field, trial.value, made.layout, made.product, made.gpus, trial.change, made.tight)


def _budget(trials: PairTrials, refused: PairRefusal) -> Iterator[Trial]:
    """Try the budgets that the layouts of the refused role need beside the other role.

    With a target, the least prefill may need more than the whole budget. Then the budgets up to all free GPUs are
    searched: a larger budget never rules out a plan for a target.
    """
    demand, causes = trials.decode, [rejected.cause for rejected in refused.refusal.rejected]
    totals = sorted({short.taken + short.needed for short in causes if isinstance(short, ShareShort)})
    if not totals and demand.target is not None and any(isinstance(cause, OverBudget) for cause in causes):
        larger = range(sum(node.free for node in trials.fleet.nodes), demand.gpu_budget, -1)
        least = largest_that_fits(larger, lambda total: trials.fits(replace(demand, gpu_budget=total)))
        totals = [] if least is None else [least]
    yield from (Trial(replace(demand, gpu_budget=total), "spec.gpuBudget.total", total) for total in totals)
