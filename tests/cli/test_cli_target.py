"""Targets and prices offline: `plan` with a fleet and an operator configuration from files."""

from pathlib import Path
from typing import Any

import pytest
from tests.cli.support import H100_80GB, Json, a_model, shardwise, write

from shardwise_sandbox.demo import fleet_documents

LOAD = {"inputTokens": 2000, "outputTokens": 400, "requestsPerSecond": 20, "timePerToken": "30ms"}
DEAR_GB200 = {H100_80GB: 2.5, "NVIDIA-GB200": 20}


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """Give the demo's nodes: H100, GB200 and L40S."""
    return write(tmp_path / "fleet.yaml", *fleet_documents())


def planned(tmp_path: Path, fleet: Path, prices: dict[str, float], **changes: Any) -> Json:
    model = write(tmp_path / "model.yaml", a_model("llama-8b", spec__gpuBudget__total=8, spec__target=LOAD, **changes))
    hardware = [{"product": product, "pricePerHour": price} for product, price in prices.items()]
    config = write(tmp_path / "config.yaml", {"fleet": {"hardware": hardware}})
    ran = shardwise("plan", "-f", model, "--fleet", fleet, "--config", config, "-o", "json")
    (answer,) = ran.data
    found: Json = answer
    return found


def test_prices_of_the_configuration_choose_the_product(tmp_path: Path, fleet: Path) -> None:
    cheapest = planned(tmp_path, fleet, DEAR_GB200, spec__objective="cheapest")["plan"]
    assert (cheapest["product"], cheapest["gpuPricePerHour"]) == (H100_80GB, 2.5)
    fewest = planned(tmp_path, fleet, DEAR_GB200)["plan"]
    assert fewest["product"] != H100_80GB
    assert fewest["replicas"] * fewest["worldSize"] < cheapest["replicas"] * cheapest["worldSize"]
    assert cheapest["target"]["asked"]["requestsPerSecond"] == 20
    assert cheapest["replicas"] * cheapest["target"]["requestsPerSecondPerReplica"] >= 20


def test_without_a_price_the_cheapest_is_refused_by_its_name(tmp_path: Path, fleet: Path) -> None:
    refused = planned(tmp_path, fleet, {}, spec__objective="cheapest")["refusal"]
    assert refused["reason"] == "PriceUnknown"
    assert refused["asked"]["target"] == {
        "inputTokens": 2000,
        "outputTokens": 400,
        "microsecondsPerToken": 30000,
        "requestsPerSecond": 20,
    }
    assert "spec.objective" in [hint["field"] for hint in refused["hints"]]
