"""A line between the operator and the API server that loses answers: what was asked is done, and nobody is told."""

import random
import select
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

_CHUNK: Final = 65536


@dataclass
class Line:
    """A line to a port of this machine. ``loses`` is the chance of each answer, or part of one, to be lost."""

    to: int
    chance: random.Random
    loses: float = 0.0
    lost: int = 0
    port: int = 0
    _ended: threading.Event = field(default_factory=threading.Event)

    def carry(self, client: socket.socket) -> None:
        """Carry a connection until either side ends it, or an answer is lost, which ends both."""
        with socket.create_connection(("127.0.0.1", self.to)) as server:
            while not self._ended.is_set():
                ready, _, _ = select.select([client, server], [], [], 0.2)
                for one in ready:
                    told = one.recv(_CHUNK)
                    if not told or (one is server and self._loses()):
                        return
                    (client if one is server else server).sendall(told)

    def _loses(self) -> bool:
        lost = self.chance.random() < self.loses
        self.lost += lost
        return lost

    def end(self) -> None:
        """End all connections."""
        self._ended.set()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of connections that break: they are meant to."""


@contextmanager
def lossy_line(to: int, seed: int) -> Iterator[Line]:
    """Give a line; it loses nothing until told to."""
    line = Line(to, random.Random(seed))  # noqa: S311 - moments, no secrets

    class Carry(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            line.carry(self.request)

    with _Server(("127.0.0.1", 0), Carry) as server:
        line.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        thread.start()
        try:
            yield line
        finally:
            line.end()
            server.shutdown()
            thread.join()
