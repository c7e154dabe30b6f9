"""The metrics of an operator on a real API server, with the rights of the chart; and the state of an object beside."""

import socket
import subprocess
import sys
import urllib.request
from collections.abc import Mapping

from tests.cluster.installed import Installed, Running
from tests.support.exposition import series_of
from tests.support.operating import a_model

WATCHED = {
    "nodes",
    "pods",
    "services",
    "poddisruptionbudgets",
    "priorityclasses",
    "resourcequotas",
    "shardedmodels",
}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def scraped(port: int) -> Mapping[tuple[str, ...], float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        return series_of(answer.read().decode())


def led(port: int) -> bool:
    try:
        return bool(scraped(port)["shardwise_leader",])
    except OSError:
        return False


def state_of(operator: Running, name: str) -> tuple[int, str]:
    """Ask as a user does who may read everything."""
    command = [sys.executable, "-m", "shardwise", "status", name, "-n", "default"]
    ran = subprocess.run(  # noqa: S603 - our own
        [*command, f"--kubeconfig={operator.plane.kubeconfig}"], capture_output=True, text=True, check=False
    )
    return ran.returncode, ran.stdout + ran.stderr


def test_the_life_of_a_model_is_seen_in_the_metrics_and_in_its_status(installed: Installed) -> None:
    """It is planned, becomes ready, loses a pod and is ready again."""
    port = free_port()
    with installed.running(arguments=(f"--health=127.0.0.1:{port}",)) as operator:
        operator.until(lambda: led(port), "a leader")
        operator.apply(a_model("measured", gpus=1))
        operator.ready("measured")
        series = scraped(port)
        assert series["shardwise_model_ready_replicas", "default", "measured"] == 1
        assert series["shardwise_ready_seconds_count", "create"] == 1
        assert series["shardwise_api_requests_total", "POST", "pods", "200"] == 1
        assert {key[1] for key in series if key[0] == "shardwise_watch_connections_total"} >= WATCHED
        assert sum(value for key, value in series.items() if key[0] == "shardwise_gpus" and key[2] == "held") == 1
        status, shown = state_of(operator, "measured")
        assert status == 0, shown
        assert shown.startswith("default/measured is Ready: AllReplicasReady\n")
        operator.plane.kubectl("delete", "pod", *operator.pod_names("measured"), "-n", "default", "--wait=false")
        operator.until(lambda: operator.ready("measured")["restarts"] == 1, "a restart")
        operator.until(lambda: scraped(port)["shardwise_attempt_ends_total", "PodLost"] == 1, "the end of an attempt")
        series = scraped(port)
        assert series["shardwise_model_restarts_total", "default", "measured"] == 1
        assert series["shardwise_events_total", "GroupRestarted"] == 1
        assert series["shardwise_ready_seconds_count", "create"] == 1, "the object was Ready before"
    assert state_of(operator, "measured")[0] == 2
