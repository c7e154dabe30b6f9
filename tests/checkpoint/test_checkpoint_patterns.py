"""Patterns mean the same as in Python, and a match takes no more steps than the pattern has signs."""

import re
from fnmatch import translate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest_mock import MockerFixture

from shardwise.checkpoint.pattern_syntax import MOST_SIGNS, PatternError, expression, glob
from shardwise.checkpoint.patterns import Choice, Edge, Lookaround, Pattern, Run, Sequence, Sign, Times, row

Q = "model.layers.3.self_attn.q_proj"
GATE = "model.layers.12.mlp.gate"
EXPERT = "model.layers.3.mlp.experts.0.gate_proj"
SHARED = "model.layers.3.mlp.shared_experts.up_proj"
MTP = "mtp.layers.0.mlp.down_proj"
ALL = (Q, GATE, EXPERT, SHARED, MTP)

PUBLISHED: dict[str, tuple[str, tuple[str, ...]]] = {
    "all gates (llm-compressor, glm_4.6_fp8_block.py)": (".*gate$", (GATE,)),
    "all but experts (llm-compressor, a recipe for DeepSeek)": ("(?!.*experts).*", (Q, GATE, MTP)),
    "all but shared experts (vLLM, test of mxfp4)": ("^(?!.*shared_experts).*$", (Q, GATE, EXPERT, MTP)),
    "all but drafts (a checkpoint in NVFP4)": (r"^(?!mtp\.).*layers\.\d+\.mlp\.[a-z_]+$", (GATE,)),
    "a pattern without some names": (rf"(?!(?:{re.escape(Q)}|{re.escape(GATE)})$)(?:model.*)", (EXPERT, SHARED)),
    "attention and what is in it": (r".*\.layers\.(?:3|5)\.self_attn(?:\..*)?$", (Q,)),
    "the beginning of a name, or a part": (r".*(?:^|\.)mlp\.gate", (GATE,)),
    "layers by ranges (a checkpoint of GLM)": (r"model\.layers\.(?:[0-3]|89|9[0-2])\..*", (Q, EXPERT, SHARED)),
    "every second layer (a recipe of llm-compressor)": (r"model\.layers\.(\d*?[02468])\.*", (GATE,)),
    "any rule (GPTQModel, README)": (r".*\.(?:1[0-5])\..*", (GATE,)),
    "drafts (AutoRound)": (".*mtp.*", (MTP,)),
    "not after a word": (r".*(?<!shared_)experts\..*", (EXPERT,)),
    "in any case": ("(?i).*SELF_attn.*", (Q,)),
}


@pytest.mark.parametrize(("text", "matched"), PUBLISHED.values(), ids=PUBLISHED)
def test_patterns_of_published_checkpoints_are_read(text: str, matched: tuple[str, ...]) -> None:
    pattern = expression(text)
    assert tuple(name for name in ALL if pattern.match(row([name]))) == matched
    assert tuple(name for name in ALL if re.match(text, name)) == matched


ATOMS = ["a", "b", r"\.", ".", "0", r"\d", r"\w", r"\D", r"\s", "[ab]", "[^a]", "[0-9_]", r"[\d.]", r"[^\W]", "[]a]"]
EDGES = ["^", "$", r"\b", r"\B", r"\A", r"\Z"]
REPEATS = ["", "", "", "*", "+", "?", "{2}", "{1,2}", "{,2}", "{1,}", "*?"]
OPENED = ["(", "(?:", "(?=", "(?!", "(?<=", "(?<!"]
singles = st.tuples(st.sampled_from(ATOMS), st.sampled_from(REPEATS)).map("".join) | st.sampled_from(EDGES)
parts = st.lists(singles, max_size=3).map("".join)
groups = st.tuples(st.sampled_from(OPENED), parts, st.just("|"), parts, st.just(")"), st.sampled_from(REPEATS))
regexes = st.lists(singles | groups.map("".join), min_size=1, max_size=3).map("".join)
"""With names of six signs, the matcher of the standard library needs few steps for each of these."""

names = st.lists(st.text("ab.01_", min_size=1, max_size=6), min_size=1, max_size=6)


@given(regexes, names)
@settings(max_examples=1500)
def test_a_pattern_that_is_read_means_the_same_as_in_python(text: str, called: list[str]) -> None:
    try:
        pattern = expression(text)
    except PatternError:
        return
    python = re.compile(text)
    assert [pattern.match(row([name])) for name in called] == [bool(python.match(name)) for name in called]
    assert pattern.match(row(called)) == any(python.match(name) for name in called)


globs = st.lists(st.sampled_from(["a", "b", ".", "0", "*", "?", "[ab]", "[!a]", "[0-1]", "[", "]", "!"]), max_size=5)


@given(globs.map("".join), names)
@settings(max_examples=500)
def test_a_glob_means_the_same_as_in_python_for_the_name_or_a_module_around_it(text: str, called: list[str]) -> None:
    pattern = glob(text)
    python = re.compile(translate(text))
    for name in called:
        starts = [0, *(at + 1 for at, sign in enumerate(name) if sign == ".")]
        ends = [len(name), *(at for at, sign in enumerate(name) if sign == ".")]
        modules = [name[start:end] for start in starts for end in ends if start <= end]
        assert pattern.match(row([name])) == any(python.match(module) for module in modules)


def test_a_pattern_matches_the_names_of_a_row_each_by_itself() -> None:
    """Nothing matches over the end of a name."""
    called = row(["ab", "ba"])
    assert not expression("a.*a").match(called)
    assert not expression(r"ab\Wba").match(called)
    assert not expression("ab[^x]ba").match(called)
    assert expression("ba$").match(called)
    assert not expression("b$").match(called)
    assert not expression(".*(?<=ab)ba").match(called)


NODES = (Choice, Edge, Lookaround, Run, Sequence, Sign, Times)


def visits(mocker: MockerFixture, pattern: Pattern, called: list[str]) -> int:
    """Count the nodes that a match visits."""
    spies = [mocker.spy(kind, way) for kind in NODES for way in ("after", "before")]
    pattern.match(row(called))
    mocker.stopall()
    return sum(spy.call_count for spy in spies)


COSTLY = {
    "many repeats": ".*" * 40 + "x",
    "repeats that overlap": r"\w*[a-z]*\w*[a-z]*\w*[a-z]*\w*[a-z]*!",
    "counts in a group": "(?:(?:a{0,8}b{0,8}){0,4}){0,4}!",
    "looks": "(?!.*x)(?=.*a)(?<!b).*(?!.*y)" * 8,
    "choices": "(?:" + "|".join(f"a*{letter}" for letter in "bcdefgh") + ")!",
}


@pytest.mark.parametrize("text", COSTLY.values(), ids=COSTLY)
def test_a_match_visits_no_more_nodes_than_the_size_of_the_pattern(mocker: MockerFixture, text: str) -> None:
    """However long the names are. Names of a hundred signs would keep a matcher that tries all ways busy for ever."""
    pattern = expression(text)
    counts = {visits(mocker, pattern, ["a" * length]) for length in (100, 200, 400)}
    assert len(counts) == 1
    assert max(counts) <= pattern.size <= MOST_SIGNS


def test_the_size_of_a_pattern_grows_as_its_text() -> None:
    sizes = [expression(r"[a-z]*\.(?:q|k)_proj" * count).size for count in (10, 20, 40)]
    assert sizes[1] == 2 * sizes[0] - 1
    assert sizes[2] == 2 * sizes[1] - 1


REFUSED = {
    "a group that is open": "(a",
    "a group that is closed twice": "a)",
    "a set that is open": "[a",
    "a set that is open after a sign": "[a\\",
    "a repeat of nothing": "*a",
    "a count of nothing": "{2}",
    "a repeat of a repeat": "a**",
    "a possessive repeat": "a*+",
    "a lazy repeat that repeats": "a*??",
    "a repeat of a position": "^*",
    "a count without a number": "a{x}",
    "a count that is open": "a{2",
    "a count upside down": "a{3,2}",
    "a count that is too large": "a{101}",
    "a group without a bound": "(?:ab)*",
    "a group with a least count": "(?:ab){2,}",
    "an atomic group": "(?>a)",
    "a condition": "(a)?(?(1)b|c)",
    "a reference": r"(a)\1",
    "a named reference": "(?P<x>a)(?P=x)",
    "flags inside": "a(?i)b",
    "flags of a group": "(?i:a)",
    "an escape of a letter": r"\q",
    "an escape of nothing": "a\\",
    "an escape of a letter in a set": r"[\b]",
    "a range upside down": "[b-a]",
    "a range of classes": r"[\d-z]",
    "a set in a set": "[[a]",
    "a difference of sets": "[a--b]",
    "a look behind of several lengths": "(?<=a|bc)d",
    "a look behind without a length": "(?<!a*)b",
    "a sign beyond ASCII": "é",
    "a control character": "a\tb",
    "a text that is too long": "a" * (MOST_SIGNS + 1),
    "steps that are too many": "(?:a{100}){100}",
    "groups that are nested too deeply": "(" * 60 + "a" + ")" * 60,
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_a_pattern_that_is_not_understood_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(PatternError, match=r"^(has|repeats|takes|looks|ends|needs) ") as raised:
        expression(text)
    assert len(str(raised.value)) < 160
    assert str(raised.value).isprintable()


@given(st.text("ab()[]{}|*+?^$\\.,-:=!<0123dwbZ", max_size=12))
@settings(max_examples=1000)
def test_any_text_is_read_or_refused(text: str) -> None:
    """And all that is read is a regular expression."""
    try:
        expression(text)
    except PatternError:
        return
    re.compile(text)
