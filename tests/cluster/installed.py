"""The operator on a real cluster: installed by the chart, run as a process of its own with the chart's rights."""

import contextlib
import json
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml
from tests.cluster.processes import LIMIT
from tests.cluster.reached import Reached
from tests.cluster.waiting import wait_until
from tests.support.repository import ROOT

Json = dict[str, Any]

NAMESPACE: Final = "shardwise"
ACCOUNT: Final = "system:serviceaccount:shardwise:shardwise"
CHART: Final = ROOT / "charts" / "shardwise"
MODELS: Final = "default"
KEEPER: Final = "operator-token"
"""The Secret our token is bound to: deleting it ends the token."""


@dataclass
class Running:
    """The operator's process, and what it did to the cluster. Objects live in the namespace ``default``."""

    plane: Reached
    kubeconfig: Path
    arguments: tuple[str, ...] = ()
    process: str = "operator"
    account: str = ACCOUNT
    _audit_before: int = field(init=False)
    _log_before: int = field(init=False)

    def __post_init__(self) -> None:
        self.count_anew()

    def count_anew(self) -> None:
        """Count the operator's calls from now on."""
        self._audit_before, self._log_before = _size(self.plane.audit_log), _size(self.log)

    @property
    def log(self) -> Path:
        """Give the operator's log."""
        return self.plane.processes.log(self.process)

    def start(self) -> None:
        """Start the process."""
        shardwise = (sys.executable, "-m", "shardwise", "run", f"--kubeconfig={self.kubeconfig}", "--relist=3600")
        self.plane.processes.start(self.process, *shardwise, *self.arguments)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End the process, and give its exit status."""
        return self.plane.processes.stop(self.process, how)

    def alive(self) -> bool:
        """Tell whether the process runs."""
        return self.plane.processes.alive(self.process)

    def apply(self, *objects: Json) -> None:
        """Apply objects as a user does."""
        self.plane.kubectl("apply", "-f", "-", given={"apiVersion": "v1", "kind": "List", "items": list(objects)})

    def get(self, kind: str, *args: str) -> Any:
        """Get objects as data."""
        return json.loads(self.plane.kubectl("get", kind, *args, "-n", MODELS, "-o", "json"))

    def status(self, name: str) -> Json:
        """Give the status of a model; empty where it is gone."""
        found = [item for item in self.get("shardedmodels")["items"] if item["metadata"]["name"] == name]
        return dict(found[0].get("status") or {}) if found else {}

    def ready(self, name: str) -> Json:
        """Wait as a user does, for the present generation, and give the status."""
        self.plane.kubectl("wait", "--for=condition=Ready", f"shardedmodel/{name}", "-n", MODELS, f"--timeout={LIMIT}s")
        found: Json = self.until(lambda: self._settled(name), f"{name} Ready for its present generation")
        return found

    def until(self, so: Callable[[], Any], what: str, limit: float = LIMIT) -> Any:
        """Wait until something is so; say the operator's last words where it never is."""
        try:
            return wait_until(so, what, limit)
        except TimeoutError as error:
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-30:])
            raise TimeoutError(f"{error}\nthe operator's log ends:\n{tail}") from error

    def pods(self, name: str) -> list[Json]:
        """List the pods of a model that are not being deleted, by name."""
        pods = self.get("pods", "-l", f"shardwise.dev/model={name}")["items"]
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def pod_names(self, name: str) -> list[str]:
        """Name them."""
        return [pod["metadata"]["name"] for pod in self.pods(name)]

    def fail(self, pod: str, message: str) -> None:
        """Let a pod's engine exit and the pod end, as a kubelet reports it."""
        container = self.get("pod", pod)["spec"]["containers"][0]
        ended = {"exitCode": 1, "reason": "Error", "message": message}
        failed = {
            "name": container["name"],
            "image": container["image"],
            "imageID": "",
            "ready": False,
            "restartCount": 0,
            "state": {"terminated": ended},
        }
        conditions = [{"type": "Ready", "status": "False"}, {"type": "ContainersReady", "status": "False"}]
        patch = {"status": {"phase": "Failed", "containerStatuses": [failed], "conditions": conditions}}
        self.plane.kubectl("patch", "pod", pod, "-n", MODELS, "--subresource=status", "-p", json.dumps(patch))

    def condition(self, name: str, kind: str) -> Json:
        """Give a condition of a model; empty where there is none."""
        return next(
            (condition for condition in self.status(name).get("conditions") or () if condition["type"] == kind), {}
        )

    def events(self, name: str) -> list[Json]:
        """List the Events of a model."""
        about = {"kind": "ShardedModel", "name": name}
        return [item for item in self.get("events")["items"] if about.items() <= item["involvedObject"].items()]

    def delete_all(self, limit: float = LIMIT) -> None:
        """Delete every model, and wait for so many seconds until nothing of them is left."""
        self.plane.kubectl("delete", "shardedmodels", "--all", "-n", MODELS, "--wait=false")
        mine = ("-n", MODELS, "-l", "app.kubernetes.io/managed-by=shardwise", "-o", "name")
        models = ("get", "shardedmodels", "-n", MODELS, "-o", "name")
        wait_until(lambda: self.plane.kubectl(*models) == "", "no model left", limit)
        wait_until(lambda: self.plane.kubectl("get", "pods,services", *mine) == "", "nothing left of the models", limit)

    def forbidden(self) -> list[str]:
        """List the calls of the operator that the API server refused for want of a right.

        By the audit log; by the operator's own on a cluster that is not ours and has none for us.
        """
        if self.plane.audit_log.exists():
            decided = "authorization.k8s.io/decision"  # a quota forbids, too, but not for want of a right
            refused = (call for call in self.calls() if (call.get("annotations") or {}).get(decided) == "forbid")
            return [f"{call['verb']} {call['requestURI']}" for call in refused]
        return [line for line in _lines(self.log, self._log_before) if "is forbidden: User" in line]

    def calls(self) -> Iterator[Json]:
        """Give the operator's calls that count, as the API server's audit log has them."""
        for line in _lines(self.plane.audit_log, self._audit_before):
            call = json.loads(line)
            if call["user"].get("username") == self.account and "responseStatus" in call:
                yield call

    def _settled(self, name: str) -> Json:
        found = self.get("shardedmodel", name)
        status = found.get("status") or {}
        ready = self.condition(name, "Ready").get("status") == "True"
        return status if ready and status["observedGeneration"] == found["metadata"]["generation"] else {}


@dataclass
class Installed:
    """The chart, installed."""

    plane: Reached

    def token(self) -> str:
        """Make a token of the operator's account, bound to a Secret."""
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": KEEPER, "namespace": NAMESPACE}}
        self.plane.kubectl("apply", "-f", "-", given=secret)
        bound = ("--bound-object-kind=Secret", f"--bound-object-name={KEEPER}")
        return self.plane.kubectl("create", "token", "shardwise", "-n", NAMESPACE, *bound).strip()

    def rotate(self) -> None:
        """Give the operator's account a new token, and end the old one."""
        self.plane.kubectl("delete", "secret", KEEPER, "-n", NAMESPACE)
        self.plane.kubeconfig_for("operator", {"token": self.token()})

    @contextlib.contextmanager
    def running(self, user: Mapping[str, str] | None = None, arguments: tuple[str, ...] = ()) -> Iterator[Running]:
        """Run the operator for as long as the block lasts; it must not have asked for what it may not.

        It comes with a token of its account, unless other credentials are given.
        """
        user = user or {"token": self.token()}
        operator = Running(self.plane, self.plane.kubeconfig_for("operator", user), arguments)
        operator.start()
        try:
            yield operator
            assert operator.forbidden() == []
        finally:
            try:
                operator.delete_all()
            finally:
                operator.stop()


@contextlib.contextmanager
def chart_installed(plane: Reached) -> Iterator[Installed]:
    """Install the chart; its own pod is scheduled onto a fake node and does nothing there."""
    plane.helm("install", "shardwise", str(CHART), "-n", NAMESPACE, "--create-namespace", "--wait", "--timeout=60s")
    yield Installed(plane)
    plane.helm("uninstall", "shardwise", "-n", NAMESPACE, "--wait")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _lines(path: Path, after: int) -> list[str]:
    """Give the whole lines of a file after so many bytes; the last one may be half written."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(after)
        return file.read().decode(errors="replace").rpartition("\n")[0].splitlines()


def relaxed(definition: Json) -> Json:
    """Give a CRD as an older version might have been: it lets anything pass."""
    made = yaml.safe_load(yaml.safe_dump(definition))
    (version,) = made["spec"]["versions"]
    version["schema"]["openAPIV3Schema"]["properties"]["spec"] = {
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
    }
    return dict(made)
