"""A real HorizontalPodAutoscaler on the scale subresource: it finds the leaders, and gets what the budget allows."""

from typing import Any, Final

import pytest
from tests.cluster.installed import MODELS, Running
from tests.support.operating import a_model

Json = dict[str, Any]

DISCOVERED: Final = 120.0
"""Seconds until the autoscaler must have learnt of the kind: it looks for new ones every 30 s."""


def an_autoscaler(least: int) -> Json:
    """Give an autoscaler that scales to its minimum, which takes no metrics."""
    target = {"apiVersion": "shardwise.dev/v1alpha1", "kind": "ShardedModel", "name": "scaled"}
    metric = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
    }
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "scaled", "namespace": MODELS},
        "spec": {"scaleTargetRef": target, "minReplicas": least, "maxReplicas": 9, "metrics": [metric]},
    }


@pytest.fixture
def autoscaled(running: Running) -> Running:
    """Give a model of one replica, with a budget for two."""
    running.apply(a_model("scaled", gpus=2, parallelism={"tensor": 1, "pipeline": 1}))
    running.ready("scaled")
    return running


def test_an_autoscaler_scales_and_gets_what_the_budget_allows(autoscaled: Running) -> None:
    """Its own object says that it can scale; beyond the budget the model says why it has no more."""
    autoscaled.apply(an_autoscaler(2))
    try:
        autoscaled.until(lambda: autoscaled.status("scaled")["readyReplicas"] == 2, "two replicas", DISCOVERED)
        conditions = autoscaled.get("hpa", "scaled")["status"]["conditions"]
        assert ("AbleToScale", "True") in {(condition["type"], condition["status"]) for condition in conditions}
        assert autoscaled.get("hpa", "scaled")["status"]["currentReplicas"] in (1, 2)
        before = autoscaled.pod_names("scaled")
        autoscaled.apply(an_autoscaler(4))
        short = autoscaled.until(lambda: _short(autoscaled), "the budget named")
        assert "4 GPUs needed for 4 replicas, `spec.gpuBudget.total` allows 2" in short["message"]
        assert autoscaled.pod_names("scaled") == before
        assert autoscaled.status("scaled")["readyReplicas"] == 2
    finally:
        autoscaled.plane.kubectl("delete", "hpa", "scaled", "-n", MODELS)


def _short(running: Running) -> Json | None:
    stalled = running.condition("scaled", "Stalled")
    return stalled if (stalled["status"], stalled["reason"]) == ("True", "BudgetShort") else None
