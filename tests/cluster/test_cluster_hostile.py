"""Objects that are made to stop the operator: it refuses them, and serves the others."""

import signal
from pathlib import Path

from tests.cluster.installed import MODELS, Running
from tests.support.operating import a_model

LEVELS = 500
"""Deeper than the values that the operator keeps of an answer, and harmless to other clients."""


def too_deep(name: str) -> str:
    """Give an object whose config is nested deeply, as text: Python may not print deep values."""
    config = f'{{"x": {"[" * LEVELS}{"]" * LEVELS}}}'
    return (
        f'{{"apiVersion": "shardwise.dev/v1alpha1", "kind": "ShardedModel", "metadata": {{"name": "{name}"}},'
        f' "spec": {{"gpuBudget": {{"total": 1}}, "model": {{"name": "a/b", "config": {config}}}}}}}'
    )


def test_an_object_too_deep_to_be_read_hides_no_other(running: Running, tmp_path: Path) -> None:
    """It comes once by a watch, and once by the list with which a new operator begins."""
    kubectl = running.plane.kubectl
    file = tmp_path / "deep.json"
    file.write_text(too_deep("deep"))
    path = f"/apis/shardwise.dev/v1alpha1/namespaces/{MODELS}/shardedmodels"
    kubectl("create", "--raw", path, "-f", str(file))

    def said() -> str:
        return kubectl("get", "shardedmodel", "deep", "-n", MODELS, "-o", "jsonpath={.status.message}")

    def serves(name: str) -> None:
        running.apply(a_model(name))
        kubectl("wait", "--for=condition=Ready", f"shardedmodel/{name}", "-n", MODELS, "--timeout=60s")

    running.until(lambda: "levels deep" in said(), "the deep object is refused")
    serves("beside")
    running.stop(signal.SIGTERM)
    running.start()
    serves("after")
    kubectl("delete", "shardedmodel", "deep", "-n", MODELS)
