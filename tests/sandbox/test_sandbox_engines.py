"""The toy engines: a running pod answers at its address, as a test says."""

from tests.sandbox.support import pod

from shardwise_sandbox import Question, Reply, Sandbox

METRICS = Question("/metrics", 8000)


def test_a_running_pod_answers_at_its_address(fleet: Sandbox) -> None:
    fleet.create(pod("p", 8))
    fleet.settle()
    address = fleet.get("pod", "default", "p")["status"]["podIP"]
    assert fleet.engines.ask(address, METRICS) == Reply(404)
    fleet.engines.answers = lambda pod, question: Reply(200, f"{pod['metadata']['name']}{question.path}")
    assert fleet.engines.ask(address, METRICS) == Reply(200, "p/metrics")
    assert fleet.engines.asked == [("p", METRICS)] * 2


def test_nobody_answers_elsewhere_or_after_the_end(fleet: Sandbox) -> None:
    fleet.create(pod("p", 8) | {"spec": pod("p", 8)["spec"] | {"restartPolicy": "Never"}})
    fleet.settle()
    address = fleet.get("pod", "default", "p")["status"]["podIP"]
    fleet.kubelet.fail("default", "p")
    assert fleet.engines.ask(address, METRICS) is None
    assert fleet.engines.ask("10.9.9.9", METRICS) is None
    assert fleet.engines.asked == []
