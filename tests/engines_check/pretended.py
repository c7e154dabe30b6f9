"""GPUs that are not there, and libraries with compiled kernels that are not needed: for both engines' platforms."""

import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch


@dataclass(frozen=True, slots=True)
class Gpu:
    """A product as its driver names it. ``memory`` is MiB, as CUDA reports the total."""

    name: str
    capability: tuple[int, int]
    memory: int

    @property
    def level(self) -> int:
        """The capability as a number: 9.0 is 90."""
        return self.capability[0] * 10 + self.capability[1]


GPUS: Final = {
    "T4": Gpu("Tesla T4", (7, 5), 14913),
    "A100": Gpu("NVIDIA A100-SXM4-80GB", (8, 0), 81151),
    "A10": Gpu("NVIDIA A10", (8, 6), 22588),
    "L40S": Gpu("NVIDIA L40S", (8, 9), 45458),
    "H100": Gpu("NVIDIA H100 80GB HBM3", (9, 0), 81079),
    "H200": Gpu("NVIDIA H200", (9, 0), 143152),
    "GB200": Gpu("NVIDIA GB200", (10, 0), 188902),
    "RTX-PRO-6000": Gpu("NVIDIA RTX PRO 6000 Blackwell Server Edition", (12, 0), 97250),
}
"""Products by name: at least one for each compute capability, oldest first."""


class Anything:
    """Stands for whatever is asked of a library that is absent: may be called, subclassed and combined as a type."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __call__(self, *given: Any, **_: object) -> Any:
        return given[0] if len(given) == 1 and callable(given[0]) else self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = Anything()
        self.__dict__[name] = made  # the same each time, so that tables keyed by a library's constants work
        return made

    def __mro_entries__(self, _: tuple[object, ...]) -> tuple[type, ...]:
        return ()

    def __or__(self, _: object) -> "Anything":
        return self

    __ror__ = __or__

    def __getitem__(self, _: object) -> "Anything":
        return self


class AbsentModule(types.ModuleType):
    """A module that has every name: names in capitals are false, as switches of builds are, the rest is anything."""

    __path__: list[str] = []  # noqa: RUF012 - a package's path is a list
    __version__ = "99.0.0"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = False if name.isupper() else Anything()
        self.__dict__[name] = made
        return made


class Absent(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds modules by name that are not installed, or that need a GPU. Names of packages cover their modules."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = frozenset(names)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Give a module of this loader for the names it covers."""
        del path, target
        parts = fullname.split(".")
        covered = any(".".join(parts[: index + 1]) in self.names for index in range(len(parts)))
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True) if covered else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        """Make an empty module."""
        return AbsentModule(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Run nothing."""


def leave_out(*names: str) -> None:
    """Let imports of these modules succeed, with nothing behind them."""
    sys.meta_path.insert(0, Absent(names))


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
