"""Each sentence of SECURITY.md about what the operator reads has a test, and states the bounds of the code."""

import ast
import re
from typing import Final

from tests.support.repository import ROOT, TESTS, functions

from shardwise.checkpoint.config import MOST_STEPS
from shardwise.checkpoint.extent import DEEPEST, LONGEST_TEXT, MOST_VALUES
from shardwise.checkpoint.names import MOST_NAMES, MOST_PATTERNS
from shardwise.checkpoint.pattern_syntax import MOST_SIGNS
from shardwise.cluster.nesting import DEEPEST as DEEPEST_ANSWER

PROOFS: Final = {
    "No pattern of a checkpoint reaches Python's matcher.": (
        "checkpoint/test_checkpoint_patterns.py: test_a_match_visits_no_more_nodes_than_the_size_of_the_pattern",
        "checkpoint/test_checkpoint_names.py: test_a_pattern_that_cannot_be_matched_is_refused_with_its_field",
        "repo/test_repo_regexes.py: test_every_regular_expression_is_listed",
    ),
    "The extent of a config.json is bounded": (
        "checkpoint/test_checkpoint_linear.py: test_the_depth_of_a_config_is_bounded",
        "checkpoint/test_checkpoint_linear.py: test_the_number_of_values_is_bounded_even_if_they_repeat_one_list",
        "checkpoint/test_checkpoint_linear.py: test_the_length_of_a_text_is_bounded",
    ),
    "No object is too deep to be read.": (
        "cluster_client/test_cluster_client_nesting.py: test_the_objects_beside_it_are_kept_whole",
        "operate/test_operate_reading.py: test_a_config_that_is_nested_too_deeply_is_refused",
        "cluster/test_cluster_hostile.py: test_an_object_too_deep_to_be_read_hides_no_other",
    ),
    "The patterns are bounded": (
        "checkpoint/test_checkpoint_names.py: test_more_patterns_or_names_than_any_checkpoint_has_are_refused",
        "checkpoint/test_checkpoint_patterns.py: test_a_pattern_that_is_not_understood_is_refused_with_a_reason",
        "checkpoint/test_checkpoint_linear.py: test_layers_times_signs_of_patterns_are_bounded",
    ),
    "Reading is linear.": ("checkpoint/test_checkpoint_linear.py: test_twice_the_input_takes_at_most_twice_the_steps",),
    "A slow object delays itself.": (
        "operate/test_operate_reading.py: test_an_object_that_may_be_long_is_read_beside_the_loop",
        "operate/test_operate_reading.py: test_a_config_that_is_refused_is_read_again_only_when_it_is_edited",
    ),
    "The log names each object": (
        "operate/test_operate_reading.py: test_the_log_names_an_object_before_it_is_read",
        "operate/test_operate_reading.py: test_an_object_that_is_slow_to_read_is_named",
        "operate/test_operate_reading.py: test_an_object_that_is_refused_is_named_with_the_reason",
    ),
    "Control characters are refused": (
        "api/test_api_texts.py: test_a_text_with_control_characters_is_refused_and_shown_escaped",
        "api/test_api_texts.py: test_a_config_with_control_characters_is_refused",
        "api/test_api_texts.py: test_texts_that_nobody_prints_may_have_several_lines",
    ),
    "Every regular expression of Shardwise is linear": (
        "repo/test_repo_regexes.py: test_every_regular_expression_reads_any_text_in_linear_time",
    ),
}
"""Beginning of a sentence -> its tests."""


def _section() -> str:
    text = (ROOT / "SECURITY.md").read_text()
    return text.partition("## What the operator reads\n")[2].partition("\n## ")[0]


def test_each_sentence_on_reading_has_its_tests() -> None:
    assert set(re.findall(r"^- \*\*(.+?)\*\*", _section(), re.MULTILINE)) == set(PROOFS)
    for file, _, name in (proof.partition(": ") for proofs in PROOFS.values() for proof in proofs):
        assert name in {function.name for function in functions(TESTS / file)}, (file, name)


def test_the_bounds_are_those_of_the_code() -> None:
    said = {int(number.replace(",", "")) for number in re.findall(r"\b\d[\d,]*\b(?! each)", _section())}
    of_configs = {DEEPEST, MOST_VALUES, LONGEST_TEXT}
    of_patterns = {MOST_SIGNS, MOST_PATTERNS, MOST_NAMES, MOST_STEPS}
    assert said == {DEEPEST_ANSWER, *of_configs, *of_patterns}


def test_the_package_of_checkpoints_compiles_no_expression_but_constants() -> None:
    """A text of a config never becomes an expression of ``re``."""
    for path in sorted((ROOT / "operator" / "shardwise" / "checkpoint").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("re."):
                assert isinstance(node.args[0], ast.Constant), f"{path.name}:{node.lineno}"
