"""An API server that says what it is told to say, and keeps what it was asked. On the loopback interface only."""

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from shardwise.cluster import Cluster, connect

Json = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """A request, as it arrived."""

    method: str
    path: str
    query: Json
    headers: Json
    body: Any


@dataclass
class Said:
    """An answer to give: JSON, unless its content type says otherwise."""

    body: object = field(default_factory=dict)
    status: int = 200
    content_type: str = "application/json"

    def response(self) -> web.Response:
        """Give it as HTTP."""
        text = self.body if isinstance(self.body, str) else json.dumps(self.body)
        return web.Response(status=self.status, text=text, content_type=self.content_type)


@dataclass
class Scripted:
    """Gives its answers in order, the last one for ever. A token it refuses gets 401 and uses up none."""

    answers: list[Said] = field(default_factory=lambda: [Said()])
    asked: list[Asked] = field(default_factory=list)
    refused_token: str = ""
    url: str = ""

    def says(self, *answers: Said) -> None:
        """Set the answers to give from now on."""
        self.answers = list(answers)

    async def answer(self, request: web.Request) -> web.Response:
        """Keep a request, and give the next answer."""
        sent = await request.text()
        body = json.loads(sent) if sent else None
        self.asked.append(Asked(request.method, request.path, dict(request.query), dict(request.headers), body))
        if self.refused_token and request.headers.get("Authorization") == f"Bearer {self.refused_token}":
            return Said({"message": "Unauthorized"}, 401).response()
        return (self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]).response()


@contextlib.asynccontextmanager
async def scripted() -> AsyncIterator[Scripted]:
    """Serve a script on a free port."""
    script = Scripted()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", script.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        script.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield script
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def connected(kubeconfig: Path) -> AsyncIterator[Cluster]:
    """Give a client by a kubeconfig, and close it."""
    cluster = Cluster(await connect(kubeconfig))
    try:
        yield cluster
    finally:
        await cluster.close()


def a_kubeconfig(path: Path, server: str, user: Json, **cluster: Any) -> Path:
    """Write a kubeconfig of one context, and give its path."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(config))
    return path
