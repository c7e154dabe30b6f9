"""Facts about GPU products, by the value of a node label, ``nvidia.com/gpu.product`` or ``amd.com/gpu.product-name``.

Bandwidths are bytes per second in one direction, compute is dense FLOP per second. The table is ``data/gpus.toml``. It
does not state the size of the memory: the node's own label does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from shardwise.data import table

GB: Final = 10**9
TERA: Final = 10**12


@dataclass(frozen=True, slots=True)
class GpuKind:
    """A GPU product. ``nvlink`` is ``None`` unless NVLink is known to join all GPUs of a node.

    ``hbm`` is the bandwidth of the memory. In ``rack`` products NVLink also joins the nodes of a clique. ``proven`` is
    false for a product that is not in the table.
    """

    product: str
    hbm: float
    flops: float
    nvlink: float | None
    pcie: float
    rack: bool = False
    proven: bool = True


@dataclass(frozen=True, slots=True)
class GpuRow:
    """An entry of ``gpus.toml``, in the units that its comments state."""

    source: str
    memory_tb_per_s: float
    tflops: float
    pcie_gb_per_s: float
    nvlink_gb_per_s: float | None = None
    rack: bool = False

    def kind(self, product: str) -> GpuKind:
        """Give the product's facts in bytes and FLOP per second."""
        nvlink = self.nvlink_gb_per_s * GB if self.nvlink_gb_per_s is not None else None
        return GpuKind(
            product, self.memory_tb_per_s * TERA, self.tflops * TERA, nvlink, self.pcie_gb_per_s * GB, self.rack
        )


_UNKNOWN_HBM: Final = 1.0 * TERA
_UNKNOWN_FLOPS: Final = 100 * TERA
_UNKNOWN_PCIE: Final = 32 * GB


@cache
def _kinds() -> Mapping[str, GpuKind]:
    return {product: row.kind(product) for product, row in table("gpus.toml", GpuRow).items()}


def bare_product(product: str) -> str:
    """Strip the vendor, which old drivers leave out, and the suffix of shared and partitioned GPUs."""
    return product.partition("-MIG-")[0].removesuffix("-SHARED").removeprefix("NVIDIA-").removeprefix("AMD_")


def gpu_kind(product: str) -> GpuKind:
    """Look a product up by its exact name. An unknown product has no proven NVLink and cautious speeds."""
    bare = bare_product(product)
    unknown = GpuKind(bare, _UNKNOWN_HBM, _UNKNOWN_FLOPS, None, _UNKNOWN_PCIE, proven=False)
    return _kinds().get(bare, unknown)
