"""The errors of the estimates follow from measurements; the product knows them by class of model and product."""

import json
from pathlib import Path

import pytest
from tests.support.fleets import H100
from tests.support.repository import ROOT

from shardwise.domain.estimate_errors import Measure, estimate_error
from shardwise.domain.hardware import gpu_kind
from shardwise_sandbox.estimate_errors import FILE, MEASUREMENTS, errors_text


def test_the_file_of_errors_is_what_the_measurements_give() -> None:
    """Run `python -m shardwise_sandbox errors` after a change of an estimate, and read the difference."""
    assert (ROOT / FILE).read_text(encoding="utf-8") == errors_text(ROOT)


def test_every_measurement_names_its_source_and_a_known_product() -> None:
    for run in json.loads((ROOT / MEASUREMENTS).read_text(encoding="utf-8"))["runs"]:
        assert run["source"]
        assert gpu_kind(run["product"]).proven
        assert {"firstTokenMs", "perTokenMs", "tokensPerSecond"} & set(run)


@pytest.mark.parametrize(("measure", "most"), [(Measure.PER_TOKEN, 0.25), (Measure.RATE, 1.0)])
def test_estimates_of_dense_models_on_h100_are_as_near_as_the_pages_say(measure: Measure, most: float) -> None:
    found = estimate_error(measure, H100, mixture=False)
    assert found is not None
    assert found.half_within <= 0.15
    assert found.all_within <= most


def test_what_nobody_measured_has_no_error() -> None:
    assert estimate_error(Measure.FIRST_TOKEN, H100, mixture=True) is None
    assert estimate_error(Measure.RATE, "Acme-Turbo-9000", mixture=False) is None


def test_a_measurement_that_moves_changes_the_file(tmp_path: Path) -> None:
    """The text depends on the figures."""
    for folder in ("tests/data/models", "operator/shardwise/data"):
        (tmp_path / folder).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "tests/data/models").symlink_to(ROOT / "tests/data/models")
    measured = json.loads((ROOT / MEASUREMENTS).read_text(encoding="utf-8"))
    measured["runs"] = [run | {"perTokenMs": 2 * run["perTokenMs"]} for run in measured["runs"] if "perTokenMs" in run]
    (tmp_path / MEASUREMENTS).write_text(json.dumps(measured), encoding="utf-8")
    assert errors_text(tmp_path) != errors_text(ROOT)
