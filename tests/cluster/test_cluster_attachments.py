"""Gateways and scalers on a real API server: the add-ons' own CRDs take what is made, and an autoscaler scales."""

import contextlib
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from tests.cluster.add_ons import custom_metrics, install, uninstall
from tests.cluster.installed import CHART, MODELS, NAMESPACE, Installed, Running
from tests.cluster.plane import ControlPlane
from tests.support.operating import a_model

Json = dict[str, Any]
Attaching = Callable[[Json], contextlib.AbstractContextManager[Running]]

KEDA: Final[Json] = {
    "inferencePools": True,
    "gateways": ["gateways/models"],
    "scaler": {"keda": {"prometheus": "http://prometheus:9090", "wakeQuery": "sum(waiting)"}},
}
AUTOSCALER: Final[Json] = {"scaler": {"horizontalPodAutoscaler": {}}}
ENDPOINT: Final[Json] = {
    "kind": "inferencePool",
    "picker": {"service": "epp"},
    "gateway": {"name": "models", "namespace": "gateways", "hostnames": ["*.example.com"]},
}
ADD_ONS: Final = ("pools", "routes", "keda")
ATTACHED: Final = ("inferencepool", "httproute", "scaledobject")

DISCOVERED: Final = 120.0
"""Seconds until the autoscaler must have learnt of a kind and of metrics: it looks for new ones every 30 s."""


@pytest.fixture
def attaching(installed: Installed, tmp_path: Path) -> Attaching:
    """Run the operator with a configuration, and with the rights that the chart gives it then."""

    @contextlib.contextmanager
    def run(attachments: Json) -> Iterator[Running]:
        plane, config = installed.plane, {"attachments": attachments}
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(config))
        upgrade = ("upgrade", "shardwise", str(CHART), "-n", NAMESPACE)
        plane.helm(*upgrade, "--set-json", f"config={json.dumps(config)}")
        try:
            with installed.running(arguments=(f"--config={path}",)) as operator:
                yield operator
        finally:
            plane.helm(*upgrade, "--reset-values")

    return run


def scaled(name: str, **scaling: Any) -> Json:
    """Give a model of a GPU a replica, scaled by the requests that wait, and no replicas in its file."""
    asked = {"min": 1, "max": 8, "signal": "queue", "target": 5} | scaling
    return a_model(name, gpus=3, parallelism={"tensor": 1, "pipeline": 1}, scaling=asked)


def degraded(running: Running, name: str) -> str:
    condition = running.condition(name, "Degraded")
    return condition.get("reason", "") if condition.get("status") == "True" else ""


def there(running: Running, name: str) -> list[str]:
    """Name the kinds of the attachments of a model."""
    return [kind for kind in ATTACHED if name in running.plane.kubectl("get", kind, "-n", MODELS, "-o", "name")]


def test_the_real_kinds_take_what_is_made_and_are_missed_before_they_come(
    installed: Installed, attaching: Attaching
) -> None:
    """Whatever order the add-ons and the model come in; each field that somebody changes is put back; all go again."""
    model = scaled("attached", min=0)
    model["spec"]["endpoint"] = ENDPOINT
    try:
        with attaching(KEDA) as running:
            running.apply(model)
            running.ready("attached")
            assert degraded(running, "attached") == "AddOnMissing"
            install(running.plane, *ADD_ONS)
            running.stop()
            running.start()
            running.until(lambda: there(running, "attached") == list(ATTACHED), "all attachments")
            running.until(lambda: not degraded(running, "attached"), "nothing missed")
            _mended(running)
            _follows(running, model)
    finally:
        uninstall(installed.plane, *ADD_ONS)


def _mended(running: Running) -> None:
    """Fields that somebody changes are put back; without a change nothing is written."""
    for kind, patch in (
        ("inferencepool", {"spec": {"targetPorts": [{"number": 1}]}}),
        ("httproute", {"spec": {"hostnames": ["evil.example.com"]}}),
        ("scaledobject", {"spec": {"maxReplicaCount": 100}}),
    ):
        before = running.get(kind, "attached")["spec"]
        running.plane.kubectl("patch", kind, "attached", "-n", MODELS, "--type=merge", "-p", json.dumps(patch))
        running.until(partial(_is_again, running, kind, before), f"{kind} mended")
    running.count_anew()
    running.stop()
    running.start()
    running.until(lambda: [call for call in running.calls() if call["verb"] == "watch"], "the operator at work", 30)
    running.until(lambda: _listed_again(running), "everything listed and looked at", 30)
    made = [call for call in running.calls() if any(plural in call["requestURI"] for plural in _PLURALS)]
    assert {call["verb"] for call in made} == {"list", "watch"}


_PLURALS: Final = ("inferencepools", "httproutes", "scaledobjects")


def _is_again(running: Running, kind: str, spec: Json) -> bool:
    return bool(running.get(kind, "attached")["spec"] == spec)


def _listed_again(running: Running) -> bool:
    """Tell whether the operator has listed for the second time, as it does after its watches began."""
    lists = [call for call in running.calls() if call["verb"] == "list" and "shardedmodels" in call["requestURI"]]
    return len(lists) > 1


def _follows(running: Running, model: Json) -> None:
    """Edit the object: what is attached changes or goes, and no pod is touched."""
    pods = running.pod_names("attached")
    model["spec"]["endpoint"] = {"gateway": ENDPOINT["gateway"]}
    running.apply(model)
    running.until(lambda: there(running, "attached") == ["httproute", "scaledobject"], "the pool gone")
    running.until(lambda: _backend(running) == "Service", "a route to the Service")
    del model["spec"]["scaling"], model["spec"]["endpoint"]
    running.apply(model)
    running.until(lambda: there(running, "attached") == [], "nothing attached")
    assert running.pod_names("attached") == pods


def _backend(running: Running) -> str:
    return str(running.get("httproute", "attached")["spec"]["rules"][0]["backendRefs"][0]["kind"])


def test_the_first_release_of_the_pool_takes_it_too(installed: Installed, attaching: Attaching) -> None:
    """Its picker is required there, and its list of ports is of another sort."""
    install(installed.plane, "pools-before")
    try:
        with attaching({"inferencePools": True}) as running:
            running.apply(a_model("pooled", endpoint={"kind": "inferencePool", "picker": {"service": "epp"}}))
            running.ready("pooled")
            assert running.get("inferencepool", "pooled")["spec"]["endpointPickerRef"]["name"] == "epp"
    finally:
        uninstall(installed.plane, "pools-before")


def hpa(running: Running) -> Json:
    found: Json = running.get("hpa", "loaded")
    return found


def test_a_real_autoscaler_scales_inside_the_budget_and_git_leaves_the_number_alone(
    own_plane: ControlPlane, attaching: Attaching
) -> None:
    """The object asks for 8 replicas at most, and its budget has GPUs for 3."""
    with custom_metrics(own_plane) as metrics, attaching(AUTOSCALER) as running:
        metrics.values["vllm_num_requests_waiting"] = "1"
        model = scaled("loaded")
        running.apply(model)
        running.ready("loaded")
        read = {"type": "ScalingActive", "status": "True", "reason": "ValidMetricFound"}
        running.until(lambda: _has(hpa(running), read), "the autoscaler reads the metric", DISCOVERED)
        assert (hpa(running)["spec"]["minReplicas"], hpa(running)["spec"]["maxReplicas"]) == (1, 3)
        metrics.values["vllm_num_requests_waiting"] = "40"
        running.until(lambda: running.status("loaded")["readyReplicas"] == 3, "three replicas", DISCOVERED)
        running.until(lambda: _has(hpa(running), {"type": "ScalingLimited", "status": "True"}), "the limit told")
        assert not degraded(running, "loaded")
        _stays(running, model, 3)
        running.plane.kubectl("patch", "hpa", "loaded", "-n", MODELS, "-p", '{"spec":{"maxReplicas":8}}')
        running.until(lambda: hpa(running)["spec"]["maxReplicas"] == 3, "the ceiling put back")
        metrics.values["vllm_num_requests_waiting"] = "0"
        running.until(lambda: len(running.pod_names("loaded")) == 1, "one replica", DISCOVERED)
        assert running.get("shardedmodel", "loaded")["spec"]["replicas"] == 1


def _has(obj: Json, condition: Json) -> bool:
    found = (obj.get("status") or {}).get("conditions") or ()
    return any(condition.items() <= one.items() for one in found)


def _stays(running: Running, model: Json, replicas: int) -> None:
    """Apply the file as tools do: without the field in it, the number of the autoscaler stays, and no tool owns it."""
    apply = ("apply", "-f", "-")
    for arguments in (
        apply,
        (*apply, "--server-side", "--force-conflicts", "--field-manager=kustomize-controller"),
        (*apply, "--server-side", "--force-conflicts", "--field-manager=argocd-controller"),
    ):
        running.plane.kubectl(*arguments, given=model)
        assert running.get("shardedmodel", "loaded")["spec"]["replicas"] == replicas
    entries = json.loads(
        running.plane.kubectl("get", "shardedmodel", "loaded", "-n", MODELS, "-o", "json", "--show-managed-fields")
    )["metadata"]["managedFields"]
    owners = {entry["manager"] for entry in entries if "f:replicas" in entry["fieldsV1"].get("f:spec", {})}
    assert owners == {"kube-controller-manager"}


def test_a_number_that_git_had_can_be_handed_to_the_scaler(running: Running) -> None:
    """The page about scaling says how: the field goes from the file when the scaler has written it once, not before."""
    flux = ("apply", "-f", "-", "--server-side", "--force-conflicts", "--field-manager=kustomize-controller")
    bare, full = a_model("handed", gpus=3), a_model("handed", gpus=3, replicas=2)

    def replicas() -> int:
        return int(running.get("shardedmodel", "handed")["spec"]["replicas"])

    running.plane.kubectl(*flux, given=full)
    running.plane.kubectl(*flux, given=bare)
    assert replicas() == 1, "nobody else had written it: the default of the schema is back"
    running.plane.kubectl(*flux, given=full)
    running.plane.kubectl("scale", "shardedmodel", "handed", "-n", MODELS, "--replicas=3")
    running.plane.kubectl(*flux, given=bare)
    assert replicas() == 3
    running.plane.kubectl(*flux, given=bare)
    assert replicas() == 3
