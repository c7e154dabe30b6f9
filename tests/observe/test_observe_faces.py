"""The operator's store, fed by watches, and the command line's, fed by files, lead to the same decisions and words."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.reconcile.test_reconcile_crashes import GPUS, SCENARIOS, SHAPES, Scenario
from tests.support.driven import START, Driven, shared

from shardwise.cli.explaining import explain_all
from shardwise.cli.offline import facts_once, read_wanted
from shardwise.cli.reading import read_files
from shardwise.domain.launch import Wanted
from shardwise.domain.standing import Standing
from shardwise.explain.standing import standing_text
from shardwise.observe import Key, Store, key_of
from shardwise.reconcile.actions import Decision
from shardwise.reconcile.decide import decide
from shardwise.reconcile.standing import standing_of
from shardwise_sandbox import h100_node

DUMPED = ("nodes", "pods", "services", "poddisruptionbudgets", "shardedmodels", "customresourcedefinitions")
FACTS = facts_once()


class TwoFaced(Driven):
    """A cluster and its operator. Whenever the operator has heard of everything, both faces are compared."""

    path: Path
    compared = 0

    async def _hear(self) -> None:
        await super()._hear()
        self.path.write_text(json.dumps(self.dump()))
        for obj in shared(self.sandbox, "ShardedModel"):
            if "deletionTimestamp" not in obj["metadata"] and not self.operator.store.refused:
                self.compare(key_of(obj))

    def dump(self) -> dict[str, object]:
        """Give what ``kubectl get`` would print."""
        items = [obj for plural in DUMPED for obj in shared(self.sandbox, plural)]
        return {"apiVersion": "v1", "kind": "List", "items": items}

    def compare(self, key: Key) -> None:
        watched, seen = self.operator.store, read_files([str(self.path)])
        document = seen.store.sharded_models.objects[key]
        (explained,) = explain_all([document], seen, self.now)
        wanted = read_wanted(document, FACTS, None)
        assert isinstance(wanted, Wanted)
        assert isinstance(explained.outcome, Standing)
        watched.waiting.learn(key, wanted.demand)
        for other in watched.sharded_models.objects:
            waiter = watched.waiting.line.waiter("/".join(other))
            if waiter is not None and waiter.demand is not None:
                seen.store.waiting.learn(other, waiter.demand)
        assert decided(seen.store, wanted, key, self.now) == decided(watched, wanted, key, self.now)
        said = standing_text(standing_of(wanted, watched.observe(key, self.now), self.now), key[1])
        assert standing_text(explained.outcome, key[1]) == said
        self.compared += 1


def decided(store: Store, wanted: Wanted, key: Key, now: float) -> Decision:
    """Decide without the answers of engines: files hold none."""
    return decide(wanted, replace(store.observe(key, now), answers={}, heard={}), now)


async def played(scenario: Scenario, shape: str, path: Path) -> TwoFaced:
    nodes = GPUS[shape] * 2 // 8 if scenario.scarce else 4
    driven = TwoFaced([h100_node(f"h100-{number}") for number in range(1, nodes + 1)])
    driven.path = path
    steps: tuple[Callable[[Driven, str], None], ...] = (scenario.before, scenario.event)
    for step in steps:
        step(driven, shape)
        await driven.settle()
    return driven


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", SCENARIOS)
async def test_a_scenario_looks_the_same_through_both_faces(tmp_path: Path, name: str, shape: str) -> None:
    driven = await played(SCENARIOS[name], shape, tmp_path / "dump.json")
    assert driven.compared > 2
    assert driven.now >= START
