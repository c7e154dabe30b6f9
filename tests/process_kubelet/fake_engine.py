"""An engine of no model that lives and dies as vLLM 0.32.0 does over several pods; for process kubelets.

Its ranks meet at the leader's port. Then the leader opens its HTTP port, and answers ``/health`` with 200 for as long
as it lives, whatever becomes of its ranks. A request needs every rank for every token. A rank that does not answer
within ``VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS`` ends the request with 500 and the engine with exit code 0. The end of a
rank ends the engine of its pod, too. Followers ignore SIGTERM, and an engine that has not met yet has no handler.

Files in ``GATES`` let tests decide what takes how long: ``import-POD`` holds an engine at its start, ``step`` holds all
requests, ``exit-POD`` ends an engine with the exit code and the last line that the file gives.
"""

import argparse
import http.server
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

_GATES = Path(os.environ.get("GATES", "/nowhere"))
_LOOK_SECONDS = 0.02
_LIMIT = float(os.environ.get("VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS", "300"))


def _wait_at(gate: str) -> None:
    while (_GATES / gate).exists():
        time.sleep(_LOOK_SECONDS)


def run_rank(number: str, host: str, port: str) -> None:
    """Answer each step of the leader with the rank's number, until the leader is gone."""
    while True:
        try:
            line = socket.create_connection((host, int(port)), 5)
            break
        except OSError:
            time.sleep(_LOOK_SECONDS)
    line.settimeout(None)
    line.sendall(number.encode().ljust(8))
    while step := line.recv(1):
        line.sendall(step)


class Engine:
    """The engine of a pod."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        world = given.tensor_parallel_size * given.pipeline_parallel_size
        self.own = range(given.node_rank * world // given.nnodes, (given.node_rank + 1) * world // given.nnodes)
        self.world = world
        self.lines: dict[int, socket.socket] = {}
        self.running = 0
        self.turn = threading.Lock()

    def start_ranks(self) -> None:
        """Start the ranks of this pod. The engine ends with any of them."""
        place = (self.given.master_addr, str(self.given.master_port))
        for number in self.own:
            words = (sys.executable, "-S", "-E", __file__, "rank", str(number), *place)
            rank = subprocess.Popen(words)  # noqa: S603 - ourselves
            threading.Thread(target=self._end_with, args=(rank,), daemon=True).start()

    def _end_with(self, rank: "subprocess.Popen[bytes]") -> None:
        rank.wait()
        os._exit(0)

    def meet(self) -> None:
        """Wait until every rank of the group has come."""
        door = socket.create_server(("", self.given.master_port), backlog=64)
        self.start_ranks()
        while len(self.lines) < self.world:
            line, _ = door.accept()
            number = line.recv(8)
            if number:  # else somebody only tried the door
                self.lines[int(number)] = line

    def token(self, prompt: str, place: int) -> int:
        """Make a token by all ranks. Raises ``OSError`` if one does not answer."""
        _wait_at("step")
        for line in self.lines.values():
            line.sendall(b"s")
            if not select.select([line], [], [], _LIMIT)[0]:
                raise TimeoutError
            if not line.recv(1):
                time.sleep(_LIMIT)  # vLLM waits for a rank that is gone, too
                raise TimeoutError
        return (sum(prompt.encode()) + 31 * place) % 256

    def complete(self, prompt: str, count: int) -> "list[int]":
        """Make tokens; the same prompt gives the same tokens."""
        self.running += 1
        try:
            with self.turn:
                return [self.token(prompt, place) for place in range(count)]
        finally:
            self.running -= 1


class Handler(http.server.BaseHTTPRequestHandler):
    """The HTTP side of a leader."""

    engine: Engine

    def do_GET(self) -> None:
        """Answer probes and the drain script."""
        running = f'vllm:num_requests_running{{engine="0"}} {float(self.engine.running)}\n'
        self._say(200, running if self.path == "/metrics" else "")

    def do_POST(self) -> None:
        """Answer a completion."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            tokens = self.engine.complete(asked["prompt"], asked["max_tokens"])
        except OSError:
            self._say(500, "EngineDeadError")
            self.wfile.flush()
            os._exit(0)
        self._say(200, json.dumps({"choices": [{"token_ids": tokens}]}))

    def _say(self, code: int, text: str) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("verb")
    parser.add_argument("model")
    for name, default in (("tensor-parallel-size", 1), ("pipeline-parallel-size", 1), ("nnodes", 1), ("node-rank", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--master-addr", default="127.0.0.1")
    parser.add_argument("--master-port", type=int, default=29501)
    parser.add_argument("--headless", action="store_true")
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    return parser.parse_known_args()[0]


def _exit_when_told() -> None:
    told = _GATES / f"exit-{socket.gethostname()}"
    while not told.exists():
        time.sleep(_LOOK_SECONDS)
    code, _, words = told.read_text().partition(" ")
    print(words, file=sys.stderr, flush=True)  # noqa: T201 - the last words
    os._exit(int(code))


def main() -> None:
    """Run the engine of a pod."""
    given = _arguments()
    threading.Thread(target=_exit_when_told, daemon=True).start()
    print("imports", flush=True)  # noqa: T201 - its log
    _wait_at(f"import-{socket.gethostname()}")
    engine = Engine(given)
    if given.headless:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        engine.start_ranks()
        threading.Event().wait()
    engine.meet()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    Handler.engine = engine
    server = http.server.ThreadingHTTPServer((given.host, given.port), Handler)
    server.daemon_threads = True
    print("serves", flush=True)  # noqa: T201 - its log
    server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1] == "rank":
        run_rank(*sys.argv[2:5])
    else:
        main()
