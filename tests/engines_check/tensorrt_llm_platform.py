"""TensorRT-LLM without its compiled modules: its own Python sources, with torch, TensorRT and the bindings left out.

``pretend`` comes before every other import of TensorRT-LLM. The package's own ``__init__`` imports all kernels and
models, so that it is not run; the modules that read command lines and options are.
"""

import logging
import os
import sys
import types
import warnings
from typing import Any, Final

from absent import AbsentModule, Anything, leave_out
from products import Gpu
from pydantic_core import core_schema

_LIBRARIES: Final = ("mpi4py", "nvtx", "ray", "tensorrt", "torch", "triton")

_MODULES: Final = (
    "_common", "_tensorrt_engine", "_torch", "bindings", "executor", "functional", "graph_rewriting", "inputs",
    "llmapi.llm", "llmapi.mm_encoder", "llmapi.mpi_session", "models", "module", "network", "plugin",
    "quantization.functional", "quantization.layers", "quantization.quantize_by_modelopt", "quantization.utils",
    "serve", "tools",
)  # fmt: skip
"""Modules of TensorRT-LLM that compute, build or serve."""

_BOUND: Final = (
    "BatchingType", "CacheTransceiverBackendType", "CacheTransceiverConfig", "CapacitySchedulerPolicy",
    "ContextChunkingPolicy", "DecodingConfig", "DecodingMode", "DynamicBatchConfig", "EagleConfig", "ExecutorConfig",
    "ExtendedRuntimePerfKnobConfig", "KvCacheConfig", "LookaheadDecodingConfig", "PeftCacheConfig", "SchedulerConfig",
)  # fmt: skip
"""Classes of the bindings that classes of the options mirror."""


class AnyType(Anything):  # type: ignore[misc] # both modules are scripts' neighbours, which mypy does not find
    """Anything that may also be a field's type, and that has no members."""

    def __iter__(self) -> Any:
        return iter(())

    def __get_pydantic_core_schema__(self, *_: object) -> core_schema.CoreSchema:
        return core_schema.any_schema()


class _Module(AbsentModule):  # type: ignore[misc] # as above
    kind = AnyType


class _Bound(type):
    """A class of the bindings without fields. Its functions give the sizes of decoding, which are left at 8."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *_: 8


def pretend(sources: str, gpu: Gpu, devices: int = 8) -> None:
    """Let this process import TensorRT-LLM from the folder ``sources``, with ``devices`` GPUs of a product."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TRANSFORMERS_NO_ADVISORY_WARNINGS"] = "1"
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    import transformers  # noqa: PLC0415 - it looks for torch, before torch is left out

    assert transformers.AutoConfig
    leave_out(*_LIBRARIES, *(f"tensorrt_llm.{name}" for name in _MODULES), module=_Module)
    package: Any = types.ModuleType("tensorrt_llm")
    package.__path__ = [f"{sources}/tensorrt_llm"]
    package.LLM = package.MultimodalEncoder = AnyType()
    sys.modules["tensorrt_llm"] = package
    _bind(gpu, devices)


def _bind(gpu: Gpu, devices: int) -> None:
    import mpi4py  # noqa: PLC0415 - left out by now, as are the others
    import tensorrt_llm.bindings.executor as bound  # noqa: PLC0415
    import torch  # noqa: PLC0415

    mpi4py.MPI = AnyType()
    for name in _BOUND:
        setattr(bound, name, _Bound(name, (), {"__members__": {}}))
    major, minor = gpu.capability
    cuda: Any = torch.cuda
    cuda.get_device_properties = lambda *_: types.SimpleNamespace(name=gpu.name, major=major, minor=minor)
    cuda.device_count = lambda: devices
