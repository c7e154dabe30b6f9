"""GPUs that are not there: torch reports them to both engines' platforms."""

import types
from typing import Any

import torch
from absent import Anything
from products import Gpu


def pretend_cuda(gpu: Gpu, devices: int = 8) -> None:
    """Let torch report ``devices`` GPUs of a product. No kernel can run: only configurations are asked for."""
    cuda: Any = torch.cuda
    properties = types.SimpleNamespace(
        name=gpu.name,
        major=gpu.capability[0],
        minor=gpu.capability[1],
        total_memory=gpu.memory << 20,
        multi_processor_count=132,
        shared_memory_per_block_optin=232448,
        warp_size=32,
        L2_cache_size=50 << 20,
    )
    for name, value in {
        "is_available": True,
        "device_count": devices,
        "current_device": 0,
        "get_device_capability": gpu.capability,
        "get_device_name": gpu.name,
        "get_device_properties": properties,
        "mem_get_info": (gpu.memory << 20, gpu.memory << 20),
        "is_initialized": False,
        "set_device": None,
        "_lazy_init": None,
    }.items():
        setattr(cuda, name, lambda *_, _value=value, **__: _value)
    cuda.Stream = cuda.Event = Anything
    accelerator: Any = torch.accelerator
    accelerator.device_count = lambda: devices
