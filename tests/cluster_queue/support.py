"""Models in queues of Kueue, and the words of their statuses about it."""

from typing import Any

from tests.cluster.installed import Running
from tests.support.operating import a_model

Json = dict[str, Any]


def in_queue(name: str, gpus: int = 16, queue: str = "team", **placement: Any) -> Json:
    """Make a model that takes two nodes, or one with 8 GPUs, in a queue."""
    layout = {"tensor": 8, "pipeline": gpus // 8}
    entry = {"queue": {"kueue": {"localQueue": queue}}}
    return a_model(name, gpus=gpus, model_contextLength=8192, parallelism=layout, placement=entry | placement)


def reason(operator: Running, name: str) -> str:
    """Give the reason for which a model is not ready yet."""
    return str(operator.condition(name, "Reconciling").get("reason", ""))


def message(operator: Running, name: str) -> str:
    """Give the words of a status."""
    return str(operator.status(name).get("message", ""))


def waits(operator: Running, name: str, words: str = "more needed") -> bool:
    """Tell whether a model waits in its queue, and says so with some words."""
    return reason(operator, name) == "Queued" and words in message(operator, name)


def writes(operator: Running) -> list[str]:
    """List the calls that change anything, without those for the Lease."""
    verbs = {"create", "update", "patch", "delete"}
    calls = [call for call in operator.calls() if call["verb"] in verbs and "leases" not in call["requestURI"]]
    return [f"{call['verb']} {call['requestURI']}" for call in calls]


def asked(operator: Running) -> list[int]:
    """List the answers to the operator's questions about positions, as HTTP codes."""
    calls = (call for call in operator.calls() if call["requestURI"].endswith("/pendingworkloads"))
    return [int(call["responseStatus"]["code"]) for call in calls]
