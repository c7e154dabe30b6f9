"""vLLM on a GPU that is not there: its own CUDA platform, with capability, memory, name and count said by us.

``pretend`` comes before every other import of vLLM. Compiled extensions are left out; nothing here runs a kernel.
"""

import importlib
import os
from typing import Any, Final

import torch
from absent import Anything, leave_out
from pretended import pretend_cuda
from products import Gpu

_COMPILED: Final = (
    "vllm._C", "vllm._C_stable_libtorch", "vllm._moe_C", "vllm._moe_C_stable_libtorch", "vllm._qutlass_C",
    "vllm._rocm_C", "vllm.cumem_allocator", "vllm._flashmla_C", "vllm._flashmla_extension_C", "vllm.vllm_flash_attn",
)  # fmt: skip
_NAMESPACES: Final = frozenset({"_C", "_moe_C", "_C_cache_ops", "_qutlass_C", "_C_custom_ar", "_C_cuda_utils"})


def pretend(gpu: Gpu, cache: str, devices: int = 8) -> None:
    """Install the platform for this process. ``cache`` is a folder that vLLM may write to."""
    for name, value in {"VLLM_LOGGING_LEVEL": "ERROR", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}.items():
        os.environ[name] = value
    os.environ["VLLM_CACHE_ROOT"] = cache
    leave_out(*_COMPILED)
    pretend_cuda(gpu, devices)
    _answer_for_kernels()
    flash: Any = __import__("vllm.vllm_flash_attn", fromlist=["x"])
    flash.is_fa_version_supported = lambda *_, **__: True
    flash.fa_version_unsupported_reason = lambda *_, **__: None
    _install(gpu, devices)
    _without_driver()
    from vllm.model_executor.models import registry  # noqa: PLC0415 - after the platform

    # A process for each class that is inspected costs half a minute.
    registry._run_in_subprocess = lambda inspected: inspected()


class _Kernel:
    """An operator of a compiled extension: says yes to every question whether something is supported."""

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __call__(self, *_: object, **__: object) -> bool:
        return True

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self


def _answer_for_kernels() -> None:
    """Let operators of the compiled extensions be named, and their shape functions be registered."""
    import torch._ops  # noqa: PLC0415
    import torch.library  # noqa: PLC0415

    namespace: Any = torch._ops._OpNamespace
    found = namespace.__getattr__

    def operator(self: Any, name: str) -> Any:
        try:
            return found(self, name)
        except AttributeError:
            if name.startswith("__") or self.name not in _NAMESPACES:
                raise
            return _Kernel(name)

    namespace.__getattr__ = operator
    library: Any = torch.library
    register = library.register_fake

    def register_fake(name: Any, *given: Any, **more: Any) -> Any:
        if isinstance(name, str) and name.partition("::")[0] in _NAMESPACES:
            return lambda function: function
        return register(name, *given, **more)

    library.register_fake = register_fake


def _install(gpu: Gpu, devices: int) -> None:
    from vllm import platforms  # noqa: PLC0415
    from vllm.platforms.cuda import NonNvmlCudaPlatform  # noqa: PLC0415
    from vllm.platforms.interface import DeviceCapability  # noqa: PLC0415

    def level(asked: Any) -> int:
        return asked if isinstance(asked, int) else asked[0] * 10 + asked[1]

    answers: dict[str, Any] = {
        "get_device_capability": lambda *_, **__: DeviceCapability(*gpu.capability),
        "has_device_capability": lambda asked, *_, **__: gpu.level >= level(asked),
        "is_device_capability": lambda asked, *_, **__: gpu.level == level(asked),
        "is_device_capability_family": lambda asked, *_, **__: gpu.level // 10 == level(asked) // 10,
        "get_device_name": lambda *_, **__: gpu.name,
        "get_device_total_memory": lambda *_, **__: gpu.memory << 20,
        "device_count": lambda: devices,
        "is_fully_connected": lambda *_: True,
        "num_compute_units": lambda *_, **__: 132,
        "is_integrated_gpu": lambda *_, **__: False,
        "get_cuda_runtime_major": lambda: 13,
        "import_kernels": lambda: None,
        "current_device": lambda: torch.device("meta"),
    }
    members = {name: staticmethod(answer) for name, answer in answers.items()}
    platforms._current_platform = type("PretendedPlatform", (NonNvmlCudaPlatform,), members)()


def _without_driver() -> None:
    """Let kernels be decorated without a driver: none is ever compiled."""
    import triton.runtime  # noqa: PLC0415

    driver: Any = triton.runtime.driver
    driver._active = driver._default = Anything()
    for name in ("vllm.utils.deep_gemm", "vllm.utils.import_utils"):
        module = importlib.import_module(name)
        for probe in ("has_deep_gemm", "is_deep_gemm_supported"):
            if hasattr(module, probe):
                setattr(module, probe, lambda *_, **__: True)
