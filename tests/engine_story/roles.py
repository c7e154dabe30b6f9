"""Prefill and decode as groups of their own: a request goes through both as llm-d's router sends it.

NIXL moves the KV caches by TCP, from the network of one pod to that of the other.
"""

import signal
import time
from typing import Any, Final

from tests.engine_story.objects import ANSWER, in_roles
from tests.engine_story.story import PATIENCE, PROMPTS, TOKENS, Served, Story, Wrong
from tests.process_kubelet.container import Json
from tests.process_kubelet.kubelet import Refused
from tests.process_kubelet.random_kills import send_signal

from shardwise.domain.layout import Layout

ROLES: Final = Served("roles", "dense", Layout(1, 1))

TO_DECODE: Final = {"do_remote_decode": True, "do_remote_prefill": False}
"""Parameters by which a router asks prefill to keep a cache for decode."""

MOVED: Final = "vllm:nixl_xfer_time_seconds_count"
FAILED: Final = "vllm:nixl_num_failed_transfers_total"


async def roles(story: Story) -> None:
    """Serve by a pair. Kill prefill between its answer and the call of decode, and wait until the pair serves again."""
    await _start(story)
    await _asked_as_a_pair(story, "requests through prefill and decode")
    await _prefill_killed(story)
    await _asked_as_a_pair(story, "requests through the new prefill and decode")
    await story.end(ROLES.name)


async def _start(story: Story) -> None:
    """Start both roles. Clients of the Service reach decode, which serves alone too: the tokens of a single process."""
    began = time.monotonic()
    await story.scene.apply(in_roles(story.models / ROLES.model, ROLES.name))
    await story.serves(ROLES, began, "prefill and decode: apply → tokens of decode alone")


async def _asked_as_a_pair(story: Story, what: str) -> None:
    """Send each prompt through both roles. The tokens must be right, and each cache must have moved."""
    before = await _figures(story)
    began = time.monotonic()
    for number, prompt in enumerate(PROMPTS):
        _same(story, number, await _decode(story, prompt, await _prefill(story, prompt)))
    story.note(f"{len(PROMPTS)} {what}", began)
    moved, failed = (now - then for now, then in zip(await _figures(story), before, strict=True))
    if (moved, failed) != (len(PROMPTS), 0):
        raise Wrong(f"{moved:g} caches moved for {len(PROMPTS)} requests, and {failed:g} transfers failed")


async def _prefill_killed(story: Story) -> None:
    """Kill prefill after its answer. Decode must give the right tokens without it, and prefill must come back."""
    scene = story.scene
    left = await _prefill(story, PROMPTS[1])
    leader, decode = await _leader(story, "prefill"), await _leader(story, "decode")
    began = time.monotonic()
    send_signal(scene, leader["metadata"]["name"], "", signal.SIGKILL)
    _same(story, 1, await _decode(story, PROMPTS[1], left))
    story.note("prefill killed → the tokens of the request that it had answered", began)

    async def back() -> bool:
        new = await _leader(story, "prefill")
        return bool(new["metadata"]["uid"] != leader["metadata"]["uid"] and await scene.is_ready(ROLES.name))

    await scene.until(back, "another prefill group", PATIENCE)
    story.note("prefill killed → both roles serve again", began)
    if (await _leader(story, "decode"))["metadata"]["uid"] != decode["metadata"]["uid"]:
        raise Wrong("decode was started again, too")


def _same(story: Story, number: int, found: list[int]) -> None:
    expected = story.expected[ROLES.model][number]
    if found != expected:
        raise Wrong(f"the pair gives {found} in place of {expected}")


async def _prefill(story: Story, prompt: str) -> Json:
    """Let prefill work on a prompt; give the parameters by which decode finds the cache."""
    answer = await _post(story, "prefill", prompt, max_tokens=1, kv_transfer_params=TO_DECODE)
    found: Json = answer["kv_transfer_params"]
    return found


async def _decode(story: Story, prompt: str, cache: Json) -> list[int]:
    """Let decode fetch a cache, and answer; give the tokens."""
    answer = await _post(story, "decode", prompt, max_tokens=TOKENS, kv_transfer_params=cache)
    found: list[int] = answer["choices"][0]["token_ids"]
    return found


async def _post(story: Story, role: str, prompt: str, **more: Any) -> Json:
    place = await _place(story, role)
    body = {**ANSWER, "prompt": prompt, **more}
    async with story.scene.line.session.post(f"http://{place}/v1/completions", json=body) as answer:
        if not answer.ok:
            raise Refused(f"{role} says {answer.status}: {await answer.text()}")
        found: Json = await answer.json()
        return found


async def _figures(story: Story) -> tuple[float, float]:
    """Give how many caches decode has fetched, and how many it could not fetch."""
    _, text = await story.scene.get(await _place(story, "decode"), "/metrics")
    lines = [line.rpartition(" ") for line in text.splitlines()]
    moved, failed = (sum(float(value) for key, _, value in lines if key.startswith(name)) for name in (MOVED, FAILED))
    return moved, failed


async def _place(story: Story, role: str) -> str:
    """Give host and port of the leader of a role."""
    return f"{(await _leader(story, role))['status']['podIP']}:8000"


async def _leader(story: Story, role: str) -> Json:
    """Give the leader of a role, found as a router finds it. Raises :class:`Refused` if none serves."""
    labels = {"llm-d.ai/role": role, "shardwise.dev/serves": "true"}
    for pod in await story.scene.pods(ROLES.name):
        if labels.items() <= pod["metadata"]["labels"].items():
            return pod
    raise Refused(f"no leader of {role} serves")
