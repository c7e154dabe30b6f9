"""A cluster for the story: the in-memory API, process kubelets with a real engine, and the operator as a process."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import yaml
from tests.process_kubelet.container import Json
from tests.process_kubelet.image import Image
from tests.process_kubelet.kubelet import Line, process_kubelets
from tests.process_kubelet.scene import Scene, nodes_of_processes

from shardwise_sandbox import Sandbox, compute_domain_definition, h100_node

FLEET: Final = {"narrow": (1, 1, 1, 1), "wide": (2,)}
"""GPUs of each node of a pool. Nobody hands GPUs out: the engine runs on CPUs."""


@dataclass
class Process:
    """The operator of a checkout, as a process."""

    checkout: Path
    words: Sequence[str]
    log: Path
    _process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it. It lists and watches by itself."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "shardwise", "run", *self.words),
                env={**os.environ, "PYTHONPATH": str(self.checkout / "operator")},
                stdout=log,
                stderr=log,
            )

    async def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            await self._process.wait()


@contextlib.asynccontextmanager
async def cluster(folder: Path, engine: Path, models: Path, checkout: Path) -> AsyncIterator[Scene]:
    """Run a cluster whose pods run the engine of an environment, with the operator of a checkout."""
    configuration, cache = folder / "operator.yaml", engine / "cache"
    cache.mkdir(exist_ok=True)
    launch = {"hostPaths": [str(models)], "cache": {"hostPath": {"path": str(cache)}}}
    configuration.write_text(yaml.safe_dump({"launch": launch}))
    nodes = [_node(pool, number, gpus) for pool, sizes in FLEET.items() for number, gpus in enumerate(sizes)]
    python = (engine / "bin" / "python3").resolve()
    image = Image(engine, folders=(python.parent.parent,))
    async with contextlib.AsyncExitStack() as stack:
        kinds = [*_definitions(checkout), compute_domain_definition()]
        sandbox = await stack.enter_async_context(Sandbox(objects=kinds, kubelets=False))
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(900)))
        line = Line(session, sandbox.url)
        kubeconfig = sandbox.write_kubeconfig(folder / "kubeconfig")
        words = (f"--kubeconfig={kubeconfig}", f"--config={configuration}")
        operator = Process(checkout, words, folder / "operator.log")
        names = await stack.enter_async_context(nodes_of_processes(line, nodes))
        kubelets = await stack.enter_async_context(process_kubelets(line, names, image, folder / "pods"))
        await operator.start()
        stack.push_async_callback(operator.stop)
        yield Scene(line, kubelets, operator)


def _definitions(checkout: Path) -> list[Json]:
    """Give the definitions that the operator of a checkout brings: it may not know the fields of others."""
    return [yaml.safe_load(path.read_text()) for path in sorted((checkout / "crds").glob("*.yaml"))]


def _node(pool: str, number: int, gpus: int) -> dict[str, object]:
    node = h100_node(f"{pool}-{number}", gpus=gpus)
    node["metadata"]["labels"]["pool"] = pool
    return node
