"""SECURITY.md says what a user of a ShardedModel may do: each field has a row, and each sentence has a test."""

import ast
import re
from collections.abc import Iterator

import pytest
from tests.support.repository import ROOT, TESTS, tree

from shardwise.api.base import Wire
from shardwise.api.configuration import configuration_schema
from shardwise.api.spec import ShardedModelSpec

_SECTION = (
    (ROOT / "SECURITY.md").read_text().partition("\n## What a user of a ShardedModel may do\n")[2].partition("\n## ")[0]
)
ROWS = [line.strip("| ").split(" | ") for line in _SECTION.splitlines() if line.startswith("| `")]
_TEXT = " ".join(" ".join(line for line in _SECTION.splitlines() if not line.startswith("|")).split())
SENTENCES = re.split(r"(?<=[.]) (?=[A-Z\"`])", _TEXT)

PERMISSIONS = "engines/test_engines_permissions.py"
REFUSED = "reconcile/test_reconcile_pods_refused.py"
LIMITS = "reconcile/test_reconcile_limits.py"
TURNS = "operate/test_operate_reconciler.py"
LIKE_PODS = (PERMISSIONS, "test_what_a_creator_of_pods_may_do_stays_allowed_by_default")
NARROWED = (PERMISSIONS, "test_the_configuration_narrows_each_field")
IN_NO_QUEUE = (TURNS, "test_an_object_with_a_class_that_it_may_not_have_is_in_no_queue")
DEFAULTS = (PERMISSIONS, "test_an_object_gets_no_more_than_pods_by_default")
MINUTE = (REFUSED, "test_the_gpus_are_held_for_a_minute_and_then_given_back")
HERE = "repo/test_repo_security.py"


PROOFS: dict[str, tuple[str, str]] = {
    "Anyone who may create a ShardedModel can run any container": LIKE_PODS,
    "Treat this right like the right to create pods": LIKE_PODS,
    "Quotas, pod security admission and other admission plugins apply": MINUTE,
    "The table says what each field reaches": (HERE, "test_every_field_of_the_spec_has_a_row"),
    '"More" marks the fields': DEFAULTS,
    "The `allow` section of the": (PERMISSIONS, "test_the_values_of_a_namespace_are_its_own"),
    "The operator makes pods with its own account": (
        "cluster/test_cluster_additions.py",
        "test_pods_are_made_by_the_account_of_the_operator",
    ),
    "A rule of the cluster that looks at the account": (
        "engines/test_engines_additions.py",
        "test_an_addition_is_refused_that_reaches_too_far_or_cannot_be",
    ),
    "An object with a value that is not allowed is refused": IN_NO_QUEUE,
    "The message names the field, the value and the allowed values": DEFAULTS,
    "The value of an object's PriorityClass decides": (
        "observe/test_observe_waiting.py",
        "test_a_higher_priority_stands_before_age",
    ),
    "If a ResourceQuota with the scope `PriorityClass` leaves no GPUs": (
        "inventory/test_inventory_quotas.py",
        "test_a_quota_counts_the_pods_of_its_scopes",
    ),
    "The operator plans no more GPUs": (
        LIMITS,
        "test_no_more_gpus_are_planned_than_are_left",
    ),
    "It needs the right to read ResourceQuotas": (
        "operate/test_operate_relist.py",
        "test_quotas_that_may_not_be_read_are_done_without",
    ),
    "An object whose pods are refused leaves the queue": (
        REFUSED,
        "test_what_is_refused_waits_in_no_queue_and_is_not_woken_by_free_gpus",
    ),
    "`allow.priorityClasses` keeps the object out": IN_NO_QUEUE,
    "An object whose pods are refused holds its GPUs for a minute": MINUTE,
    "Then it holds no GPUs": (REFUSED, "test_edits_again_and_again_hold_gpus_for_no_longer"),
    "Another object may hold GPUs": (LIMITS, "test_an_object_of_which_nothing_may_run_holds_nothing"),
}
"""The beginning of each sentence, and the test that proves it."""


def _fields(model: type[Wire], path: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield f"{path}.{field.alias or name}"


def _has_row(field: str) -> bool:
    named = [name for row in ROWS for name in re.findall(r"`([^`]+)`", row[0])]
    return any(field == name or field.startswith(f"{name}.") for name in named)


def test_every_field_of_the_spec_has_a_row() -> None:
    """Two levels deep: by itself, or by the part it belongs to."""
    parts = {field.alias or name: field.annotation for name, field in ShardedModelSpec.model_fields.items()}
    fields = [
        field
        for name, part in parts.items()
        for field in (
            _fields(part, f"spec.{name}") if isinstance(part, type) and issubclass(part, Wire) else [f"spec.{name}"]
        )
    ]
    assert len(fields) > 40
    assert [field for field in fields if not _has_row(field)] == []


def test_every_field_that_narrows_is_in_the_table_and_in_the_configuration() -> None:
    named = set(re.findall(r"`allow\.(\w+)`", _SECTION))
    assert named == set(configuration_schema()["properties"]["allow"]["properties"]) - {"namespaces"}


@pytest.mark.parametrize("sentence", SENTENCES)
def test_every_sentence_has_a_test(sentence: str) -> None:
    (proof,) = [proof for beginning, proof in PROOFS.items() if sentence.startswith(beginning)]
    path, name = proof
    functions = {
        node.name for node in ast.walk(tree(TESTS / path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert name in functions, proof


def test_every_proof_is_of_a_sentence() -> None:
    assert [one for one in PROOFS if not any(sentence.startswith(one) for sentence in SENTENCES)] == []
