"""Running tasks of which the first to end ends all."""

import asyncio
from collections.abc import Collection


async def until_one_ends(tasks: Collection[asyncio.Task[object]]) -> None:
    """Run tasks until one ends or fails, then end the others.

    ``kopf.operator`` does the same with its tasks, but it takes every task that others start meanwhile for its own: it
    waits 5 s for them and cancels them, which would end the caller that stops us.
    """
    done: set[asyncio.Task[object]] = set()
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in done:
        if not task.cancelled():
            task.result()
