"""Measure how fast NIXL reads blocks of a KV cache from another GPU of the same host.

Needs two GPUs, PyTorch and nixl. Each of two processes has an agent and a cache, as prefill and decode have, and decode
reads all blocks::

    python benchmarks/transfers.py prefill 6000 4 &
    python benchmarks/transfers.py decode 127.0.0.1 6000 4

The last number is that of NIXL's threads. ``bound`` copies the whole cache without NIXL. Prints JSON lines.
"""

import json
import random
import sys
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Client, Connection, Listener
from typing import Final

import torch
from nixl._api import nixl_agent, nixl_agent_config, nixl_xfer_handle

CACHE_BYTES: Final = 2**30
MOST_BLOCKS: Final = 2**16
BLOCK_BYTES: Final = (4096, 16384, 32768, 65536, 131072, 262144, 1048576, 4194304)
ROUNDS: Final = 5
OWN: Final = f"cuda:{torch.cuda.device_count() - 1}"
"""The GPU of decode: the second, or the only one if ``CUDA_VISIBLE_DEVICES`` hides that of prefill."""


def blocks(cache: torch.Tensor, size: int) -> list[tuple[int, int, int]]:
    """Give the address, the bytes and the device of each block of a cache."""
    count = min(cache.numel() // size, MOST_BLOCKS)
    return [(cache.data_ptr() + index * size, size, cache.device.index) for index in range(count)]


def median_seconds(work: Callable[[], None]) -> float:
    """Give the median time of some rounds, after one to warm up."""
    work()
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return sorted(times)[ROUNDS // 2]


def said(figures: Mapping[str, object]) -> None:
    """Print a line of figures."""
    print(json.dumps(figures), flush=True)


def reader(agent: nixl_agent, handle: nixl_xfer_handle) -> Callable[[], None]:
    """Give a function that reads once and waits for the end. Raises ``RuntimeError`` if the transfer fails."""

    def read() -> None:
        state = agent.transfer(handle)
        while state == "PROC":
            state = agent.check_xfer_state(handle)
        if state != "DONE":
            raise RuntimeError(f"the transfer ended with {state}")

    return read


def prefill(port: int, threads: int) -> None:
    """Hold a cache until decode has read it."""
    agent = nixl_agent("prefill", nixl_agent_config(num_threads=threads))
    cache = torch.arange(CACHE_BYTES // 8, device="cuda:0").view(torch.uint8)
    registered = agent.register_memory(cache)
    with Listener(("0.0.0.0", port)) as listener, listener.accept() as pipe:  # noqa: S104 - as an engine listens
        pipe.send((agent.get_agent_metadata(), {size: blocks(cache, size) for size in BLOCK_BYTES}))
        pipe.recv()
    agent.deregister_memory(registered)


def decode(host: str, port: int, threads: int) -> None:
    """Read the cache of prefill, for each size of a block, in a row and scattered, and check each byte."""
    agent = nixl_agent("decode", nixl_agent_config(num_threads=threads))
    cache = torch.zeros(CACHE_BYTES, device=OWN, dtype=torch.uint8)
    agent.register_memory(cache)
    with met(host, port) as pipe:
        metadata, theirs = pipe.recv()
        name = agent.add_remote_agent(metadata)
        for size in BLOCK_BYTES:
            mine = agent.prep_xfer_dlist("NIXL_INIT_AGENT", blocks(cache, size), "VRAM")
            far = agent.prep_xfer_dlist(name, theirs[size], "VRAM")
            for scattered in (False, True):
                order = ordered(len(theirs[size]), scattered=scattered)
                cache.zero_()
                torch.cuda.synchronize(OWN)
                read = reader(agent, agent.make_prepped_xfer("READ", mine, order, far, order))
                figures = {"threads": threads, "block": size, "scattered": scattered, "blocks": len(order)}
                right = is_right(cache, size * len(order))
                said({**figures, **measured(read, size, len(order)), "right": right})
        pipe.send(None)


def ordered(count: int, *, scattered: bool) -> list[int]:
    """Give the order in which blocks are read: by the same count, the same order."""
    order = list(range(count))
    if scattered:
        random.Random(count).shuffle(order)  # noqa: S311 - no secret
    return order


def measured(work: Callable[[], None], size: int, count: int) -> dict[str, float]:
    """Give the microseconds for a block, and the gigabytes in a second."""
    seconds = median_seconds(work)
    return {"us_block": round(seconds * 1e6 / count, 2), "gb_s": round(size * count / seconds / 1e9, 2)}


def is_right(cache: torch.Tensor, read: int) -> bool:
    """Tell whether the bytes that were read are those of prefill."""
    return bool(torch.equal(cache[:read], torch.arange(read // 8, device=OWN).view(torch.uint8)))


def met(host: str, port: int) -> Connection:
    """Connect to prefill, as soon as it listens."""
    while True:
        try:
            return Client((host, port))
        except ConnectionRefusedError:
            time.sleep(0.1)


def bound() -> None:
    """Copy the whole cache from one GPU to the other."""
    there = torch.ones(CACHE_BYTES, device="cuda:0", dtype=torch.uint8)
    here = torch.empty(CACHE_BYTES, device=OWN, dtype=torch.uint8)

    def copy() -> None:
        here.copy_(there)
        torch.cuda.synchronize(OWN)

    seconds = median_seconds(copy)
    said({"copy": CACHE_BYTES, "gb_s": round(CACHE_BYTES / seconds / 1e9, 2)})


def main(side: str, *words: str) -> None:
    """Run one side: ``bound``, ``prefill PORT THREADS`` or ``decode HOST PORT THREADS``."""
    if side == "bound":
        bound()
    elif side == "prefill":
        prefill(*map(int, words))
    else:
        decode(words[0], *map(int, words[1:]))


if __name__ == "__main__":
    main(*sys.argv[1:])
