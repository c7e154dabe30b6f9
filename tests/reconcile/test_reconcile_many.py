"""Many objects at once: what happens to some is no business of the others."""

from collections import Counter

from tests.support.driven import Driven, shared
from tests.support.operating import a_model

from shardwise_sandbox import h100_node

OBJECTS = 100
NODES = 12
PER_NODE = 10


async def hundred() -> Driven:
    """Let a hundred objects of one GPU each serve, ten to a node; two nodes stay empty."""
    driven = Driven([h100_node(f"h100-{number:02}", PER_NODE) for number in range(NODES)])
    for number in range(OBJECTS):
        driven.sandbox.create(a_model(f"m{number:02}", model_contextLength=8192))
    await driven.settle(most=4000)
    return driven


def names_on(driven: Driven, node: str) -> set[str]:
    pods = [pod for pod in shared(driven.sandbox, "pods") if pod["spec"]["nodeName"] == node]
    return {pod["metadata"]["labels"]["shardwise.dev/model"] for pod in pods}


async def test_a_node_that_fails_under_ten_of_a_hundred_objects_costs_the_others_no_call() -> None:
    """All ten heal on other nodes; to the ninety nothing is written, and nothing of theirs."""
    driven = await hundred()
    node = shared(driven.sandbox, "pods")[0]["spec"]["nodeName"]
    lost = names_on(driven, node)
    assert len(lost) == PER_NODE
    uids = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in shared(driven.sandbox, "pods")}
    driven.arm(-1, driven.wire.harm)
    driven.sandbox.kubelet.set_node_ready(node, False)
    for pod in list(shared(driven.sandbox, "pods")):
        if pod["spec"]["nodeName"] == node:
            driven.sandbox.delete("Pod", "default", pod["metadata"]["name"])
    await driven.settle(most=4000)
    touched = Counter(call.split()[2].split("-")[0] for call in driven.wire.calls if call.startswith("apply"))
    assert set(touched) == lost
    assert max(touched.values()) <= 4  # a status, a Service, a pod, a status
    written = [call for call in driven.wire.calls if not call.startswith(("list", "record"))]
    assert all(any(name in call for name in lost) for call in written), written
    for model in shared(driven.sandbox, "ShardedModel"):
        assert model["status"]["readyReplicas"] == 1, model["metadata"]["name"]
        assert model["status"]["restarts"] == (model["metadata"]["name"] in lost)
    kept = {name: uid for name, uid in uids.items() if name.split("-")[0] not in lost}
    now = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in shared(driven.sandbox, "pods")}
    assert kept.items() <= now.items()


async def test_an_operator_that_starts_among_a_hundred_healthy_objects_writes_nothing() -> None:
    """It lists, looks at each, and for add-ons, and finds all as it should be."""
    driven = await hundred()
    driven.arm(-1, driven.wire.harm)
    driven._started = False
    await driven.settle(most=4000)
    assert {call.split()[0] for call in driven.wire.calls} == {"list", "look"}
    assert len(driven.wire.calls) == 9


async def test_heartbeats_of_nodes_make_nobody_look() -> None:
    """Thousands of nodes say every few seconds that nothing is new."""
    driven = await hundred()
    driven.arm(-1, driven.wire.harm)
    for number in range(NODES):
        name = f"h100-{number:02}"
        driven.sandbox.patch("Node", "", name, {"metadata": {"annotations": {"beat": "1"}}})
    await driven.settle()
    assert driven.wire.calls == []
    assert driven.operator.keys.ready == []
