"""The steps of the story, which ``python -m tests.engine_story`` runs; see ``make test-engine``."""

import signal
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import aiohttp
from tests.engine_story.objects import ANSWER, HANG_SECONDS
from tests.engine_story.roles import roles
from tests.engine_story.story import PATIENCE, PROMPTS, Served, Story, Wrong
from tests.process_kubelet.container import Json
from tests.process_kubelet.kubelet import Refused
from tests.process_kubelet.load import Request, steady_load
from tests.process_kubelet.random_kills import Losses, RandomKills, Target

from shardwise.domain.layout import Layout

ONE: Final = Served("one", "dense", Layout(1, 1))
WIDE: Final = Served("wide", "dense", Layout(2, 1))
PAIR: Final = Served("pair", "dense", Layout(1, 2))
MIXTURE: Final = Served("mixture", "experts", Layout(1, 1))
RANKS: Final = Served("ranks", "experts", Layout(1, 1, expert=True, data=2))

WORKER: Final = "VLLM::Worker"

TARGETS: Final = (
    Target("the leader's rank", 0, WORKER),
    Target("the follower's rank", 1, WORKER),
    Target("the leader's scheduler", 0, "VLLM::EngineCore"),
    Target("the leader", 0),
    Target("the follower", 1),
)
KILLING_SECONDS: Final = 600.0


async def start_and_end(served: Served, story: Story) -> None:
    """Serve by a group, and end it."""
    await story.start(served)
    await story.end(served.name)


async def cache(story: Story) -> None:
    """Wait until the operator has asked the engine of the two pods for the size of its cache."""

    async def measured() -> int:
        (group,) = (await story.scene.status(PAIR.name))["groups"]
        return int((group.get("kvCacheTokens") or {}).get("measured", 0))

    found = await story.scene.until(measured, "the engine's own figure in the status")
    print(f"           the status says that the cache holds {found} tokens", flush=True)


async def kills(story: Story) -> None:
    """Kill each rank, and the leader."""
    for what, index, called in (("follower's rank", 1, WORKER), ("leader's rank", 0, WORKER), ("leader", 0, "")):
        await story.heals(PAIR, f"the {what} killed", partial(story.signal, PAIR.name, index, called))


async def hang(story: Story) -> None:
    """Stop the follower's rank, and ask: the engine gives up after its limit."""
    await story.signal(PAIR.name, 1, WORKER, signal.SIGSTOP)
    began = time.monotonic()
    try:
        await story.ask(PAIR.name, PROMPTS[0], 4)
    except (Refused, aiohttp.ClientError):
        story.note("a rank hangs: request → error", began)
    else:
        raise Wrong("a request was answered without a rank")


async def hangs(story: Story) -> None:
    """Stop a rank."""
    await story.heals(PAIR, "a rank stopped, and a request", partial(hang, story))


async def edit(story: Story) -> None:
    """Change the context while clients ask all the time: no request may be lost."""
    scene, request = story.scene, Request(PROMPTS[0], 4, ANSWER)
    before = {pod["metadata"]["uid"] for pod in await scene.pods(PAIR.name)}

    async def replaced() -> bool:
        there = await scene.pods(PAIR.name)
        return before.isdisjoint(pod["metadata"]["uid"] for pod in there) and await scene.is_ready(PAIR.name)

    async with steady_load(scene, PAIR.name, request, pause=0.5) as asked:
        began = time.monotonic()
        await scene.patch(PAIR.name, model={"contextLength": 256})
        await scene.until(replaced, "another group", PATIENCE)
        story.note("edit → the old group gone", began)
    lost = [one for one in asked if one.tokens != story.expected["dense"][0][:4]]
    print(f"           {len(asked)} requests during the edit, {len(lost)} lost", flush=True)
    if lost:
        raise Wrong(f"lost during an edit: {lost[:3]}")


async def scale(story: Story) -> None:
    """Add a replica, which serves the same tokens, and take it away."""
    scene = story.scene
    began = time.monotonic()
    await scene.patch(PAIR.name, replicas=2)

    async def both() -> list[str]:
        there = await scene.endpoints(PAIR.name)
        return there if len(there) == 2 else []

    places = await scene.until(both, "two leaders behind the Service", PATIENCE)
    story.note("scale to 2 → both serve", began)
    for place in places:
        if (await scene.ask(place, PROMPTS[0], 24, **ANSWER)) != story.expected["dense"][0]:
            raise Wrong(f"{place} gives other tokens")
    began = time.monotonic()
    await scene.patch(PAIR.name, replicas=1)

    async def one_group() -> bool:
        return len(await scene.pods(PAIR.name)) == 2

    await scene.until(one_group, "the pods of one group", PATIENCE)
    story.note("scale to 1 → the other group gone", began)


async def data(story: Story) -> None:
    """Serve a mixture of experts by two data ranks on two nodes. If one is lost, the leader ends by itself."""
    await story.start(RANKS)
    exits = story.scene.kubelets.exits
    before = len(exits)
    await story.heals(RANKS, "a data rank killed", partial(story.signal, RANKS.name, 1, WORKER))
    (pod, _, code), *_ = exits[before:]
    print(f"           the first to end, with exit code {code}: {pod}", flush=True)
    if pod != f"{RANKS.name}-0-0-0":
        raise Wrong(f"the leader did not end first: {exits[before:]}")
    await story.end(RANKS.name)


async def random_kills(story: Story) -> None:
    """Kill processes of two replicas at random for ten minutes, under a steady load."""
    await story.start(PAIR, replicas=2)
    right = story.expected[PAIR.model][0][:8]
    killing = RandomKills(story.scene, PAIR.name, Request(PROMPTS[0], len(right), ANSWER), TARGETS, PATIENCE, pause=10)
    end = time.monotonic() + KILLING_SECONDS
    leader, *_ = await story.scene.pods(PAIR.name)
    _judge(await killing.run(2, right, lambda _: time.monotonic() < end), _longest_allowed(leader))
    await story.end(PAIR.name)


def _longest_allowed(leader: Json) -> float:
    """Give the seconds that a request may wait: the engine's limit of a step, and until the readiness probe fails."""
    probe = leader["spec"]["containers"][0]["readinessProbe"]
    return float(HANG_SECONDS + probe["periodSeconds"] * probe["failureThreshold"] + probe["timeoutSeconds"])


def _judge(found: Losses, allowed: float) -> None:
    """Print the figures of random kills. Raises :class:`Wrong` if a request was lost or waited without a reason."""
    for kill in found.kills:
        print(f"{kill.left - kill.at:7.1f} s  {kill.what} killed → out of the Service", flush=True)
    print(f"           {len(found.kills)} kills, {len(found.asked)} requests, {len(found.lost)} lost:", flush=True)
    print(f"           {len(found.in_work)} were in work at the kill, the others came before the leader had left")
    print(f"{found.longest_wait:7.1f} s  the longest wait of a request, {allowed:g} s are allowed", flush=True)
    if found.unexplained or found.longest_wait > allowed:
        raise Wrong(f"lost without a kill, or too late: {found.unexplained[:3]}")


Step = Callable[[Story], Awaitable[None]]
STEPS: Final[dict[str, Step]] = {
    "one": partial(start_and_end, ONE),
    "wide": partial(start_and_end, WIDE),
    "experts": partial(start_and_end, MIXTURE),
    "data": data,
    "roles": roles,
    "pair": lambda story: story.start(PAIR),
    "cache": cache,
    "kills": kills,
    "hangs": hangs,
    "edit": edit,
    "scale": scale,
    "delete": lambda story: story.end(PAIR.name),
}
"""The steps in their order. Those between ``pair`` and ``delete`` need the two pods."""

BY_NAME: Final[dict[str, Step]] = {**STEPS, "random-kills": random_kills}
"""All steps. ``random-kills`` takes ten minutes, and runs only if it is named."""
