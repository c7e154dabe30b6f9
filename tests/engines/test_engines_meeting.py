"""The constant texts that run in pods, run for real: waiting, draining, starting ssh and mpirun."""

import http.server
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.engines.support import TENSORRT_LLM, a_plan, started, wants
from tests.support.models import R1, a_demand

from shardwise.domain.engine import EngineName
from shardwise.domain.launch import Servers
from shardwise.domain.layout import Layout
from shardwise.engines import mpi
from shardwise.engines.meeting import ARRIVE_SCRIPT, GATHER_SCRIPT, WAIT_SCRIPT, WHOLE_SCRIPT, drain
from shardwise.render.containers import FETCH_SCRIPT

SCRIPTS = {
    "wait": WAIT_SCRIPT,
    "gather": GATHER_SCRIPT,
    "arrive": ARRIVE_SCRIPT,
    "whole": WHOLE_SCRIPT,
    "fetch": FETCH_SCRIPT,
    "drain": drain(8000, ())[2],
    "server": mpi.FOLLOWER_COMMAND[2],
    "leader": mpi.LEADER_COMMAND[2],
}


def run(script: str, *args: str) -> None:
    """Run a text as `python3 -c` does."""
    before = sys.argv
    sys.argv = ["-c", *args]
    try:
        exec(compile(script, "script", "exec"), {})  # noqa: S102 - the script itself is what is tested
    finally:
        sys.argv = before


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Give the pauses a script makes; they pass at once."""
    made: list[float] = []
    monkeypatch.setattr("time.sleep", made.append)
    return made


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_the_texts_are_such_as_the_kubelet_leaves_alone(name: str) -> None:
    """It expands `$(NAME)` in commands; and every engine's image has Python 3.8 or later."""
    assert "$" not in SCRIPTS[name]
    compile(SCRIPTS[name], name, "exec", dont_inherit=True)


def test_a_pod_waits_until_all_places_answer(monkeypatch: pytest.MonkeyPatch, pauses: list[float]) -> None:
    """It knocks at each in turn, pauses between, and goes on at the first answer."""
    answers: dict[tuple[str, int], list[OSError | None]] = {
        ("leader.svc", 29501): [OSError("no such name"), TimeoutError("late"), None],
        ("fd00::1", 2222): [ConnectionRefusedError("refused"), None],
    }
    asked: list[tuple[tuple[str, int], float]] = []

    class Line:
        def close(self) -> None:
            """Be closed."""

    def connect(place: tuple[str, int], timeout: float) -> Line:
        asked.append((place, timeout))
        answer = answers[place].pop(0)
        if answer is not None:
            raise answer
        return Line()

    monkeypatch.setattr("socket.create_connection", connect)
    run(WAIT_SCRIPT, "leader.svc:29501", "fd00::1:2222")
    assert asked == [(("leader.svc", 29501), 5)] * 3 + [(("fd00::1", 2222), 5)] * 2
    assert pauses == [2, 2, 2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def arriving(host: str = "127.0.0.1", rendezvous: int = 0) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run the text of a follower in a process of its own, as in a pod; give the port of its door, which is open."""
    port = free_port()
    words = [sys.executable, "-c", ARRIVE_SCRIPT, str(port), host, str(rendezvous or free_port())]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as follower:  # noqa: S603 - as the container is started
        try:
            say(port, b"")
            yield follower, port
        finally:
            follower.kill()


def heard(server: socket.socket) -> bytes:
    """Give all that the next one says at a door."""
    with server.accept()[0] as line, line.makefile("rb") as words:
        return words.read()


def say(port: int, words: bytes) -> None:
    """Say something at a door, as soon as it is open."""
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as line:
                return line.sendall(words)
        except ConnectionRefusedError:
            continue


def test_no_follower_starts_before_all_are_there() -> None:
    """The leader tries every door first: one that still fetches its weights holds the others back."""
    with arriving() as (first, door):
        late = free_port()
        doors = {"first.svc": door, "late.svc": late}
        words = [sys.executable, "-c", f"doors = {doors}\n{_BY_NAME}{GATHER_SCRIPT}", "0", *doors]
        with subprocess.Popen(words, stdout=subprocess.PIPE) as leader:  # noqa: S603 - as the container is started
            assert leader.stdout is not None
            assert b"waiting for late.svc" in leader.stdout.readline()
            assert first.poll() is None
            with socket.create_server(("127.0.0.1", late)) as server:
                server.settimeout(20)
                said = [heard(server), heard(server)]
            assert leader.wait(20) == 0
        assert first.wait(20) == 0
    assert said == [b"", b"start"]


_BY_NAME = """\
import socket
plain = socket.create_connection
socket.create_connection = lambda place, timeout: plain(('127.0.0.1', doors[place[0]]), timeout)
"""
"""Lets the hosts of a script be ports of this machine."""


@pytest.mark.parametrize("words", [b"", b"start", b"sta", b"GET / HTTP/1.1\r\n\r\n"])
def test_a_follower_starts_at_the_word_of_its_leader_alone(words: bytes) -> None:
    """Whoever else tries its door, or sends something, starts nothing."""
    with arriving() as (follower, door):
        say(door, words)
        say(door, b"")  # it is heard after the first
        if words != b"start":
            assert follower.poll() is None
            say(door, b"start")
        assert follower.wait(20) == 0


def test_a_follower_starts_beside_a_leader_that_waited_for_nobody() -> None:
    """An older operator made the leader: its engine is up and gathers nobody."""
    with socket.create_server(("127.0.0.1", 0)) as meeting, arriving(rendezvous=meeting.getsockname()[1]) as (one, _):
        assert one.wait(20) == 0


def test_a_follower_waits_for_the_name_of_its_leader(monkeypatch: pytest.MonkeyPatch, pauses: list[float]) -> None:
    """Names come to DNS a little after addresses; an engine may look them up once only."""
    answers: list[OSError | None] = [OSError("no such name"), OSError("no such name"), None]
    plain = socket.getaddrinfo

    def look(host: str, *args: Any, **more: Any) -> list[Any]:
        if host != "leader.svc":
            return plain(host, *args, **more)
        answer = answers.pop(0)
        if answer is not None:
            raise answer
        return []

    port = free_port()
    monkeypatch.setattr("socket.getaddrinfo", look)
    telling = threading.Thread(target=say, args=(port, b"start"))
    telling.start()
    run(ARRIVE_SCRIPT, str(port), "leader.svc", "29501")
    telling.join()
    assert answers == []
    assert pauses == [1, 1]


@contextmanager
def metrics(*texts: str | None) -> Iterator[tuple[int, list[str]]]:
    """Serve metrics, one text after the other, the last one for ever; ``None`` is an error."""
    left, asked = list(texts), []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            text = left.pop(0) if len(left) > 1 else left[0]
            self.send_response(500 if text is None else 200)
            self.end_headers()
            self.wfile.write((text or "").encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1], asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


BUSY = 'vllm:num_requests_running{engine="0"} 2.0\nvllm:num_requests_waiting{engine="0"} 0.0\n'
QUEUED = 'vllm:num_requests_running{engine="0"} 0.0\nvllm:num_requests_waiting{engine="0"} 1.0\n'
IDLE = 'vllm:num_requests_running{engine="0"} 0.0\nvllm:num_requests_waiting{engine="0"} 0.0\nother 7\n'


@pytest.mark.parametrize(
    ("texts", "asked"),
    [
        pytest.param((IDLE,), 1, id="nothing in work"),
        pytest.param((BUSY, QUEUED, IDLE), 3, id="until all are answered"),
        pytest.param((None,), 1, id="an engine that is broken is not waited for"),
        pytest.param(("",), 1, id="no such metric"),
    ],
)
def test_a_leader_is_drained(texts: tuple[str | None, ...], asked: int, pauses: list[float]) -> None:
    """Five seconds for clients to hear, then a look a second."""
    with metrics(*texts) as (port, paths):
        command = drain(port, ("vllm:num_requests_running", "vllm:num_requests_waiting"))
        run(command[2], *command[3:])
    assert paths == ["/metrics"] * asked
    assert pauses == [5] + [1] * (asked - 1)


def test_pods_that_serve_together_wait_for_each_other(pauses: list[float]) -> None:
    """Until no pod has a request; a pod that does not answer has ended."""
    demand = a_demand(R1, engine=EngineName.VLLM)
    wanted = wants(demand, servers=Servers.EVERY_POD)
    (command, *_) = [pod.drain for pod in started(a_plan(Layout(1, 1, True, 16), 8, 8), wanted).pods]
    script, (_, limit, _, *gauges) = command[2], command[3:]
    with metrics(BUSY, IDLE, QUEUED, IDLE) as (port, paths):
        run(script, str(port), limit, "localhost,127.0.0.1,gone.invalid", *gauges)
    assert paths == ["/metrics"] * 5
    assert pauses == [5, 1, 1]


def test_draining_ends_with_its_time(monkeypatch: pytest.MonkeyPatch, pauses: list[float]) -> None:
    """And with an engine that is gone at once."""
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    with metrics(BUSY) as (port, paths):
        command = drain(port, ("vllm:num_requests_running",))
        run(command[2], *command[3:])
    assert len(paths) == 3
    run(command[2], *command[3:])
    assert pauses == [5, 1, 1, 1, 5]


def test_an_engine_without_such_metrics_is_only_left_alone(pauses: list[float]) -> None:
    command = drain(8000, ())
    run(command[2], *command[3:])
    assert pauses == [5]


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the folder of an image's programs, the only ones there are."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("os.defpath", str(tmp_path))
    return tmp_path


def install(image: Path, *programs: str) -> None:
    for name in programs:
        (image / name).write_text("#!/bin/sh\n")
        (image / name).chmod(0o755)


@pytest.fixture
def started_programs(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Give the programs a script becomes."""
    became: list[list[str]] = []
    monkeypatch.setattr("os.execv", lambda _, words: became.append(words))
    return became


def test_the_leader_becomes_mpirun_by_its_whole_path(image: Path, started_programs: list[list[str]]) -> None:
    """Which tells the other end where the rest of Open MPI is."""
    install(image, "mpirun", "ssh", "trtllm-llmapi-launch")
    run(SCRIPTS["leader"], "-n", "16", "a b")
    assert started_programs == [[str(image / "mpirun"), "-n", "16", "a b"]]


def test_a_leader_without_the_programs_says_which(image: Path) -> None:
    """Instead of a traceback: the message is the pod's last word."""
    install(image, "mpirun")
    with pytest.raises(SystemExit) as ended:
        run(SCRIPTS["leader"])
    assert ended.value.code == (
        "this image has no ssh, trtllm-llmapi-launch: TensorRT-LLM over several nodes needs them"
    )


def test_a_follower_without_a_server_says_so(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(SystemExit) as ended:
        run(SCRIPTS["server"])
    assert ended.value.code == (
        "this image has no sshd: TensorRT-LLM over several nodes needs openssh-server and openssh-client in it"
    )


def test_a_follower_becomes_an_ssh_server(monkeypatch: pytest.MonkeyPatch, started_programs: list[list[str]]) -> None:
    """In the foreground, its log on standard error, with the folder it asks for."""
    made: list[str] = []
    monkeypatch.setattr("shutil.which", lambda *_, **__: "/usr/sbin/sshd")
    monkeypatch.setattr("os.makedirs", lambda path, *_, **__: made.append(path))
    run(SCRIPTS["server"])
    assert made == ["/run/sshd"]
    assert started_programs == [["/usr/sbin/sshd", "-D", "-e", "-f", "/etc/shardwise/sshd_config"]]


def test_both_ends_of_ssh_name_the_same_port_keys_and_host() -> None:
    """Strictly checked, without a password, without a prompt."""
    files = {file.name: file.text for file in started(a_plan(Layout(8, 2), 8, 8, engine=TENSORRT_LLM)).files}
    server = dict(line.split(" ", 1) for line in files["sshd_config"].splitlines())
    client = dict(line.strip().split(" ", 1) for line in files["ssh_config"].splitlines())
    assert server["Port"] == client["Port"] == "2222"
    assert (server["PasswordAuthentication"], server["KbdInteractiveAuthentication"]) == ("no", "no")
    assert (client["StrictHostKeyChecking"], client["BatchMode"]) == ("yes", "yes")
    assert client["HostKeyAlias"] == "shardwise"
    named = {server["HostKey"], server["AuthorizedKeysFile"], client["IdentityFile"], client["UserKnownHostsFile"]}
    assert named == {f"/etc/shardwise-ssh/{name}" for name in ("host", "authorized_keys", "id", "known_hosts")}


def named(*addresses: str) -> Callable[..., list[Any]]:
    """Let the group's name give addresses; all other names are looked up as ever."""
    plain = socket.getaddrinfo

    def look(host: str, *args: Any, **more: Any) -> list[Any]:
        if host != "llama-0-0.default.svc":
            return plain(host, *args, **more)
        if not addresses:
            raise socket.gaierror("Temporary failure in name resolution")
        families = {address: socket.AF_INET6 if ":" in address else socket.AF_INET for address in addresses}
        return [(family, socket.SOCK_STREAM, 6, "", (address, 0)) for address, family in families.items()]

    return look


def ask(answer: str | None) -> None:
    """Ask whether a group of two pods serves, while its engine answers so; ``None`` is an error."""
    with metrics(answer) as (port, paths):
        run(WHOLE_SCRIPT, str(port), "/health", "5", "llama-0-0.default.svc", "2")
    assert paths == ["/health"]


@pytest.mark.parametrize(
    "addresses",
    [("10.0.0.1", "10.0.0.2"), ("10.0.0.1", "10.0.0.2", "fd00::1", "fd00::2"), ("fd00::1", "fd00::2"), ()],
    ids=["both pods", "both pods, twice each", "both pods, by IPv6", "no name can be looked up: nothing is proven"],
)
def test_a_leader_is_ready_while_its_engine_answers_and_all_pods_are_there(
    addresses: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through no proxy, whatever the environment says."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setattr("socket.getaddrinfo", named(*addresses))
    ask("")


def test_a_leader_whose_follower_has_ended_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its engine answers all the same, and no operator is there: the follower is no longer in DNS."""
    monkeypatch.setattr("socket.getaddrinfo", named("10.0.0.1"))
    with pytest.raises(SystemExit, match="1 of 2 pods of the group are there"):
        ask("")


def test_a_leader_whose_engine_does_not_answer_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.getaddrinfo", named("10.0.0.1", "10.0.0.2"))
    with pytest.raises(SystemExit, match="/health answers 500"):
        ask(None)


def test_a_dns_that_does_not_answer_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The leaders of all groups would leave their Services at once."""
    answered, plain = threading.Event(), socket.getaddrinfo

    def hang(host: str, *args: Any, **more: Any) -> list[Any]:
        if host == "llama-0-0.default.svc":
            answered.wait()
        return plain("localhost", *args, **more)

    class Impatient(threading.Thread):
        def join(self, timeout: float | None = None) -> None:
            assert timeout == 2

    with metrics("") as (port, _):
        monkeypatch.setattr("socket.getaddrinfo", hang)
        monkeypatch.setattr("threading.Thread", Impatient)
        run(WHOLE_SCRIPT, str(port), "/health", "5", "llama-0-0.default.svc", "2")
        monkeypatch.undo()
        answered.set()


class Answer:
    def __init__(self, status: int) -> None:
        self.status_code = status


class HubError(Exception):
    """An error of the Hub's library."""

    def __init__(self, status: int | None = None, errno: int | None = None) -> None:
        super().__init__("no")
        self.response, self.errno = None if status is None else Answer(status), errno


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        pytest.param(HubError(), 6, id="no answer"),
        pytest.param(HubError(503), 6, id="the Hub is overloaded"),
        pytest.param(HubError(429), 6, id="too many questions"),
        pytest.param(HubError(401), 1, id="a wrong token"),
        pytest.param(HubError(404), 1, id="a wrong name"),
        pytest.param(HubError(errno=28), 1, id="the disk is full"),
        pytest.param(HubError(errno=13), 1, id="a folder that may not be written"),
    ],
)
def test_weights_are_asked_for_again_if_the_error_may_pass(
    error: HubError, tries: int, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    """The pod ends with the script, and all other pods of the group would begin anew."""
    asked: list[tuple[str, str | None]] = []

    def fetch(name: str, revision: str | None) -> str:
        asked.append((name, revision))
        raise error

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(snapshot_download=fetch))
    with pytest.raises(HubError):
        run(FETCH_SCRIPT, "meta-llama/Llama-3.1-8B", "")
    assert asked == [("meta-llama/Llama-3.1-8B", None)] * tries
    assert pauses == [10, 20, 40, 80, 160][: tries - 1]


def test_weights_that_come_are_fetched_once(monkeypatch: pytest.MonkeyPatch, pauses: list[float]) -> None:
    fetched = SimpleNamespace(snapshot_download=lambda name, revision: f"/cache/{name}@{revision}")
    monkeypatch.setitem(sys.modules, "huggingface_hub", fetched)
    run(FETCH_SCRIPT, "m", "v1")
    assert pauses == []
