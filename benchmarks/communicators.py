"""Measure the device memory a rank's communicators take: one for its tensor group, one for its pipeline.

Needs two GPUs of one host and PyTorch with NCCL: ``python benchmarks/communicators.py``. Prints one JSON line a rank;
the planner's reserve (planner/budgets.py) carries what came out.
"""

import json
import os

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

RANKS = 2
ELEMENTS = 8192 * 8192 // 2


def taken() -> float:
    """Give the device memory in use outside PyTorch's allocator, in MiB."""
    torch.cuda.synchronize()
    free, total = torch.cuda.mem_get_info()
    return float(total - free - torch.cuda.memory_reserved()) / 2**20


def measure(rank: int) -> None:
    """Take stock after the context, the tensor group's first all-reduces, and the pipeline's first sends."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29511")
    torch.cuda.set_device(rank)
    tensor = torch.ones(ELEMENTS, device="cuda", dtype=torch.bfloat16)
    steps = {"context": taken()}
    dist.init_process_group("nccl", rank=rank, world_size=RANKS, device_id=torch.device("cuda", rank))
    for name in ("tensor", "pipeline", "another"):
        group = dist.new_group(list(range(RANKS)), backend="nccl")
        for _ in range(3):
            if name == "pipeline":
                (dist.send if rank == 0 else dist.recv)(tensor, 1 - rank, group=group)
            else:
                dist.all_reduce(tensor, group=group)
        steps[name] = taken()
    print(
        json.dumps({"rank": rank, "gpu": torch.cuda.get_device_name(), "mib": {k: round(v) for k, v in steps.items()}})
    )
    dist.destroy_process_group()


if __name__ == "__main__":
    mp.spawn(measure, nprocs=RANKS)
