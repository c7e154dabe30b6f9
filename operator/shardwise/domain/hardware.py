"""Facts about GPU products, by the value of a node label, ``nvidia.com/gpu.product`` or ``amd.com/gpu.product-name``.

Bandwidths are bytes per second in one direction, compute is dense FLOP per second. The table is ``data/gpus.toml``. It
does not state the size of the memory: the node's own label does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final

from shardwise.data import table
from shardwise.domain.units import GIB

ComputeCapability = tuple[int, int]
"""Major and minor number of an NVIDIA GPU's architecture, as CUDA counts it: (9, 0) is Hopper."""

HOPPER: Final = 9
"""The major compute capability of H100, H200, H20 and GH200."""

GB: Final = 10**9
TERA: Final = 10**12

_DRIVER_GIB: Final = 0.5
"""An estimate for products that nobody measured. Those that were measured lie between 0.4 and 0.8 GiB."""


@dataclass(frozen=True, slots=True)
class GpuKind:
    """A GPU product. ``nvlink`` is ``None`` unless NVLink is known to join all GPUs of a node.

    ``hbm`` is the bandwidth of the memory. In ``rack`` products NVLink also joins the nodes of a clique. ``proven`` is
    false for a product that is not in the table. ``compute_capability`` is ``None`` where nobody knows it, and for
    AMD's GPUs, which have none. ``driver_memory`` is the labelled memory that CUDA does not offer, in bytes.
    ``price`` is the money that a GPU costs in an hour, if the operator configuration states it.
    """

    product: str
    hbm: float
    flops: float
    nvlink: float | None
    pcie: float
    rack: bool = False
    proven: bool = True
    compute_capability: ComputeCapability | None = None
    driver_memory: int = int(_DRIVER_GIB * GIB)
    price: float | None = None


@dataclass(frozen=True, slots=True)
class GpuRow:
    """An entry of ``gpus.toml``, in the units that its comments state."""

    source: str
    memory_tb_per_s: float
    tflops: float
    pcie_gb_per_s: float
    nvlink_gb_per_s: float | None = None
    rack: bool = False
    names: tuple[str, ...] = ()
    compute_capability: str = ""
    driver_gib: float = _DRIVER_GIB

    def kind(self, product: str) -> GpuKind:
        """Give the product's facts in bytes and FLOP per second."""
        nvlink = self.nvlink_gb_per_s * GB if self.nvlink_gb_per_s is not None else None
        return GpuKind(
            product,
            self.memory_tb_per_s * TERA,
            self.tflops * TERA,
            nvlink,
            self.pcie_gb_per_s * GB,
            self.rack,
            compute_capability=parse_capability(self.compute_capability),
            driver_memory=int(self.driver_gib * GIB),
        )


_UNKNOWN_HBM: Final = 1.0 * TERA
_UNKNOWN_FLOPS: Final = 100 * TERA
_UNKNOWN_PCIE: Final = 32 * GB


@cache
def _kinds() -> Mapping[str, GpuKind]:
    rows = table("gpus.toml", GpuRow).items()
    return {name: row.kind(name) for product, row in rows for name in (product, *row.names)}


def parse_capability(text: str) -> ComputeCapability | None:
    """Read ``"9.0"`` as (9, 0); ``None`` for a text without two whole numbers."""
    major, _, minor = text.partition(".")
    numbers = major.isascii() and major.isdigit() and minor.isascii() and minor.isdigit()
    return (int(major), int(minor)) if numbers else None


def written_capability(capability: ComputeCapability) -> str:
    """Write a compute capability as people do: ``9.0``. :func:`parse_capability` reads it."""
    return ".".join(str(part) for part in capability)


@lru_cache(maxsize=1024)
def bare_product(product: str) -> str:
    """Strip the vendor, which old drivers leave out, and the suffix of shared and partitioned GPUs."""
    return product.partition("-MIG-")[0].removesuffix("-SHARED").removeprefix("NVIDIA-").removeprefix("AMD_")


def gpu_kind(product: str) -> GpuKind:
    """Look a product up by its exact name. An unknown product has no proven NVLink and cautious speeds."""
    bare = bare_product(product)
    unknown = GpuKind(bare, _UNKNOWN_HBM, _UNKNOWN_FLOPS, None, _UNKNOWN_PCIE, proven=False)
    return _kinds().get(bare, unknown)
