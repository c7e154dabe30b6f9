"""A new cause is one class with its traits and one sentence: the planner and the words need nothing else."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
from tests.support.causes import CAUSES
from tests.support.fleets import a_fleet, h100s
from tests.support.models import LLAMA_8B, a_demand
from tests.support.plans import planned, refused

import shardwise
from shardwise.domain.demand import EngineSetup
from shardwise.domain.engine import EngineName
from shardwise.domain.layout import Layout
from shardwise.domain.model import ModelFacts
from shardwise.domain.refusal import Area, Cause, RefusalReason
from shardwise.explain.answers import refusal_answer
from shardwise.explain.causes import SENTENCES, Sentence, fate
from shardwise.explain.plans import plan_text
from shardwise.explain.refusals import refusal_message, refusal_text
from shardwise.planner import judging

NAMES = {kind.__name__ for kind in CAUSES}
PACKAGE = Path(shardwise.__file__).parent


@dataclass(frozen=True, slots=True)
class WrongMoon(Cause):
    """A cause that only these tests know."""

    area: ClassVar[Area] = Area.LAW

    phase: int


@dataclass(frozen=True, slots=True)
class TooWarm(Cause):
    """Another, which waiting mends."""

    area: ClassVar[Area] = Area.ROOM

    product: str
    degrees: int

    @property
    def shortfall(self) -> float:
        return self.degrees / 100


@pytest.fixture(autouse=True)
def _nothing_judged_before() -> Iterator[None]:
    """Keep no judgement from one law to the other."""
    kept = [found for found in vars(judging).values() if hasattr(found, "cache_clear")]
    for found in kept:
        found.cache_clear()
    yield
    for found in kept:
        found.cache_clear()


@pytest.fixture(autouse=True)
def _words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        SENTENCES,
        WrongMoon,
        Sentence("want another moon", lambda why: f"moon {why.phase} of 4 is not full"),
    )
    monkeypatch.setitem(
        SENTENCES,
        TooWarm,
        Sentence("are too warm", lambda why: f"{why.degrees} °C", lambda why: f"find {why.product} too warm"),
    )


def ruled_out_by(monkeypatch: pytest.MonkeyPatch, why: Cause, *, but: Layout | None = None) -> None:
    """Let the search find this cause for every layout but one, if vLLM serves."""

    def illegal(_: ModelFacts, engine: EngineName, layout: Layout, __: EngineSetup) -> Cause | None:
        return None if layout == but or engine is not EngineName.VLLM else why

    monkeypatch.setattr(judging, "illegal", illegal)


def test_a_new_cause_of_the_law_gives_its_reason_its_hints_and_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    ruled_out_by(monkeypatch, WrongMoon(2))
    refusal = refused(a_demand(LLAMA_8B), a_fleet(h100s(1)))
    assert (refusal.reason, refusal.waits) == (RefusalReason.ILLEGAL_LAYOUT, False)
    assert [hint.field for hint in refusal.hints] == ["spec.engine.name"]
    assert "moon 2 of 4 is not full" in refusal_message(refusal)
    assert "moon 2 of 4 is not full" in refusal_text(refusal, "llama")
    (clause,) = refusal_answer(refusal)["derivation"]
    assert (clause["kind"], clause["product"]) == ("WrongMoon", None)
    assert clause["nearest"]["cause"] == {"kind": "WrongMoon", "phase": 2}


def test_a_new_cause_of_the_room_gives_its_reason_and_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    ruled_out_by(monkeypatch, TooWarm("H100", 60))
    refusal = refused(a_demand(LLAMA_8B), a_fleet(h100s(1)))
    assert (refusal.reason, refusal.waits) == (RefusalReason.CAPACITY_SHORT, False)
    assert refusal.nearest is not None
    assert refusal.nearest.distance[:2] == (0, 0.6)
    (clause,) = refusal_answer(refusal)["derivation"]
    assert clause["text"].endswith(" find H100 too warm")


def test_an_alternative_rejected_for_a_new_cause_is_told_beside_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    ruled_out_by(monkeypatch, WrongMoon(1), but=Layout(2, 1))
    text = plan_text(planned(a_demand(LLAMA_8B), a_fleet(h100s(1))), "llama")
    assert "TP2×PP1" in text
    assert "refused: moon 1 of 4 is not full" in text
    assert "want another moon" in text


@pytest.mark.parametrize("kind", CAUSES, ids=lambda kind: kind.__name__)
def test_every_cause_has_its_traits_and_its_sentence(kind: type[Cause]) -> None:
    """For a single layout and for many."""
    assert isinstance(kind.area, Area)
    assert isinstance(SENTENCES[kind], Sentence)
    assert (kind.area.reason is None) is (kind.area is Area.PREFERENCE)
    assert ("product" in kind.__dataclass_fields__) is kind.area.of_product


def test_no_two_causes_of_an_area_share_their_place_in_a_refusal() -> None:
    rejecting = [kind for kind in CAUSES if kind.area is not Area.PREFERENCE]
    assert len({(kind.area, kind.order) for kind in rejecting}) == len(rejecting)


def test_every_sentence_belongs_to_a_cause() -> None:
    assert set(SENTENCES) == {*CAUSES, WrongMoon, TooWarm}
    assert fate(WrongMoon(1)) == "want another moon"


def _tables(tree: ast.Module) -> Iterator[set[str]]:
    """Give the names that stand together in every table: a display, a union, or the cases of a match."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Match):
            yield {name.id for case in node.cases for name in ast.walk(case.pattern) if isinstance(name, ast.Name)}
        if isinstance(node, ast.Tuple | ast.List | ast.Set | ast.Dict):
            yield {name.id for name in ast.iter_child_nodes(node) if isinstance(name, ast.Name)}


def test_no_other_module_lists_causes() -> None:
    """A table of causes elsewhere would have to be remembered when a cause is added."""
    listing = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if any(names & NAMES for names in _tables(ast.parse(path.read_text())))
    }
    assert listing == {"explain/causes.py"}
