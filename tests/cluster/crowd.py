"""A crowd on one operator: objects that are served, among objects that are hostile in each way that was seen."""

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tests.cluster.installed import MODELS, NAMESPACE, Installed, Running
from tests.cluster.pool import in_pool, pool
from tests.support.configs import MANY_LAYOUTS, PLAIN_LLAMA
from tests.support.operating import a_model

Json = dict[str, Any]

POOL: Final = "crowd"
LEASE: Final = "crowd"
SHUT: Final = "crowd-shut"
"""A namespace whose pod security refuses every pod of a model."""

_GLOBS: Final = 9000
"""Signs of a list of names, a little under what the operator reads."""


def good(count: int) -> list[Json]:
    """Make objects of one GPU each, on the crowd's own nodes."""
    return [in_pool(POOL, f"good-{number}", 1) for number in range(count)]


def hostile(each: int) -> list[Json]:
    """Make ``each`` objects of every hostile kind. All of them are valid."""
    kinds = (_costly, _slow, _shut_out, _unknown)
    return [kind(number) for kind in kinds for number in range(each)]


@contextlib.contextmanager
def crowd_running(installed: Installed, folder: Path, nodes: int) -> Iterator[Running]:
    """Run the operator with a Hub that never answers, nodes of 8 GPUs, and a namespace that refuses pods."""
    with silent_hub() as endpoint, pool(installed.plane, POOL, nodes, 8):
        installed.plane.kubectl("apply", "-f", "-", given=_namespace())
        config = folder / "config.yaml"
        config.write_text(json.dumps({"hub": {"endpoint": endpoint}}))
        elected = ("--leader-elect", f"--lease={NAMESPACE}/{LEASE}")
        with installed.running(arguments=(f"--config={config}", *elected)) as operator:
            try:
                yield operator
            finally:
                installed.plane.kubectl("delete", "shardedmodels", "--all", "-n", SHUT, "--wait")
                installed.plane.kubectl("delete", "namespace", SHUT)


def unserved(crowded: Running) -> list[str]:
    """Name the good objects that are not served."""
    found = {item["metadata"]["name"]: item.get("status") or {} for item in crowded.get("shardedmodels")["items"]}
    return [name for name, status in found.items() if name.startswith("good-") and status.get("readyReplicas") != 1]


def lease(crowded: Running) -> Json:
    """Give the spec of the operator's Lease."""
    spec: Json = json.loads(crowded.plane.kubectl("get", "lease", LEASE, "-n", NAMESPACE, "-o", "json"))["spec"]
    return spec


@contextlib.contextmanager
def silent_hub() -> Iterator[str]:
    """Give the address of a Hub that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def _costly(number: int) -> Json:
    """Ask for as many layouts and replicas as the search allows."""
    budget = {"products": ["NVIDIA-GB200"]}
    made = a_model(f"costly-{number}", gpus=10000, replicas=17, objective="throughput", budget=budget)
    return _with_config(made, MANY_LAYOUTS)


def _slow(number: int) -> Json:
    """List thousands of signs that every name must be held against."""
    signs = [f"*a{sign}*b" for sign in range(_GLOBS)]
    weights = {"targets": ["Linear"], "weights": {"num_bits": 8, "type": "float"}}
    stated = {"quant_method": "compressed-tensors", "ignore": signs, "config_groups": {"g": weights}}
    return _with_config(a_model(f"slow-{number}", gpus=1), {**PLAIN_LLAMA, "quantization_config": stated})


def _shut_out(number: int) -> Json:
    """Plan for many GPUs of the crowd where no pod is admitted."""
    made = in_pool(POOL, f"shut-{number}", 1, replicas=50)
    return {**made, "metadata": {**made["metadata"], "namespace": SHUT}}


def _unknown(number: int) -> Json:
    """Name a model that only the Hub knows."""
    made = a_model(f"unknown-{number}", gpus=1)
    return {**made, "spec": {**made["spec"], "model": {"name": f"nobody/model-{number}"}}}


def _with_config(made: Json, config: Json) -> Json:
    model = {"name": "x/y", "config": config}
    return {**made, "metadata": {**made["metadata"], "namespace": MODELS}, "spec": {**made["spec"], "model": model}}


def _namespace() -> Json:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SHUT, "labels": labels}}
