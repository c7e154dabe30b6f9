"""What happened to all pods, from the API server's own history, and what must be so at every instant of it."""

import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.cluster import binaries
from tests.cluster.reached import Reached
from tests.cluster.waiting import wait_until

from shardwise.inventory import gpu_request
from shardwise.reconcile.observed import see_pod

Json = dict[str, Any]
Pods = dict[str, Json]

_MARK: Final = "history-begins"


@dataclass
class History:
    """Pods of one namespace since the history began."""

    plane: Reached
    namespace: str

    def events(self) -> list[tuple[str, Json]]:
        """Give the events so far, in order."""
        text, decoder, found, at = self.plane.processes.log("history").read_text(), json.JSONDecoder(), [], 0
        while at < len(text):
            try:
                event, end = decoder.raw_decode(text, at)
            except json.JSONDecodeError:
                break  # the last is half written
            found.append((event["type"], event["object"]))
            at = end + 1
        return found

    def instants(self) -> Iterator[Pods]:
        """Give the pods after each event, by name."""
        pods: Pods = {}
        for kind, pod in self.events():
            pods.pop(pod["metadata"]["name"], None)
            if kind != "DELETED":
                pods[pod["metadata"]["name"]] = pod
            yield dict(pods)


@contextlib.contextmanager
def recorded(plane: Reached, namespace: str) -> Iterator[History]:
    """Record for as long as the block lasts."""
    kubectl = [str(binaries.find("kubectl")), f"--kubeconfig={plane.kubeconfig}", "get", "pods", "-n", namespace]
    plane.processes.log("history").unlink(missing_ok=True)
    plane.processes.start("history", *kubectl, "--watch", "--output-watch-events", "-o", "json")
    history = History(plane, namespace)
    mark = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": _MARK, "namespace": namespace}}
    never = {"containers": [{"name": "none", "image": "none"}], "nodeSelector": {"there": "is-none"}}
    plane.kubectl("create", "-f", "-", given=mark | {"spec": never})
    plane.kubectl("delete", "pod", _MARK, "-n", namespace)
    try:
        wait_until(lambda: any(pod["metadata"]["name"] == _MARK for _, pod in history.events()), "the history to begin")
        yield history
    finally:
        plane.processes.stop("history")


def asked_twice(pods: Pods, capacity: Mapping[str, int]) -> dict[str, int]:
    """Give the nodes of which more GPUs are asked for than there are, at one instant.

    An object asks on a node for what its bound pods hold, those that are going included, or for what its other pods are
    told to ask for there, whichever is more: the next attempt of a group waits for the one before.
    """
    asked: Counter[str] = Counter()
    for (_, node), gpus in (_held(pods) | _told(pods)).items():
        asked[node] += gpus
    return {node: gpus for node, gpus in asked.items() if gpus > capacity.get(node, 0)}


def _held(pods: Pods) -> Counter[tuple[str, str]]:
    bound = (pod for pod in pods.values() if pod["spec"].get("nodeName") and pod["status"].get("phase") != "Failed")
    return _count((pod, pod["spec"]["nodeName"]) for pod in bound)


def _told(pods: Pods) -> Counter[tuple[str, str]]:
    staying = (pod for pod in pods.values() if "deletionTimestamp" not in pod["metadata"] and _model(pod))
    return _count((pod, see_pod(pod).wants) for pod in staying)


def _count(placed: Iterator[tuple[Json, str]]) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for pod, node in placed:
        found[_model(pod), node] += gpu_request(pod)
    return found


def _model(pod: Json) -> str:
    return str((pod["metadata"].get("labels") or {}).get("shardwise.dev/model", ""))


def serving(pods: Pods, model: str) -> int:
    """Count the replicas of a model all of whose pods are ready and stay."""
    ready: Counter[str] = Counter()
    size: dict[str, int] = {}
    for pod in pods.values():
        if _model(pod) == model:
            seen, group = see_pod(pod), pod["metadata"]["labels"]["shardwise.dev/group"]
            ready[group] += seen.ready and not seen.deleting
            size[group] = seen.size
    return sum(ready[group] == size[group] for group in size)
