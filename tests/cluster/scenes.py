"""A scene on each of the two APIs: four nodes whose pods are real processes, and an operator."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import aiohttp
import pytest
from tests.cluster.installed import Installed, Running
from tests.process_kubelet import fake_engine
from tests.process_kubelet.image import missing, python_image
from tests.process_kubelet.kubelet import Line, process_kubelets
from tests.process_kubelet.scene import Operator, Scene, folder_of_gates, nodes_of_processes

from shardwise.api import crd
from shardwise.controller import Options, run
from shardwise_sandbox import Sandbox, compute_domain_definition, h100_node

POOL: Final = "processes"
NODES: Final = 4
PACE: Final = 0.03
"""Probes come every 0.3 seconds in place of every 10."""

HUB: Final = """
import pathlib, socket, time
def snapshot_download(name, revision):
    while (pathlib.Path(__file__).parents[1] / "gates" / f"fetch-{socket.gethostname()}").exists():
        time.sleep(0.02)
    return name
"""
"""A library of the Hub whose downloads last as long as their gate is there."""


@pytest.fixture(scope="session")
def can_run(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skip with the reason where this machine cannot make containers."""
    why = missing(tmp_path_factory.mktemp("try"))
    if why:
        pytest.skip(why)


@dataclass
class InMemory:
    """The operator in this process, on the in-memory API."""

    kubeconfig: Path
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._stop, ready = asyncio.Event(), asyncio.Event()
        self._task = asyncio.create_task(run(Options(self.kubeconfig, relist_seconds=3600), self._stop, ready))
        await ready.wait()

    async def stop(self) -> None:
        self._stop.set()
        if self._task is not None:
            await self._task
        self._task = None


@dataclass
class Process:
    """The operator as a process, on the real API."""

    running: Running

    async def start(self) -> None:
        self.running.start()

    async def stop(self) -> None:
        await asyncio.to_thread(self.running.stop)


@contextlib.asynccontextmanager
async def in_memory(folder: Path) -> AsyncIterator[tuple[Line, Operator]]:
    kinds = [crd.definition(), compute_domain_definition()]
    async with Sandbox(objects=kinds, kubelets=False) as cluster, aiohttp.ClientSession() as session:
        operator = InMemory(cluster.write_kubeconfig(folder / "kubeconfig"))
        await operator.start()
        try:
            yield Line(session, cluster.url), operator
        finally:
            await operator.stop()


@contextlib.asynccontextmanager
async def real(installed: Installed) -> AsyncIterator[tuple[Line, Operator]]:
    plane = installed.plane
    with installed.running() as running:
        async with aiohttp.ClientSession() as session:
            yield Line(session, plane.url, plane.tls()), Process(running)
        await asyncio.sleep(0.1)  # aiohttp's TLS connections are closed a little after its session


@pytest.fixture(params=["in-memory", pytest.param("real", marks=pytest.mark.cluster)])
async def scene(request: pytest.FixtureRequest, tmp_path: Path, can_run: None) -> AsyncIterator[Scene]:
    """Give each of the two APIs, with four nodes of one GPU, and nothing on them."""
    is_real = request.param == "real"
    cluster: contextlib.AbstractAsyncContextManager[tuple[Line, Operator]]
    cluster = real(request.getfixturevalue("installed")) if is_real else in_memory(tmp_path)
    image = python_image(tmp_path / "image", {"vllm": Path(fake_engine.__file__)})
    image = replace(image, variables={"PYTHONPATH": str(image.folder / "lib")})
    folder_of_gates(image.folder)
    (image.folder / "lib").mkdir()
    (image.folder / "lib" / "huggingface_hub.py").write_text(HUB)
    nodes = [h100_node(f"{POOL}-{number}", gpus=1) for number in range(NODES)]
    for node in nodes:
        node["metadata"]["labels"]["pool"] = POOL
    async with contextlib.AsyncExitStack() as stack:
        line, operator = await stack.enter_async_context(cluster)
        names = await stack.enter_async_context(nodes_of_processes(line, nodes))
        kubelets = process_kubelets(line, names, image, tmp_path / "pods", PACE)
        made = Scene(line, await stack.enter_async_context(kubelets), operator, has_slices=is_real)
        yield made
        await made.delete_all()


@pytest.fixture
def gates(scene: Scene) -> Path:
    """Give the folder whose files hold engines back."""
    return scene.kubelets.image.folder / "gates"
