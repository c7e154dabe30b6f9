"""Processes of replicas are killed at random, under a steady load: which requests are lost, and how long they wait.

Before each kill all replicas serve: a request cannot be saved if no replica serves.
"""

import asyncio
import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.process_kubelet.load import Asked, Request, steady_load
from tests.process_kubelet.scene import Scene

SEED: Final = 18


@dataclass(frozen=True)
class Target:
    """A process to kill: its name, the index of its pod, and a part of its command line; ``""`` is the first."""

    what: str
    index: int
    called: str = ""


@dataclass(frozen=True)
class Kill:
    """A kill: of what, when (monotonic seconds), where the group's leader was, and when its Service let go of it."""

    what: str
    at: float
    place: str
    left: float

    def explains(self, lost: Asked) -> bool:
        """Tell whether a request was on the killed group when it broke, or came before the Service let go of it."""
        return lost.place == self.place and lost.began <= self.left and lost.ended >= self.at


@dataclass(frozen=True)
class Losses:
    """The requests of a run and its kills. ``right`` are the tokens that each request must get."""

    asked: Sequence[Asked]
    kills: Sequence[Kill]
    right: Sequence[int]

    @property
    def lost(self) -> list[Asked]:
        """The requests that got an error or other tokens."""
        return [one for one in self.asked if one.tokens != self.right]

    @property
    def in_work(self) -> list[Asked]:
        """The lost requests that were on a group at the moment when it was killed."""
        return [one for one in self.lost if any(self._was_on(kill, one) for kill in self.kills)]

    @property
    def unexplained(self) -> list[Asked]:
        """The lost requests that no kill explains."""
        return [one for one in self.lost if not any(kill.explains(one) for kill in self.kills)]

    @property
    def longest_wait(self) -> float:
        """The longest time that a client waited, in seconds."""
        return max(one.seconds for one in self.asked)

    @staticmethod
    def _was_on(kill: Kill, one: Asked) -> bool:
        return kill.place == one.place and one.began <= kill.at <= one.ended


@dataclass
class RandomKills:
    """Kills under load, chosen at random: by the same seed, the same choices.

    ``limit`` is the time that a replica may take to serve again, ``pause`` the longest time from the moment when all
    replicas serve to the next kill; both in seconds.
    """

    scene: Scene
    service: str
    request: Request
    targets: Sequence[Target]
    limit: float
    pause: float
    chance: random.Random = field(default_factory=lambda: random.Random(SEED))  # noqa: S311 - no secret

    async def run(self, replicas: int, right: Sequence[int], going: Callable[[Losses], bool]) -> Losses:
        """Kill for as long as ``going`` says so of the losses so far. At the end all replicas serve again."""
        kills: list[Kill] = []
        async with steady_load(self.scene, self.service, self.request, pause=0.1) as asked:
            while True:
                await self._all_serve(replicas)
                if not going(Losses(asked, kills, right)):
                    break
                await asyncio.sleep(self.chance.uniform(0, self.pause))
                kills.append(await self._kill())
        return Losses(asked, kills, right)

    async def _all_serve(self, replicas: int) -> None:
        async def there() -> bool:
            return len(await self.scene.endpoints(self.service)) == replicas

        await self.scene.until(there, "all replicas serve", self.limit)

    async def _kill(self) -> Kill:
        target = self.chance.choice(self.targets)
        place = self.chance.choice(await self.scene.endpoints(self.service))
        leader = self._pod_at(place)
        at = time.monotonic()
        send_signal(self.scene, f"{leader.removesuffix('-0')}-{target.index}", target.called, signal.SIGKILL)

        async def left() -> bool:
            return place not in await self.scene.endpoints(self.service)

        await self.scene.until(left, f"{target.what} killed: out of the Service", self.limit)
        return Kill(target.what, at, place, time.monotonic())

    def _pod_at(self, place: str) -> str:
        host = place.rpartition(":")[0]
        (pod,) = [pod for pod in self.scene.kubelets.pods.values() if pod.address == host]
        return str(pod.name)


def send_signal(scene: Scene, pod: str, called: str, number: signal.Signals) -> None:
    """Send a signal to a process of the engine of a pod, by a part of its command line; ``""`` is the first."""
    found = scene.kubelets.pod(pod).containers["engine"].processes()
    os.kill(next(pid for pid, line in found.items() if called in line), number)
