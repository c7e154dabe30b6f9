"""SGLang on a GPU that is not there: its own probes of the device answer as we say.

``pretend`` comes before every other import of SGLang. Libraries with compiled kernels are left out.
"""

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any, Final

from absent import leave_out
from pretended import pretend_cuda
from products import Gpu

_KERNELS: Final = (
    "aiter", "cutlass", "deep_ep", "deep_gemm", "deepseek_recipe", "flash_attn", "flash_attn_4", "flash_mla",
    "flashinfer", "humming", "llguidance", "mathdx", "nvidia_cutlass_dsl", "outlines", "quack", "sgl_kernel",
    "smg_grpc_servicer", "tilelang", "torch_memory_saver", "triton_kernels", "vllm", "xgrammar",
)  # fmt: skip


def pretend(gpu: Gpu, devices: int = 8) -> None:
    """Install the device for this process."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    import transformers  # noqa: PLC0415 - it looks at what is installed, before libraries are left out

    assert transformers.AutoConfig
    leave_out(*_KERNELS)
    pretend_cuda(gpu, devices)
    from sglang.srt import server_args  # noqa: PLC0415

    assert server_args.ServerArgs
    answer(gpu)


def answer(gpu: Gpu) -> None:
    """Let every module of SGLang that is loaded by now ask us instead of the device."""
    answers = _answers(gpu)
    for name, module in list(sys.modules.items()):
        if name.startswith("sglang") and module is not None:
            for probe, reply in answers.items():
                if probe in vars(module):
                    setattr(module, probe, reply)


def _answers(gpu: Gpu) -> dict[str, Callable[..., Any]]:
    family = gpu.capability[0]

    def always(value: object) -> Callable[..., Any]:
        return lambda *_, **__: value

    values: dict[str, object] = {
        "is_cuda": True,
        "is_cuda_alike": True,
        "is_hip": False,
        "is_sm90_supported": family == 9,
        "is_sm100_supported": family == 10,
        "is_sm100_or_sm110_supported": family == 10,
        "is_sm110_supported": False,
        "is_sm120_supported": family == 12,
        "is_blackwell_supported": family in (10, 12),
        "is_blackwell": family in (10, 12),
        "is_hopper_with_cuda_12_3": family == 9,
        "is_flashinfer_available": True,
        "get_device_sm": gpu.level,
        "get_device_capability": gpu.capability,
        "get_device_memory_capacity": gpu.memory,
        "get_nvgpu_memory_capacity": gpu.memory,
        "get_gpu_memory": gpu.memory,
        "get_device": "cuda",
        "get_device_name": gpu.name,
        "is_port_available": True,
    }
    return {name: always(value) for name, value in values.items()}


def quietly() -> contextlib.AbstractContextManager[Any]:
    """Leave out what the library prints."""
    return contextlib.redirect_stdout(sys.stderr)
